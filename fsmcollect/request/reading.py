"""Requests from and to text and plain dictionaries.

Owns the way in and out of a `Request`: TOML as people write it and the canonical dictionary. Owns no field (`model`).
"""

from __future__ import annotations

import enum
import functools
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import attrs

from fsmcollect.beamline import Location
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import angle, converting, degrees, exact, shown
from fsmcollect.request.model import (
    MAX_IMAGES,
    Beam,
    Centring,
    Files,
    InverseBeam,
    Request,
    Sample,
    Snapshots,
    SweepRequest,
)

if TYPE_CHECKING:
    from fsmcollect.request.structuring import Structurer


@attrs.frozen
class Written:
    """A request, and how it was written down: what is refused later is told in the same words, at the same line."""

    request: Request
    _in_its_words: Callable[[Problem], Problem]

    def retold(self, refusal: InvalidRequest) -> InvalidRequest:
        """What a beamline or a disk refuses of this request, as the user finds it in the file."""
        return InvalidRequest([self._in_its_words(problem) for problem in refusal.problems])


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
    return written_in_toml(text, where).request


def written_in_toml(text: str, where: str = "") -> Written:
    """As `parse_toml`, for who goes on checking the request."""
    from fsmcollect.request import documents  # noqa: PLC0415 - who builds a `Request` in Python needs no TOML parser

    tables = documents.read_toml(text, where)

    def placed(problem: Problem) -> Problem:
        return attrs.evolve(problem, where=documents.place(where, problem.field, documents.setting_lines(text)))

    try:
        return Written(from_dict(tables), placed)
    except InvalidRequest as refusal:
        raise InvalidRequest([placed(problem) for problem in refusal.problems]) from None


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
    from fsmcollect.request.structuring import Rewriting, Structurer  # noqa: PLC0415 - nor cattrs

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
