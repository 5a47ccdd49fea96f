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

import enum
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from fsmcollect.errors import BeamlineBusy, SafingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: h*c, CODATA 2018 (exact since 2019): wavelength_a = HC_EV_A / energy_ev.
HC_EV_A = 12398.419843320026


def wavelength_a(energy_ev: float) -> float:
    """Photon wavelength in angstrom."""
    return HC_EV_A / energy_ev


# ---------------------------------------------------------------------------------------------------------------------
# Values that go to and come from devices
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(order=True)
class Location:
    """A place in the sample changer's dewar: puck and pin, both counted from 1."""

    puck: int
    pin: int

    def __str__(self) -> str:
        return f"{self.puck}:{self.pin}"


@attrs.frozen
class Range:
    """A closed range of allowed values, both ends included, in the unit that the field's name says."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@attrs.frozen(kw_only=True)
class Sweep:
    """One rotation with the beam on, as the goniometer and the shutter's gate execute it.

    Attributes
    ----------
    omega_start_deg : float
        Omega at which the first image begins. The only float made of the plan's exact angle.
    width_deg : float
        Rotation over all images, signed; 0 for stills.
    duration_s : float
        Time from the start of the first image to the end of the last one.
    run_up_deg : float
        Distance before `omega_start_deg` from which omega is accelerated, and room after the end to stop; unsigned.
    shutter_lead_s : float
        How long before `omega_start_deg` the gate sends the open command, so that the shutter is wholly open there.
    """

    omega_start_deg: float
    width_deg: float
    duration_s: float
    run_up_deg: float
    shutter_lead_s: float

    @property
    def omega_end_deg(self) -> float:
        return self.omega_start_deg + self.width_deg

    @property
    def speed_deg_s(self) -> float:
        """Signed."""
        return self.width_deg / self.duration_s

    @property
    def is_still(self) -> bool:
        return self.width_deg == 0.0


@attrs.frozen(kw_only=True)
class Acquisition:
    """What the detector is armed for.

    Attributes
    ----------
    images : int
        Images in all.
    images_per_trigger : int
        Images that each trigger starts; `images` is a multiple of it.
    frame_time_s : float
        From the start of one image to the start of the next within a trigger, dead time included.
    triggers_per_image : int
        More than 1 where several passes are summed into each image (then `images_per_trigger` is 1).
    energy_ev : float
        For the detector's threshold.
    """

    images: int
    images_per_trigger: int
    frame_time_s: float
    energy_ev: float
    triggers_per_image: int = 1


@attrs.frozen
class FrameBlock:
    """Consecutive images as the detector hands them out.

    Attributes
    ----------
    first : int
        Index of the first one within the acquisition, from 0.
    chunks : sequence of bytes
        One bitshuffle-LZ4 compressed image each, as an HDF5 chunk holds it.
    omega_deg : sequence of float
        RECORDED omega at the start of each image.
    """

    first: int
    chunks: Sequence[bytes]
    omega_deg: Sequence[float]


@attrs.frozen(kw_only=True)
class DetectorInfo:
    """What does not change about a detector."""

    description: str
    serial_number: str
    pixels_fast: int
    pixels_slow: int
    pixel_size_m: float
    sensor_material: str
    sensor_thickness_m: float
    saturation_value: int
    bit_depth: int
    #: Beam centre in pixels (fast, slow), from the outer corner of the first pixel.
    beam_centre_px: tuple[float, float]
    dead_time_s: float
    min_frame_time_s: float


@attrs.frozen
class Offset:
    """Where the sample is seen relative to the beam, in the camera's view at the present omega."""

    along_um: float
    across_um: float


class FillMode(enum.Enum):
    """How the storage ring is being filled."""

    DECAY = "decay"
    TOP_UP = "top-up"
    NO_BEAM = "no beam"


class Question(enum.Enum):
    """What only a person can do or decide."""

    MOUNT_BY_HAND = "Please mount the sample, search the hutch, and confirm."
    CENTRE_BY_HAND = "Please centre the crystal, and confirm."
    VALIDATE_CENTRING = "Is the crystal centred?"


# ---------------------------------------------------------------------------------------------------------------------
# Roles
# ---------------------------------------------------------------------------------------------------------------------


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
    """Fraction of the beam that is let through. 0 is a value like any other."""

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
        """Returns at once without beam, else when the beam is lost."""

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


# ---------------------------------------------------------------------------------------------------------------------
# The assembly
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BeamlineConfig:
    """What is fixed about a beamline and is written into files and databases.

    `fixed_energy_ev` is the wavelength of a beamline without a monochromator, `fixed_distance_mm` the distance of
    one without a detector stage.
    """

    name: str
    synchrotron_name: str
    instrument_short_name: str
    fixed_energy_ev: float | None = None
    fixed_distance_mm: float | None = None
    #: How long the fast shutter needs from the open command to wholly open.
    shutter_opening_s: float = 0.0
    min_exposure_s: float = 0.0
    #: Warmer than this (with a cryo stream), nothing is exposed; None for no check.
    max_sample_temperature_k: float | None = None
    #: Flux of the full beam at the sample, at the ring's nominal current and without attenuation; for metadata.
    full_flux_ph_s: float | None = None
    beam_size_um: tuple[float, float] | None = None
    undulators: tuple[str, ...] = ()
    focusing_optic: str = ""
    monochromator_type: str = ""
    beam_divergence_mrad: tuple[float, float] | None = None
    polarisation_frac: float | None = None


@attrs.define(eq=False, kw_only=True)
class Beamline:
    """The devices of one beamline; any may be lacking. To expose, it needs goniometer, detector and fast shutter.

    It is owned by one run at a time (`free`), and remembers a FAULT until somebody acknowledges it.
    """

    config: BeamlineConfig
    goniometer: Goniometer | None = None
    detector: Detector | None = None
    fast_shutter: FastShutter | None = None
    safety_shutter: SafetyShutter | None = None
    interlock: Interlock | None = None
    detector_cover: DetectorCover | None = None
    detector_stage: DetectorStage | None = None
    attenuator: Attenuator | None = None
    monochromator: Monochromator | None = None
    aperture: Aperture | None = None
    cryo_stream: CryoStream | None = None
    backlight: Backlight | None = None
    camera: Camera | None = None
    fluorescence_detector: FluorescenceDetector | None = None
    diodes: Diodes | None = None
    ring: Ring | None = None
    sample_changer: SampleChanger | None = None
    person: Person | None = None
    #: Why no run may begin: a fault that nobody has acknowledged. None when there is none.
    fault: SafingError | None = attrs.field(init=False, default=None)
    _owner: str | None = attrs.field(init=False, default=None)

    @property
    def free(self) -> bool:
        """No run owns the beamline and no fault is latched on it."""
        return self._owner is None and self.fault is None

    def require_free(self) -> None:
        """Do nothing where a run may begin.

        Raises
        ------
        BeamlineBusy
            Another run owns the beamline, or a fault is latched.
        """
        if self.fault is not None:
            raise BeamlineBusy(f"a fault is latched on {self.config.name} until acknowledged: {self.fault}")
        if self._owner is not None:
            raise BeamlineBusy(f"{self.config.name} is owned by the run {self._owner!r} until that has been made safe")

    def claim(self, run: str) -> None:
        """Make `run` the one owner, until `release`. Raises BeamlineBusy."""
        self.require_free()
        self._owner = run

    def release(self) -> None:
        """Give the beamline free after the run that owned it has been made safe."""
        self._owner = None

    def acknowledge(self) -> None:
        """Clear a latched fault: somebody has looked and the beamline is safe."""
        self.fault = None


def distance_for_resolution_mm(detector: DetectorInfo, resolution_a: float, energy_ev: float) -> float:
    """Distance at which the nearest edge of the detector records `resolution_a` (Bragg: wavelength = 2 d sin theta).

    Raises
    ------
    ValueError
        The resolution is finer than half the wavelength: no distance reaches it.
    """
    sine = wavelength_a(energy_ev) / (2.0 * resolution_a)
    if not 0.0 < sine < math.sin(math.pi / 4):
        raise ValueError(
            f"{resolution_a:g} A cannot be recorded at {energy_ev:g} eV by a flat detector facing the beam"
        )
    return _nearest_edge_m(detector) / math.tan(2.0 * math.asin(sine)) * 1e3


def resolution_at_distance_a(detector: DetectorInfo, distance_mm: float, energy_ev: float) -> float:
    """Resolution at the detector's nearest edge."""
    two_theta = math.atan(_nearest_edge_m(detector) / (distance_mm * 1e-3))
    return wavelength_a(energy_ev) / (2.0 * math.sin(two_theta / 2.0))


def _nearest_edge_m(detector: DetectorInfo) -> float:
    fast, slow = detector.beam_centre_px
    pixels = min(fast, slow, detector.pixels_fast - fast, detector.pixels_slow - slow)
    return pixels * detector.pixel_size_m
