"""The on-axis camera, the backlight, and the sample on the goniometer's head: off-centre until it is centred.

Owns where the crystal is and how it is seen. Owns no motor: it is told omega and the centring table's position.

Geometry
--------
The head's frame turns with omega. Its x is the rotation axis; y and z are perpendicular to it and to each other. The
reading of the centring table ``(x_mm, y_mm, z_mm)`` IS the point of the head's frame that the table brings to the place
where the beam crosses the rotation axis. A crystal at ``(sx, sy, sz)`` micrometres in that frame is therefore off by ::

    dx = sx - 1000 * x_mm        dy = sy - 1000 * y_mm        dz = sz - 1000 * z_mm

and at omega ``w`` the camera, which looks along the beam, sees it at ::

    along_um  = dx
    across_um = dy * cos(w) + dz * sin(w)

(``-dy * sin(w) + dz * cos(w)`` lies along the beam and is not seen). So at omega 0 ``across`` is dy, at omega 90 it is
dz. From two views at ANY ``w`` and at ``w + 90`` ::

    dx = (along(w) + along(w + 90)) / 2
    dy = across(w) * cos(w) - across(w + 90) * sin(w)
    dz = across(w) * sin(w) + across(w + 90) * cos(w)

and centring ADDS them to the table's reading: ``x_mm += dx / 1000``, ``y_mm += dy / 1000``, ``z_mm += dz / 1000``.
In a picture ``along`` grows to the right (the pin comes from the left) and ``across`` grows upwards. Kappa and phi are
taken to be 0.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from fsmcollect.beamline import Location, Offset
from fsmcollect.sim.actuator import Actuator
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.trace import Trace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Each coordinate of a sample lies evenly within so much of the head's origin. Assumed: "a few hundred micrometres".
SPREAD_UM = 300.0


@attrs.frozen
class Sample:
    """A crystal in its loop on a pin: where it is in the head's frame, micrometres (see the module)."""

    x_um: float
    y_um: float
    z_um: float


@attrs.define(eq=False)
class Head:
    """The goniometer's head: which sample is on it, and how far that is from the beam.

    A sample keeps its place on its pin: the same seed and location give the same offsets whenever it is mounted.

    Attributes
    ----------
    seed : int or str
        Of every sample's offsets.
    from_changer : callable
        The sample that the sample changer has put here; None where there is none.
    table_mm : callable
        Position of the centring table now: x_mm, y_mm, z_mm.
    omega_deg : callable
        Position of omega now.
    mounted_by_hand : bool
        A person has put a sample here.
    """

    seed: int | str
    table_mm: Callable[[], tuple[float, float, float]]
    omega_deg: Callable[[], float]
    from_changer: Callable[[], Location | None] = lambda: None
    mounted_by_hand: bool = False
    _samples: dict[Location | None, Sample] = attrs.field(init=False, factory=dict[Location | None, Sample])

    def mount_by_hand(self) -> None:
        self.mounted_by_hand = True

    def take_off_by_hand(self) -> None:
        self.mounted_by_hand = False

    @property
    def sample(self) -> Sample | None:
        """What is mounted now."""
        location = self.from_changer()
        if location is not None:
            return self.sample_of(location)
        return self.sample_of(None) if self.mounted_by_hand else None

    def sample_of(self, location: Location | None) -> Sample:
        """The sample that belongs to a place in the dewar, or (None) the one that a person mounts."""
        if location not in self._samples:
            name = "by hand" if location is None else str(location)
            rng = random.Random(f"{self.seed}/sample/{name}")
            x_um, y_um, z_um = (rng.uniform(-SPREAD_UM, SPREAD_UM) for _ in range(3))
            self._samples[location] = Sample(x_um, y_um, z_um)
        return self._samples[location]

    def put_sample(self, location: Location | None, sample: Sample) -> None:
        """Say where a sample is on its pin: a scenario's choice, or a sample that has slipped."""
        self._samples[location] = sample

    def offset_um(self) -> tuple[float, float, float] | None:
        """How far the crystal is from the beam and the axis now (dx, dy, dz), exactly; None without a sample."""
        sample = self.sample
        if sample is None:
            return None
        x_mm, y_mm, z_mm = self.table_mm()
        return sample.x_um - 1e3 * x_mm, sample.y_um - 1e3 * y_mm, sample.z_um - 1e3 * z_mm

    def seen_at(self, omega_deg: float | None = None) -> Offset | None:
        """Where the crystal is in the camera's view, exactly, at an omega (the present one unless told)."""
        offset = self.offset_um()
        if offset is None:
            return None
        dx, dy, dz = offset
        omega = math.radians(self.omega_deg() if omega_deg is None else omega_deg)
        return Offset(dx, dy * math.cos(omega) + dz * math.sin(omega))

    def is_centred(self, tolerance_um: float) -> bool:
        """A sample is here and stays within `tolerance_um` of the beam at every omega."""
        offset = self.offset_um()
        return offset is not None and abs(offset[0]) <= tolerance_um and math.hypot(*offset[1:]) <= tolerance_um

    def centred_table_mm(self) -> tuple[float, float, float] | None:
        """Where the table must be for the sample to be centred: what a person finds by eye."""
        sample = self.sample
        return None if sample is None else (sample.x_um / 1e3, sample.y_um / 1e3, sample.z_um / 1e3)


def _backlight_drive(self: Backlight) -> Actuator[str]:
    return Actuator(self.kernel, self.trace, self.name, "in" if self.starts_in else "out", self.travel_s)


@attrs.define(eq=False)
class Backlight:
    """Light behind the sample; out at first. Its travel time is assumed."""

    kernel: Kernel
    trace: Trace
    travel_s: float = 1.0
    starts_in: bool = False
    name: str = "backlight"
    actuator: Actuator[str] = attrs.field(init=False, default=attrs.Factory(_backlight_drive, takes_self=True))

    @property
    def is_in_now(self) -> bool:
        """Wholly in: the camera sees by it."""
        return self.actuator.setting == "in"

    @property
    def is_out_now(self) -> bool:
        """Wholly out of the beam's way."""
        return self.actuator.setting == "out"

    async def move_in(self) -> None:
        await self.actuator.go("in")

    async def move_out(self) -> None:
        """Makes safe."""
        await self.actuator.go("out")

    async def is_in(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.is_in_now


@attrs.define(eq=False)
class Camera:
    """On-axis view of the sample.

    Attributes
    ----------
    head : Head
        What it looks at.
    lit : callable
        The backlight is in: without it nothing is recognised.
    exposure_s, processing_s : float
        The view is that of the exposure's end; finding the crystal takes the rest. Assumed.
    noise_um : float
        Standard deviation of what `locate` finds, in each direction. Assumed.
    field_um : float
        What is further away, along or across, is not seen. Assumed.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    head: Head
    lit: Callable[[], bool] = lambda: True
    exposure_s: float = 0.02
    processing_s: float = 0.2
    noise_um: float = 1.0
    field_um: float = 500.0
    rows: int = 240
    columns: int = 320
    name: str = "camera"

    async def locate(self) -> Offset | None:
        """Where the crystal is seen at the present omega; None without sample or light, or out of the field of view."""
        await self.kernel.wait(to_us(self.exposure_s), by=self.name)
        seen = self.head.seen_at() if self.lit() else None
        await self.kernel.wait(to_us(self.processing_s), by=self.name)
        if seen is None or max(abs(seen.along_um), abs(seen.across_um)) > self.field_um:
            self.trace.note(self.name, "sees no sample")
            return None
        # Both numbers are drawn here and nowhere else, so that the noise depends on the looks alone.
        found = Offset(self.rng.gauss(seen.along_um, self.noise_um), self.rng.gauss(seen.across_um, self.noise_um))
        self.trace.note(self.name, f"sees {found.along_um:.3f} {found.across_um:.3f}")
        return found

    async def snapshot(self) -> npt.NDArray[np.uint8]:
        """One picture: pin, loop and crystal as shadows before the light; nearly black without it."""
        await self.kernel.wait(to_us(self.exposure_s), by=self.name)
        seen, lit = self.head.seen_at(), self.lit()
        self.trace.note(self.name, "snapshot")
        return self._draw(seen, lit)

    def pixel_um(self) -> float:
        """Size of a picture's pixel at the sample: the field of view fits the shorter side."""
        return 2.0 * self.field_um / min(self.rows, self.columns)

    def _draw(self, seen: Offset | None, lit: bool) -> npt.NDArray[np.uint8]:
        import numpy as np  # noqa: PLC0415  (a simulation that takes no snapshots does not pay for it)

        picture = np.full((self.rows, self.columns), _LIGHT if lit else _DARK, dtype=np.uint8)
        if seen is None or not lit:
            return picture
        pixel_um = self.pixel_um()
        along = (np.arange(self.columns) - (self.columns - 1) / 2)[np.newaxis, :] * pixel_um - seen.along_um
        across = ((self.rows - 1) / 2 - np.arange(self.rows))[:, np.newaxis] * pixel_um - seen.across_um
        from_loop = np.hypot(along / _LOOP_UM[0], across / _LOOP_UM[1])
        picture[(along < -_LOOP_UM[0]) & (abs(across) < _PIN_RADIUS_UM)] = _PIN_SHADE
        picture[from_loop < 1.0] = _LOOP_SHADE
        picture[(from_loop >= 0.9) & (from_loop < 1.0)] = _RIM_SHADE
        picture[np.hypot(along, across) < _CRYSTAL_RADIUS_UM] = _CRYSTAL_SHADE
        return picture


# How a sample looks: grey levels, and sizes in micrometres. All assumed.
_LIGHT, _DARK = 220, 4
_LOOP_UM, _PIN_RADIUS_UM, _CRYSTAL_RADIUS_UM = (150.0, 100.0), 40.0, 25.0
_PIN_SHADE, _LOOP_SHADE, _RIM_SHADE, _CRYSTAL_SHADE = 30, 180, 100, 70
