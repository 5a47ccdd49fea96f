"""Values that go to and come from devices: frozen, with units."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs


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
