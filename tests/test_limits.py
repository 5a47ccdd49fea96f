"""What a beamline cannot do is refused before anything moves, in words that say what it can."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs
import pytest

from fsmcollect.beamline import (
    Beamline,
    BeamlineConfig,
    DetectorInfo,
    Location,
    Range,
    distance_for_resolution_mm,
    resolution_at_distance_a,
)
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.limits import check, name_clashes, target_distance_mm, target_energy_ev
from fsmcollect.request import Request, from_dict
from fsmcollect.wedges import make_plan

INFO = DetectorInfo(
    description="EIGER2 16M",
    serial_number="E-32-0100",
    pixels_fast=4148,
    pixels_slow=4362,
    pixel_size_m=75e-6,
    sensor_material="Si",
    sensor_thickness_m=450e-6,
    saturation_value=60_000,
    bit_depth=32,
    beam_centre_px=(2074.0, 2181.0),
    dead_time_s=3e-6,
    min_frame_time_s=0.002,
)


@attrs.frozen(kw_only=True)
class Stub:
    """The static facts of every role in one; anything that moved would be an AttributeError."""

    limits: Mapping[str, Range] = attrs.field(
        factory=lambda: {
            "omega_deg": Range(-math.inf, math.inf),
            "kappa_deg": Range(-5.0, 240.0),
            "x_mm": Range(-2.0, 2.0),
        }
    )
    max_omega_speed_deg_s: float = 120.0
    time_to_speed_s: float = 0.1
    info: DetectorInfo = INFO
    limits_mm: Range = attrs.field(factory=lambda: Range(120.0, 800.0))
    limits_ev: Range = attrs.field(factory=lambda: Range(5000.0, 25000.0))
    sizes_um: Sequence[float] = (10.0, 50.0)
    places: Sequence[Location] = tuple(Location(puck, pin) for puck in range(1, 6) for pin in range(1, 17))
    needs_distance_mm: float = 300.0


CONFIG = BeamlineConfig(
    name="I99",
    synchrotron_name="SIM",
    instrument_short_name="I99",
    shutter_opening_s=0.0,
    fixed_distance_mm=200.0,
)


def beamline(*, without: Sequence[str] = (), config: Mapping[str, Any] | None = None, **roles: Stub) -> Beamline:
    """A beamline with every role that limits look at, less or other than the ones named."""
    names = (
        "goniometer", "detector", "fast_shutter", "detector_stage", "attenuator", "monochromator", "aperture",
        "camera", "sample_changer", "person",
    )  # fmt: skip
    present = {name: roles.get(name, Stub()) for name in names if name not in without}
    settings = {
        "name": "I99",
        "synchrotron_name": "SIM",
        "instrument_short_name": "I99",
        "shutter_opening_s": 0.0,
        **(config or {}),
    }
    return Beamline(config=BeamlineConfig(**settings), **cast("dict[str, Any]", present))


def ask(**sections: Mapping[str, Any]) -> Request:
    """A request that the beamline above grants, with some settings different."""
    plain: dict[str, dict[str, Any]] = {
        "files": {"directory": "d", "prefix": "p"},
        "beam": {"energy_ev": 12700},
        "sweep": {"image_width_deg": 0.1, "images": 100, "exposure_s": 0.01},
    }
    for name, settings in sections.items():
        plain[name] = {**plain.get(name, {}), **settings}
        plain[name] = {key: value for key, value in plain[name].items() if value is not None}
    return from_dict(plain)


def problems(request: Request, line: Beamline) -> tuple[Problem, ...]:
    with pytest.raises(InvalidRequest) as refusal:
        check(request, make_plan(request), line)
    return refusal.value.problems


def granted(request: Request, line: Beamline) -> None:
    check(request, make_plan(request), line)


EVERYTHING = ask(
    sample={"location": "5:16"},
    beam={"resolution_a": 1.8, "transmission_frac": 0.2, "aperture_um": 50},
    centring={"validate": True},
    snapshots={"count": 4},
    positions={"kappa_deg": 240, "x_mm": -2},
)


def test_a_beamline_that_has_everything_grants_everything() -> None:
    granted(EVERYTHING, beamline())
    granted(ask(), beamline())


def test_the_least_beamline_grants_a_plain_collection() -> None:
    least = beamline(
        without=("detector_stage", "attenuator", "monochromator", "aperture", "camera", "sample_changer"),
        config={"fixed_energy_ev": 12700.0, "fixed_distance_mm": 200.0},
    )
    granted(ask(centring={"method": "none"}), least)
    granted(ask(centring={"method": "manual"}, beam={"energy_ev": None, "transmission_frac": 1.0}), least)
    granted(ask(centring={"method": "none"}, beam={"detector_distance_mm": 200}), least)


FIXED = {"fixed_energy_ev": 12000.0, "fixed_distance_mm": 200.0}


@pytest.mark.parametrize(
    "lacking, config, asked, field, value, words",
    [
        ("goniometer", {}, {}, "beamline", "", "I99 has no goniometer, which is required to expose"),
        ("detector", {}, {}, "beamline", "", "I99 has no detector, which is required to expose"),
        ("fast_shutter", {}, {}, "beamline", "", "I99 has no fast shutter, which is required to expose"),
        ("sample_changer", {}, {"sample": {"location": "1:5"}}, "sample.location", '"1:5"', "has no sample changer"),
        ("person", {}, {}, "sample.location", "", "mounted by hand, and I99 has no person"),
        ("person", {}, {"sample": {"location": "1:1"}, "centring": {"method": "manual"}}, "centring.method", '"manual"',
         "no person"),
        ("person", {}, {"sample": {"location": "1:1"}, "centring": {"validate": True}}, "centring.validate", "true",
         "no person"),
        ("camera", {}, {}, "centring.method", '"auto"', "needs a camera"),
        ("camera", {}, {"centring": {"method": "none"}, "snapshots": {"count": 2}}, "snapshots.count", "2", "camera"),
        ("attenuator", {}, {"beam": {"transmission_frac": 0}}, "beam.transmission_frac", "0", "has no attenuator"),
        ("aperture", {}, {"beam": {"aperture_um": 50}}, "beam.aperture_um", "50", "has no aperture"),
        ("monochromator", FIXED, {}, "beam.energy_ev", "12700", "has no monochromator: its energy is 12000 eV"),
        ("monochromator", {}, {"beam": {"energy_ev": None}}, "beam.energy_ev", "", "is required, in eV"),
        ("detector_stage", FIXED, {"beam": {"detector_distance_mm": 300}}, "beam.detector_distance_mm", "300",
         "its detector stands at 200 mm"),
        ("detector_stage", FIXED, {"beam": {"resolution_a": 1.8}}, "beam.resolution_a", "1.8", "which records 1.50 A"),
        ("detector_stage", {}, {"beam": {"detector_distance_mm": 300}}, "beam.detector_distance_mm", "300",
         "names no fixed distance"),
        ("detector_stage", FIXED, {"sample": {"location": "1:1"}}, "sample.location", '"1:1"',
         "needs the detector 300 mm away, and it goes no further than 200 mm"),
    ],
)  # fmt: skip
def test_what_a_beamline_lacks_cannot_be_asked_of_it(
    lacking: str, config: Mapping[str, Any], asked: dict[str, Any], field: str, value: str, words: str
) -> None:
    (problem,) = problems(ask(**asked), beamline(without=(lacking,), config=config))
    assert (problem.field, problem.value) == (field, value)
    assert words in problem.allowed


@pytest.mark.parametrize(
    "asked, field, value, words",
    [
        ({"sample": {"location": "6:1"}}, "sample.location", '"6:1"',
         "the sample changer has pucks 1 to 5 with pins 1 to 16"),
        ({"beam": {"energy_ev": 30000}}, "beam.energy_ev", "30000", "limits, 5000 to 25000 eV"),
        ({"beam": {"energy_ev": 12.7}}, "beam.energy_ev", "12.7", "12.7 keV is 12700 eV"),
        ({"beam": {"energy_ev": None}}, "beam.energy_ev", "", "is required, in eV: I99 can be tuned"),
        ({"beam": {"detector_distance_mm": 900}}, "beam.detector_distance_mm", "900", "limits, 120 to 800 mm"),
        ({"beam": {"resolution_a": 10}}, "beam.resolution_a", "10",
         "needs the detector at 1587.6 mm, which is beyond the beamline's limits, 120 to 800 mm"),
        ({"beam": {"resolution_a": 0.4}}, "beam.resolution_a", "0.4", "cannot be recorded at 12700 eV"),
        ({"beam": {"aperture_um": 20}}, "beam.aperture_um", "20", "is not offered; there are 10, 50 um"),
        ({"sweep": {"exposure_s": 0.0005, "image_width_deg": 0.01}}, "sweep.exposure_s", "0.0005",
         "must be at least 0.002 s: the detector takes no shorter exposure"),
        ({"sweep": {"exposure_s": 0.005, "image_width_deg": -1}}, "sweep.exposure_s", "0.005",
         "turns omega at 200 deg/s, and it reaches 120 deg/s; sweep.exposure_s must be at least 0.00833334 s"),
        ({"sweep": {"exposure_s": 0.02, "image_width_deg": 1, "passes": 4, "shutterless": False}},
         "sweep.exposure_s", "0.02", "200 deg/s"),
        ({"sweep": {"exposure_s": 0.004, "passes": 4, "shutterless": False}}, "sweep.exposure_s", "0.004",
         "must be at least 0.008 s for 4 passes"),
        ({"positions": {"kapa_deg": 5}}, "positions.kapa_deg", "5", "did you mean positions.kappa_deg?"),
        ({"positions": {"chi": 5}}, "positions.chi", "5", "no such axis; there are kappa_deg, x_mm"),
        ({"positions": {"kappa_deg": 241}}, "positions.kappa_deg", "241", "limits, -5 to 240 deg"),
        ({"positions": {"x_mm": 3}}, "positions.x_mm", "3", "limits, -2 to 2 mm"),
        ({"positions": {"omega_deg": 3}}, "positions.omega_deg", "3", "set sweep.omega_start_deg"),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_told_with_the_limit(
    asked: dict[str, Any], field: str, value: str, words: str
) -> None:
    (problem,) = [problem for problem in problems(ask(**asked), beamline()) if words in problem.allowed]
    assert (problem.field, problem.value) == (field, value)


def test_everything_that_cannot_be_done_is_told_at_once() -> None:
    found = problems(EVERYTHING, beamline(without=("fast_shutter", "camera", "person", "attenuator", "aperture")))
    assert [problem.field for problem in found] == [
        "beamline",
        "beam.transmission_frac",
        "beam.aperture_um",
        "centring.method",
        "snapshots.count",
        "centring.validate",
    ]


def test_a_beamline_without_devices_is_refused_and_not_stumbled_over() -> None:
    empty = Beamline(
        config=BeamlineConfig(name="I99", synchrotron_name="SIM", instrument_short_name="I99", shutter_opening_s=0.0)
    )
    assert [problem.field for problem in problems(EVERYTHING, empty)][:3] == ["beamline"] * 3


def test_the_exposure_that_is_advised_is_granted() -> None:
    refused = ask(sweep={"exposure_s": 0.005, "image_width_deg": 1})
    advised = problems(refused, beamline())[0].allowed.partition("at least ")[2].split()[0]
    granted(ask(sweep={"exposure_s": float(advised), "image_width_deg": 1}), beamline())


def test_a_limit_that_is_met_exactly_is_granted() -> None:
    granted(ask(sweep={"exposure_s": 0.002}), beamline())
    granted(ask(sweep={"exposure_s": 0.01, "image_width_deg": 1.2}), beamline())
    granted(ask(beam={"energy_ev": 25000, "detector_distance_mm": 120}), beamline())


def test_the_beamlines_own_shortest_exposure_counts_too() -> None:
    (problem,) = problems(ask(), beamline(config={"min_exposure_s": 0.05}))
    assert "must be at least 0.05 s: I99 takes no shorter exposure" in problem.allowed


# -- omega that does not turn without end -----------------------------------------------------------------------------

#: 10 deg/s: a run-up of 1.5 deg on either side.
LIMITED = Stub(limits={"omega_deg": Range(-10.0, 190.0)})


@pytest.mark.parametrize(
    "sweep, fits",
    [
        ({"omega_start_deg": 0}, True),
        ({"omega_start_deg": -8.5}, True),
        ({"omega_start_deg": -8.6}, False),
        ({"omega_start_deg": 178.5}, True),
        ({"omega_start_deg": 178.6}, False),
        ({"omega_start_deg": 188, "image_width_deg": -0.1}, True),
        ({"omega_start_deg": 0, "image_width_deg": -0.1}, False),
        ({"omega_start_deg": 0, "wedge_images": 10, "overlap_deg": -30}, False),
        ({"omega_start_deg": -10, "image_width_deg": 0}, True),
        # The wedge before the last ends furthest: 0.9 x 10 deg overlap, and one image in the last wedge.
        ({"omega_start_deg": 177.4, "images": 101, "wedge_images": 100, "overlap_deg": 9}, True),
        ({"omega_start_deg": 178.55, "images": 101, "wedge_images": 100, "overlap_deg": 9.95}, False),
    ],
)
def test_the_whole_sweep_with_run_up_must_fit_the_travel_of_omega(sweep: dict[str, Any], fits: bool) -> None:
    request, line = ask(sweep=sweep), beamline(goniometer=LIMITED)
    if fits:
        granted(request, line)
        return
    (problem,) = problems(request, line)
    assert problem.field == "sweep.omega_start_deg"
    assert "and it travels -10 to 190 deg" in problem.allowed


def test_the_inverse_pass_must_fit_the_travel_of_omega_too() -> None:
    line = beamline(goniometer=LIMITED)
    granted(ask(sweep={"images": 80}, inverse_beam={"wedge_images": 10}), line)
    (problem,) = problems(ask(sweep={"images": 100}, inverse_beam={"wedge_images": 10}), line)
    assert "turns omega from -1.5 to 191.5 deg" in problem.allowed


def test_omega_without_named_limits_turns_without_end() -> None:
    granted(ask(sweep={"omega_start_deg": 10_000}), beamline(goniometer=Stub(limits={})))


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "places, words",
    [
        ((), "the sample changer has no places"),
        ((Location(1, 1),), "the sample changer has puck 1 with pin 1"),
        ((Location(1, 1), Location(1, 2), Location(3, 1)), "puck 1 with pins 1 to 2, puck 3 with pin 1"),
        ((Location(1, 1), Location(1, 5), Location(2, 1), Location(2, 5)), "pucks 1 to 2 with pins 1, 5"),
    ],
)
def test_the_places_that_there_are_are_told_in_few_words(places: Sequence[Location], words: str) -> None:
    (problem,) = problems(ask(sample={"location": "9:9"}), beamline(sample_changer=Stub(places=places)))
    assert words in problem.allowed


# -- targets ----------------------------------------------------------------------------------------------------------


def test_the_energy_is_what_is_asked_or_what_is_fixed() -> None:
    fixed = beamline(without=("monochromator",), config=FIXED)
    assert target_energy_ev(ask(), beamline()) == 12700.0
    assert target_energy_ev(ask(beam={"energy_ev": None}), fixed) == 12000.0
    with pytest.raises(InvalidRequest, match="is required, in eV: I99 can be tuned"):
        target_energy_ev(ask(beam={"energy_ev": None}), beamline())


def test_the_distance_is_what_is_asked_or_what_records_the_resolution_or_what_is_fixed() -> None:
    fixed = beamline(without=("detector_stage",), config=FIXED)
    assert target_distance_mm(ask(), beamline()) is None
    assert target_distance_mm(ask(), fixed) == 200.0
    assert target_distance_mm(ask(beam={"detector_distance_mm": 300}), beamline()) == 300.0
    asked = ask(beam={"resolution_a": 1.8})
    assert target_distance_mm(asked, beamline()) == distance_for_resolution_mm(INFO, 1.8, 12700.0)
    with pytest.raises(InvalidRequest, match="has no detector"):
        target_distance_mm(asked, beamline(without=("detector",)))
    with pytest.raises(InvalidRequest, match=r"beam\.resolution_a = 0\.4: .*cannot be recorded"):
        target_distance_mm(ask(beam={"resolution_a": 0.4}), beamline())


def test_a_fixed_detector_grants_the_resolution_that_it_records() -> None:
    fixed = beamline(without=("detector_stage",), config=FIXED)
    recorded_a = round(resolution_at_distance_a(INFO, 200.0, 12700.0), 2)
    request = ask(beam={"resolution_a": recorded_a})
    granted(request, fixed)
    assert target_distance_mm(request, fixed) == 200.0


def test_collections_of_a_list_that_would_write_the_same_files_are_named() -> None:
    def named(prefix: str, directory: str) -> Request:
        return ask(files={"directory": directory, "prefix": prefix})

    requests = [
        named("a", "data"),
        named("b", "data"),
        named("a", "elsewhere"),
        named("a", "./data/"),
        named("b", "data"),
    ]
    clashes = name_clashes(requests, [make_plan(request) for request in requests])
    assert [(position, problem.field, problem.value) for position, problem in clashes] == [
        (3, "files.prefix", '"a"'),
        (4, "files.prefix", '"b"'),
    ]
    assert "the same file names as [0] in this list" in clashes[0][1].allowed
    assert "the same file names as [1] in this list" in clashes[1][1].allowed
