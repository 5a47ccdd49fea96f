"""What is asked for: one collection, as frozen values with units, checked once, at the door.

Owns the sections and fields of a request, what each may be, and reading them from TOML and writing them back. Owns no
geometry (`wedges`), no knowledge of any beamline (`limits`) and no device. MXCuBE's dictionary is read by `mxcube`.

An angle is the exact rational number that was written: 0.1 is 1/10, so the last image of any sweep starts where it
should. Everything that is wrong with a request is found before it is refused, and told at once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

import attrs

from fsmcollect.beamline import Location
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import (
    angle,
    by,
    degrees,
    exact,
    integer,
    is_table,
    named,
    number,
    one_of,
    optional,
    printable,
    shown,
    text,
    truth,
)

#: Images in one series, and wedges in one collection (both assumed: a thousand times what beamlines take today). They
#: turn a slip of the finger into a sentence instead of a plan that fills the memory.
MAX_IMAGES = 10_000_000
MAX_WEDGES = 1_000_000
#: No goniometer turns further (assumed); its own limits are the beamline's matter.
_MAX_ANGLE_DEG = 1_000_000
#: Assumed: a day.
_MAX_TIME_S = 86_400


# ---------------------------------------------------------------------------------------------------------------------
# Rules of single fields
# ---------------------------------------------------------------------------------------------------------------------


def _location(value: object) -> Location:
    if isinstance(value, Location):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,6}:[0-9]{1,6}", value):
        raise ValueError('must be text "puck:pin" such as "1:5"; left out, the sample is mounted by hand')
    puck, pin = map(int, value.split(":"))
    if not puck or not pin:
        raise ValueError("counts pucks and pins from 1")
    return Location(puck, pin)


def _optional_location(value: object) -> Location | None:
    return None if value is None else _location(value)


def _prefix(value: object) -> str:
    value = text(value)
    if not value.strip() or not value.isprintable():
        raise ValueError("must be a file name's beginning of printable characters, not empty")
    if value[0] in "-.~" or ".." in value or any(c in value for c in '/\\:*?"<>|%'):
        # % because prefixes end up in printf templates, as MXCuBE's do; the rest means something to a shell or a disk.
        raise ValueError('must not begin with "-", "." or "~", nor hold "..", "/", "\\" or any of : * ? " < > | %')
    if len(value.encode()) > 200:
        raise ValueError("must be at most 200 bytes, to leave room for numbers in a file name of 255")
    return value


def _directory(value: object) -> str:
    value = text(value)
    if not value.strip():
        raise ValueError("must name a directory, not be empty")
    return _optional_directory(value)


def _optional_directory(value: object) -> str:
    value = text(value)
    if not value.startswith("/") and ".." in re.split(r"[/\\]", value):
        raise ValueError('must not climb out of the output directory with ".."')
    return value


def _positions(value: object) -> Mapping[str, float]:
    """The whole [positions] table, every wrong entry of it named."""
    if not is_table(value):
        allowed = "must be a section of goniometer axes, such as kappa_deg = 30.0"
        raise InvalidRequest([Problem(field="positions", value=shown(value), allowed=allowed)])
    rule = number(low=-1e6, high=1e6)
    positions: dict[str, float] = {}
    problems: list[Problem] = []
    for name, position in value.items():
        try:
            positions[text(name)] = rule(position)
        except ValueError as refusal:
            field = f"positions.{printable(str(name))}"
            problems.append(Problem(field=field, value=shown(position), allowed=str(refusal)))
    if problems:
        raise InvalidRequest(problems)
    return positions


# ---------------------------------------------------------------------------------------------------------------------
# Sections
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, field_transformer=named)
class Sample:
    """Which sample. Without a location it is mounted by hand, unless it is `mounted` already."""

    section: ClassVar[str] = "sample"
    #: Written "puck:pin", both from 1.
    location: Location | None = attrs.field(default=None, converter=_optional_location, metadata=by(_optional_location))
    name: str = attrs.field(default="", metadata=by(text))
    #: It is on the goniometer: neither robot nor person is asked.
    mounted: bool = attrs.field(default=False, metadata=by(truth))


@attrs.frozen(kw_only=True, field_transformer=named)
class Files:
    """Where the images go and what they are called."""

    section: ClassVar[str] = "files"
    #: Absolute, or relative to the output directory, out of which it cannot climb.
    directory: str = attrs.field(metadata=by(_directory))
    prefix: str = attrs.field(metadata=by(_prefix))
    run_number: int = attrs.field(default=1, metadata=by(integer(low=1, high=1_000_000)))
    #: Where processing writes; empty: nowhere.
    process_directory: str = attrs.field(default="", metadata=by(_optional_directory))
    #: Take only the images that do not exist yet, image by image; else existing ones are a reason to refuse.
    skip_existing: bool = attrs.field(default=False, metadata=by(truth))


@attrs.frozen(kw_only=True, field_transformer=named)
class Beam:
    """The beam at the sample. What is None stays as the beamline has it."""

    section: ClassVar[str] = "beam"
    energy_ev: float | None = attrs.field(default=None, metadata=by(optional(number(above=0, unit="eV"))))
    #: 0 is a value like any other: no beam.
    transmission_frac: float | None = attrs.field(
        default=None, metadata=by(optional(number(low=0, high=1, unit="(a fraction: 0.5 is 50 %)")))
    )
    #: Either this or `resolution_a`.
    detector_distance_mm: float | None = attrs.field(default=None, metadata=by(optional(number(above=0, unit="mm"))))
    #: At the nearest edge of the detector.
    resolution_a: float | None = attrs.field(default=None, metadata=by(optional(number(above=0, high=1000, unit="A"))))
    #: Diameter.
    aperture_um: float | None = attrs.field(default=None, metadata=by(optional(number(above=0, unit="um"))))

    def __attrs_post_init__(self) -> None:
        if self.detector_distance_mm is not None and self.resolution_a is not None:
            allowed = f"cannot be asked together with beam.detector_distance_mm = {self.detector_distance_mm:g} mm"
            _refuse("beam.resolution_a", f"{self.resolution_a:g}", f"{allowed}; give one of the two")


@attrs.frozen(kw_only=True, field_transformer=named)
class SweepRequest:
    """The rotation: where it starts, how wide and how long its images are, and how many.

    In TOML ``total_width_deg`` may stand in place of ``images``; here it is a property.
    """

    section: ClassVar[str] = "sweep"
    #: Any angle, 360 and more too; the goniometer's travel is the beamline's matter.
    omega_start_deg: Fraction = attrs.field(
        default=Fraction(0), converter=exact, metadata=by(angle(low=-_MAX_ANGLE_DEG, high=_MAX_ANGLE_DEG))
    )
    #: Negative: negative rotation. 0: stills.
    image_width_deg: Fraction = attrs.field(converter=exact, metadata=by(angle(low=-360, high=360)))
    #: Of one pass over the sweep; inverse beam takes as many again.
    images: int = attrs.field(metadata=by(integer(low=1, high=MAX_IMAGES, unit="images a series (assumed limit)")))
    #: Of one image, all passes together.
    exposure_s: float = attrs.field(metadata=by(number(above=0, high=_MAX_TIME_S, unit="s")))
    first_image: int = attrs.field(default=1, metadata=by(integer(low=0, high=MAX_IMAGES)))
    #: Splits a sweep without inverse beam.
    wedge_images: int | None = attrs.field(
        default=None, metadata=by(optional(integer(low=1, high=MAX_IMAGES, unit="images")))
    )
    #: By how much each wedge begins before the end of the one before; negative leaves a gap.
    overlap_deg: Fraction = attrs.field(
        default=Fraction(0), converter=exact, metadata=by(angle(low=-_MAX_ANGLE_DEG, high=_MAX_ANGLE_DEG))
    )
    #: Times that each image is passed over; they share its exposure.
    passes: int = attrs.field(default=1, metadata=by(integer(low=1, high=1000)))
    #: The detector runs through each wedge; else every image is exposed by itself.
    shutterless: bool = attrs.field(default=True, metadata=by(truth))
    dark_image: bool = attrs.field(default=False, metadata=by(truth))

    def __attrs_post_init__(self) -> None:
        if self.passes > 1 and self.shutterless:
            allowed = "more than 1 pass over an image needs sweep.shutterless = false"
            _refuse("sweep.passes", str(self.passes), allowed)

    @property
    def total_width_deg(self) -> Fraction:
        """Signed."""
        return self.image_width_deg * self.images


@attrs.frozen(kw_only=True, field_transformer=named)
class InverseBeam:
    """A wedge, the same wedge at +180 degrees, the next wedge: Friedel mates see equal dose."""

    section: ClassVar[str] = "inverse_beam"
    wedge_images: int = attrs.field(metadata=by(integer(low=1, high=MAX_IMAGES, unit="images")))


class CentringMethod(enum.Enum):
    """Who brings the crystal into the beam."""

    AUTO = "auto"
    MANUAL = "manual"
    NONE = "none"


@attrs.frozen(kw_only=True, field_transformer=named)
class Centring:
    """How the crystal comes into the beam."""

    section: ClassVar[str] = "centring"
    method: CentringMethod = attrs.field(default=CentringMethod.AUTO, metadata=by(one_of(CentringMethod)))
    timeout_s: float = attrs.field(default=120.0, metadata=by(number(above=0, high=_MAX_TIME_S, unit="s")))
    #: A person looks at the result.
    validate: bool = attrs.field(default=False, metadata=by(truth))


@attrs.frozen(kw_only=True, field_transformer=named)
class Snapshots:
    """Pictures of the sample before it is exposed, 90 degrees apart."""

    section: ClassVar[str] = "snapshots"
    count: int = attrs.field(default=0, metadata=by(integer(low=0, high=4, unit="pictures")))


@attrs.frozen(kw_only=True)
class Request:
    """One collection."""

    sample: Sample = attrs.field(factory=Sample)
    files: Files
    beam: Beam = attrs.field(factory=Beam)
    sweep: SweepRequest
    inverse_beam: InverseBeam | None = None
    centring: Centring = attrs.field(factory=Centring)
    snapshots: Snapshots = attrs.field(factory=Snapshots)
    #: Goniometer axis name (kappa_deg, x_mm) to where it stands during the collection. Which axes exist is the
    #: beamline's matter. Never changed; a plain dict so that a request can be pickled.
    positions: Mapping[str, float] = attrs.field(factory=dict[str, float], converter=_positions, hash=False)

    def __attrs_post_init__(self) -> None:
        problems = list(_contradictions(self))
        if problems:
            raise InvalidRequest(problems)

    @property
    def wedge_images(self) -> int:
        """Images in a full wedge; the whole sweep where it is not split."""
        asked = self.inverse_beam.wedge_images if self.inverse_beam else self.sweep.wedge_images
        return self.sweep.images if asked is None else asked


def _contradictions(request: Request) -> list[Problem]:
    """What each section allows and the whole does not."""
    sweep = request.sweep
    problems: list[Problem] = []
    if request.sample.mounted and request.sample.location is not None:
        allowed = "cannot be asked together with sample.location: what is mounted already is not fetched"
        problems.append(Problem(field="sample.mounted", value="true", allowed=allowed))
    split = request.inverse_beam is not None or sweep.wedge_images is not None
    if request.inverse_beam is not None and sweep.wedge_images is not None:
        allowed = "cannot be asked together with inverse_beam.wedge_images, which splits the sweep already"
        problems.append(Problem(field="sweep.wedge_images", value=str(sweep.wedge_images), allowed=allowed))
    if sweep.overlap_deg:
        value, width = degrees(sweep.overlap_deg), abs(sweep.image_width_deg) * request.wedge_images
        if not split:
            allowed = "lies between wedges and there is only one: set sweep.wedge_images to split the sweep"
            problems.append(Problem(field="sweep.overlap_deg", value=value, allowed=allowed))
        elif sweep.overlap_deg >= width:
            allowed = f"must be smaller than a full wedge, which is {degrees(width)} deg wide"
            if not width:
                allowed = "must be 0 deg for stills, or negative to step between wedges"
            problems.append(Problem(field="sweep.overlap_deg", value=value, allowed=allowed))
    wedges = -(-sweep.images // request.wedge_images) * (2 if request.inverse_beam else 1)
    if wedges > MAX_WEDGES:
        field = "inverse_beam.wedge_images" if request.inverse_beam else "sweep.wedge_images"
        allowed = f"makes {wedges:,} wedges; at most {MAX_WEDGES:,} wedges a collection are allowed (assumed limit)"
        problems.append(Problem(field=field, value=str(request.wedge_images), allowed=allowed))
    return problems


def _refuse(field: str, value: str, allowed: str) -> None:
    raise InvalidRequest([Problem(field=field, value=value, allowed=allowed)])
