"""Requests: what is read, what is refused and in which words, and what comes back."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsmcollect.beamline import Location
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request import (
    Beam,
    Centring,
    CentringMethod,
    Files,
    InverseBeam,
    Request,
    Sample,
    Snapshots,
    SweepRequest,
    from_dict,
    parse_toml,
    to_dict,
    to_toml,
)
from fsmcollect.request.documents import setting_lines
from fsmcollect.request.fields import exact

EXAMPLE = """
[sample]
location = "1:5"            # puck:pin; left out: mounted by hand
[files]
directory = "data/lyso"
prefix = "lyso"
run_number = 1
[beam]
energy_ev = 12700
transmission_frac = 0.2
detector_distance_mm = 200.0
[sweep]
omega_start_deg = 0.0
image_width_deg = 0.1
images = 900
exposure_s = 0.01
first_image = 1
[inverse_beam]
wedge_images = 100
[centring]
method = "auto"
timeout_s = 120
"""

SMALLEST = """
[files]
directory = "d"
prefix = "p"
[sweep]
image_width_deg = 0.1
images = 10
exposure_s = 0.01
"""


def problems(text: str, where: str = "") -> tuple[Problem, ...]:
    with pytest.raises(InvalidRequest) as refusal:
        parse_toml(text, where)
    return refusal.value.problems


def the_problem(text: str, where: str = "") -> Problem:
    (problem,) = problems(text, where)
    return problem


# -- read -------------------------------------------------------------------------------------------------------------


def test_the_example_is_read_as_it_is_written() -> None:
    assert parse_toml(EXAMPLE) == Request(
        sample=Sample(location=Location(1, 5)),
        files=Files(directory="data/lyso", prefix="lyso", run_number=1),
        beam=Beam(energy_ev=12700.0, transmission_frac=0.2, detector_distance_mm=200.0),
        sweep=SweepRequest(image_width_deg=Fraction(1, 10), images=900, exposure_s=0.01),
        inverse_beam=InverseBeam(wedge_images=100),
        centring=Centring(method=CentringMethod.AUTO, timeout_s=120.0),
    )


def test_what_is_left_out_has_its_default() -> None:
    request = parse_toml(SMALLEST)
    assert request.sample.location is None
    assert request.inverse_beam is None
    assert request.centring.method is CentringMethod.AUTO
    assert request.positions == {}
    assert (request.sweep.first_image, request.sweep.passes, request.sweep.shutterless) == (1, 1, True)
    assert attrs.astuple(request.beam) == (None,) * 5


def test_a_transmission_of_0_is_a_value_like_any_other() -> None:
    request = parse_toml(SMALLEST + "[beam]\ntransmission_frac = 0")
    assert request.beam.transmission_frac == 0.0
    assert to_dict(request)["beam"] == {"transmission_frac": 0.0}


def test_angles_are_the_decimals_that_are_written() -> None:
    request = parse_toml(SMALLEST.replace("0.1\n", "-0.1\nomega_start_deg = 311.10000000000000000001\n"))
    assert request.sweep.image_width_deg == Fraction(-1, 10)
    assert request.sweep.omega_start_deg == Fraction("311.10000000000000000001")
    assert request.sweep.total_width_deg == -1


def test_a_total_width_may_stand_in_place_of_the_number_of_images() -> None:
    assert parse_toml(SMALLEST.replace("images = 10", "total_width_deg = 90")).sweep.images == 900
    negative = SMALLEST.replace("images = 10", "total_width_deg = -0.3").replace("= 0.1\n", "= -0.1\n")
    assert parse_toml(negative).sweep.images == 3


def test_axes_of_the_goniometer_are_taken_by_any_name() -> None:
    assert parse_toml(SMALLEST + "[positions]\nkappa_deg = 11\nx_mm = 0.1").positions == {
        "kappa_deg": 11.0,
        "x_mm": 0.1,
    }


@pytest.mark.parametrize("text", ["\ufeff" + SMALLEST, SMALLEST.replace("\n", "\r\n")], ids=["byte order mark", "CRLF"])
def test_files_written_on_windows_are_read(text: str) -> None:
    assert parse_toml(text) == parse_toml(SMALLEST)


def test_an_absolute_directory_is_kept() -> None:
    assert parse_toml(SMALLEST.replace('"d"', '"/data/visitor/mx"')).files.directory == "/data/visitor/mx"


def test_a_request_is_a_value() -> None:
    request = parse_toml(EXAMPLE)
    assert hash(request) == hash(parse_toml(EXAMPLE))
    assert pickle.loads(pickle.dumps(request)) == request
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.sweep.images = 3  # type: ignore[misc]


# -- exact numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, expected",
    [
        (0.1, Fraction(1, 10)),
        (Decimal("0.10"), Fraction(1, 10)),
        (-3, Fraction(-3)),
        (Fraction(1, 3), Fraction(1, 3)),
        ("-1/3", Fraction(-1, 3)),
        (1.2246467991473532e-16, Fraction("1.2246467991473532e-16")),
        (Decimal("0e999999999"), Fraction(0)),
        (-0.0, Fraction(0)),
    ],
)
def test_exact_is_the_number_that_was_written(value: object, expected: Fraction) -> None:
    assert exact(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        "5",
        "0.1",
        "1/0",
        "x",
        None,
        [],
        float("nan"),
        float("-inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1e999999999"),
        Decimal("1e-999999999"),
        Decimal("1." + "1" * 5000),
        5e-324,
        10**400,
        Fraction(1, 10**400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exact_refuses_what_is_no_number_and_what_would_take_for_ever(value: object) -> None:
    with pytest.raises(ValueError, match=r"must|digits"):
        exact(value)


# -- refused ----------------------------------------------------------------------------------------------------------

#: What to write in place of which line of `SMALLEST`, and the field, value and words that the refusal holds.
REFUSED = [
    ("images = 10", 'images = "5"', "sweep.images", '"5"', "must be a number, not text"),
    ("images = 10", "images = true", "sweep.images", "true", "must be a number, not true or false"),
    ("images = 10", "images = 10.0", "sweep.images", "10.0", "must be a whole number"),
    ("images = 10", "images = [10]", "sweep.images", "a list of 1", "must be a number, not a list"),
    ("images = 10", "images = 0", "sweep.images", "0", "must be 1 to 10,000,000 images"),
    ("images = 10", "images = -3", "sweep.images", "-3", "must be 1 to 10,000,000 images"),
    ("images = 10", f"images = {10**30}", "sweep.images", str(10**30), "10,000,000 images"),
    ("images = 10", "images = 0x" + "f" * 5000, "sweep.images", "an integer of about 6021 digits", "10,000,000"),
    ("images = 10", "images = 1979-05-27", "sweep.images", "1979-05-27", "must be a number, not a date"),
    ("images = 10", "", "sweep.images", "", "is required, or sweep.total_width_deg in its place"),
    ("images = 10", "total_width_deg = 0.35", "sweep.total_width_deg", "0.35",
     "is no whole number of images of 0.1 deg: 3 images make 0.3 deg, 4 make 0.4 deg"),
    ("images = 10", "total_width_deg = 0.05", "sweep.total_width_deg", "0.05", "0 images make 0 deg, 1 makes 0.1 deg"),
    ("images = 10", "total_width_deg = 0.15", "sweep.total_width_deg", "0.15", "1 image makes 0.1 deg, 2 make 0.2 deg"),
    ("images = 10", "total_width_deg = -1", "sweep.total_width_deg", "-1", "same sign as sweep.image_width_deg = 0.1"),
    ("images = 10", "total_width_deg = 0", "sweep.total_width_deg", "0", "at least one image wide, not 0 deg"),
    ("images = 10", "total_width_deg = 1e7", "sweep.total_width_deg", "1E+7", "makes 100,000,000 images"),
    ("images = 10", 'total_width_deg = "1"', "sweep.total_width_deg", '"1"', "must be a number, not text"),
    ("images = 10", "images = 10\ntotal_width_deg = 1", "sweep.total_width_deg", "1", "sweep.images = 10; give one"),
    ("= 0.1\nimages = 10", "= 0\ntotal_width_deg = 1", "sweep.total_width_deg", "1", "says nothing about stills"),
    ("exposure_s = 0.01", "exposure_s = -0.01", "sweep.exposure_s", "-0.01", "must be greater than 0 s"),
    ("exposure_s = 0.01", "exposure_s = 0", "sweep.exposure_s", "0", "must be greater than 0 s"),
    ("exposure_s = 0.01", "exposure_s = nan", "sweep.exposure_s", "NaN", "must be a finite number"),
    ("exposure_s = 0.01", "exposure_s = inf", "sweep.exposure_s", "Infinity", "must be a finite number"),
    ("exposure_s = 0.01", "exposure_s = 1e400", "sweep.exposure_s", "1E+400", "86,400 s"),
    ("exposure_s = 0.01", "exposure_s = 1e-400", "sweep.exposure_s", "1E-400", "near 0"),
    ("exposure_s = 0.01", f"exposure_s = 1e{'9' * 30}", "sweep.exposure_s", f"1e{'9' * 30}", "must lie between"),
    ("exposure_s = 0.01", "exposure_s = 0.01\nexposures = 1", "sweep.exposures", "",
     "unknown setting; did you mean sweep.exposure_s?"),
    ("image_width_deg = 0.1", "image_width_deg = 1e999999", "sweep.image_width_deg", "1E+999999", "between 1e-100"),
    ("image_width_deg = 0.1", "image_width_deg = 361", "sweep.image_width_deg", "361", "must be -360 to 360 deg"),
    ("image_width_deg = 0.1", "image_width_deg = -inf", "sweep.image_width_deg", "-Infinity", "finite"),
    ("image_width_deg = 0.1", "", "sweep.image_width_deg", "", "is required"),
    ("[sweep]", "[sweep]\nwedge_images = 0", "sweep.wedge_images", "0", "must be 1 to 10,000,000 images"),
    ("[sweep]", "[inverse_beam]\nwedge_images = 0\n[sweep]", "inverse_beam.wedge_images", "0", "must be 1 to"),
    ("[sweep]", "[inverse_beam]\n[sweep]", "inverse_beam.wedge_images", "", "is required"),
    ("[sweep]", "[inverse_beam]\nwedge_images = 5\n[sweep]\nwedge_images = 5", "sweep.wedge_images", "5",
     "cannot be asked together with inverse_beam.wedge_images"),
    ("[sweep]", "[sweep]\npasses = 2", "sweep.passes", "2", "needs sweep.shutterless = false"),
    ("[sweep]", "[sweep]\nshutterless = 1", "sweep.shutterless", "1", "must be true or false, not a number"),
    ("[sweep]", "[sweep]\nfirst_image = -1", "sweep.first_image", "-1", "must be 0 to"),
    ("[sweep]", "[sweep]\nenergy_ev = 5", "sweep.energy_ev", "", "did you mean beam.energy_ev?"),
    ("[sweep]", "[beam]\ntransmission_frac = 1.5\n[sweep]", "beam.transmission_frac", "1.5", "must be 0 to 1"),
    ("[sweep]", "[beam]\nenergy_ev = 0\n[sweep]", "beam.energy_ev", "0", "must be greater than 0 eV"),
    ("[sweep]", "[beam]\nresolution_a = 2\ndetector_distance_mm = 200\n[sweep]", "beam.resolution_a", "2",
     "cannot be asked together with beam.detector_distance_mm = 200 mm; give one of the two"),
    ("[sweep]", "[beams]\n[sweep]", "beams", "", "unknown section; did you mean beam?"),
    ("[sweep]", "[centring]\nmethod = 'robot'\n[sweep]", "centring.method", '"robot"', "one of auto, manual, none"),
    ("[sweep]", "[centring]\nmethod = true\n[sweep]", "centring.method", "true", "one of auto, manual, none"),
    ("[sweep]", "[centring]\ntimeout_s = 0\n[sweep]", "centring.timeout_s", "0", "must be greater than 0 s"),
    ("[sweep]", "[snapshots]\ncount = 5\n[sweep]", "snapshots.count", "5", "must be 0 to 4 pictures"),
    ("[sweep]", "[sample]\nlocation = '1-5'\n[sweep]", "sample.location", '"1-5"', 'such as "1:5"'),
    ("[sweep]", "[sample]\nlocation = 15\n[sweep]", "sample.location", "15", 'must be text "puck:pin"'),
    ("[sweep]", "[sample]\nlocation = '0:5'\n[sweep]", "sample.location", '"0:5"', "from 1"),
    ("[sweep]", "[sample]\nname = 1e99999999999999999999\n[sweep]", "sample.name", "1e99999999999999999999", "text"),
    ("[sweep]", "[positions]\nkappa_deg = '5'\n[sweep]", "positions.kappa_deg", '"5"', "must be a number, not text"),
    ("[files]", "positions = 5\n[files]", "positions", "5", "must be a section of goniometer axes"),
    ("[files]", "beam = 5\n[files]", "beam", "5", "must be a section of settings, [beam]"),
    ("[files]", "exposure_s = 5\n[files]", "exposure_s", "", "unknown section; did you mean sweep.exposure_s?"),
    ("[files]", "zzz = 5\n[files]", "zzz", "", "unknown section; known are sample, files, beam, sweep"),
    ('directory = "d"', "", "files.directory", "", "is required"),
    ('directory = "d"', 'directory = ""', "files.directory", '""', "not be empty"),
    ('directory = "d"', 'directory = "a/../../b"', "files.directory", '"a/../../b"', "must not climb out"),
    ('directory = "d"', 'directory = ".."', "files.directory", '".."', "must not climb out"),
    ('directory = "d"', 'directory = "d"\nprocess_directory = "../x"', "files.process_directory", '"../x"', "climb"),
    ('directory = "d"', 'directory = "a\\u0000b"', "files.directory", '"a\\x00b"', "control characters"),
    ('directory = "d"', 'directory = "d"\nrun_number = 0', "files.run_number", "0", "must be 1 to"),
    *(
        ('prefix = "p"', f"prefix = {json.dumps(prefix)}", "files.prefix", None, "must")
        for prefix in ("", " ", ".", "..", "../lyso", "a/b", "a\\b", "-lyso", ".lyso", "~a", "a..b", "a\tb", "a%db",
                       "é" * 101)
    ),
]  # fmt: skip


@pytest.mark.parametrize("line, written, field, value, words", REFUSED)
def test_what_is_wrong_is_told_by_field_value_and_limit(
    line: str, written: str, field: str, value: str | None, words: str
) -> None:
    assert line in SMALLEST
    problem = the_problem(SMALLEST.replace(line, written), "lyso.toml")
    assert problem.field == field
    assert value is None or problem.value == value
    assert words in problem.allowed
    assert problem.where.startswith("lyso.toml, line ")


def test_a_problem_reads_as_a_sentence_with_file_and_line() -> None:
    text = SMALLEST.replace("exposure_s = 0.01", "exposure_s = -1")
    assert str(the_problem(text, "lyso.toml")) == (
        "sweep.exposure_s = -1: must be greater than 0 s and at most 86,400 s (lyso.toml, line 8)"
    )


def test_everything_wrong_is_told_at_once_in_the_order_of_the_fields() -> None:
    text = """sweep = { images = 0, exposure_s = -1, bogus = 1 }
files.prefix = "../x"
beam.transmission_frac = 2
"""
    assert [(problem.field, problem.where) for problem in problems(text)] == [
        ("files.directory", "line 2"),
        ("files.prefix", "line 2"),
        ("beam.transmission_frac", "line 3"),
        ("sweep.image_width_deg", "line 1"),
        ("sweep.images", "line 1"),
        ("sweep.exposure_s", "line 1"),
        ("sweep.bogus", "line 1"),
    ]


def test_a_wrong_total_width_hides_nothing_else() -> None:
    text = SMALLEST.replace("images = 10", "total_width_deg = 0.35").replace("0.01", "0")
    assert [problem.field for problem in problems(text)] == ["sweep.total_width_deg", "sweep.exposure_s"]


def test_a_wrong_width_is_told_once_although_the_total_needs_it() -> None:
    text = SMALLEST.replace("images = 10", "total_width_deg = 1").replace("= 0.1\n", '= "wide"\n')
    assert [problem.field for problem in problems(text)] == ["sweep.image_width_deg"]


@pytest.mark.parametrize("text", ["", "\ufeff", "# nothing\n"])
def test_an_empty_document_lacks_its_required_sections(text: str) -> None:
    assert [problem.field for problem in problems(text, "x.toml")] == ["files", "sweep"]
    assert "this section is required" in problems(text)[0].allowed


@pytest.mark.parametrize(
    "text, words, where",
    [
        ("a = \nb = 2", "Invalid value", "x.toml, line 1, column 5"),
        ("[files]\nprefix = 'a", "Expected", "x.toml, line 2, column 12"),
        ("[files]\n[files]", "Cannot declare", "x.toml, line 2, column 7"),
        ("a = 1\na = 2", "Cannot overwrite", "x.toml, line 2, column 6"),
        ("\n[sweep]\nimages = " + "9" * 5000, "too many digits", "x.toml, line 3"),
        ("a = " + "[" * 50_000, "nested too deeply", "x.toml"),
        ("a = " + "{a = " * 50_000, "nested too deeply", "x.toml"),
    ],
    ids=["no value", "open text", "section twice", "key twice", "long integer", "deep lists", "deep tables"],
)
def test_broken_toml_is_told_with_line_and_column(text: str, words: str, where: str) -> None:
    problem = the_problem(text, "x.toml")
    assert (problem.field, problem.where) == ("TOML", where)
    assert words in problem.allowed


@pytest.mark.parametrize("row", ["a" * 50_000, "[" + " " * 50_000, " ." * 25_000, "a." * 25_000 + "!", '"' * 50_000])
def test_a_long_row_costs_no_time_when_the_line_of_a_problem_is_looked_for(row: str) -> None:
    assert setting_lines(f"[files]\n{row}\nprefix = 1")["files.prefix"] == 3


def test_an_offending_value_is_shown_short_and_printable() -> None:
    problem = the_problem(SMALLEST.replace('"p"', '"' + "a/\\u001b[31m" * 50 + '"'))
    assert len(problem.value) <= 80
    assert problem.value.isprintable()


@pytest.mark.parametrize("mapping", [5, "x", None, []])
def test_only_a_table_is_a_request(mapping: Any) -> None:
    with pytest.raises(InvalidRequest, match="must be a table of sections"):
        from_dict(mapping)


def test_python_values_that_no_file_holds_are_shown_as_well() -> None:
    settings = {"image_width_deg": Fraction(1, 3), "images": CentringMethod.AUTO, "exposure_s": 10**400}
    with pytest.raises(InvalidRequest) as refusal:
        from_dict({"files": {"directory": "d", "prefix": "p"}, "sweep": {**settings, "passes": Fraction(1, 3)}})
    assert [(problem.field, problem.value) for problem in refusal.value.problems] == [
        ("sweep.images", '"auto"'),
        ("sweep.exposure_s", "an integer of about 401 digits"),
        ("sweep.passes", "1/3"),
    ]


def test_a_class_refuses_as_the_file_does() -> None:
    with pytest.raises(InvalidRequest, match=r"sweep\.exposure_s = -1\.0: must be greater than 0 s"):
        SweepRequest(image_width_deg=0.1, images=10, exposure_s=-1.0)
    with pytest.raises(InvalidRequest, match=r"positions\.kappa_deg = nan: must be a finite number"):
        Request(
            files=Files(directory="d", prefix="p"),
            sweep=SweepRequest(image_width_deg=0.1, images=10, exposure_s=1.0),
            positions={"kappa_deg": float("nan")},
        )


# -- there and back ---------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20)
PREFIXES = st.from_regex(r"[A-Za-z0-9_]{1,20}(\.[a-z]{1,5})?", fullmatch=True)
POSITIVE = st.floats(1e-6, 86_400)


def floats(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Any request that is allowed."""
    images = draw(st.integers(1, 100_000))
    width, size = draw(st.fractions(-360, 360)), draw(st.none() | st.integers(1, 100_000))
    inverse = draw(st.none() | st.builds(InverseBeam, wedge_images=st.integers(1, 1000))) if size is None else None
    split = inverse.wedge_images if inverse is not None else size
    passes = draw(st.integers(1, 3))
    stage = draw(st.booleans())
    return Request(
        sample=Sample(
            location=draw(st.none() | st.builds(Location, st.integers(1, 50), st.integers(1, 16))), name=draw(NAMES)
        ),
        files=draw(
            st.builds(
                Files,
                directory=st.sampled_from(["data", "/data/mx", "a b/ç"]),
                prefix=PREFIXES,
                run_number=st.integers(1, 999),
                process_directory=st.sampled_from(["", "proc"]),
                skip_existing=st.booleans(),
            )
        ),
        beam=Beam(
            energy_ev=draw(floats(1, 1e5)),
            transmission_frac=draw(floats(0, 1).filter(lambda x: x is None or x == 0 or x > 1e-300)),
            detector_distance_mm=draw(floats(1, 1e4)) if stage else None,
            resolution_a=None if stage else draw(floats(0.1, 100)),
            aperture_um=draw(floats(0.1, 1000)),
        ),
        sweep=SweepRequest(
            omega_start_deg=draw(st.fractions(-1000, 1000)),
            image_width_deg=width,
            images=images,
            exposure_s=draw(POSITIVE),
            first_image=draw(st.integers(0, 1000)),
            wedge_images=size,
            overlap_deg=draw(st.fractions(-90, 0)) if split is not None else Fraction(0),
            passes=passes,
            shutterless=passes == 1 and draw(st.booleans()),
            dark_image=draw(st.booleans()),
        ),
        inverse_beam=inverse,
        centring=draw(
            st.builds(Centring, method=st.sampled_from(CentringMethod), timeout_s=POSITIVE, validate=st.booleans())
        ),
        snapshots=draw(st.builds(Snapshots, count=st.integers(0, 4))),
        positions=draw(st.dictionaries(st.sampled_from(["kappa_deg", "x_mm", "a b", "ü"]), st.floats(-1e6, 1e6))),
    )


@given(requests())
def test_a_request_comes_back_from_its_dictionary_and_from_its_toml(request_: Request) -> None:
    plain = to_dict(request_)
    assert from_dict(plain) == request_
    assert from_dict(json.loads(json.dumps(plain))) == request_
    assert parse_toml(to_toml(request_)) == request_


def test_the_canonical_dictionary_has_the_layout_of_the_file() -> None:
    plain = to_dict(parse_toml(EXAMPLE))
    assert list(plain) == [
        "sample", "files", "beam", "sweep", "inverse_beam", "centring", "snapshots", "positions",
    ]  # fmt: skip
    assert plain["sample"] == {"location": "1:5", "name": "", "mounted": False}
    assert plain["sweep"]["image_width_deg"] == 0.1
    assert plain["centring"]["method"] == "auto"
    assert "wedge_images" not in plain["sweep"]
    third = to_dict(parse_toml(SMALLEST.replace("= 0.1\n", '= "1/3"\n')))
    assert third["sweep"]["image_width_deg"] == "1/3"


# -- anything at all --------------------------------------------------------------------------------------------------

VALUES = st.sampled_from(
    ["1", "-1", "0", "0.1", "nan", "-inf", "1e999", "1e-999", '"x"', '"1:5"', '"1/0"', "true", "[]", "[1, 'a']", "{}",
     "{a = 1}", "1979-05-27T07:32:00Z", "0xff", '"\\u0000"', "'../..'", "1_0", "9" * 400]
)  # fmt: skip
KEYS = st.sampled_from(
    [*(f"{section}.{field}" for section, fields in to_dict(parse_toml(EXAMPLE)).items() for field in fields),
     "sweep.total_width_deg", "sweep.wedge_images", "beam.resolution_a", "positions.kappa_deg", "positions", "sweep",
     "files", "sample", "inverse_beam", "a.b.c", '"ü"', "''"]
)  # fmt: skip


def _only_invalid_requests(text: str) -> None:
    try:
        request = parse_toml(text, "any.toml")
    except InvalidRequest as refused:
        refusal = refused
    else:
        assert parse_toml(to_toml(request)) == request
        return
    assert refusal.problems
    assert str(refusal).encode()


@given(st.text())
@example("\x00")
@example("[sweep]\n[[sweep]]")
@example("\ud800 = 1")
def test_any_text_is_a_request_or_refused(text: str) -> None:
    _only_invalid_requests(text)


@given(st.lists(st.tuples(KEYS, VALUES), unique_by=lambda pair: pair[0]))
def test_any_settings_with_any_values_are_a_request_or_refused(settings: list[tuple[str, str]]) -> None:
    _only_invalid_requests("".join(f"{key} = {value}\n" for key, value in settings))


@given(st.sampled_from(SMALLEST.strip().splitlines()), KEYS, VALUES)
def test_any_one_line_that_is_changed_gives_a_request_or_a_refusal(line: str, key: str, value: str) -> None:
    _only_invalid_requests(SMALLEST.replace(line, f"{key.rpartition('.')[2]} = {value}"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["files", "sweep", "images"]), inner)
        ),
    )
)
def test_any_python_value_is_refused_as_a_request(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        from_dict(value)
