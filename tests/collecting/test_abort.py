"""Stopping a collection at any instant: by an abort, by a cancellation from outside, at every checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from fsmcollect.errors import BeamlineBusy
from fsmcollect.events import Failure, ImagesTaken, Moved, WedgeStarted
from fsmcollect.request import Request
from tests.cancel_sweep import Case, at_every_checkpoint
from tests.collecting.rehearsing import INVERSE, WAYS, Play, adapt, ask, simulate

#: How many instants are tried in each way of exposing: without files, and with.
FEW, FEW_WITH_FILES = 12, 4
MANY, MANY_WITH_FILES = 200, 40


@functools.cache
def lasts_us(way: str) -> int:
    """How long an undisturbed collection takes."""
    play = Play(WAYS[way]).run()
    play.check("done")
    return play.simulated.kernel.now_us


@functools.cache
def exposes_from_us(way: str) -> int:
    play = Play(WAYS[way])
    play.run()
    return int(play.of(WedgeStarted)[0].t_us)


def instants(way: str, count: int) -> list[int]:
    """Instants spread over the whole run, every second one over the part of it that exposes; the same every time."""
    rng = Random(f"instants/{way}")
    return [rng.randrange(0 if i % 2 else exposes_from_us(way), lasts_us(way)) for i in range(count)]


@attrs.define(eq=False, repr=False)
class Stop:
    """Stops a play at an instant, and notes what was complete just then."""

    play: Play
    cancel: bool = False
    accepted: bool = False
    #: The collection's state just then.
    state: str = ""
    #: Images whose exposure had ended, by what the events and the detector say; None once the run had ended.
    complete: int | None = None

    def __call__(self) -> None:
        play = self.play
        self.state = play.collection.state.name
        if play.of(WedgeStarted):
            taken = sum(event.dest == "TAKEN" for event in play.of(Moved))
            wedges = play.collection.plan.wedges
            now = 0
            last = [event for event in play.of(Moved) if event.machine == "wedge"][-1]
            if last.dest in ("RUNNING_UP", "EXPOSING", "DRAINING"):
                now = play.simulated.detector.frames_complete
            self.complete = sum(wedge.images for wedge in wedges[:taken]) + now
        if self.cancel:
            self.accepted = True
            play.scope.cancel()
        else:
            self.accepted = play.collection.abort()


def stopped(
    request: Request, when_us: int, directory: Path | None = None, *, cancel: bool = False
) -> tuple[Play, Stop]:
    play = Play(request, directory=directory)
    stop = Stop(play, cancel)
    play.at(when_us, stop).run()
    return play, stop


def check_stopped(play: Play, stop: Stop, when_us: int) -> None:
    """What is promised of a run that was stopped at an instant."""
    assert play.raised is None
    assert stop.accepted, f"at {when_us}: not accepted"
    if stop.cancel and stop.state == "CLOSING":  # all was decided: the cancellation waits until it is safe
        play.check("done")
        return
    play.check("aborted")
    assert play.reported == play.planned[: len(play.reported)], f"at {when_us}: not the first ones in order"
    if stop.complete is not None:
        assert len(play.reported) == stop.complete, f"at {when_us}: a complete image was lost or one was made up"
    assert (when_us, "close") in play.commands("fast_shutter"), f"at {when_us}: the close command left later"
    if play.directory is not None and play.folder.is_dir():
        assert play.on_disk == play.reported, f"at {when_us}"


def check_the_rest_is_taken(before: Play) -> None:
    """Asked again, with what exists skipped, exactly the missing images are taken."""
    left = before.on_disk if before.folder.is_dir() else []
    request = attrs.evolve(before.request, files=attrs.evolve(before.request.files, skip_existing=True))
    play = Play(request, directory=before.directory).run()
    if len(left) == len(play.planned):
        play.check("skipped")
    else:
        assert str(play.result.outcome) == "done", play.result.failures
        assert play.violations == []
        play.check_files()
    assert sorted(play.reported + left) == sorted(play.planned)
    assert play.on_disk == play.planned


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cancel", [False, True], ids=["abort", "cancellation"])
def test_stopped_at_any_instant_it_is_safe_and_keeps_every_complete_image(way: str, cancel: bool) -> None:
    for when_us in instants(way, FEW):
        check_stopped(*stopped(WAYS[way], when_us, cancel=cancel), when_us)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cancel", [False, True], ids=["abort", "cancellation"])
def test_stopped_at_any_instant_the_files_are_whole_and_the_rest_can_be_taken(
    way: str, cancel: bool, tmp_path: Path
) -> None:
    for number, when_us in enumerate(instants(way, FEW_WITH_FILES)):
        play, stop = stopped(WAYS[way], when_us, tmp_path / str(number), cancel=cancel)
        check_stopped(play, stop, when_us)
        check_the_rest_is_taken(play)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_any_of_a_thousand_instants_it_is_safe(way: str, tmp_path: Path) -> None:
    for when_us in instants(way, MANY):
        check_stopped(*stopped(WAYS[way], when_us), when_us)
        check_stopped(*stopped(WAYS[way], when_us, cancel=True), when_us)
    for number, when_us in enumerate(instants(way, MANY_WITH_FILES)):
        play, stop = stopped(WAYS[way], when_us, tmp_path / str(number), cancel=bool(number % 2))
        check_stopped(play, stop, when_us)
        check_the_rest_is_taken(play)


def is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)


def boundaries() -> list[tuple[str, int]]:
    """Instants at which something else happens too: every event of a run, and one microsecond around it."""
    play = Play(INVERSE).run()
    moments = sorted({event.t_us for event in play.events})
    return [("inverse beam", when_us + around) for when_us in moments for around in (-1, 0, 1) if when_us + around > 0]


def test_an_abort_at_the_very_instant_of_another_event_is_an_abort_like_any_other() -> None:
    for way, when_us in boundaries():
        if when_us < lasts_us(way):
            check_stopped(*stopped(WAYS[way], when_us), when_us)


def test_a_second_abort_and_a_hundredth_change_nothing() -> None:
    once, stop = stopped(INVERSE, 35_000_000)
    check_stopped(once, stop, 35_000_000)
    often = Play(INVERSE)
    for index in range(100):
        often.at(35_000_000 + index * 40_000, often.collection.abort)
    often.run()
    often.check("aborted")
    assert often.reported == once.reported
    assert often.simulated.kernel.now_us == once.simulated.kernel.now_us


def test_an_abort_after_the_last_image_while_closing_never_ends_as_done() -> None:
    play = Play(INVERSE)
    play.enters("CLOSING", play.collection.abort, after_us=1000).run()
    play.check("aborted")
    assert play.reported == play.planned


def test_after_a_run_there_is_nothing_to_abort() -> None:
    play = Play(INVERSE).run()
    assert not play.collection.abort()
    play.check("done")


def test_an_abort_before_the_run_is_not_lost() -> None:
    play = Play(INVERSE)
    assert play.collection.abort()
    play.run()
    play.check("aborted")
    assert play.reported == []
    assert "load 1:5" not in [text for _, text in play.commands("sample_changer")]


def test_an_observer_that_aborts_at_the_first_event_stops_it_before_anything_moves() -> None:
    play = Play(INVERSE)
    owners: list[bool] = []

    def abort_at_once(event: object) -> None:
        if isinstance(event, Moved):
            owners.append(play.simulated.beamline.free)
            if event.dest == "MOUNTING":
                assert play.collection.abort()

    play.collection.observers.listeners.append(abort_at_once)
    play.run()
    play.check("aborted")
    assert play.states == ["MOUNTING", "CLOSING", "IDLE"]
    assert not any(owners), "the beamline was free for another run before this one was safe"
    assert play.commands("goniometer") == []


@pytest.mark.parametrize("cancel", [False, True], ids=["abort", "cancellation"])
def test_stopped_while_the_disk_is_at_work_nothing_is_lost_and_nothing_comes_twice(
    cancel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The abort comes from the worker thread, in the middle of each call that it makes to the operating system."""
    import os

    original, calls = os.fsync, [0]
    strike_at = [0]
    states: list[str] = []
    plays: list[Play] = []

    def fsync(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == strike_at[0]:
            play = plays[-1]
            states.append(play.collection.state.name)
            trio.from_thread.run_sync(play.scope.cancel if cancel else play.collection.abort)
        original(descriptor)

    request = ask(sweep={"images": 20, "wedge_images": 10}, snapshots={"count": 1})
    monkeypatch.setattr(os, "fsync", fsync)
    for point in range(1, 200):
        calls[0], strike_at[0] = 0, point
        plays.append(Play(request, directory=tmp_path / str(point)))
        plays[-1].run()
        if calls[0] < point:
            break
        strike_at[0] = 0
        play = plays[-1]
        assert play.raised is None
        # Once all is taken and the way out has begun, a cancellation waits for its end; an abort is one until the end.
        play.check("done" if states[-1] == "IDLE" or (cancel and states[-1] == "CLOSING") else "aborted")
        assert play.on_disk == play.reported == play.planned[: len(play.reported)], point
        check_the_rest_is_taken(play)
    else:
        pytest.fail("it never ends")
    plays[-1].check("done")
    assert len(plays) > 10


def test_stopped_while_the_directory_is_being_looked_through_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsmcollect import images

    original, calls = images.remove_leftovers, [0]
    play = Play(INVERSE, directory=tmp_path)

    def look(directory: Path, stem: str) -> list[Path]:
        calls[0] += 1
        if calls[0] == 2:  # of the second series: the first is known already
            trio.from_thread.run_sync(play.collection.abort)
        return original(directory, stem)

    monkeypatch.setattr(images, "remove_leftovers", look)
    play.run()
    play.check("aborted")
    assert sorted(path.name for path in play.folder.iterdir()) == ["events.jsonl"]


def test_an_adapter_that_is_slow_to_be_cancelled_delays_neither_the_beam_nor_spoils_the_count() -> None:
    """The detector goes on for two seconds in the dark; those images are not the crystal's."""
    simulated = simulate()

    async def finish_sweep() -> None:
        try:
            await simulated.goniometer.finish_sweep()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2.0)

    play = Play(WAYS["long wedge"], adapt(simulated, "goniometer", finish_sweep=finish_sweep))
    stop = Stop(play)
    struck: list[int] = []

    def strike() -> None:
        struck.append(simulated.kernel.now_us)
        stop()

    play.enters("wedge.EXPOSING", strike, after_us=1_000_000).run()
    check_stopped(play, stop, struck[0])
    assert 0 < len(play.reported) < len(play.planned)


@pytest.mark.parametrize(
    "request_",
    [
        ask(sweep={"images": 4, "wedge_images": 2}),
        ask(
            sweep={"images": 1, "shutterless": False, "passes": 2}, snapshots={"count": 1}, centring={"validate": True}
        ),
    ],
    ids=["shutterless", "shuttered, validated, with a snapshot"],
)
@pytest.mark.parametrize("abort", [False, True], ids=["cancellation", "abort"])
def test_struck_at_every_checkpoint_it_is_safe(request_: Request, abort: bool) -> None:
    plays: list[Play] = []

    def prepare() -> Case:
        play = Play(request_)
        plays.append(play)
        kernel = play.simulated.kernel
        return Case(
            run=lambda: kernel._run(play.run_here),
            verdict=lambda raised: verdict(play, raised),
            strike=strike if abort else None,
            clock=kernel.clock,
        )

    def strike() -> None:
        plays[-1].collection.abort()

    def verdict(play: Play, raised: BaseException | None) -> str | None:
        raised = raised or play.raised
        if raised is not None and not is_cancellation(raised):
            return repr(raised)
        if not play.events:
            return None
        try:
            if play.outcome == "done":  # struck after the last decision
                play.check("done")
            else:
                play.check("aborted")
            assert play.reported == play.planned[: len(play.reported)]
        except AssertionError as error:
            return str(error)
        return None

    sweep = at_every_checkpoint(prepare)
    assert sweep.violations == ()
    assert sweep.points > 50


class Bug(Exception):
    """What no adapter should raise."""


def broken(*_: object, **__: object) -> None:
    raise Bug("an adapter is broken")


async def broken_async(*_: object, **__: object) -> None:
    raise Bug("an adapter is broken")


@pytest.mark.parametrize(
    ("device", "method"),
    [
        ("sample_changer", "load"),
        ("monochromator", "move"),
        ("detector_stage", "move"),
        ("camera", "locate"),
        ("detector_cover", "open"),
        ("safety_shutter", "open"),
        ("safety_shutter", "wait_while_open"),
        ("ring", "wait_for_loss"),
        ("diodes", "adjust_gains"),
        ("detector", "arm"),
        ("goniometer", "prepare_sweep"),
        ("goniometer", "begin_sweep"),
        ("goniometer", "finish_sweep"),
    ],
)
def test_a_bug_of_an_adapter_is_raised_as_itself_once_all_is_safe(device: str, method: str, tmp_path: Path) -> None:
    play = Play(INVERSE, adapt(simulate(), device, **{method: broken_async}), directory=tmp_path).run()
    assert type(play.raised) is Bug, repr(play.raised)
    play.check("failed")


def test_a_bug_in_reading_images_is_raised_as_itself_and_is_no_fault_of_the_beamline(tmp_path: Path) -> None:
    play = Play(INVERSE, directory=tmp_path)
    play.simulated.detector.frame_source = broken  # type: ignore[assignment]
    play.run()
    assert type(play.raised) is Bug
    play.check("failed")


def test_a_bug_in_storing_what_an_abort_left_is_raised_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsmcollect import images

    play = Play(WAYS["stills"], directory=tmp_path)

    def abort() -> None:
        monkeypatch.setattr(images, "write_data_file", broken)
        play.collection.abort()

    play.enters("wedge.EXPOSING", abort, after_us=1_000_000).run()
    assert type(play.raised) is Bug
    assert play.outcome == "aborted"
    assert play.result.safe
    assert any("broken" in failure.message for failure in play.of(Failure))
    assert play.of(ImagesTaken) == []
    assert play.simulated.beamline.free


def test_a_bug_and_a_cancellation_at_once_come_out_as_the_bug_of_a_run_that_was_stopped() -> None:
    simulated = simulate()

    async def begin_sweep() -> None:
        try:
            await simulated.goniometer.begin_sweep()
        except trio.Cancelled:
            raise Bug("cannot be cancelled") from None

    play = Play(INVERSE, adapt(simulated, "goniometer", begin_sweep=begin_sweep))
    play.enters("wedge.RUNNING_UP", play.scope.cancel).run()
    assert type(play.raised) is Bug
    play.check("aborted")


def test_ctrl_c_in_the_middle_of_a_device_leaves_through_closing() -> None:
    import signal

    play = Play(INVERSE)
    play.enters("wedge.EXPOSING", lambda: signal.raise_signal(signal.SIGINT), after_us=20_000)
    with pytest.raises(KeyboardInterrupt):
        play.run()
        raise play.raised or AssertionError("nothing was raised")
    play.check("aborted" if play.outcome == "aborted" else "failed")


@pytest.mark.parametrize("device", ["fast_shutter", "safety_shutter", "sample_changer", "detector_cover"])
def test_ctrl_c_while_a_device_is_made_safe_interrupts_no_step(device: str) -> None:
    import signal

    simulated = simulate()
    method = "stop" if device == "sample_changer" else "close"
    original = getattr(getattr(simulated, device), method)

    async def interrupted() -> None:
        if play.collection.state.name == "CLOSING":
            signal.raise_signal(signal.SIGINT)
        await original()

    play = Play(INVERSE, adapt(simulated, device, **{method: interrupted}))
    play.enters("wedge.EXPOSING", play.collection.abort)
    with pytest.raises(KeyboardInterrupt):
        play.run()
        raise play.raised or AssertionError("nothing was raised")
    assert play.outcome == "aborted"
    assert play.result.safe
    assert play.violations == []


def test_a_collection_runs_once() -> None:
    play = Play(INVERSE).run()
    play.check("done")
    events = len(play.events)
    with pytest.raises(BeamlineBusy, match="has run already"):
        play.simulated.kernel.run(play.collection.run)
    assert len(play.events) == events
    assert play.simulated.beamline.free
