"""Before anything moves: how the beamline is found, and a stop that comes before the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from fsmcollect.beamline import Acquisition
from fsmcollect.collecting.collection import Collection, Result, collect
from fsmcollect.events import PersonAsked, SafingStep
from fsmcollect.request import Request
from fsmcollect.sim.beamline import ROLES, SimulatedBeamline
from tests.collecting.rehearsing import INVERSE, SECOND_US, Play, adapt, ask, simulate

BY_HAND = ask(sample={"location": None})
OTHER_ENERGY = ask(beam={"energy_ev": 9000.0})
#: What is commanded to make safe, and what reads back that it is.
MAKING_SAFE = {"close", "stop", "disarm", "to closed", "to out", "at closed", "gate off"}


def left_open(*, detector_near: bool = False) -> SimulatedBeamline:
    """Somebody has aligned something and left: both shutters open, the detector armed."""
    simulated = simulate()

    async def leave() -> None:
        await simulated.detector.arm(
            Acquisition(
                images=10,
                images_per_trigger=10,
                frame_time_s=0.01,
                triggers_per_image=1,
                energy_ev=12_700.0,
            )
        )
        await simulated.safety_shutter.open()
        await simulated.fast_shutter.open()
        if detector_near:
            await simulated.detector_stage.move(150.0)

    simulated.kernel.run(leave)
    simulated.checkers.violations.clear()  # theirs, not the run's
    return simulated


@pytest.mark.parametrize("detector_near", [False, True])
@pytest.mark.parametrize("request_", [INVERSE, BY_HAND, OTHER_ENERGY], ids=["robot", "person", "other energy"])
def test_shutters_and_detector_are_made_safe_before_robot_person_or_motors_come(
    detector_near: bool, request_: Request
) -> None:
    simulated = left_open(detector_near=detector_near)
    began_us = simulated.kernel.now_us
    play = Play(request_, simulated)
    found: list[tuple[bool, ...]] = []

    def look() -> None:
        found.append(
            (simulated.fast_shutter.closed, simulated.safety_shutter.closed, simulated.detector.state.value == "idle")
        )

    play.when(SafingStep, look, step="detector idle").run()
    assert play.raised is None
    assert play.outcome == "done", play.result.failures
    assert found[0] == (True, True, True)
    safe_us = began_us + next(step.t_us for step in play.of(SafingStep) if step.step == "detector idle")
    assert safe_us > began_us, "the safety shutter takes its time"
    assert play.instant("fast_shutter", "close") == play.instant("safety_shutter", "close") == began_us
    firsts = [
        t_us
        for t_us, (source, text) in play.lines
        if t_us < safe_us and source.partition(".")[0] in ROLES and text not in MAKING_SAFE
    ]
    assert firsts == [], "nothing else is commanded meanwhile"
    assert all(began_us + event.t_us >= safe_us for event in play.of(PersonAsked))


def _jam_fast(play: Play) -> None:
    play.simulated.fast_shutter.jammed = True


def _jam_safety(play: Play) -> None:
    play.simulated.safety_shutter.jammed = True


def _never_disarms(play: Play) -> None:
    async def wait_for_ever() -> None:
        await trio.sleep_forever()

    adapt(play.simulated, "detector", disarm=wait_for_ever)


@pytest.mark.parametrize("hinder", [_jam_fast, _jam_safety, _never_disarms])
@pytest.mark.parametrize("request_", [INVERSE, BY_HAND], ids=["robot", "person"])
def test_where_the_way_cannot_be_cleared_nothing_is_mounted(hinder: Callable[[Play], None], request_: Request) -> None:
    play = Play(request_, left_open())
    hinder(play)
    play.enters("FAULT", play.scope.cancel).run()
    assert (play.outcome, play.result.safe) == ("failed", False)
    assert play.states == ["MOUNTING", "CLOSING", "FAULT", "ABANDONED"]
    assert [text for _, text in play.commands("sample_changer")] == ["stop"]
    assert play.of(PersonAsked) == []
    assert not [text for _, text in play.commands("detector_stage.distance_mm") if text.startswith("move")]


# -- a stop that comes first -------------------------------------------------------------------------------------------


def check_nothing_moved(simulated: SimulatedBeamline, lines: list[str]) -> None:
    assert set(lines) <= MAKING_SAFE
    assert simulated.sample_changer.on_goniometer is None
    assert simulated.dose.exposed_us == 0


@pytest.mark.parametrize("end", ["abort", "skip"])
@pytest.mark.parametrize("keeps_files", [False, True])
def test_what_is_stopped_before_it_runs_ends_so_without_any_motion(end: str, keeps_files: bool, tmp_path: Path) -> None:
    play = Play(INVERSE, directory=tmp_path if keeps_files else None)
    stop = {"abort": play.collection.abort, "skip": play.collection.skip}[end]
    assert stop()
    assert stop(), "it may be repeated"
    assert not play.collection.hold()
    assert not play.collection.resume()
    assert not play.collection.acknowledge()
    play.run()
    play.check({"abort": "aborted", "skip": "skipped"}[end])
    assert play.states == ["MOUNTING", "CLOSING", "IDLE"]
    check_nothing_moved(play.simulated, [text for _, (source, text) in play.lines if source in ROLES])
    assert not stop(), "it has ended"


def test_an_abort_beats_a_skip_also_before_the_run() -> None:
    for order in ((0, 1), (1, 0)):
        play = Play(INVERSE)
        stops = (play.collection.skip, play.collection.abort)
        assert all(stops[number]() for number in order)
        play.run()
        play.check("aborted")


def test_collect_hands_out_the_collection_before_it_runs() -> None:
    simulated = simulate()
    handed: list[Collection] = []

    def started(collection: Collection) -> None:
        handed.append(collection)
        assert collection.state.name == "IDLE"
        assert collection.abort()

    async def run() -> Result:
        return await collect(simulated.beamline, INVERSE, started=started)

    result = simulated.kernel.run(run)
    assert (str(result.outcome), result.safe, result.images) == ("aborted", True, 0)
    assert handed[0].result() == result
    check_nothing_moved(simulated, [])


def test_whoever_was_handed_the_collection_can_hold_and_resume_it() -> None:
    simulated = simulate()
    answers: list[bool] = []

    def started(collection: Collection) -> None:
        simulated.kernel.at(32 * SECOND_US, lambda: answers.append(collection.hold()), by="test")
        simulated.kernel.at(40 * SECOND_US, lambda: answers.append(collection.resume()), by="test")

    request = attrs.evolve(ask(sweep={"images": 3600, "exposure_s": 0.02, "image_width_deg": 0.1}))
    result = simulated.kernel.run(lambda: collect(simulated.beamline, request, started=started))
    assert answers == [True, True]
    assert (str(result.outcome), result.images) == ("done", 3600)
