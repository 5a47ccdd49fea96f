"""Holding and going on: by a person, because the beam is lost, and both at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.events import Failure, ImagesTaken, Moved, SafingStep, StepDone, WedgeStarted
from fsmcollect.request import Request
from fsmcollect.sim.beamline import CONFIG
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SECOND_US, WAYS, Play, adapt, ask, simulate
from tests.collecting.test_abort import check_the_rest_is_taken, exposes_from_us, lasts_us

SHUTTERED_WEDGES = ask(sweep={"images": 6, "wedge_images": 2, "shutterless": False, "exposure_s": 0.2})


def check_taken_once(play: Play) -> None:
    """Everything asked for, once, in order, at its angle."""
    assert play.raised is None
    play.check("done")
    wedges = {
        (wedge.series.name, wedge.first_image + i): wedge
        for wedge in play.collection.plan.wedges
        for i in range(wedge.images)
    }
    for event in play.of(ImagesTaken):
        wedge = wedges[event.series, event.first_image]
        nominal_deg = float(wedge.image_start_deg(event.first_image))
        assert event.omega_recorded_deg == pytest.approx(nominal_deg, abs=0.01)
    if play.directory is not None:
        assert play.on_disk == play.planned


def ending(play: Play, end: str) -> Callable[[], object]:
    deeds: dict[str, Callable[[], object]] = {
        "abort": play.collection.abort,
        "skip": play.collection.skip,
        "cancel": play.scope.cancel,
    }
    return deeds[end]


def exposing_instants(way: str, count: int, of: str) -> list[int]:
    rng = Random(f"{of}/{way}")
    return [rng.randrange(exposes_from_us(way), lasts_us(way)) for _ in range(count)]


def hold_at(play: Play, when_us: int, for_us: int) -> list[bool]:
    """Hold at an instant and resume so much later; whether each was accepted."""
    answers: list[bool] = []
    play.at(when_us, lambda: answers.append(play.collection.hold()))
    play.at(when_us + for_us, lambda: answers.append(play.collection.resume()))
    return answers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("for_us", [1, 5_000, 30_000, 3 * SECOND_US])
def test_held_at_any_instant_and_resumed_every_image_is_taken_once_at_its_angle(way: str, for_us: int) -> None:
    """However soon the person changes their mind: also before the pause has done its work."""
    for when_us in exposing_instants(way, 8, "hold"):
        play = Play(WAYS[way])
        answers = hold_at(play, when_us, for_us)
        play.run()
        # A run that is over before the person changes their mind was not held.
        assert answers in ([True, True], [False, False], [False])
        check_taken_once(play)
        assert ("HOLDING" in play.states) == answers[0]
        if answers[0]:
            assert (when_us, "close") in play.commands("fast_shutter")


@pytest.mark.parametrize("way", WAYS)
def test_held_many_times_every_image_is_taken_once(way: str) -> None:
    play = Play(WAYS[way])
    for when_us in sorted(exposing_instants(way, 12, "holds")):
        hold_at(play, when_us, Random(when_us).choice([2, 20_000, 700_000]))
    # whatever is left held in the end is let go
    for second in range(60, 400, 20):
        play.at(second * SECOND_US, play.collection.resume)
    play.run()
    check_taken_once(play)
    assert play.states.count("HOLDING") > 1


@pytest.mark.parametrize("way", WAYS)
def test_held_with_files_the_short_file_and_the_rest_make_the_whole(way: str, tmp_path: Path) -> None:
    for number, when_us in enumerate(exposing_instants(way, 3, "files")):
        play = Play(WAYS[way], directory=tmp_path / str(number))
        hold_at(play, when_us, 1 if number == 0 else SECOND_US)
        hold_at(play, when_us + 2 * SECOND_US, SECOND_US)
        play.run()
        check_taken_once(play)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_held_at_any_of_many_instants_with_files_nothing_is_lost(way: str, tmp_path: Path) -> None:
    for number, when_us in enumerate(exposing_instants(way, 100, "many")):
        play = Play(WAYS[way], directory=tmp_path / str(number) if number % 4 == 0 else None)
        hold_at(play, when_us, Random(number).choice([1, 1000, 10_000, 50_000, SECOND_US]))
        play.run()
        check_taken_once(play)


def test_while_held_nothing_moves_the_beam_is_off_and_a_reader_sees_what_was_taken(tmp_path: Path) -> None:
    play = Play(LONG_WEDGE, directory=tmp_path)
    seen: list[object] = []

    def look() -> None:
        simulated = play.simulated
        seen.extend([simulated.fast_shutter.closed, not simulated.goniometer.is_moving, simulated.detector.state.value])
        seen.append(play.on_disk == play.reported)
        seen.append(0 < len(play.reported) < len(play.planned))
        seen.append((play.folder / "lyso_1_master.h5").exists())

    hold_at(play, exposes_from_us("long wedge") + 3 * SECOND_US, 10 * SECOND_US)
    # Before the rotation would have come to its end by itself, five seconds after it began.
    play.at(exposes_from_us("long wedge") + 4 * SECOND_US, look).run()
    assert seen == [True, True, "idle", True, True, True]
    check_taken_once(play)


@pytest.mark.parametrize(
    "boundary", ["wedge.ARMING", "wedge.RUNNING_UP", "wedge.EXPOSING", "wedge.DRAINING", "wedge.TAKEN"]
)
@pytest.mark.parametrize("request_", [INVERSE, SHUTTERED_WEDGES], ids=["inverse beam", "shuttered"])
def test_held_exactly_where_a_wedge_changes_its_state_nothing_is_lost(boundary: str, request_: Request) -> None:
    for count in (1, 2):
        play = Play(request_)
        play.enters(boundary, play.collection.hold, count=count)
        play.enters("HOLDING", play.collection.resume, after_us=SECOND_US)
        play.run()
        assert play.states.count("HOLDING") == 1
        check_taken_once(play)


def test_an_observer_that_holds_in_the_middle_of_an_event_is_heard() -> None:
    """The request comes while the machine is between two states."""
    for kind in (WedgeStarted, ImagesTaken, Moved):
        play = Play(INVERSE)
        held: list[bool] = []

        def hold(event: object, kind: type = kind, play: Play = play, held: list[bool] = held) -> None:
            if type(event) is kind and play.of(WedgeStarted) and not held:
                held.append(play.collection.hold())

        play.collection.observers.listeners.append(hold)
        play.enters("HOLDING", play.collection.resume, after_us=SECOND_US).run()
        assert held == [True]
        check_taken_once(play)


@pytest.mark.parametrize("end", ["abort", "skip", "cancel"])
@pytest.mark.parametrize("after_us", [0, 1, 10_000, SECOND_US])
def test_a_held_run_can_be_ended_at_any_time(end: str, after_us: int, tmp_path: Path) -> None:
    play = Play(LONG_WEDGE, directory=tmp_path)
    deed = ending(play, end)
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=SECOND_US)
    play.enters("HOLDING", deed, after_us=after_us).run()
    assert play.raised is None
    play.check("skipped" if end == "skip" else "aborted")
    assert play.states[-3:] == ["HOLDING", "CLOSING", "IDLE"]
    assert 0 < len(play.reported) < 60
    assert play.on_disk == play.reported
    check_the_rest_is_taken(play)


def test_skip_leaves_the_sample_and_keeps_what_was_taken_whenever_it_comes() -> None:
    for when_us in [10 * SECOND_US, 20 * SECOND_US, *exposing_instants("inverse beam", 8, "skip")]:
        play = Play(INVERSE)
        accepted: list[bool] = []
        play.at(when_us, lambda play=play, to=accepted: to.append(play.collection.skip())).run()  # type: ignore[misc]
        play.check("skipped" if accepted == [True] else "done")
        assert play.reported == play.planned[: len(play.reported)]


def test_a_hold_is_refused_before_anything_is_exposed_and_a_resume_where_nothing_is_held() -> None:
    play = Play(INVERSE)
    answers: list[bool] = []
    for state in ("MOUNTING", "CENTRING", "OSCILLATING", "CLOSING"):
        play.enters(state, lambda: answers.append(play.collection.resume()), after_us=1000)
        if state != "OSCILLATING":
            play.enters(state, lambda: answers.append(play.collection.hold()), after_us=1000)
    play.run()
    assert answers == [False] * 7
    play.check("done")


# -- the ring ----------------------------------------------------------------------------------------------------------


def lose_beam(play: Play, when_us: int, for_us: int) -> Play:
    ring = play.simulated.ring
    return play.at(when_us, ring.lose_beam).at(when_us + for_us, ring.restore_beam)


@pytest.mark.parametrize("way", WAYS)
def test_the_beam_is_lost_at_any_instant_and_what_it_interrupted_is_taken_when_it_is_back(way: str) -> None:
    for when_us in exposing_instants(way, 8, "ring"):
        play = lose_beam(Play(WAYS[way]), when_us, 30 * SECOND_US).run()
        check_taken_once(play)


def test_without_beam_before_the_start_it_waits_and_chooses_the_gains_in_the_beam() -> None:
    undisturbed = Play(INVERSE).run()
    play = lose_beam(Play(INVERSE), 0, 300 * SECOND_US).run()
    check_taken_once(play)
    assert play.states[2:4] == ["OSCILLATING", "HOLDING_FOR_BEAM"]
    assert play.of(WedgeStarted)[0].t_us > 300 * SECOND_US

    def gains(of: Play) -> list[str]:
        return [text for _, text in of.commands("diodes") if text.startswith("gains")]

    assert gains(play) == gains(undisturbed)


def test_the_beam_is_lost_twice() -> None:
    play = Play(LONG_WEDGE)
    begin_us = exposes_from_us("long wedge")
    lose_beam(play, begin_us + 2 * SECOND_US, 20 * SECOND_US)
    lose_beam(play, begin_us + 25 * SECOND_US, 20 * SECOND_US)
    play.run()
    check_taken_once(play)
    assert play.states.count("HOLDING_FOR_BEAM") == 2


@pytest.mark.parametrize("state", ["wedge.ARMING", "wedge.RUNNING_UP", "wedge.EXPOSING", "wedge.DRAINING"])
def test_the_beam_is_lost_as_a_wedge_changes_its_state(state: str) -> None:
    play = Play(INVERSE)
    play.enters(state, play.simulated.ring.lose_beam)
    play.enters("HOLDING_FOR_BEAM", play.simulated.ring.restore_beam, after_us=5 * SECOND_US).run()
    assert "HOLDING_FOR_BEAM" in play.states
    check_taken_once(play)


def test_the_beams_return_does_not_end_a_persons_hold() -> None:
    play = lose_beam(Play(LONG_WEDGE), exposes_from_us("long wedge") + SECOND_US, 20 * SECOND_US)
    play.enters("HOLDING_FOR_BEAM", play.collection.hold, after_us=SECOND_US)
    play.enters("HOLDING", play.collection.resume, after_us=100 * SECOND_US).run()
    check_taken_once(play)
    moves = [(move.source, move.event, move.dest) for move in play.of(Moved) if "HOLDING" in move.source]
    assert moves == [("HOLDING_FOR_BEAM", "HOLD", "HOLDING"), ("HOLDING", "RESUME", "OSCILLATING")]


def test_resumed_without_beam_it_waits_for_the_beam() -> None:
    begin_us = exposes_from_us("long wedge")
    play = lose_beam(Play(LONG_WEDGE), begin_us + 2 * SECOND_US, 50 * SECOND_US)
    hold_at(play, begin_us + SECOND_US, 10 * SECOND_US)
    play.run()
    check_taken_once(play)
    assert [s for s in play.states if "HOLD" in s or s == "OSCILLATING"] == [
        "OSCILLATING", "HOLDING", "OSCILLATING", "HOLDING_FOR_BEAM", "OSCILLATING",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["abort", "skip", "cancel"])
def test_waiting_for_the_beam_can_be_ended(end: str) -> None:
    play = Play(INVERSE)
    deed = ending(play, end)
    play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam)
    play.enters("HOLDING_FOR_BEAM", deed, after_us=3 * SECOND_US).run()
    play.check("skipped" if end == "skip" else "aborted")


def test_held_and_lost_and_back_in_one_instant_it_still_takes_everything_once() -> None:
    play = Play(INVERSE)

    def all_at_once() -> None:
        play.simulated.ring.lose_beam()
        assert play.collection.hold()
        play.simulated.ring.restore_beam()

    play.enters("wedge.EXPOSING", all_at_once, after_us=50_000)
    play.enters("HOLDING", play.collection.resume, after_us=SECOND_US).run()
    check_taken_once(play)
    assert play.of(Failure) == []


def test_held_while_the_gains_are_adjusted_what_they_were_before_the_run_is_put_back() -> None:
    """An adapter whose adjusting is slow: the hold comes when it has changed something already."""
    simulated = simulate()
    before = simulated.kernel.run(simulated.diodes.read_gains)

    async def adjust_gains() -> None:
        await simulated.diodes.adjust_gains()
        await trio.sleep(2.0)

    play = Play(INVERSE, adapt(simulated, "diodes", adjust_gains=adjust_gains))
    play.when(StepDone, play.collection.hold, after_us=SECOND_US, step="safety shutter open")
    play.enters("HOLDING", play.collection.resume, after_us=SECOND_US).run()
    assert "HOLDING" in play.states
    check_taken_once(play)
    assert [text for _, text in play.commands("diodes")][-1] == f"set gains {before[0]} {before[1]}"


def test_a_disk_that_refuses_while_held_ends_the_run_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsmcollect import images
    from fsmcollect.errors import StorageError

    play = Play(LONG_WEDGE, directory=tmp_path)

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    def hold() -> None:
        monkeypatch.setattr(images, "write_data_file", refuse)
        play.collection.hold()

    play.enters("wedge.EXPOSING", hold, after_us=3 * SECOND_US).run()
    play.check("failed")
    assert play.reported == play.on_disk == play.planned[:100]
    assert play.result.images == 100


# -- a pause that fails ------------------------------------------------------------------------------------------------


def _jams(play: Play) -> None:
    play.simulated.fast_shutter.jammed = True


def _lies(play: Play) -> None:
    async def no() -> bool:
        return False

    adapt(play.simulated, "fast_shutter", is_closed=no)


def _raises(play: Play) -> None:
    async def refuse() -> None:
        await play.simulated.fast_shutter.close()
        raise DeviceError("fast_shutter", "its driver has lost the connection")

    adapt(play.simulated, "fast_shutter", close=refuse)


def _hangs(play: Play) -> None:
    async def wait_for_ever() -> None:
        await trio.sleep_forever()

    adapt(play.simulated, "fast_shutter", close=wait_for_ever)


CLOSES_BADLY = {"jams": _jams, "lies": _lies, "raises": _raises, "hangs": _hangs}
#: Of the pause's steps: fast shutter, then the slower of goniometer and detector (see `safing`).
PAUSE_DEADLINE_US = (2 + 15 + 1) * SECOND_US


@pytest.mark.parametrize("way", CLOSES_BADLY)
@pytest.mark.parametrize("why", ["HOLDING", "HOLDING_FOR_BEAM"])
@pytest.mark.parametrize("request_", [INVERSE, LONG_WEDGE], ids=["short wedge", "long wedge"])
def test_a_pause_whose_shutter_is_not_known_to_be_closed_fails_and_closes_the_safety_shutter(
    way: str, why: str, request_: Request
) -> None:
    play = Play(request_)

    def pause() -> None:
        CLOSES_BADLY[way](play)
        if why == "HOLDING":
            assert play.collection.hold()
        else:
            play.simulated.ring.lose_beam()

    after_us = 50_000 if request_ is INVERSE else 2 * SECOND_US
    play.enters("wedge.EXPOSING", pause, after_us=after_us).enters("FAULT", play.scope.cancel).run()
    assert play.raised is None
    assert play.tasks_left == []
    assert (play.outcome, play.result.safe) == ("failed", False)
    assert play.states[-4:] == [why, "CLOSING", "FAULT", "ABANDONED"]
    moves = [i for i, event in enumerate(play.events) if isinstance(event, Moved) and event.machine == "collection"]
    pausing, closing = moves[-4], moves[-3]
    tried = [event for event in play.events[pausing:closing] if isinstance(event, SafingStep)]
    assert {step.step: step.verified for step in tried} == {"fast shutter closed": False}
    assert play.events[closing].t_us - play.events[pausing].t_us <= PAUSE_DEADLINE_US
    assert {step.step: step.verified for step in play.of(SafingStep)}["safety shutter closed"]
    assert play.simulated.safety_shutter.closed


@pytest.mark.parametrize(("denials", "outcome"), [(1, "done"), (2, "failed")])
def test_a_shutter_that_confirms_only_the_second_time_holds_and_one_that_denies_twice_ends_the_run(
    denials: int, outcome: str
) -> None:
    play = Play(LONG_WEDGE)
    answers = iter([False] * denials)

    async def is_closed() -> bool:
        return next(answers, play.simulated.fast_shutter.closed)

    def hold() -> None:
        adapt(play.simulated, "fast_shutter", is_closed=is_closed)
        play.collection.hold()

    play.enters("HOLDING", play.collection.resume, after_us=2 * SECOND_US)
    play.enters("wedge.EXPOSING", hold, after_us=2 * SECOND_US).run()
    play.check(outcome)
    if outcome == "failed":
        assert "fast shutter closed: commanded, but its read-back denies it" in play.result.failures[0]
    else:
        (told,) = (event for event in play.of(SafingStep) if event.message)
        assert (told.step, told.verified) == ("fast shutter closed", True)
        assert "done again" in told.message


# -- what may have changed meanwhile -----------------------------------------------------------------------------------


def test_gas_that_has_become_too_warm_during_a_hold_ends_the_run_before_anything_is_exposed() -> None:
    play = Play(LONG_WEDGE, simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0)))
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=2 * SECOND_US)
    play.enters("HOLDING", lambda: setattr(play.simulated.cryo_stream, "temperature_k", 150.0), after_us=SECOND_US)
    play.enters("HOLDING", play.collection.resume, after_us=2 * SECOND_US).run()
    play.check("failed")
    assert "at most 120 K" in play.result.failures[0]
    assert len(play.of(WedgeStarted)) == 1
    held_us = next(move.t_us for move in play.of(Moved) if move.dest == "HOLDING")
    assert not [text for t_us, text in play.commands("fast_shutter") if t_us > held_us and "open" in text]


def test_a_hutch_that_was_entered_during_a_hold_is_searched_before_it_goes_on() -> None:
    play = Play(LONG_WEDGE)
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=2 * SECOND_US)
    play.enters("HOLDING", play.simulated.interlock.open_door, after_us=SECOND_US)
    play.enters("HOLDING", play.collection.resume, after_us=5 * SECOND_US).run()
    play.check("failed")
    assert "the hutch is not searched" in play.result.failures[0]
    assert len(play.of(WedgeStarted)) == 1


def test_a_detector_cover_that_has_closed_during_a_hold_ends_the_run_before_anything_is_exposed() -> None:
    play = Play(LONG_WEDGE)
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=2 * SECOND_US)

    async def falls() -> bool:
        return play.states[-1] != "OSCILLATING" or "HOLDING" in play.states

    adapt(play.simulated, "detector_cover", is_closed=falls)
    play.enters("HOLDING", play.collection.resume, after_us=5 * SECOND_US).run()
    assert play.result.failures[0].startswith("exposing: detector_cover")
    assert len(play.of(WedgeStarted)) == 1


@pytest.mark.parametrize("why", ["a person", "the ring"])
def test_after_a_hold_the_gains_are_adjusted_again(why: str) -> None:
    play = Play(LONG_WEDGE)
    before = play.simulated.kernel.run(play.simulated.diodes.read_gains)
    if why == "a person":
        play.enters("wedge.EXPOSING", play.collection.hold, after_us=2 * SECOND_US)
        play.enters("HOLDING", play.collection.resume, after_us=SECOND_US)
    else:
        play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam, after_us=2 * SECOND_US)
        play.enters("HOLDING_FOR_BEAM", play.simulated.ring.restore_beam, after_us=SECOND_US)
    play.run()
    check_taken_once(play)
    assert [text for _, text in play.commands("diodes")].count("adjust gains") == 2
    second_wedge_us = play.of(WedgeStarted)[1].t_us
    adjusted_us = [t_us for t_us, text in play.commands("diodes") if text == "adjust gains"]
    assert adjusted_us[0] < adjusted_us[1] < second_wedge_us
    assert [text for _, text in play.commands("diodes")][-1] == f"set gains {before[0]} {before[1]}"
    assert [step.step for step in play.of(SafingStep)].count("diode gains put back") == 1, (
        "what was before, and no more"
    )
