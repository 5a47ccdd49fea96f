"""What a wrong read-back says instead of what is so: another value of the same kind, wrong beyond any tolerance.

Owns the lies, one for each kind of answer. Plausible where that is possible: a fraction stays a fraction, a place is
one that the dewar has. What cannot be told from the truth by its range alone must be told by comparing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import attrs

from fsmcollect.beamline import FillMode, FrameBlock, Location, Offset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: A recorded angle is off by so much: more than half of any image's width. Assumed.
ANGLE_OFF_DEG = 90.0
#: The crystal is seen so far from where it is, in both directions; several beam sizes. Assumed.
OFFSET_UM = 150.0
#: What a robot that holds nothing says it has loaded: the last place of a dewar of 5 pucks with 16 pins.
LOADED = Location(5, 16)


def wrong(command: str, answer: object) -> object:
    """What the read-back of `command` says when `answer` would be true."""
    return _BY_COMMAND.get(command, _by_type)(answer)


def _by_type(answer: object) -> object:
    if isinstance(answer, bool):
        return not answer
    if isinstance(answer, int):
        # Small whole numbers are settings such as gains: stay among those that there are.
        return answer - 1 if answer > 5 else answer + 1
    if isinstance(answer, float):
        # Never what it was: it grows by half of itself, and by 1 at least.
        return answer + math.copysign(1.0 + 0.5 * abs(answer), answer)
    if isinstance(answer, Mapping):
        return {key: _by_type(value) for key, value in cast("Mapping[object, object]", answer).items()}
    if isinstance(answer, FillMode):
        return FillMode.DECAY if answer is FillMode.NO_BEAM else FillMode.NO_BEAM
    if isinstance(answer, tuple | list):
        values = [_by_type(value) for value in cast("Sequence[object]", answer)]
        return tuple(values) if isinstance(answer, tuple) else values
    raise TypeError(f"no wrong read-back is known for {answer!r}")


def _fraction(answer: object) -> object:
    return 0.25 if cast("float", answer) > 0.5 else 0.75


def _loaded(answer: object) -> object:
    return LOADED if answer is None else None


def _frames(answer: object) -> object:
    block = cast("FrameBlock", answer)
    return attrs.evolve(block, omega_deg=[omega_deg + ANGLE_OFF_DEG for omega_deg in block.omega_deg])


def _offset(answer: object) -> object:
    seen = cast("Offset | None", answer) or Offset(0.0, 0.0)
    return Offset(seen.along_um + OFFSET_UM, seen.across_um + OFFSET_UM)


def _picture(answer: object) -> object:
    return 255 - cast("npt.NDArray[np.uint8]", answer)


_BY_COMMAND: Mapping[str, Callable[[object], object]] = {
    "read_transmission_frac": _fraction,
    "read_loaded": _loaded,
    "read_out": _frames,
    "locate": _offset,
    "snapshot": _picture,
}
