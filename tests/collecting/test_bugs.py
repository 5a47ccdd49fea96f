"""A bug, not a failure, in each state: it is raised as it is once the beamline is safe, and latched where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fsmcollect.errors import BeamlineBusy
from fsmcollect.journal import Journal
from tests.collecting.rehearsing import INVERSE, SECOND_US, Play, adapt, ask

#: Read out when it is over, or in a pause: so short a wedge is not stored while it is being exposed.
SHORT_WEDGE = ask(sweep={"images": 100, "exposure_s": 0.02, "image_width_deg": 0.1})


async def _bug(*_: object, **__: object) -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("a bug of an adapter")


def _mount(play: Play) -> None:
    adapt(play.simulated, "sample_changer", load=_bug)


def _centre(play: Play) -> None:
    adapt(play.simulated, "camera", locate=_bug)


def _expose(play: Play) -> None:
    adapt(play.simulated, "goniometer", begin_sweep=_bug)


def _hold(play: Play) -> None:
    """What is complete by then is read out in the pause."""
    adapt(play.simulated, "detector", read_out=_bug)
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=SECOND_US)


def _lose_beam(play: Play) -> None:
    adapt(play.simulated, "ring", wait_for_beam=_bug)
    play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam, after_us=SECOND_US)


BUGS: dict[str, Callable[[Play], None]] = {
    "MOUNTING": _mount,
    "CENTRING": _centre,
    "OSCILLATING": _expose,
    "HOLDING": _hold,
    "HOLDING_FOR_BEAM": _lose_beam,
}


@pytest.mark.parametrize("state", BUGS)
def test_a_bug_in_any_state_is_raised_once_the_beamline_is_safe(state: str) -> None:
    play = Play(SHORT_WEDGE if state.startswith("HOLDING") else INVERSE)
    BUGS[state](play)
    play.run()
    assert isinstance(play.raised, ZeroDivisionError)
    assert play.states[-3:] == [state, "CLOSING", "IDLE"]
    play.check("failed")


def test_a_bug_that_meets_a_cancellation_is_raised_as_itself_and_not_in_a_group() -> None:
    play = Play(INVERSE)

    async def bug(*_: object) -> None:
        play.scope.cancel()
        raise ZeroDivisionError("a bug of an adapter")

    adapt(play.simulated, "camera", locate=bug)
    play.run()
    assert isinstance(play.raised, ZeroDivisionError)
    play.check("aborted")


def test_a_bug_that_ends_the_closing_is_latched_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(INVERSE, directory=tmp_path)
    flush = Journal.flush

    async def flush_with_a_bug(journal: Journal, *, durable: bool = False) -> None:
        if play.collection.state.name == "CLOSING":
            await _bug()
        await flush(journal, durable=durable)

    monkeypatch.setattr(Journal, "flush", flush_with_a_bug)
    play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
    assert isinstance(play.raised, ZeroDivisionError)
    assert play.states[-3:] == ["CLOSING", "FAULT", "ABANDONED"]
    assert (play.outcome, play.result.safe) == ("failed", False)
    assert play.simulated.fast_shutter.closed
    with pytest.raises(BeamlineBusy, match=r"until acknowledged: .*a bug ended the closing"):
        play.simulated.beamline.require_free()
