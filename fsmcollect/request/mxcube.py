"""MXCuBE's parameter dictionary, read as a `Request`.

Owns which of MXCuBE's fields mean what here, their units, and refusing under MXCuBE's own names what it asks and this
package cannot do yet. Owns no rule about a request: `request` has those. Keys that are not named here are ignored;
the dictionary carries many that serve its database and its user interface.

Where MXCuBE says a thing twice, one saying wins, as in its own ``AbstractMultiCollect``: the oscillation's ``start``,
``kappaStart`` and ``phiStart`` over the saved motors; ``resolution`` over ``detector_distance``; and, here, ``energy``
over ``wavelength``. Numbers and truth values may be text ("12.4", "True"), as they are in what MXCuBE sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import attrs

from fsmcollect.beamline import HC_EV_A
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.documents import read_json
from fsmcollect.request.fields import Outlandish, decimal_number, exact, is_list, is_table, number, shown
from fsmcollect.request.model import Request
from fsmcollect.request.reading import Written, from_dict

#: The one oscillation that a dictionary may hold.
_OSC = "oscillation_sequence[0]"
#: What MXCuBE writes where there is nothing.
_BLANKS = (None, "", "None")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
#: Goniometer axis to MXCuBE's motor role. Its ``phi`` is omega, which the oscillation's start sets.
#:
#: MXCuBE's mini-kappa has four translations (phiy along the spindle, phiz across it, sampx and sampy turning with
#: omega), the goniometer here three. sampx is taken for x; sampy is NOT moved: it repeats, at one omega, what x and z
#: do, and a beamline that has it as an axis of its own moves it in its adapter of `Goniometer`.
_MOTORS = {"kappa_deg": "kappa", "phi_deg": "kappa_phi", "x_mm": "sampx", "y_mm": "phiy", "z_mm": "phiz"}
#: Experiments that need more than one rotation about one point. Taking them for a plain sweep would be wrong data.
_NOT_YET = ("helical", "mesh", "mesh3d", "multi-positional")


def parse_mxcube(text: str, where: str = "") -> tuple[Request, ...]:
    """The requests in MXCuBE's JSON: one parameter dictionary, or a list of them.

    Raises
    ------
    InvalidRequest
        Everything that is wrong, under MXCuBE's own field names; `where` names the file in each.
    """
    return tuple(written.request for written in written_in_mxcube(text, where))


def written_in_mxcube(text: str, where: str = "") -> tuple[Written, ...]:
    """As `parse_mxcube`, for who goes on checking the requests."""
    document = read_json(text, where)
    if not is_list(document):
        return (_translate(document, where),)
    if not document:
        raise InvalidRequest([Problem(field="JSON", allowed="the list holds no collection", where=where)])
    found: list[Written] = []
    problems: list[Problem] = []
    for position, mapping in enumerate(document):
        try:
            found.append(_translate(mapping, where, f"[{position}]." if len(document) > 1 else ""))
        except InvalidRequest as refusal:
            problems += refusal.problems
    if problems:
        raise InvalidRequest(problems)
    return tuple(found)


def from_mxcube(mapping: Mapping[str, Any], where: str = "") -> Request:
    """A request from the parameter dictionary that MXCuBE hands to a collection.

    Raises
    ------
    InvalidRequest
        Everything that is wrong, under MXCuBE's own field names.
    """
    return _translate(mapping, where).request


def _translate(mapping: object, where: str, at: str = "") -> Written:
    """One collection; `at` is its place in a list."""
    if not is_table(mapping):
        allowed = "must be a dictionary of parameters, or a list of them"
        raise InvalidRequest([Problem(field=f"{at}JSON", value=shown(mapping), allowed=allowed, where=where)])
    reader = _Reader(mapping)
    sections = _sections(reader)
    problems = list(reader.problems)

    def placed(problem: Problem) -> Problem:
        return attrs.evolve(problem, field=at + problem.field, where=where)

    try:
        request = from_dict(sections)
    except InvalidRequest as refusal:
        request = None
        known = {p.field for p in problems}
        problems += [p for p in map(reader.in_mxcubes_words, refusal.problems) if p.field not in known]
    if problems or request is None:
        raise InvalidRequest([placed(problem) for problem in problems])
    return Written(request, lambda problem: placed(reader.in_mxcubes_words(problem)))


class _Reader:
    """MXCuBE's fields by their dotted names, and what was wrong with them."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.problems: list[Problem] = []
        #: Field of the request to the name of the one in MXCuBE's dictionary that it was read from.
        self.names: dict[str, str] = {}
        #: Names of fields that were read in another unit than the request's.
        self.rescaled: set[str] = set()
        self._tables: dict[str, Mapping[str, Any]] = {"": mapping}
        for name in ("fileinfo", "sample_reference", "motors"):
            self._tables[name] = self._table(name, mapping.get(name))
        resolution = mapping.get("resolution")
        self._tables["resolution"] = resolution if is_table(resolution) else {}
        self._tables[_OSC] = self._oscillation(mapping.get("oscillation_sequence"))

    def _table(self, name: str, value: object) -> Mapping[str, Any]:
        if is_table(value):
            return value
        if value is not None:
            self.refuse(name, value, "must be a dictionary")
        return {}

    def _oscillation(self, sequence: object) -> Mapping[str, Any]:
        name = "oscillation_sequence"
        if not is_list(sequence) or not len(sequence):
            self.refuse(name, sequence, "is required: a list that holds one oscillation")
            return {}
        if len(sequence) > 1:
            allowed = f"holds {len(sequence)} oscillations, and more than 1 is not supported yet; collect them in turn"
            self.refuse(name, None, allowed)
        return self._table(_OSC, sequence[0])

    def refuse(self, name: str, value: object, allowed: str) -> None:
        self.problems.append(Problem(field=name, value="" if value is None else shown(value), allowed=allowed))

    def raw(self, name: str) -> Any:
        """The value of a field by its dotted name; None where there is nothing."""
        table, _, key = name.rpartition(".")
        value = self._tables[table].get(key)
        return None if isinstance(value, str) and value.strip() in _BLANKS else value

    def number(self, name: str) -> Any:
        """A number that may be text; anything else as it is, for the request's rule to refuse."""
        value = self.raw(name)
        if isinstance(value, str) and len(value) <= 400 and _NUMBER.fullmatch(value.strip()):
            return decimal_number(value.strip())
        return value

    def integer(self, name: str) -> Any:
        """A whole number, which MXCuBE may write as 10.0 or "10"."""
        value = self.number(name)
        try:
            rational = exact(value)
        except ValueError:
            return value
        return int(rational) if rational.denominator == 1 else value

    def truth(self, name: str) -> bool:
        """A truth value, which MXCuBE may write as "True" or as 1."""
        value = self.raw(name)
        if isinstance(value, str):
            value = {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower(), value)
        if value is None or value in (0, 1):
            return bool(value)
        self.refuse(name, value, "must be true or false")
        return False

    def scaled(self, name: str, rule: Callable[[object], float], scale: Callable[[Fraction], Fraction]) -> float | None:
        """A number in MXCuBE's unit, checked in that unit and then converted without rounding twice."""
        value = self.number(name)
        if value is None:
            return None
        self.rescaled.add(name)
        try:
            rule(value)
            return float(scale(exact(value)))
        except ValueError as refusal:
            self.refuse(name, value, str(refusal))
            return None

    def first(self, *names: str) -> str:
        """The first of some fields that holds anything; the first one where none does."""
        return next((name for name in names if self.raw(name) is not None), names[0])

    def in_mxcubes_words(self, problem: Problem) -> Problem:
        """The same problem under the name that MXCuBE's user knows."""
        # MXCuBE has no total width, so its number of images has nothing to stand in its place.
        allowed = problem.allowed.replace(", or sweep.total_width_deg in its place", "")
        for field in sorted(self.names, key=len, reverse=True):
            allowed = re.sub(rf"\b{re.escape(field)}\b", self.names[field], allowed)
        name = self.names.get(problem.field)
        if name is None:
            return attrs.evolve(problem, allowed=allowed)
        # Where MXCuBE has another unit, the value as it is written there, and what it was taken for.
        written = shown(self.raw(name))
        value = f"{written} (taken for {problem.value})" if name in self.rescaled and problem.value else problem.value
        return attrs.evolve(problem, field=name, value=value, allowed=allowed)


def _sections(reader: _Reader) -> dict[str, dict[str, Any] | None]:
    """The request's sections as plain values, and in `reader` whatever could not be made one."""
    _refuse_unsupported(reader)
    sections: dict[str, dict[str, Any]] = {
        "sample": _sample(reader),
        "files": {},
        "beam": _beam(reader),
        "sweep": {},
        "centring": {"method": "auto" if reader.truth("start_auto_centring") else "none"},
        "snapshots": {"count": _snapshots(reader)},
        "positions": {},
    }

    def take(field: str, name: str, value: object) -> None:
        section, _, key = field.partition(".")
        reader.names[field] = name
        if value is not None:
            sections[section][key] = value

    reader.names["snapshots.count"] = "take_snapshots"
    for key in ("directory", "prefix", "process_directory"):
        take(f"files.{key}", f"fileinfo.{key}", reader.raw(f"fileinfo.{key}"))
    take("files.run_number", "fileinfo.run_number", reader.integer("fileinfo.run_number"))
    take("files.skip_existing", "skip_images", reader.truth("skip_images"))
    start = reader.first(f"{_OSC}.start", "motors.phi")
    take("sweep.omega_start_deg", start, reader.number(start))
    for key, name in (("image_width_deg", "range"), ("exposure_s", "exposure_time"), ("overlap_deg", "overlap")):
        take(f"sweep.{key}", f"{_OSC}.{name}", reader.number(f"{_OSC}.{name}"))
    for key, name in (
        ("images", "number_of_images"),
        ("first_image", "start_image_number"),
        ("passes", "number_of_passes"),
    ):
        take(f"sweep.{key}", f"{_OSC}.{name}", reader.integer(f"{_OSC}.{name}"))
    take("sweep.shutterless", "shutterless", reader.raw("shutterless") is None or reader.truth("shutterless"))
    take("sweep.dark_image", "dark", reader.truth("dark"))
    for axis, motor in _MOTORS.items():
        names = {"kappa": [f"{_OSC}.kappaStart"], "kappa_phi": [f"{_OSC}.phiStart"]}.get(motor, [])
        name = reader.first(*names, f"motors.{motor}")
        take(f"positions.{axis}", name, reader.number(name))
    return {**sections, **_split(reader, sections["sweep"])}


def _split(reader: _Reader, sweep: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """How the sweep is split in wedges: sets ``wedge_images`` in `sweep`, or gives the inverse beam's section."""
    name = f"{_OSC}.reference_interval"
    interval = reader.integer(name)
    reader.names["sweep.wedge_images"] = reader.names["inverse_beam.wedge_images"] = name
    experiment = str(reader.raw("experiment_type") or "").lower()
    if "inverse beam" in experiment or reader.truth("inverse_beam") or reader.truth(f"{_OSC}.inverse_beam"):
        if interval is None:
            reader.refuse(name, None, "is required with inverse beam: how many images a wedge has")
            return {}
        return {"inverse_beam": {"wedge_images": interval}}
    if interval is not None:
        sweep["wedge_images"] = interval
    elif _is_not_zero(sweep.get("overlap_deg")):
        # MXCuBE's `subwedge_size` is 1 unless given: its characterisation asks images 90 degrees apart by an overlap
        # of -89 degrees and no interval.
        sweep["wedge_images"] = 1
    return {}


def _is_not_zero(value: object) -> bool:
    try:
        return value is not None and exact(value) != 0
    except ValueError:
        return False


def _refuse_unsupported(reader: _Reader) -> None:
    interleave = reader.raw("in_interleave")
    if interleave is not None and interleave is not False:
        reader.refuse("in_interleave", interleave, "interleaved collections are not supported yet")
    experiment = reader.raw("experiment_type")
    if isinstance(experiment, str) and experiment.lower() in _NOT_YET:
        reader.refuse("experiment_type", experiment, "is not supported yet")
    lines = reader.integer(f"{_OSC}.number_of_lines")
    if lines is not None and lines not in (0, 1):
        reader.refuse(f"{_OSC}.number_of_lines", lines, "more than 1 line (a mesh) is not supported yet")


def _sample(reader: _Reader) -> dict[str, Any]:
    name, puck, pin = (f"sample_reference.{key}" for key in ("sample_name", "container_reference", "sample_location"))
    reader.names |= {"sample.name": name, "sample.location": pin}
    sample: dict[str, Any] = {"name": value} if (value := reader.raw(name)) is not None else {}
    numbers = {field: reader.integer(field) for field in (puck, pin)}
    if numbers[pin] in (None, -1):
        return sample  # mounted by hand
    for field, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 999_999:
            what = "puck" if field == puck else "pin"
            allowed = f"must be the number of a {what}, from 1; a blank sample_location means mounted by hand"
            reader.refuse(field, value, allowed)
            return sample
    return {**sample, "location": f"{numbers[puck]}:{numbers[pin]}"}


def _beam(reader: _Reader) -> dict[str, Any]:
    beam: dict[str, Any] = {
        "energy_ev": reader.scaled("energy", number(above=0, high=1000, unit="keV"), lambda kev: kev * 1000)
    }
    if reader.raw("energy") is None:
        rule = number(above=0, high=1000, unit="A")
        beam["energy_ev"] = reader.scaled("wavelength", rule, lambda angstrom: Fraction(HC_EV_A) / angstrom)
    reader.names["beam.energy_ev"] = reader.first("energy", "wavelength")
    percent = reader.first("transmission", f"{_OSC}.transmission")
    reader.names["beam.transmission_frac"] = percent
    beam["transmission_frac"] = reader.scaled(percent, number(low=0, high=100, unit="%"), lambda value: value / 100)
    name = "resolution.upper" if is_table(reader.raw("resolution")) else "resolution"
    reader.names["beam.resolution_a"] = name
    beam["resolution_a"] = reader.number(name)
    distance = reader.first("detector_distance", f"{_OSC}.detector_distance")
    reader.names["beam.detector_distance_mm"] = distance
    if beam["resolution_a"] is None:
        beam["detector_distance_mm"] = reader.number(distance)
    return {key: value for key, value in beam.items() if value is not None}


def _snapshots(reader: _Reader) -> Any:
    count = reader.integer("take_snapshots")
    if isinstance(count, str) and not isinstance(count, Outlandish) and count.lower() in ("true", "false"):
        count = count.lower() == "true"
    # In its older dictionaries true means four pictures.
    return (4 if count else 0) if count is None or isinstance(count, bool) else count
