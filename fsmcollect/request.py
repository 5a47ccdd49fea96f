"""What is asked for: one collection, as frozen values with units, checked once, at the door.

Owns the sections and fields of a request, what each may be, and reading them from TOML and writing them back. Owns no
geometry (`wedges`), no knowledge of any beamline (`limits`) and no device. MXCuBE's dictionary is read by `mxcube`.

An angle is the exact rational number that was written: 0.1 is 1/10, so the last image of any sweep starts where it
should. Everything that is wrong with a request is found before it is refused, and told at once.
"""

from __future__ import annotations

import enum
import functools
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from fsmcollect.beamline import Location
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.fields import (
    angle,
    by,
    converting,
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

if TYPE_CHECKING:
    from fsmcollect.structuring import Structurer

__all__ = [
    "MAX_IMAGES",
    "MAX_WEDGES",
    "Beam",
    "Centring",
    "CentringMethod",
    "Files",
    "InverseBeam",
    "Request",
    "Sample",
    "Snapshots",
    "SweepRequest",
    "exact",
    "from_dict",
    "parse_toml",
    "to_dict",
    "to_toml",
]

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
    """Which sample. Without a location it is mounted by hand."""

    section: ClassVar[str] = "sample"
    #: Written "puck:pin", both from 1.
    location: Location | None = attrs.field(default=None, converter=_optional_location, metadata=by(_optional_location))
    name: str = attrs.field(default="", metadata=by(text))


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


# ---------------------------------------------------------------------------------------------------------------------
# From and to TOML and dictionaries
# ---------------------------------------------------------------------------------------------------------------------


def parse_toml(text: str, where: str = "") -> Request:
    """A request as people write it.

    Parameters
    ----------
    text : str
        The whole TOML document.
    where : str
        What to call it in a refusal: the file's name.

    Raises
    ------
    InvalidRequest
        Everything that is wrong, each with the line where it stands.
    """
    from fsmcollect import documents  # noqa: PLC0415 - who builds a `Request` in Python needs no TOML parser

    tables = documents.read_toml(text, where)
    try:
        return from_dict(tables)
    except InvalidRequest as refusal:
        lines = documents.setting_lines(text)
        placed = [attrs.evolve(p, where=documents.place(where, p.field, lines)) for p in refusal.problems]
        raise InvalidRequest(placed) from None


def from_dict(mapping: Mapping[str, Any], where: str = "") -> Request:
    """A request from plain values in the layout of the TOML file, such as `to_dict` gives.

    Raises
    ------
    InvalidRequest
        Everything that is wrong.
    """
    return _structurer()(mapping, where)


@functools.cache
def _structurer() -> Structurer[Request]:
    from fsmcollect.structuring import Rewriting, Structurer  # noqa: PLC0415 - nor cattrs

    sections = {cls.section: cls for cls in (Sample, Files, Beam, SweepRequest, InverseBeam, Centring, Snapshots)}
    missing = {
        "files": "this section is required: it says where the images go (directory, prefix)",
        "sweep": "this section is required: it says what to collect (image_width_deg, images, exposure_s)",
        "sweep.images": "is required, or sweep.total_width_deg in its place",
    }
    total = Rewriting(settings=("total_width_deg",), rewrite=_without_total_width)
    return Structurer(Request, sections, missing, {"sweep": total})


def _without_total_width(sweep: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[Problem, ...]]:
    """The sweep with ``images`` in place of ``total_width_deg``, which must be a whole number of them."""
    if "total_width_deg" not in sweep:
        return sweep, ()
    others = {key: value for key, value in sweep.items() if key != "total_width_deg"}
    try:
        return {**others, "images": _images_of_total(sweep)}, ()
    except InvalidRequest as refusal:
        # One image stands in, so that the section's other settings are looked at too.
        return {"images": 1, **others}, refusal.problems


def _images_of_total(sweep: Mapping[str, Any]) -> int:
    """How many images make up ``total_width_deg``, which must be a whole number of them."""
    given = sweep["total_width_deg"]

    def refuse(allowed: str) -> InvalidRequest:
        return InvalidRequest([Problem(field="sweep.total_width_deg", value=shown(given), allowed=allowed)])

    if sweep.get("images") is not None:
        raise refuse(f"cannot be asked together with sweep.images = {shown(sweep['images'])}; give one of the two")
    try:
        total = angle(low=-360 * MAX_IMAGES, high=360 * MAX_IMAGES)(given)
    except ValueError as refusal:
        raise refuse(str(refusal)) from None
    try:
        width: Fraction = converting(SweepRequest, "image_width_deg")(sweep["image_width_deg"])
    except (KeyError, InvalidRequest):
        return 1  # the width's own problem is told where the section is structured
    if not width:
        raise refuse("says nothing about stills (image_width_deg = 0): give sweep.images")
    if not total:
        raise refuse("must be at least one image wide, not 0 deg")
    if (total > 0) is not (width > 0):
        raise refuse(f"must have the same sign as sweep.image_width_deg = {degrees(width)} deg")
    images = total / width
    if images > MAX_IMAGES:
        raise refuse(f"makes {int(images):,} images; at most {MAX_IMAGES:,} images a series (assumed limit)")
    if images.denominator != 1:
        below = images.numerator // images.denominator
        fewer = f"{below} {'image makes' if below == 1 else 'images make'} {degrees(width * below)} deg"
        more = f"{below + 1} make{'s' if not below else ''} {degrees(width * (below + 1))} deg"
        raise refuse(f"is no whole number of images of {degrees(abs(width))} deg: {fewer}, {more}")
    return int(images)


def to_dict(request: Request) -> dict[str, Any]:
    """The canonical dictionary of a request: plain JSON values in the layout of the TOML file, None left out.

    An angle is a number where a float holds exactly it, else text such as "1/3"; `from_dict` gives an equal request.
    """
    result: dict[str, Any] = attrs.asdict(request, filter=lambda _, value: value is not None, value_serializer=_plain)
    return result


def _plain(_instance: object, _attribute: object, value: object) -> object:
    if isinstance(value, Fraction):
        # The nearest float is the angle itself where its shortest decimal is, which is how a float is read.
        nearest = float(value)
        return nearest if exact(nearest) == value else f"{value.numerator}/{value.denominator}"
    if isinstance(value, Location):
        return str(value)
    return value.value if isinstance(value, enum.Enum) else value


def to_toml(request: Request) -> str:
    """The request as a TOML document, with everything it leaves to the defaults written out."""
    lines: list[str] = []
    for section, fields in to_dict(request).items():
        if fields or section in ("files", "sweep"):
            # A JSON string, number or truth value is a TOML one too; a key needs quotes only if it is not plain.
            lines += [
                f"[{section}]",
                *(f"{_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()),
                "",
            ]
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
