"""Whether a beamline can do what is asked, told before anything moves.

Owns the comparison of a request and its plan with what is fixed about a beamline: which roles it has, their limits and
its configuration. Asks no device where it stands. What the request contradicts by itself, `request` has refused.
"""

from __future__ import annotations

import difflib
import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from fsmcollect.beamline import (
    Beamline,
    Goniometer,
    Location,
    Range,
    distance_for_resolution_mm,
    resolution_at_distance_a,
)
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request import CentringMethod, Request
from fsmcollect.request.fields import shown
from fsmcollect.timing import to_sweep
from fsmcollect.wedges import Plan, Wedge

#: Two energies, distances or apertures are the same within this fraction (assumed: finer than any of them repeats).
_SAME = 1e-6
#: A fixed detector records a resolution if it is asked to this fraction (assumed: people round to 0.01 A).
_SAME_RESOLUTION = 0.01
#: Slack for the rounding of floats: a limit that is met exactly is not exceeded.
_ROUNDING = 1e-9
#: How far a read-back may be from what was asked for. Assumed: beyond it, another experiment would be done; absorbers
#: come in steps.
DISTANCE_TOLERANCE_MM = 0.5
ENERGY_TOLERANCE = 0.001
_TRANSMISSION_TOLERANCE = 0.1
_TRANSMISSION_TOLERANCE_FRAC = 0.001


def check(request: Request, plan: Plan, beamline: Beamline) -> None:
    """Refuse what the beamline cannot do.

    Raises
    ------
    InvalidRequest
        Everything that it cannot do. Nothing has moved.
    """
    problems: list[Problem] = []
    for look in (_roles, _sample, _energy, _distance, _optics, _people_and_camera, _positions, _snapshots):
        problems += look(request, beamline)
    problems += _speed_and_travel(request, plan, beamline)
    problems += _exposure(request, plan, beamline)
    if problems:
        raise InvalidRequest(problems)


def name_clashes(requests: Sequence[Request], plans: Sequence[Plan]) -> list[tuple[int, Problem]]:
    """Collections of a list that would write files of the same name into the same directory as an earlier one.

    Returns
    -------
    list of (int, Problem)
        Position in the list, from 0, and what is wrong there.
    """
    first: dict[tuple[str, str], int] = {}
    clashes: list[tuple[int, Problem]] = []
    for position, (request, plan) in enumerate(zip(requests, plans, strict=True)):
        directory = posixpath.normpath(request.files.directory)
        earlier = {first.setdefault((directory, series.name), position) for series in plan.series} - {position}
        if earlier:
            value = shown(request.files.prefix)
            allowed = f"makes the same file names as [{min(earlier)}] in this list: change prefix or run number"
            clashes.append((position, Problem(field="files.prefix", value=value, allowed=allowed)))
    return clashes


def target_energy_ev(request: Request, beamline: Beamline) -> float:
    """The photon energy of the collection.

    Raises
    ------
    InvalidRequest
        Neither the request nor a fixed wavelength says it.
    """
    if request.beam.energy_ev is not None:
        return request.beam.energy_ev
    if beamline.monochromator is None and beamline.config.fixed_energy_ev is not None:
        return beamline.config.fixed_energy_ev
    raise InvalidRequest([_no_energy(beamline)])


def target_distance_mm(request: Request, beamline: Beamline) -> float | None:
    """Where the detector is to stand; None where nothing is asked and it may stay.

    Raises
    ------
    InvalidRequest
        No distance records the resolution that is asked, or nothing says the energy or the detector.
    """
    beam = request.beam
    if beam.detector_distance_mm is not None:
        return beam.detector_distance_mm
    if beam.resolution_a is None:
        return None if beamline.detector_stage is not None else beamline.config.fixed_distance_mm
    energy_ev = target_energy_ev(request, beamline)
    if beamline.detector is None:
        raise InvalidRequest([_missing_role("detector", "required to expose")])
    if beamline.detector_stage is None and (fixed_mm := beamline.config.fixed_distance_mm) is not None:
        return fixed_mm
    try:
        return distance_for_resolution_mm(beamline.detector.info, beam.resolution_a, energy_ev)
    except ValueError as error:
        problem = Problem(field="beam.resolution_a", value=f"{beam.resolution_a:g}", allowed=str(error))
        raise InvalidRequest([problem]) from None


# ---------------------------------------------------------------------------------------------------------------------
# Roles and sample
# ---------------------------------------------------------------------------------------------------------------------


def _missing_role(role: str, why: str) -> Problem:
    return Problem(field="beamline", allowed=f"has no {role}, {why}")


def _roles(_request: Request, beamline: Beamline) -> Iterator[Problem]:
    for name, role in (
        ("goniometer", beamline.goniometer),
        ("detector", beamline.detector),
        ("fast shutter", beamline.fast_shutter),
    ):
        if role is None:
            yield Problem(
                field="beamline", allowed=f"{beamline.config.name} has no {name}, which is required to expose"
            )


def _sample(request: Request, beamline: Beamline) -> Iterator[Problem]:
    location, changer, name = request.sample.location, beamline.sample_changer, beamline.config.name
    if location is None:
        if beamline.person is None and not request.sample.mounted:
            allowed = (
                f"left out, the sample is mounted by hand, and {name} has no person to ask: "
                "set sample.mounted = true if it is on the goniometer"
            )
            yield Problem(field="sample.location", allowed=allowed)
        return
    value = shown(str(location))
    if changer is None:
        allowed = f"{name} has no sample changer; left out, the sample is mounted by hand"
        yield Problem(field="sample.location", value=value, allowed=allowed)
        return
    if location not in changer.places:
        allowed = f"there is no such place; the sample changer has {_places(changer.places)}"
        yield Problem(field="sample.location", value=value, allowed=allowed)
    stage, fixed_mm = beamline.detector_stage, beamline.config.fixed_distance_mm
    farthest_mm = stage.limits_mm.high if stage is not None else fixed_mm
    if farthest_mm is not None and farthest_mm < changer.needs_distance_mm:
        allowed = (
            f"the sample changer needs the detector {changer.needs_distance_mm:g} mm away, "
            f"and it goes no further than {farthest_mm:g} mm"
        )
        yield Problem(field="sample.location", value=value, allowed=allowed)


def _places(places: Sequence[Location]) -> str:
    """Words for a dewar: "pucks 1 to 5 with pins 1 to 16"."""
    pins: dict[int, list[int]] = {}
    for place in places:
        pins.setdefault(place.puck, []).append(place.pin)
    pucks: dict[str, list[int]] = {}
    for puck in sorted(pins):
        pucks.setdefault(_span("pin", pins[puck]), []).append(puck)
    return ", ".join(f"{_span('puck', numbers)} with {words}" for words, numbers in pucks.items()) or "no places"


def _span(noun: str, numbers: Sequence[int]) -> str:
    ordered = sorted(set(numbers))
    if len(ordered) == 1:
        return f"{noun} {ordered[0]}"
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{noun}s {ordered[0]} to {ordered[-1]}"
    return f"{noun}s {', '.join(map(str, ordered))}"


def _people_and_camera(request: Request, beamline: Beamline) -> Iterator[Problem]:
    name, centring = beamline.config.name, request.centring
    if beamline.camera is None:
        if centring.method is CentringMethod.AUTO:
            yield Problem(field="centring.method", value='"auto"', allowed=f"needs a camera, and {name} has none")
        if request.snapshots.count:
            value = str(request.snapshots.count)
            yield Problem(
                field="snapshots.count", value=value, allowed=f"needs a camera, and {name} has none; ask for 0"
            )
    if beamline.person is None:
        if centring.method is CentringMethod.MANUAL:
            yield Problem(field="centring.method", value='"manual"', allowed=f"{name} has no person to ask")
        if centring.validate:
            yield Problem(field="centring.validate", value="true", allowed=f"{name} has no person to ask")


# ---------------------------------------------------------------------------------------------------------------------
# Beam
# ---------------------------------------------------------------------------------------------------------------------


def _no_energy(beamline: Beamline) -> Problem:
    why = "can be tuned" if beamline.monochromator is not None else "has no monochromator and names no fixed energy"
    return Problem(field="beam.energy_ev", allowed=f"is required, in eV: {beamline.config.name} {why}")


def _beyond(limits: Range, unit: str) -> str:
    return f"is beyond the beamline's limits, {limits.low:g} to {limits.high:g} {unit}"


def _energy(request: Request, beamline: Beamline) -> Iterator[Problem]:
    asked, fixed_ev = request.beam.energy_ev, beamline.config.fixed_energy_ev
    if asked is None:
        if beamline.monochromator is not None or fixed_ev is None:
            yield _no_energy(beamline)
        return
    value, allowed = f"{asked:g}", ""
    if beamline.monochromator is not None:
        if asked not in beamline.monochromator.limits_ev:
            allowed = _beyond(beamline.monochromator.limits_ev, "eV")
            if 1000 * asked in beamline.monochromator.limits_ev:
                allowed += f"; {asked:g} keV is {1000 * asked:g} eV"
    elif fixed_ev is not None and not math.isclose(asked, fixed_ev, rel_tol=_SAME):
        allowed = f"{beamline.config.name} has no monochromator: its energy is {fixed_ev:g} eV"
    if allowed:
        yield Problem(field="beam.energy_ev", value=value, allowed=allowed)


def _distance(request: Request, beamline: Beamline) -> Iterator[Problem]:
    beam, stage, fixed_mm = request.beam, beamline.detector_stage, beamline.config.fixed_distance_mm
    resolution_asked = beam.resolution_a is not None
    asked = beam.resolution_a if resolution_asked else beam.detector_distance_mm
    if asked is None:
        if stage is None and fixed_mm is None:
            allowed = f"{beamline.config.name} has no detector stage and names no fixed distance: nobody knows it"
            yield Problem(field="beam.detector_distance_mm", allowed=allowed)
        return
    field = "beam.resolution_a" if resolution_asked else "beam.detector_distance_mm"
    if stage is None:
        if fixed_mm is None:
            allowed = f"{beamline.config.name} has no detector stage and names no fixed distance"
        else:
            allowed = _other_than_fixed(request, beamline, fixed_mm)
        if allowed:
            yield Problem(field=field, value=f"{asked:g}", allowed=allowed)
        return
    try:
        distance_mm = target_distance_mm(request, beamline)
    except InvalidRequest as refusal:
        # A lacking energy or detector is told by those who look for them.
        for problem in refusal.problems:
            if problem.field == field:
                yield attrs.evolve(problem, allowed=problem.allowed + _recordable(request, beamline))
        return
    if distance_mm is not None and distance_mm not in stage.limits_mm:
        allowed = _beyond(stage.limits_mm, "mm")
        if resolution_asked:
            allowed = f"needs the detector at {distance_mm:.1f} mm, which {allowed}{_recordable(request, beamline)}"
        yield Problem(field=field, value=f"{asked:g}", allowed=allowed)


def _recordable(request: Request, beamline: Beamline) -> str:
    """Which resolutions the detector's travel records, in words that follow a refusal."""
    if beamline.detector is None or beamline.detector_stage is None:
        return ""  # told elsewhere
    info, limits_mm, energy_ev = (
        beamline.detector.info,
        beamline.detector_stage.limits_mm,
        target_energy_ev(request, beamline),
    )
    finest, coarsest = (resolution_at_distance_a(info, mm, energy_ev) for mm in (limits_mm.low, limits_mm.high))
    return f": {_rounded_up(finest, 3)} to {coarsest:.3g} A can be had at {energy_ev:g} eV"


def _other_than_fixed(request: Request, beamline: Beamline, fixed_mm: float) -> str:
    """What a beamline without a detector stage says to a distance or a resolution; nothing where it is its own."""
    beam, stands = request.beam, f"{beamline.config.name} has no detector stage: its detector stands at {fixed_mm:g} mm"
    if beam.detector_distance_mm is not None:
        return "" if math.isclose(beam.detector_distance_mm, fixed_mm, rel_tol=_SAME) else stands
    energy_ev = beam.energy_ev if beam.energy_ev is not None else beamline.config.fixed_energy_ev
    if beamline.detector is None or energy_ev is None or beam.resolution_a is None:
        return ""  # told elsewhere
    recorded_a = resolution_at_distance_a(beamline.detector.info, fixed_mm, energy_ev)
    if math.isclose(beam.resolution_a, recorded_a, rel_tol=_SAME_RESOLUTION):
        return ""
    return f"{stands}, which records {recorded_a:.2f} A at {energy_ev:g} eV"


def _optics(request: Request, beamline: Beamline) -> Iterator[Problem]:
    beam, name = request.beam, beamline.config.name
    if beam.transmission_frac not in (None, 1.0) and beamline.attenuator is None:
        allowed = f"{name} has no attenuator: only 1.0, the full beam, can be had"
        yield Problem(field="beam.transmission_frac", value=f"{beam.transmission_frac:g}", allowed=allowed)
    if beam.aperture_um is None:
        return
    value = f"{beam.aperture_um:g}"
    if beamline.aperture is None:
        yield Problem(field="beam.aperture_um", value=value, allowed=f"{name} has no aperture to choose")
    elif not any(math.isclose(beam.aperture_um, size, rel_tol=_SAME) for size in beamline.aperture.sizes_um):
        sizes = ", ".join(f"{size:g}" for size in beamline.aperture.sizes_um)
        yield Problem(field="beam.aperture_um", value=value, allowed=f"is not offered; there are {sizes} um")


# ---------------------------------------------------------------------------------------------------------------------
# Motion and exposure
# ---------------------------------------------------------------------------------------------------------------------


def _positions(request: Request, beamline: Beamline) -> Iterator[Problem]:
    if beamline.goniometer is None:
        return
    limits: Mapping[str, Range] = beamline.goniometer.limits
    axes = sorted(set(limits) - {"omega_deg"})
    for axis, position in request.positions.items():
        field, value, allowed = f"positions.{axis}", f"{position:g}", ""
        if axis == "omega_deg":
            allowed = "the sweep moves omega: set sweep.omega_start_deg"
        elif axis not in limits:
            nearest = difflib.get_close_matches(axis, axes, 1, 0.5)
            advice = f"did you mean positions.{nearest[0]}?" if nearest else f"there are {', '.join(axes) or 'none'}"
            allowed = f"the goniometer has no such axis; {advice}"
        elif position not in limits[axis]:
            allowed = _beyond(limits[axis], axis.rpartition("_")[2])
        if allowed:
            yield Problem(field=field, value=value, allowed=allowed)


def _speed_and_travel(request: Request, plan: Plan, beamline: Beamline) -> Iterator[Problem]:
    goniometer = beamline.goniometer
    if goniometer is None or not plan.image_width_deg:
        return
    # Each pass turns through the whole image in its share of the exposure.
    turned_deg = abs(float(plan.image_width_deg)) * plan.passes
    fastest = goniometer.max_omega_speed_deg_s
    if turned_deg / plan.exposure_s > fastest * (1 + _ROUNDING):
        allowed = (
            f"turns omega at {turned_deg / plan.exposure_s:g} deg/s, and it reaches {fastest:g} deg/s; "
            f"sweep.exposure_s must be at least {_rounded_up(turned_deg / fastest)} s for this image width"
        )
        yield Problem(field="sweep.exposure_s", value=f"{plan.exposure_s:g}", allowed=allowed)
    travel = goniometer.limits.get("omega_deg")
    if travel is None or math.isinf(travel.high - travel.low):
        return  # omega turns without end
    low, high = _travelled(plan, goniometer, beamline.config.shutter_opening_s)
    if low < travel.low - _ROUNDING or high > travel.high + _ROUNDING:
        allowed = (
            f"with run-up the collection turns omega from {low:g} to {high:g} deg, "
            f"and it travels {travel.low:g} to {travel.high:g} deg"
        )
        yield Problem(field="sweep.omega_start_deg", value=shown(request.sweep.omega_start_deg), allowed=allowed)


def transmission_tolerance(asked_frac: float) -> float:
    """How far a transmission may read back from what was asked for."""
    return max(_TRANSMISSION_TOLERANCE * asked_frac, _TRANSMISSION_TOLERANCE_FRAC)


def snapshot_angles_deg(request: Request, goniometer: Goniometer) -> list[float]:
    """Omega of each snapshot: 90 degrees apart from the sweep's begin, by whole turns brought within the travel."""
    travel = goniometer.limits.get("omega_deg")
    angles: list[float] = []
    for number in range(request.snapshots.count):
        asked_deg = float(request.sweep.omega_start_deg) + 90.0 * number
        ways = [asked_deg, asked_deg - 360.0, asked_deg + 360.0]
        angles.append(next((way for way in ways if travel is None or way in travel), asked_deg))
    return angles


def turned_by_90_deg(omega_deg: float, goniometer: Goniometer) -> float:
    """A quarter turn from `omega_deg`, forwards where omega travels that far."""
    travel = goniometer.limits.get("omega_deg")
    return omega_deg + 90.0 if travel is None or omega_deg + 90.0 in travel else omega_deg - 90.0


def _snapshots(request: Request, beamline: Beamline) -> Iterator[Problem]:
    goniometer = beamline.goniometer
    travel = None if goniometer is None else goniometer.limits.get("omega_deg")
    if goniometer is None or travel is None:
        return
    beyond = [omega_deg for omega_deg in snapshot_angles_deg(request, goniometer) if omega_deg not in travel]
    if beyond:
        allowed = f"one at omega {beyond[0]:g} deg is out of reach: omega travels {travel.low:g} to {travel.high:g} deg"
        yield Problem(field="snapshots.count", value=str(request.snapshots.count), allowed=allowed)


def _travelled(plan: Plan, goniometer: Goniometer, shutter_opening_s: float) -> tuple[float, float]:
    """Lowest and highest omega of the whole collection, run-ups and run-outs included."""
    ends: list[float] = []
    for wedge in _outermost(plan):
        part = wedge if plan.shutterless else wedge.part(wedge.first_image, 1)
        run_up = to_sweep(part, goniometer.time_to_speed_s, shutter_opening_s, passes=plan.passes).run_up_deg
        edges = float(wedge.omega_start_deg), float(wedge.omega_end_deg)
        ends += [min(edges) - run_up, max(edges) + run_up]
    return min(ends), max(ends)


def _outermost(plan: Plan) -> Iterable[Wedge]:
    """The wedges that can reach furthest: starts go one way, and only a series' last, smaller wedge may end inside."""
    count = len(plan.series)
    return {wedge.index: wedge for wedge in (*plan.wedges[:count], *plan.wedges[-2 * count :])}.values()


def _exposure(_request: Request, plan: Plan, beamline: Beamline) -> Iterator[Problem]:
    shortest: list[tuple[float, str]] = [(beamline.config.min_exposure_s, beamline.config.name)]
    if beamline.detector is not None:
        shortest.append((beamline.detector.info.min_frame_time_s, "the detector"))
    least_s, whose = max(shortest)
    if plan.exposure_s / plan.passes < least_s * (1 - _ROUNDING):
        passes = f" for {plan.passes} passes" if plan.passes > 1 else ""
        allowed = f"must be at least {_rounded_up(least_s * plan.passes)} s{passes}: {whose} takes no shorter exposure"
        yield Problem(field="sweep.exposure_s", value=f"{plan.exposure_s:g}", allowed=allowed)


def _rounded_up(value: float, figures: int = 6) -> str:
    """So many digits, never below `value`, so that what is advised is allowed."""
    digits = 10.0 ** (figures - 1 - math.floor(math.log10(value)))
    return f"{math.ceil(value * digits * (1 - _ROUNDING)) / digits:g}"
