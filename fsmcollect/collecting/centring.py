"""Bringing the crystal onto the rotation axis and into the beam, by camera or by a person.

Owns the geometry of a centring with two views and the decision when a crystal IS centred. An automatic centring that
does not converge is a failure: an un-centred crystal is never exposed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import trio

from fsmcollect import limits
from fsmcollect.beamline import Beamline, Camera, Goniometer, Offset, Question
from fsmcollect.collecting.moving import move
from fsmcollect.errors import FsmCollectError
from fsmcollect.events import PersonAsked
from fsmcollect.observers import Observers
from fsmcollect.together import asked

#: A crystal seen nearer to the beam than this in both views is centred. Assumed: a fifth of a usual 50 um beam.
TOLERANCE_UM = 10.0
#: Looks before giving up. Assumed: one correction suffices unless the sample moves on its pin.
ATTEMPTS = 4


class CentringFailed(FsmCollectError):
    """The crystal could not be centred, or nobody said that it is."""


@attrs.frozen(kw_only=True)
class Centring:
    """Centres one sample."""

    beamline: Beamline
    observers: Observers

    async def automatic(self) -> Offset:
        """Look at two angles 90 degrees apart, correct, and look again until both views agree.

        Returns
        -------
        Offset
            What is left, as seen in the last view.

        Raises
        ------
        CentringFailed
            No sample is seen, or it is not centred after `ATTEMPTS` corrections.
        DeviceError
            Goniometer or camera failed.
        """
        camera, goniometer = self.beamline.camera, self.beamline.goniometer
        if camera is None or goniometer is None:
            raise CentringFailed("automatic centring needs a camera and a goniometer")
        here = await asked("goniometer", goniometer.read_positions)
        first_deg = here.get("omega_deg", 0.0)
        second_deg = limits.turned_by_90_deg(first_deg, goniometer)
        for _ in range(ATTEMPTS):
            front = await _look(camera, goniometer, first_deg)
            side = await _look(camera, goniometer, second_deg)
            # Each by itself: the maximum of numbers and a NaN may be a number.
            if all(abs(um) <= TOLERANCE_UM for um in (front.along_um, front.across_um, side.along_um, side.across_um)):
                return side
            here = await asked("goniometer", goniometer.read_positions)
            await move(goniometer, _correction(here, (first_deg, second_deg), front, side))
        raise CentringFailed(
            f"the crystal is still off the beam by more than {TOLERANCE_UM:g} um after {ATTEMPTS} looks"
        )

    async def ask(self, question: Question, timeout_s: float) -> None:
        """Ask a person and take only a yes in time for an answer.

        Raises
        ------
        CentringFailed
            The answer was no, or none came within `timeout_s`.
        """
        person = self.beamline.person
        if person is None:
            raise CentringFailed("nobody is there to ask: this beamline has no person")
        self.observers.emit(PersonAsked, question=question.name.lower())
        with trio.move_on_after(timeout_s):
            if (await person.ask(question)) is True:
                return
            raise CentringFailed(f"answered no to: {question.value}")
        raise CentringFailed(f"no answer within {timeout_s:g} s to: {question.value}")


async def _look(camera: Camera, goniometer: Goniometer, omega_deg: float) -> Offset:
    # Two views from one side would agree, and the crystal be off the beam all the same.
    await move(goniometer, {"omega_deg": omega_deg})
    seen = await camera.locate()
    if seen is None:
        raise CentringFailed(f"the camera sees no sample at omega {omega_deg:g} deg")
    return seen


def _correction(
    here: Mapping[str, float], omega_deg: tuple[float, float], front: Offset, side: Offset
) -> Mapping[str, float]:
    """Where the centring table has to go, from two views 90 degrees apart (geometry: `beamline.Camera`)."""
    first, second = map(math.radians, omega_deg)
    independence = math.sin(second - first)  # 1 or -1: the views are a quarter turn apart
    dx_um = (front.along_um + side.along_um) / 2.0
    dy_um = (front.across_um * math.sin(second) - side.across_um * math.sin(first)) / independence
    dz_um = (side.across_um * math.cos(first) - front.across_um * math.cos(second)) / independence
    return {axis: here[axis] + um / 1000.0 for axis, um in (("x_mm", dx_um), ("y_mm", dy_um), ("z_mm", dz_um))}
