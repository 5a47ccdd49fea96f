"""Names from somebody else's listing become files of ours only where they are safe; globs mean what people expect."""

from __future__ import annotations

import posixpath
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsmcollect.storage import temporary_path
from fsmcollect.stream.paths import MAX_NAME_BYTES, MAX_PATH_BYTES, check_name, check_path, matches


@pytest.mark.parametrize(
    "name",
    [
        "a.mrc",
        "a b%23&c.mrc",
        "~",
        "-rf",
        "...",
        "..a",
        "back\\slash.tif",
        "Grüße_ångström_日本.mrc",
        ".hidden.mrc",
        "a.part",
        "a" * MAX_NAME_BYTES,
        "family \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}.tif",
    ],
)
def test_an_ordinary_name_is_safe_however_odd(name: str) -> None:
    assert check_name(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (".", "means its own folder"),
        ("..", "leads out of its folder"),
        ("a/b", "holds a slash: it is more than one name"),
        ("../../etc/passwd", "holds a slash: it is more than one name"),
        ("a\0.mrc", "holds a control character, U+0000"),
        ("a\n.mrc", "holds a control character, U+000A"),
        ("a\x1b[2J.mrc", "holds a control character, U+001B"),
        ("a\x7f", "holds a control character, U+007F"),
        ("a\x85.mrc", "holds a control character, U+0085"),
        ("a\u2028.mrc", "holds a control character, U+2028"),
        ("caf\udce9.mrc", "is not UTF-8"),
        ("a" * 300, "is 300 bytes long, and 249 are allowed"),
        ("ä" * 125, "is 250 bytes long, and 249 are allowed"),
        (".a.mrc.part", "is what a file of ours is called before it is complete"),
    ],
)
def test_a_name_that_could_lead_astray_is_refused_with_the_reason(name: str, reason: str) -> None:
    assert check_name(name) == reason


def test_the_hidden_partial_file_of_the_longest_name_fits_and_is_no_name_of_its_own() -> None:
    partial = temporary_path(Path("a" * MAX_NAME_BYTES)).name
    assert len(partial.encode()) == 255
    assert check_name(temporary_path(Path("x/a.mrc")).name) is not None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is empty or has an empty part: ''"),
        ("/etc/passwd", "is absolute"),
        ("data//a.mrc", "is empty or has an empty part: ''"),
        ("data/", "is empty or has an empty part: ''"),
        ("data/../../a.mrc", "has a part that leads out of its folder"),
        ("data/./a.mrc", "has a part that means its own folder"),
        ("data/a\n/b.mrc", "has a part that holds a control character, U+000A"),
        ("/".join(["a" * 99] * 30), "is 2,999 bytes long, and fewer than 3,000 are allowed"),
    ],
)
def test_a_path_is_as_safe_as_its_parts(path: str, reason: str) -> None:
    if len(path) == MAX_PATH_BYTES - 1:
        assert check_path(path) is None
        path, reason = f"{path}a", reason.replace("2,999", "3,000")
    assert check_path(path) == reason


def test_an_ordinary_path_is_safe() -> None:
    assert check_path("data/Movies/Case3/a.tif") is None


NAMES = st.text() | st.text(alphabet="./\\\0\n~a\ud800", max_size=6)


@given(NAMES)
def test_a_name_that_is_let_through_is_one_part_and_stays_where_it_is_put(name: str) -> None:
    if check_name(name) is None:
        assert PurePosixPath("folder", name).parts == ("folder", name)
        assert posixpath.normpath(posixpath.join("/folder", name)) == f"/folder/{name}"
        assert len(f".{name}.part".encode()) <= 255
        assert len(name.splitlines()) == 1


@given(st.lists(NAMES, max_size=5))
def test_a_path_is_safe_exactly_where_each_of_its_parts_is(parts: list[str]) -> None:
    path = "/".join(parts)
    safe = bool(parts) and all(check_name(part) is None for part in path.split("/"))
    assert (check_path(path) is None) == (safe and len(path.encode()) < MAX_PATH_BYTES)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.tif", "data/Movies/a.tif"),
        ("a?.tif", "data/a1.tif"),
        ("a[0-9].tif", "data/a1.tif"),
        ("a[!0-9].tif", "data/ab.tif"),
        ("**.tif", "data/Movies/a.tif"),
        ("Movies/*.tif", "data/Movies/a.tif"),
        ("data/Movies/a.tif", "data/Movies/a.tif"),
        ("/data/*/a.tif", "data/Movies/a.tif"),
        ("data/**/a.tif", "data/a.tif"),
        ("data/**/a.tif", "data/x/y/z/a.tif"),
        ("data/**", "data/x/y/a.tif"),
        ("data/**.tif", "data/x/y/a.tif"),
        ("**/Grid?/**/*_1*.tif", "data/Grid2/x/y/b_12.tif"),
        ("a/**/a/b.tif", "a/a/a/b.tif"),
        ("**/**/a.tif", "a.tif"),
        ("x/*.tif", "x/\N{LATIN SMALL LETTER E WITH ACUTE}.tif"),
    ],
)
def test_a_glob_means_the_path(pattern: str, path: str) -> None:
    assert matches(path, pattern)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.TIF", "a.tif"),
        ("a", "data/a.tif"),
        ("data", "data/a.tif"),
        ("", "a.tif"),
        ("/", "a.tif"),
        ("ovies/*.tif", "data/Movies/a.tif"),
        ("data/*.tif", "data/Movies/a.tif"),
        ("/Movies/*.tif", "data/Movies/a.tif"),
        ("Movies/*", "data/Movies/Case3/a.tif"),
        ("**/Movies", "data/Movies/a.tif"),
        ("data/**", "data"),
        ("data/?a.tif", "data//a.tif"),
        ("a/**/b/c.tif", "a/b/d.tif"),
    ],
)
def test_a_glob_does_not_mean_the_path(pattern: str, path: str) -> None:
    assert not matches(path, pattern)


def test_a_pattern_of_many_stars_takes_no_longer_than_one_of_few() -> None:
    assert not matches("a" * 249, "*a" * 60 + "b")
    assert not matches("/".join(["a"] * 1000), "**/a/" * 60 + "b")


@given(st.text(), st.text() | st.text(alphabet="*?[]!-^&|~/a", max_size=12))
@example("a", "[[]")
@example("a", "[a&&b||c~~d]")
def test_any_pattern_can_be_asked(path: str, pattern: str) -> None:
    assert matches(path, pattern) in (True, False)


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=2), min_size=1, max_size=5), st.data())
def test_a_path_is_meant_by_itself_its_endings_and_by_two_stars_for_what_is_left_out(
    parts: list[str], data: st.DataObject
) -> None:
    path = "/".join(parts)
    begin = data.draw(st.integers(0, len(parts) - 1))
    assert matches(path, "/".join(parts[begin:]))
    end = data.draw(st.integers(begin, len(parts) - 1))
    assert matches(path, "/".join(["", *parts[:begin], "**", *parts[end:]]))
