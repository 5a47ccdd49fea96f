"""The device roles of a beamline, small Protocols with their contracts, and `Beamline`, where each is optional.

Owns what the sequencer may ask of a device and what it may rely upon. Owns no device. An adapter for real hardware
and a simulated device look alike from here.

Contracts that hold for every role:

- A method that moves something returns once READ-BACK says that it is there, never when the command was accepted.
- A method that makes safe (``close``, ``stop``, ``disarm``) is idempotent, sends its command before its first
  checkpoint whatever state the device is believed to be in, and may be called while another method is under way.
- Every method can be cancelled; cancelling it does not undo it, and leaves the device as it then is.
- A device that cannot do what it was told raises `DeviceError`; anything else that it raises is a bug of the adapter.
- ``is_...`` and ``read_...`` methods ask the device and never answer from memory.

The 2012 design's ``energy`` is the monochromator here, ``transmission`` the attenuator, ``detector_distance`` the
detector stage, ``machine_current`` the ring, ``diffractometer`` the goniometer; its ``resolution`` and ``flux`` are
calculated. The laboratory database is no device: it is fed by events and can never delay the beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from fsmcollect.beamline.values import (
    Acquisition,
    DetectorInfo,
    FillMode,
    FrameBlock,
    Location,
    Offset,
    Question,
    Range,
    Sweep,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FastShutter(Protocol):
    """Milliseconds; decides which angle sees the beam. Opened by software or by the goniometer's gate."""

    async def open(self) -> None:
        """Returns once read-back says open."""

    async def close(self) -> None:
        """Returns once read-back says closed; also takes the shutter off the goniometer's gate. Makes safe."""

    async def is_closed(self) -> bool:
        """Read-back: wholly closed."""
        ...


class SafetyShutter(Protocol):
    """Seconds; lets the beam into the hutch. The interlock may refuse to open it (DeviceError), and closes it."""

    async def open(self) -> None:
        """Returns once read-back says open."""

    async def close(self) -> None:
        """Returns once read-back says closed. Makes safe."""

    async def is_closed(self) -> bool:
        """Read-back: wholly closed."""
        ...

    async def wait_while_open(self) -> None:
        """Returns at once unless wholly open, else when it no longer is, whoever closes it."""


class Interlock(Protocol):
    """The hutch's personal safety system."""

    async def is_searched(self) -> bool:
        """The hutch is searched and locked: the safety shutter may open."""
        ...


class Goniometer(Protocol):
    """Omega, kappa, phi (degrees) and the centring table x, y, z (millimetres)."""

    @property
    def limits(self) -> Mapping[str, Range]:
        """Axis name (``omega_deg``, ``x_mm``, ...) to its travel; an axis that is missing does not exist."""
        ...

    @property
    def max_omega_speed_deg_s(self) -> float: ...

    @property
    def time_to_speed_s(self) -> float:
        """Time in which omega reaches any allowed speed from rest."""
        ...

    async def read_positions(self) -> Mapping[str, float]:
        """Read-back of every axis."""
        ...

    async def move(self, targets: Mapping[str, float]) -> None:
        """Moves the named axes together; returns when all have arrived and settled."""

    async def prepare_sweep(self, sweep: Sweep) -> None:
        """Moves omega to the start of the run-up and sets the gate; returns when it stands there."""

    async def begin_sweep(self) -> None:
        """Starts the prepared sweep; returns once omega has its speed, before the gate opens the shutter.

        From there on hardware acts alone: the gate opens the fast shutter so that it is wholly open at
        ``omega_start_deg``, triggers the detector there, and closes the shutter at ``omega_end_deg``. For a still
        the same gate counts time instead of angle.
        """

    async def finish_sweep(self) -> None:
        """Returns once omega has passed the end and read-back says that the fast shutter is closed.

        Raises as soon as it is known that the sweep is not what was asked for: a shutter that was not wholly open at
        the start, an omega that does not follow.
        """

    async def stop(self) -> None:
        """Stops every axis and takes the gate off; returns when all stand still. Makes safe."""

    async def is_still(self) -> bool:
        """Read-back: no axis moves."""
        ...


class Detector(Protocol):
    """Area detector. Frames that are complete stay readable after `disarm`, until the next `arm`."""

    @property
    def info(self) -> DetectorInfo: ...

    @property
    def frames_complete(self) -> int:
        """Images of the present acquisition whose exposure has ended, as last heard. Never waits."""
        ...

    async def arm(self, acquisition: Acquisition) -> None:
        """Returns once it would answer a trigger. Refused (DeviceError) unless idle."""

    async def take_dark(self, exposure_s: float) -> None:
        """Measures and applies a dark image, with the shutter closed. Refused unless idle."""

    async def read_out(self, first: int, count: int, *, with_images: bool) -> FrameBlock:
        """`count` images of the present acquisition from index `first` on, as soon as the last of them is complete.

        With ``with_images=False`` the block carries the recorded angles and no image data. Raises DeviceError once it
        is clear that not all of them will come: an image is never lost in silence.
        """
        ...

    async def disarm(self) -> None:
        """Returns once idle; what is not complete is thrown away. Makes safe."""

    async def is_idle(self) -> bool:
        """Read-back: neither armed nor acquiring."""
        ...


class DetectorCover(Protocol):
    """Protects the detector's sensor while nothing is collected."""

    async def open(self) -> None: ...
    async def close(self) -> None:
        """Makes safe."""

    async def is_closed(self) -> bool: ...


class DetectorStage(Protocol):
    """Distance from sample to detector."""

    @property
    def limits_mm(self) -> Range: ...
    async def read_distance_mm(self) -> float: ...
    async def move(self, distance_mm: float) -> None: ...
    async def stop(self) -> None:
        """Makes safe."""

    async def is_still(self) -> bool: ...


class Attenuator(Protocol):
    """Fraction of the beam that is let through, at the present energy. 0 is a value like any other."""

    async def read_transmission_frac(self) -> float: ...
    async def set_transmission(self, transmission_frac: float) -> None: ...


class Monochromator(Protocol):
    """Photon energy, with the undulator gaps that follow it."""

    @property
    def limits_ev(self) -> Range: ...
    async def read_energy_ev(self) -> float: ...
    async def move(self, energy_ev: float) -> None: ...
    async def stop(self) -> None:
        """Makes safe."""

    async def is_still(self) -> bool: ...


class Aperture(Protocol):
    """Beam-defining aperture; sizes are diameters."""

    @property
    def sizes_um(self) -> Sequence[float]: ...
    async def select(self, size_um: float) -> None: ...
    async def read_size_um(self) -> float: ...


class CryoStream(Protocol):
    """Cold gas over the crystal."""

    async def read_temperature_k(self) -> float: ...


class Backlight(Protocol):
    """Light behind the sample; it stands in the beam's way when it is in."""

    async def move_in(self) -> None: ...
    async def move_out(self) -> None:
        """Makes safe."""

    async def is_in(self) -> bool: ...


class Camera(Protocol):
    """On-axis view of the sample.

    The goniometer head's frame turns with omega: x is the rotation axis, y and z are perpendicular to it. The centring
    table's reading is the point of that frame which stands in the beam. A crystal that is off by (dx, dy, dz) in the
    frame is seen at ``along = dx`` and ``across = dy cos(omega) + dz sin(omega)``; adding (dx, dy, dz) to the table's
    reading centres it.
    """

    async def locate(self) -> Offset | None:
        """Where the crystal is seen at the present omega; None where no sample is seen. Needs the backlight."""
        ...

    async def snapshot(self) -> npt.NDArray[np.uint8]:
        """One picture, shape (rows, columns), grey levels 0 to 255."""
        ...


class FluorescenceDetector(Protocol):
    """Energy-resolving detector for scans and spectra."""

    async def measure(self, exposure_s: float) -> Sequence[int]:
        """Counts per channel."""
        ...


class Diodes(Protocol):
    """Beam monitors before (i0) and behind (i1) the sample."""

    async def adjust_gains(self) -> None:
        """Chooses the gains for the present flux; needs the safety shutter open."""

    async def read_gains(self) -> tuple[int, int]: ...
    async def set_gains(self, i0: int, i1: int) -> None: ...
    async def read_counts(self) -> tuple[float, float]: ...


class Ring(Protocol):
    """The storage ring, read-only."""

    async def read_current_ma(self) -> float: ...
    async def read_fill_mode(self) -> FillMode: ...
    async def wait_for_loss(self) -> None:
        """Returns at once without beam, else when the beam is lost.

        An adapter that notices late (by polling) lets that much of images without beam pass for complete ones.
        """

    async def wait_for_beam(self) -> None:
        """Returns at once with beam, else when it is back."""


class SampleChanger(Protocol):
    """The robot. It refuses (DeviceError) while the detector stands nearer than its arm needs."""

    @property
    def places(self) -> Sequence[Location]:
        """Every place the dewar has, filled or not."""
        ...

    @property
    def needs_distance_mm(self) -> float:
        """The detector must be at least this far while the robot moves."""
        ...

    async def read_loaded(self) -> Location | None:
        """The sample on the goniometer now."""
        ...

    async def load(self, location: Location) -> None:
        """Exchanges what is on the goniometer for `location`. An empty pin is a DeviceError."""

    async def unload(self) -> None: ...
    async def stop(self) -> None:
        """Brings the arm to where it is safe, holding on to its sample; returns when it stands. Makes safe."""

    async def is_still(self) -> bool: ...


class Person(Protocol):
    """Whoever is on shift: a console, a dialog, a phone."""

    async def ask(self, question: Question) -> bool:
        """True for done or yes, False for no. Waits as long as it takes; the asker sets the time limit."""
        ...
