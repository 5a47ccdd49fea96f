"""Long wedges, stored while they are exposed: a rotation that goes wrong ends at once, and a stop is never late."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from fsmcollect import images
from fsmcollect.beamline import FrameBlock
from fsmcollect.errors import DeviceError
from fsmcollect.events import Event, ImagesTaken, Moved
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SECOND_US, Play, adapt, ask
from tests.collecting.test_faults import LONGEST

#: How long a group of images takes that is read out together, and reading it out.
GROUP_US = 2 * SECOND_US + 5_000


@attrs.frozen(kw_only=True)
class WrongRotation:
    """What makes a rotation go wrong, and when that is known."""

    words: str
    state: str = ""
    after_us: int = 0
    strike: Callable[[Play], object] = lambda play: None
    #: Known at the instant at which omega passes the start of the first image; else so long after the strike.
    known_within_us: int | None = None
    #: Images that were good beyond doubt before it went wrong.
    good: int = 0


def _stick(play: Play) -> None:
    play.simulated.goniometer.axes["omega_deg"].stuck = True


def _slow(play: Play) -> None:
    play.simulated.fast_shutter.opening_s *= 3.0


WRONG = {
    "omega stuck at rest": WrongRotation(
        words="omega", state="wedge.ARMING", after_us=99_000, strike=_stick, known_within_us=SECOND_US
    ),
    "omega stuck in the run-up": WrongRotation(
        words="omega", state="wedge.RUNNING_UP", after_us=50_000, strike=_stick, known_within_us=100_000
    ),
    "omega stuck in the middle": WrongRotation(
        words="was taken at omega",
        state="wedge.EXPOSING",
        after_us=30 * SECOND_US,
        strike=_stick,
        known_within_us=GROUP_US,
        good=1400,
    ),
    "fast shutter jammed shut": WrongRotation(
        words="was not wholly open",
        state="wedge.ARMING",
        strike=lambda play: setattr(play.simulated.fast_shutter, "jammed", True),
    ),
    "fast shutter slower than configured": WrongRotation(
        words="was not wholly open", state="wedge.ARMING", strike=_slow
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("keeps_files", [False, True])
def test_a_rotation_that_goes_wrong_in_a_long_wedge_ends_at_once(name: str, keeps_files: bool, tmp_path: Path) -> None:
    wrong = WRONG[name]
    play = Play(LONGEST, directory=tmp_path if keeps_files else None)
    struck_us: list[int] = []
    starts_us: list[int] = []

    def strike() -> None:
        struck_us.append(play.simulated.kernel.now_us)
        wrong.strike(play)

    def note_start(event: Event) -> None:
        sweep = play.simulated.goniometer.running_sweep
        if isinstance(event, Moved) and event.dest == "CLOSING" and sweep is not None:
            starts_us.append(sweep.start_us)

    play.collection.observers.listeners.append(note_start)
    play.enters(wrong.state, strike, after_us=wrong.after_us).run()
    assert play.raised is None
    # what the fault itself is, and that a group which is refused has been handed out
    play.violations[:] = [said for said in play.violations if "omega runs at" not in said and "image 1499" not in said]
    play.check("failed")
    assert wrong.words in " ".join(play.result.failures)
    closing_us = next(move.t_us for move in play.of(Moved) if move.dest == "CLOSING")
    if wrong.known_within_us is None:
        assert closing_us == starts_us[0]
    else:
        assert struck_us[0] <= closing_us <= struck_us[0] + wrong.known_within_us
    assert play.reported == play.planned[: wrong.good]
    assert play.result.images == wrong.good
    assert (closing_us, "close") in play.commands("safety_shutter")
    if keeps_files:
        assert play.on_disk == play.reported


def test_images_that_come_in_the_instant_in_which_the_rotation_fails_are_refused() -> None:
    """They were handed out a moment before anybody could stop that, and nobody knows what they show."""
    play = Play(LONG_WEDGE)
    fails = trio.Event()
    read_out = play.simulated.detector.read_out

    async def finish_sweep() -> None:
        await trio.sleep(4.0)
        fails.set()
        raise DeviceError("goniometer", "lost its way")

    async def read_out_late(first: int, count: int, *, with_images: bool) -> FrameBlock:
        block = await read_out(first, count, with_images=with_images)
        await fails.wait()
        return block

    adapt(play.simulated, "goniometer", finish_sweep=finish_sweep)
    adapt(play.simulated, "detector", read_out=read_out_late)
    play.run()
    play.violations.clear()  # that the group was handed out
    play.check("failed")
    assert play.reported == []


# -- watchers ----------------------------------------------------------------------------------------------------------


def slow_to_cancel(play: Play) -> None:
    """A detector adapter that, cancelled, needs a second to let go."""
    detector = play.simulated.detector

    async def read_out(first: int, count: int, *, with_images: bool) -> object:
        try:
            return await detector.read_out(first, count, with_images=with_images)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(1.0)
            raise

    adapt(play.simulated, "detector", read_out=read_out)


@pytest.mark.parametrize("watcher", ["ring", "safety shutter"])
@pytest.mark.parametrize("request_", [INVERSE, LONGEST], ids=["short wedge", "long wedge"])
def test_what_a_watcher_sees_turns_the_beam_off_at_that_instant_also_where_the_detector_is_slow(
    watcher: str, request_: Any
) -> None:
    play = Play(request_)
    slow_to_cancel(play)
    breaks, struck_us = trio.Event(), list[int]()

    async def wait_for_loss() -> None:
        await breaks.wait()
        raise DeviceError("ring", "the gateway does not answer")

    if watcher == "ring":
        adapt(play.simulated, "ring", wait_for_loss=wait_for_loss)

    def strike() -> None:
        struck_us.append(play.simulated.kernel.now_us)
        if watcher == "ring":
            breaks.set()
        else:
            play.simulated.interlock.open_door()

    play.enters("wedge.EXPOSING", strike, after_us=50_000 if request_ is INVERSE else 5 * SECOND_US).run()
    play.check("failed")
    told = " ".join(play.result.failures)
    assert ("the gateway does not answer" if watcher == "ring" else "was the hutch opened?") in told
    assert (struck_us[0], "close") in play.commands("fast_shutter")
    closing_us = next(move.t_us for move in play.of(Moved) if move.dest == "CLOSING")
    assert closing_us <= struck_us[0] + SECOND_US


# -- the journal -------------------------------------------------------------------------------------------------------


def test_when_images_are_told_all_that_were_told_before_are_in_the_journal_on_disk(tmp_path: Path) -> None:
    """A journal that is written at the end of a wedge alone would know nothing of 600 images where power fails."""
    play = Play(ask(sweep={"images": 600, "exposure_s": 0.02, "image_width_deg": 0.1}), directory=tmp_path)
    seen: list[tuple[list[int], list[int]]] = []

    def look(event: Event) -> None:
        if isinstance(event, ImagesTaken):
            lines = map(json.loads, (play.folder / "events.jsonl").read_text().splitlines())
            written = [line["first_image"] for line in lines if line["event"] == "images_taken"]
            seen.append((written, [taken.first_image for taken in play.of(ImagesTaken)]))

    play.collection.observers.listeners.append(look)
    play.run()
    play.check("done")
    assert len(seen) == 6
    for written, told in seen:
        assert written[: len(told) - 1] == told[:-1]


def test_images_are_in_the_journal_as_soon_as_time_goes_on(tmp_path: Path) -> None:
    play = Play(ask(sweep={"images": 300, "exposure_s": 0.02, "image_width_deg": 0.1}), directory=tmp_path)
    checked: list[int] = []

    def settled() -> None:
        told = len(play.of(ImagesTaken))
        if told > len(checked) and play.simulated.kernel.now_us > play.of(ImagesTaken)[-1].t_us:
            text = (play.folder / "events.jsonl").read_text()
            assert text.count('"event":"images_taken"') == told
            checked.append(told)

    play.simulated.kernel.settled.append(settled)
    play.run()
    play.check("done")
    assert checked
    assert images.existing_images(play.folder, "lyso_1")
