"""The archive's description of an entry: every oddity is read, nothing that leads astray is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.stream.entry import Entry, EntryError, Imageset, NoDescription, accession, read_entry, summary
from fsmcollect.stream.paths import check_path

#: An imageset as the archive writes it, oddities included: dimensions as text, what is absent as null or "".
MOVIES: dict[str, Any] = {
    "segmentations": [],
    "name": "Movie stacks",
    "directory": "data/Movies",
    "category": "micrographs - multiframe",
    "header_format": "MRC",
    "data_format": "MRC",
    "num_images_or_tilt_series": 203,
    "frames_per_image": 10,
    "frame_range_min": None,
    "frame_range_max": None,
    "voxel_type": "UNSIGNED BYTE",
    "pixel_width": 1.06,
    "pixel_height": None,
    "micrographs_file_pattern": "",
    "picked_particles_file_pattern": "",
    "picked_particles_directory": "",
    "details": "Raw movies.\n\n# Gain\n- CountRef.mrc",
    "image_width": "4096",
    "image_height": "4000",
}
PLAIN: dict[str, Any] = {
    "imagesets": [MOVIES],
    "workflow_file": None,
    "grant_references": [],
    "version_history": [],
    "title": "Something of interest",
    "principal_investigator": [],
    "status": "REL",
    "deposition_date": "2024-05-25",
    "release_date": "2025-02-04",
    "obsolete_date": None,
    "update_date": "2025-02-04",
    "corresponding_author": {"author": {"name": "First A", "author_orcid": None, "organization": "An Institute"}},
    "authors": [
        {"author": {"name": "First A", "author_orcid": None}},
        {"author": {"name": "Second B", "author_orcid": "0000"}},
    ],
    "cross_references": ["EMD-3061"],
    "citation": [],
    "dataset_size": "305.5 GB",
    "experiment_type": "EMDB",
    "scale": "molecule",
    "entry_doi": "10.6019/EMPIAR-10200",
}


def described(plain: object) -> bytes:
    return json.dumps(plain).encode()


def read(**different: Any) -> Entry:
    """The entry above with some of its keys different."""
    return read_entry(described({"EMPIAR-10200": {**PLAIN, **different}}), "10200")


def imageset(**different: Any) -> Imageset:
    """The imageset above with some of its keys different."""
    (read_one,) = read(imagesets=[{**MOVIES, **different}]).imagesets
    return read_one


def refused(data: bytes) -> str:
    with pytest.raises(EntryError) as refusal:
        read_entry(data, "10200")
    sentence = str(refusal.value)
    assert sentence.isprintable(), "one sentence on one line"
    assert sentence.startswith("EMPIAR-10200")
    assert len(sentence) < 300
    return sentence.removeprefix("EMPIAR-10200")


# ---------------------------------------------------------------------------------------------------------- accessions


@pytest.mark.parametrize("text", ["10200", "EMPIAR-10200", " empiar-10200 ", "Empiar-10200\n"])
def test_an_entry_is_named_by_its_number_with_or_without_empiar(text: str) -> None:
    assert accession(text) == "10200"


@pytest.mark.parametrize(
    "text", ["", "EMPIAR", "EMPIAR-", "010200", "0", "-1", "10200/../1", "1234567890", "EMD-3061", "10 200", "١٢٣"]
)
def test_what_names_no_entry_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"up to 9 digits: 10200 or EMPIAR-10200") as refusal:
        accession(text)
    assert [problem.field for problem in refusal.value.problems] == ["ENTRY"]


@given(st.text())
def test_any_text_is_an_accession_or_refused(text: str) -> None:
    try:
        number = accession(text)
    except InvalidRequest:
        return
    assert number.isascii()
    assert str(int(number)) == number


# ------------------------------------------------------------------------------------------------------------- reading


def test_an_entry_of_the_usual_shape_is_read_with_units() -> None:
    assert read() == Entry(
        accession="10200",
        title="Something of interest",
        status="REL",
        authors=("First A", "Second B"),
        organisation="An Institute",
        deposition_date="2024-05-25",
        release_date="2025-02-04",
        size_text="305.5 GB",
        size_bytes=305_500_000_000,
        doi="10.6019/EMPIAR-10200",
        cross_references=("EMD-3061",),
        imagesets=(
            Imageset(
                name="Movie stacks",
                directory="data/Movies",
                category="micrographs - multiframe",
                data_format="MRC",
                header_format="MRC",
                images=203,
                frames_per_image=10,
                pixel_size_a=1.06,
                width_px=4096,
                height_px=4000,
                voxel_type="UNSIGNED BYTE",
                details="Raw movies. # Gain - CountRef.mrc",
            ),
        ),
    )


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_what_is_absent_is_read_as_absent_however_it_is_written(nothing: object) -> None:
    unwanted = {key: nothing for key in PLAIN if key not in ("imagesets", "status")}
    entry = read(**unwanted)
    assert entry == Entry(accession="10200", title="", status="REL", imagesets=entry.imagesets)
    unwanted = {key: nothing for key in MOVIES if key != "directory"}
    assert imageset(**unwanted) == Imageset(name="", directory="data/Movies")


def test_what_is_missing_is_read_as_absent() -> None:
    entry = read_entry(described({"EMPIAR-10200": {"imagesets": [{}]}}), "10200")
    assert entry == Entry(accession="10200", title="", imagesets=(Imageset(name="", directory="data"),))


@pytest.mark.parametrize("key", ["EMPIAR-10200", "empiar-10200", "10200", "EMPIAR-SPECIMENTEST"])
def test_the_entry_is_the_one_thing_in_the_answer_whatever_its_key(key: str) -> None:
    assert read_entry(described({key: PLAIN}), "10200") == read()


def test_a_byte_order_mark_and_what_stands_beside_the_entry_do_no_harm() -> None:
    data = b"\xef\xbb\xbf" + described({"EMPIAR-10200": PLAIN, "note": "x", "EMPIAR-10201": {}})
    assert read_entry(data, "10200") == read()


@pytest.mark.parametrize(
    ("written", "images"),
    [
        (2979, 2979),
        ("2979", 2979),
        ("2,979", 2979),
        (" 2979.0 ", 2979),
        (2979.0, 2979),
        (0, None),
        (-3, None),
        (1.5, None),
        (True, None),
        ("many", None),
        (10**40, None),
        ([3], None),
    ],
)
def test_a_count_is_a_whole_number_as_a_number_or_as_text(written: object, images: int | None) -> None:
    assert imageset(num_images_or_tilt_series=written).images == images
    assert imageset(image_width=written).width_px == images


@pytest.mark.parametrize(
    ("written", "pixel_size_a"),
    [
        (3.425, 3.425),
        (650, 650.0),
        ("1.06", 1.06),
        (" 6.5e2 ", 650.0),
        (0, None),
        (-1.06, None),
        ("1.06 A", None),
        ("1_0", None),
        ("nan", None),
        ("9e999", None),
        (10**400, None),
        (False, None),
    ],
)
def test_a_pixel_size_is_a_number_above_0(written: object, pixel_size_a: float | None) -> None:
    assert imageset(pixel_width=written).pixel_size_a == pixel_size_a


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_tell_nothing(written: str) -> None:
    data = described({"EMPIAR-10200": PLAIN}).replace(b"1.06", written.encode())
    assert read_entry(data, "10200").imagesets[0].pixel_size_a is None


@pytest.mark.parametrize(
    ("directory", "read_as"),
    [
        ("data/Movies", "data/Movies"),
        ("/data/Movies/", "data/Movies"),
        (" data//Movies/. ", "data/Movies"),
        ("10200/data/Movies", "data/Movies"),
        ("/10200/", "data"),
        ("data/10200", "data/10200"),
        ("data", "data"),
        ("", "data"),
        ("/", "data"),
        (None, "data"),
        ("data/data/micrographs", "data/data/micrographs"),
        ("data/Größe 1", "data/Größe 1"),
    ],
)
def test_a_directory_is_a_path_below_the_entry(directory: object, read_as: str) -> None:
    assert imageset(directory=directory).directory == read_as


@pytest.mark.parametrize(
    ("written", "authors"),
    [
        ([{"author": {"name": "A B"}}, {"name": "C D"}, "E F"], ("A B", "C D", "E F")),
        ({"author": {"name": "A B"}}, ("A B",)),
        ("A B", ("A B",)),
        ({"author": {"author": {"author": {"author": "A B"}}}}, ()),
        ([{"author": {"first_name": "Ada", "last_name": "B", "name": None}}], ("Ada B",)),
        ([{"author": None}, {"author": {"name": None}}, None, 0.5, [], {"author": {"author": "G H"}}], ("0.5", "G H")),
    ],
)
def test_authors_are_read_however_they_are_nested(written: object, authors: tuple[str, ...]) -> None:
    assert read(authors=written).authors == authors


@pytest.mark.parametrize(
    ("corresponding", "investigator", "organisation"),
    [
        ({"author": {"organisation": "X"}}, None, "X"),
        ({"organization": {"name": "X"}}, None, "X"),
        (None, [{"author": {"organization": "Y"}}], "Y"),
        ({"author": None}, [{"institution": None}, {"institution": "Z"}], "Z"),
        ({"author": {"name": "nobody"}}, [], None),
        ("A B", "C D", None),
    ],
)
def test_the_organisation_is_the_corresponding_authors_else_the_investigators(
    corresponding: object, investigator: object, organisation: str | None
) -> None:
    entry = read(corresponding_author=corresponding, principal_investigator=investigator)
    assert entry.organisation == organisation


@pytest.mark.parametrize(
    ("written", "size_bytes"), [("1.2 TB", 1_200_000_000_000), ("12GB", 12_000_000_000), ("big", None), (5, None)]
)
def test_the_size_is_told_as_written_and_as_a_number_where_it_is_one(written: object, size_bytes: int | None) -> None:
    entry = read(dataset_size=written)
    assert (entry.size_text, entry.size_bytes) == (str(written), size_bytes)


@pytest.mark.parametrize(
    "doi", ["10.6019/EMPIAR-10200", "https://doi.org/10.6019/EMPIAR-10200", "doi:10.6019/EMPIAR-10200"]
)
def test_a_doi_is_the_same_with_and_without_its_resolver(doi: str) -> None:
    assert read(entry_doi=doi).doi == "10.6019/EMPIAR-10200"


@pytest.mark.parametrize(
    ("category", "is_multiframe"),
    [
        ("micrographs - multiframe", True),
        ("Micrographs - Multi-Frame", True),
        ("micrographs - multi frame", True),
        ("picked particles - multiframe - processed", False),
        ("micrographs - single frame", False),
        ("tilt series", False),
        (None, False),
    ],
)
def test_movies_are_told_by_the_category(category: str | None, is_multiframe: bool) -> None:
    assert imageset(category=category).is_multiframe is is_multiframe


@pytest.mark.parametrize("several", [{"imageset": [MOVIES]}, {"imageset": MOVIES}, MOVIES])
def test_imagesets_are_read_with_and_without_their_list(several: object) -> None:
    assert read(imagesets=several) == read()


@pytest.mark.parametrize("none", [None, "", []])
def test_an_entry_without_imagesets_is_an_entry(none: object) -> None:
    assert read(imagesets=none).imagesets == ()


def test_texts_cannot_move_a_terminals_cursor_and_can_be_written_to_a_file() -> None:
    entry = read(title="\x1b[2J a\n\tb\u202e\ud800 ", dataset_size=" 1\u00a0GB")
    assert entry.title == "\ufffd[2J a b\ufffd\ufffd"
    assert entry.size_text == "1 GB"
    assert len(read(title="x" * 10**6).title) == 10_000


# ------------------------------------------------------------------------------------------------------------ refusing


def test_a_page_is_told_from_a_description() -> None:
    page = b"\n<!DOCTYPE html><html><head><TITLE>\n Service\n unavailable </title></head>"
    expected = ': the archive answers with a web page instead of a description in JSON: "Service unavailable"'
    assert refused(page) == expected
    assert refused(b"<html>" + b"<title>" * 9999) == expected.rpartition(": ")[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "Expecting property name enclosed in double quotes in line 1, column 2"),
        (b'{"a": 1}\n x', "Extra data in line 2, column 2"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b"\x1f\x8b\x08\x00", "it is not UTF-8"),
        (b"[" * 1_000_000, "it is nested too deeply"),
        (b'{"a":' * 1_000_000, "it is nested too deeply"),
        (b'{"EMPIAR-10200": {"a": ' + b"9" * 5000 + b"}}", "it holds a number with too many digits"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(data: bytes, reason: str) -> None:
    assert refused(data) == f": the archive's description is no JSON: {reason}"


@pytest.mark.parametrize(
    ("data", "is_final"),
    [
        (b"<html>maintenance</html>", False),
        (b"maintenance", False),
        (b"", False),
        (b'{"EMPIAR-10200": {"ti', False),
        (b"\xff", False),
        (b"[" * 1_000_000, True),
        (b'{"EMPIAR-10200": {"a": ' + b"9" * 5000 + b"}}", True),
        (b"{}", True),
        (b'{"EMPIAR-10201": {}}', True),
        (b'{"EMPIAR-10200": {"status": "OBS"}}', True),
    ],
)
def test_what_may_be_a_description_the_next_time_is_told_from_what_will_not(data: bytes, is_final: bool) -> None:
    with pytest.raises(EntryError) as refusal:
        read_entry(data, "10200")
    assert isinstance(refusal.value, NoDescription) is not is_final


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], ": the archive's description is a list instead of an object with one entry"),
        (None, ": the archive's description is null instead of an object with one entry"),
        ("x" * 99, f": the archive's description is the value \"{'x' * 56}... instead of an object with one entry"),
        (5, ": the archive's description is the value 5 instead of an object with one entry"),
        ({}, ": the archive's description holds nothing instead of one entry"),
        ({"a": {}, "b\n": {}}, ": the archive's description holds 2 keys (a, b\\n) instead of one entry"),
        ({"EMPIAR-10201": PLAIN}, ": the archive describes another entry, EMPIAR-10201"),
        ({"10201": PLAIN}, ": the archive describes another entry, EMPIAR-10201"),
        (
            {"detail": "Not found."},
            ': the archive\'s description holds "detail": the value "Not found." instead of an entry',
        ),
        (
            {"EMPIAR-10200": []},
            ': the archive\'s description holds "EMPIAR-10200": a list instead of an entry',
        ),
    ],
)
def test_an_answer_of_another_shape_is_told(answer: object, reason: str) -> None:
    assert refused(described(answer)) == reason


@pytest.mark.parametrize(
    ("imagesets", "reason"),
    [
        (5, ": the description's imagesets are the value 5 instead of a list"),
        ({"first": MOVIES}, ": the description's imagesets are an object instead of a list"),
        ([MOVIES, None], ": imageset 2 of the description is null instead of an object"),
        ([MOVIES, [MOVIES]], ": imageset 2 of the description is a list instead of an object"),
        ([{"directory": 211206}], ": the directory of imageset 1 is the value 211206 instead of text"),
    ],
)
def test_imagesets_of_another_shape_are_told(imagesets: object, reason: str) -> None:
    assert refused(described({"EMPIAR-10200": {**PLAIN, "imagesets": imagesets}})) == reason


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ("../10201/data", '"../10201/data", has a part that leads out of its folder'),
        ("data/../../..", '"data/../../..", has a part that leads out of its folder'),
        ("data/a\0b", '"data/a\\x00b", has a part that holds a control character, U+0000'),
        ("data/\ud800", '"data/\\ud800", has a part that is not UTF-8'),
        ("data/" + "a" * 300, f'"data/{"a" * 51}..., has a part that is 300 bytes long, and 249 are allowed'),
    ],
)
def test_a_directory_that_leads_astray_is_never_walked(directory: str, reason: str) -> None:
    said = refused(described({"EMPIAR-10200": {**PLAIN, "imagesets": [{**MOVIES, "directory": directory}]}}))
    assert said == f": the directory of imageset 1, {reason}: it cannot be trusted"


def test_a_withdrawn_entry_is_told() -> None:
    plain = {**PLAIN, "status": "OBS", "obsolete_date": "2020-01-01"}
    assert refused(described({"EMPIAR-10200": plain})) == " is obsolete since 2020-01-01: its data are withdrawn"
    plain["obsolete_date"] = None
    assert refused(described({"EMPIAR-10200": plain})) == " is obsolete: its data are withdrawn"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["..", "1 GB", "OBS"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*PLAIN, *MOVIES, "author", "name", "imageset", "EMPIAR-10200"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(PLAIN)), JSON), st.dictionaries(st.sampled_from(sorted(MOVIES)), JSON))
def test_a_description_of_any_values_is_read_or_refused(entry: Mapping[str, Any], movies: Mapping[str, Any]) -> None:
    plain = {"imagesets": [{**MOVIES, **movies}], **entry}
    try:
        found = read_entry(described({"EMPIAR-10200": plain}), "10200")
    except EntryError as error:
        assert str(error).isprintable()  # noqa: PT017 - not every description is refused
        return
    assert all(text.isprintable() for row in summary(found) for text in row)
    for one in found.imagesets:
        assert check_path(one.directory) is None
        assert one.pixel_size_a is None or 0 < one.pixel_size_a < float("inf")


@given(JSON)
def test_any_json_is_read_or_refused(answer: object) -> None:
    try:
        read_entry(described(answer), "10200")
    except EntryError as error:
        assert str(error).isprintable()  # noqa: PT017


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert refused(data)


# ------------------------------------------------------------------------------------------------------------- summary


def test_a_summary_is_what_a_person_wants_to_know() -> None:
    counted = "MRC, 203 images, 4096 x 4000 px"
    assert summary(read()) == [
        ("entry", "EMPIAR-10200"),
        ("title", "Something of interest"),
        ("authors", "First A, Second B"),
        ("organisation", "An Institute"),
        ("dates", "deposited 2024-05-25, released 2025-02-04"),
        ("size", "305.5 GB"),
        ("DOI", "10.6019/EMPIAR-10200"),
        ("see also", "EMD-3061"),
        ("imageset 1", f'"Movie stacks" in data/Movies: micrographs - multiframe, {counted}, 10 frames, 1.06 A'),
    ]


def test_a_summary_names_a_few_authors_and_counts_the_others() -> None:
    authors = [{"author": {"name": f"Author {number}"}} for number in range(1, 8)]
    assert dict(summary(read(authors=authors)))["authors"] == "Author 1, Author 2, Author 3, Author 4 and 3 more"


def test_a_summary_says_nothing_of_what_is_not_known() -> None:
    entry = Entry(
        accession="1",
        title="",
        imagesets=(
            Imageset(name="", directory="data"),
            Imageset(name="x", directory="data", images=1, frames_per_image=1, width_px=5760),
        ),
    )
    assert summary(entry) == [
        ("entry", "EMPIAR-1"),
        ("imageset 1", "in data"),
        ("imageset 2", '"x" in data: 1 image, 5760 x ? px, 1 frame'),
    ]


def test_values_of_an_entry_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        read().title = "another"  # type: ignore[misc]
