"""Moving and believing only what is read back: an adapter may say that a motor has arrived which never moved."""

from __future__ import annotations

from collections.abc import Mapping

from fsmcollect.beamline import Goniometer
from fsmcollect.errors import DeviceError
from fsmcollect.together import answered, asked

#: Longest wait for the goniometer. Assumed: several times the longest travel.
MOVE_LIMIT_S = 120.0
#: How far an axis may read back from where it was sent. Assumed: ten times what a spindle and a centring table keep.
TOLERANCE: Mapping[str, float] = {"deg": 0.01, "mm": 0.002}


def agree(role: str, wanted: float, there: float, tolerance: float, unit: str) -> None:
    """Raise DeviceError unless the read-back says what was wanted; a NaN says nothing."""
    if not abs(there - wanted) <= tolerance:
        raise DeviceError(role, f"was set to {wanted:g} {unit}".rstrip() + f" and reads back {there:g} {unit}".rstrip())


async def move(goniometer: Goniometer, targets: Mapping[str, float]) -> Mapping[str, float]:
    """Move the named axes and return where all of them stand then, read back.

    Raises
    ------
    DeviceError
        The goniometer failed or took too long, or an axis does not stand where it was sent.
    """
    await answered("goniometer", MOVE_LIMIT_S, goniometer.move(targets))
    here = await asked("goniometer", goniometer.read_positions)
    for axis, target in targets.items():
        unit = axis.rpartition("_")[2]
        there = here.get(axis, float("nan"))
        if not abs(there - target) <= TOLERANCE.get(unit, TOLERANCE["mm"]):
            raise DeviceError("goniometer", f"{axis} was sent to {target:.4f} {unit} and reads back {there:.4f} {unit}")
    return here
