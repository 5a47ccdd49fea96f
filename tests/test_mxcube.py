"""MXCuBE's dictionary: what it means here, and what is refused under its own names."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsmcollect.beamline import Location
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request import CentringMethod, InverseBeam, from_dict, to_dict
from fsmcollect.request.mxcube import from_mxcube, parse_mxcube
from fsmcollect.wedges import make_plan

#: What MXCuBE hands over for a plain sweep, as in its own tests (shared/data/mx/mxcube_parameters.json).
DICTIONARY: dict[str, Any] = {
    "comments": "",
    "dark": True,
    "detector_binning_mode": None,
    "energy": 12.4,
    "experiment_type": "OSC",
    "fileinfo": {
        "archive_directory": "/data/visitor/mx2026/ARCHIVE",
        "compression": False,
        "directory": "/data/visitor/mx2026/RAW_DATA/lyso",
        "prefix": "lyso",
        "process_directory": "/data/visitor/mx2026/PROC",
        "run_number": 1,
        "template": "lyso_1_%04d.h5",
    },
    "in_interleave": None,
    "motors": {
        "kappa": 11,
        "kappa_phi": 22.0,
        "phi": 311.1,
        "phiy": 1.0,
        "phiz": 1.1,
        "sampx": 0.0,
        "sampy": -1.0,
        "focus": None,
    },
    "oscillation_sequence": [
        {
            "exposure_time": 0.01,
            "kappaStart": 11.0,
            "mesh_range": [],
            "number_of_images": 10,
            "number_of_lines": 1,
            "number_of_passes": 1,
            "overlap": 0,
            "phiStart": 22.0,
            "range": 0.1,
            "start": 311.1,
            "start_image_number": 1,
        }
    ],
    "processing": "True",
    "resolution": {"upper": 2.0},
    "sample_reference": {"blSampleId": -1, "cell": "0,0,0,0,0,0", "spacegroup": 0},
    "shutterless": True,
    "skip_images": True,
    "take_snapshots": 0,
    "transmission": 50.0,
}


def changed(**settings: Any) -> dict[str, Any]:
    """The dictionary with some fields different: `osc__range=5` is oscillation_sequence[0]["range"] = 5."""
    result = copy.deepcopy(DICTIONARY)
    tables = {
        "osc": result["oscillation_sequence"][0],
        "file": result["fileinfo"],
        "sample": result["sample_reference"],
        "motors": result["motors"],
    }
    for name, value in settings.items():
        table, _, key = name.rpartition("__")
        (tables[table] if table else result)[key] = value
    return result


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in DICTIONARY.items() if key not in names}


def problems(mapping: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidRequest) as refusal:
        from_mxcube(mapping)
    return refusal.value.problems


# -- meaning ----------------------------------------------------------------------------------------------------------


def test_a_plain_sweep_is_understood() -> None:
    (request,) = parse_mxcube(json.dumps([DICTIONARY]))
    assert to_dict(request) == {
        "sample": {"name": "", "mounted": False},
        "files": {
            "directory": "/data/visitor/mx2026/RAW_DATA/lyso",
            "prefix": "lyso",
            "run_number": 1,
            "process_directory": "/data/visitor/mx2026/PROC",
            "skip_existing": True,
        },
        "beam": {"energy_ev": 12400.0, "transmission_frac": 0.5, "resolution_a": 2.0},
        "sweep": {
            "omega_start_deg": 311.1,
            "image_width_deg": 0.1,
            "images": 10,
            "exposure_s": 0.01,
            "first_image": 1,
            "overlap_deg": 0.0,
            "passes": 1,
            "shutterless": True,
            "dark_image": True,
        },
        "centring": {"method": "none", "timeout_s": 120.0, "validate": False},
        "snapshots": {"count": 0},
        "positions": {"kappa_deg": 11.0, "phi_deg": 22.0, "x_mm": 0.0, "y_mm": 1.0, "z_mm": 1.1},
    }
    assert from_dict(to_dict(request)) == request


def test_angles_are_exact_from_json_and_from_python() -> None:
    (from_json,) = parse_mxcube(json.dumps(DICTIONARY))
    assert from_json == from_mxcube(DICTIONARY)
    assert from_json.sweep.omega_start_deg == Fraction(3111, 10)


def test_text_for_numbers_and_truth_values_is_what_mxcube_sends() -> None:
    written = changed(
        energy=" 12.4 ",
        transmission="50",
        osc__range="1e-1",
        osc__number_of_images="10",
        osc__start_image_number=1.0,
        skip_images="True",
        shutterless="1",
        dark="true",
    )
    assert from_mxcube(written) == from_mxcube(DICTIONARY)
    assert from_mxcube(changed(shutterless="False")).sweep.shutterless is False


def test_a_transmission_of_0_is_not_dropped() -> None:
    assert from_mxcube(changed(transmission=0)).beam.transmission_frac == 0.0


def test_wavelength_distance_and_the_saved_omega_stand_in_where_the_first_choice_is_blank() -> None:
    request = from_mxcube(
        changed(
            energy=None, wavelength=1.0, resolution="", detector_distance=200, osc__start=None, osc__kappaStart=None
        )
    )
    assert request.beam.energy_ev == pytest.approx(12398.42, abs=0.01)
    assert (request.beam.resolution_a, request.beam.detector_distance_mm) == (None, 200.0)
    assert request.sweep.omega_start_deg == Fraction(3111, 10)
    assert request.positions["kappa_deg"] == 11.0


def test_resolution_wins_over_distance_and_a_plain_number_is_one() -> None:
    beam = from_mxcube(changed(resolution=1.8, detector_distance=200)).beam
    assert (beam.resolution_a, beam.detector_distance_mm) == (1.8, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"experiment_type": "SAD - Inverse Beam", "osc__reference_interval": 5},
        {"experiment_type": "MAD - Inverse Beam", "osc__reference_interval": "5"},
        {"inverse_beam": True, "osc__reference_interval": 5},
        {"inverse_beam": "True", "osc__reference_interval": 5},
        {"osc__inverse_beam": 1, "osc__reference_interval": 5},
    ],
)
def test_inverse_beam_takes_its_wedge_from_the_reference_interval(settings: dict[str, Any]) -> None:
    request = from_mxcube(changed(**settings))
    assert request.inverse_beam == InverseBeam(wedge_images=5)
    assert request.sweep.wedge_images is None


def test_a_reference_interval_without_inverse_beam_splits_the_sweep() -> None:
    request = from_mxcube(changed(inverse_beam="False", osc__reference_interval=5))
    assert (request.inverse_beam, request.sweep.wedge_images) == (None, 5)


def test_an_overlap_without_an_interval_makes_every_image_a_wedge_of_its_own() -> None:
    # Characterisation: four images of 1 degree, 90 degrees apart.
    request = from_mxcube(
        changed(
            osc__overlap=-89, osc__range=1, osc__number_of_images=4, osc__start=0, experiment_type="Characterization"
        )
    )
    assert [wedge.omega_start_deg for wedge in make_plan(request).wedges] == [0, 90, 180, 270]


@pytest.mark.parametrize("blank", [None, "", "None", -1, "-1"])
def test_a_blank_place_means_mounted_by_hand(blank: object) -> None:
    request = from_mxcube(
        changed(sample__sample_location=blank, sample__container_reference=3, sample__sample_name="x")
    )
    assert request.sample.location is None
    assert request.sample.name == "x"


def test_puck_and_pin_are_the_place_in_the_sample_changer() -> None:
    request = from_mxcube(changed(sample__sample_location="5", sample__container_reference=3))
    assert request.sample.location == Location(3, 5)


@pytest.mark.parametrize("asked, count", [(None, 0), (False, 0), (True, 4), ("True", 4), (2, 2), ("1", 1)])
def test_snapshots_may_be_a_number_or_a_truth_value(asked: object, count: int) -> None:
    assert from_mxcube(changed(take_snapshots=asked)).snapshots.count == count


def test_centring_is_done_before_unless_it_is_asked_for() -> None:
    assert from_mxcube(DICTIONARY).centring.method is CentringMethod.NONE
    assert from_mxcube(changed(start_auto_centring=True)).centring.method is CentringMethod.AUTO


def test_several_dictionaries_are_several_requests_in_order() -> None:
    text = json.dumps([changed(file__run_number=number) for number in (1, 2, 3)])
    assert [request.files.run_number for request in parse_mxcube("\ufeff" + text)] == [1, 2, 3]


# -- refused ----------------------------------------------------------------------------------------------------------

OSC = "oscillation_sequence[0]"


@pytest.mark.parametrize(
    "settings, field, value, words",
    [
        ({"osc__exposure_time": -1}, f"{OSC}.exposure_time", "-1", "must be greater than 0 s"),
        ({"osc__exposure_time": None}, f"{OSC}.exposure_time", "", "is required"),
        ({"osc__exposure_time": "fast"}, f"{OSC}.exposure_time", '"fast"', "must be a number, not text"),
        ({"osc__exposure_time": float("nan")}, f"{OSC}.exposure_time", "nan", "finite"),
        ({"osc__number_of_images": 0}, f"{OSC}.number_of_images", "0", "must be 1 to 10,000,000 images"),
        ({"osc__number_of_images": None}, f"{OSC}.number_of_images", "", "is required"),
        ({"osc__number_of_images": 2.5}, f"{OSC}.number_of_images", "2.5", "whole number"),
        (
            {"osc__number_of_images": "1e99999999999999999999"},
            f"{OSC}.number_of_images",
            "1e99999999999999999999",
            "lie",
        ),
        ({"osc__range": float("inf")}, f"{OSC}.range", "inf", "finite"),
        ({"osc__reference_interval": 0}, f"{OSC}.reference_interval", "0", "must be 1 to"),
        ({"osc__reference_interval": 5, "osc__overlap": 1}, f"{OSC}.overlap", "1", "a full wedge, which is 0.5 deg"),
        ({"osc__number_of_passes": 2}, f"{OSC}.number_of_passes", "2", "needs shutterless = false"),
        ({"osc__number_of_lines": 3}, f"{OSC}.number_of_lines", "3", "not supported yet"),
        ({"experiment_type": "Mesh"}, "experiment_type", '"Mesh"', "not supported yet"),
        ({"experiment_type": "SAD - Inverse Beam"}, f"{OSC}.reference_interval", "", "is required with inverse beam"),
        ({"in_interleave": [1, 10]}, "in_interleave", "a list of 2", "not supported yet"),
        ({"transmission": 150}, "transmission", "150", "must be 0 to 100 %"),
        ({"transmission": -1}, "transmission", "-1", "must be 0 to 100 %"),
        ({"energy": 0}, "energy", "0", "must be greater than 0 keV"),
        ({"energy": "x"}, "energy", '"x"', "must be a number, not text"),
        ({"energy": None, "wavelength": -1}, "wavelength", "-1", "must be greater than 0 A"),
        ({"resolution": {"upper": 0}}, "resolution.upper", "0", "must be greater than 0 A"),
        ({"resolution": -2}, "resolution", "-2", "must be greater than 0 A"),
        ({"resolution": None, "detector_distance": -2}, "detector_distance", "-2", "must be greater than 0 mm"),
        ({"take_snapshots": 5}, "take_snapshots", "5", "must be 0 to 4 pictures"),
        ({"skip_images": "perhaps"}, "skip_images", '"perhaps"', "must be true or false"),
        ({"motors__kappa": "x", "osc__kappaStart": None}, "motors.kappa", '"x"', "must be a number"),
        ({"osc__kappaStart": "x"}, f"{OSC}.kappaStart", '"x"', "must be a number"),
        ({"motors": [1]}, "motors", "a list of 1", "must be a dictionary"),
        ({"file__prefix": "../lyso"}, "fileinfo.prefix", '"../lyso"', "must not"),
        ({"file__directory": "../lyso"}, "fileinfo.directory", '"../lyso"', "climb"),
        ({"file__run_number": 0}, "fileinfo.run_number", "0", "must be 1 to"),
        ({"sample__sample_location": 5}, "sample_reference.container_reference", "", "number of a puck"),
        (
            {"sample__sample_location": 0, "sample__container_reference": 1},
            "sample_reference.sample_location",
            "0",
            "number of a pin, from 1",
        ),
        ({"oscillation_sequence": []}, "oscillation_sequence", "a list of 0", "a list that holds one oscillation"),
        ({"oscillation_sequence": [5]}, OSC, "5", "must be a dictionary"),
    ],
)
def test_what_is_wrong_is_told_under_mxcubes_own_name(
    settings: dict[str, Any], field: str, value: str, words: str
) -> None:
    first = problems(changed(**settings))[0]
    assert (first.field, first.value) == (field, value)
    assert words in first.allowed


def test_several_oscillations_are_refused_and_not_cut_short() -> None:
    (problem,) = problems({**DICTIONARY, "oscillation_sequence": DICTIONARY["oscillation_sequence"] * 2})
    assert problem.field == "oscillation_sequence"
    assert "holds 2 oscillations, and more than 1 is not supported yet" in problem.allowed


def test_what_is_not_there_is_named() -> None:
    fields = [problem.field for problem in problems(without("fileinfo", "oscillation_sequence"))]
    assert fields == [
        "oscillation_sequence",
        "fileinfo.directory",
        "fileinfo.prefix",
        f"{OSC}.range",
        f"{OSC}.number_of_images",
        f"{OSC}.exposure_time",
    ]


def test_problems_of_a_list_say_which_dictionary_and_all_are_told() -> None:
    text = json.dumps([changed(energy=0), DICTIONARY, changed(transmission=101)])
    with pytest.raises(InvalidRequest) as refusal:
        parse_mxcube(text, "queue.json")
    assert [(problem.field, problem.where) for problem in refusal.value.problems] == [
        ("[0].energy", "queue.json"),
        ("[2].transmission", "queue.json"),
    ]


@pytest.mark.parametrize(
    "text, words, where",
    [
        ("", "Expecting value", "x.json, line 1, column 1"),
        ("[\n{]", "Expecting property name", "x.json, line 2, column 2"),
        ("[" * 100_000, "nested too deeply", "x.json"),
        ("9" * 5000, "too many digits", "x.json"),
        ("[]", "holds no collection", "x.json"),
        ("5", "must be a dictionary of parameters", "x.json"),
        ("NaN", "must be a dictionary of parameters", "x.json"),
        ('["x"]', "must be a dictionary of parameters", "x.json"),
    ],
    ids=["empty", "broken", "deep", "digits", "nothing", "number", "NaN", "text"],
)
def test_broken_json_is_told_with_line_and_column(text: str, words: str, where: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_mxcube(text, "x.json")
    (problem,) = refusal.value.problems
    assert (problem.field, problem.where) == ("JSON", where)
    assert words in problem.allowed


def test_nan_and_infinity_in_json_are_refused_by_the_name_of_their_field() -> None:
    for constant in ("NaN", "Infinity", "-Infinity"):
        text = json.dumps(DICTIONARY).replace('"exposure_time": 0.01', f'"exposure_time": {constant}')
        with pytest.raises(InvalidRequest, match=rf"exposure_time = {constant}: must be a finite number"):
            parse_mxcube(text)


# -- anything at all --------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1e999999999", "-1", "1/3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = [
    *DICTIONARY, "wavelength", "inverse_beam", "start_auto_centring", "detector_distance",
    *(f"osc__{key}" for key in (*DICTIONARY["oscillation_sequence"][0], "reference_interval", "inverse_beam")),
    *(f"file__{key}" for key in DICTIONARY["fileinfo"]),
    *(f"motors__{key}" for key in DICTIONARY["motors"]),
    *(f"sample__{key}" for key in ("sample_name", "container_reference", "sample_location")),
]  # fmt: skip


def _only_invalid_requests(text: str) -> None:
    try:
        requests = parse_mxcube(text, "any.json")
    except InvalidRequest as refused:
        refusal = refused
    else:
        assert all(from_dict(to_dict(request)) == request for request in requests)
        return
    assert refusal.problems
    assert str(refusal).encode()


@given(st.text() | JSON_VALUES.map(json.dumps))
@example('{"fileinfo": {"prefix": "\\ud800"}}')
def test_any_text_is_requests_or_refused(text: str) -> None:
    _only_invalid_requests(text)


@given(st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, min_size=1, max_size=4))
def test_any_value_of_any_field_is_understood_or_refused(settings: dict[str, Any]) -> None:
    _only_invalid_requests(json.dumps(changed(**settings)))
