"""Which imagesets are streamed, and how movies are told from all else: with the layouts of real entries."""

from __future__ import annotations

import functools
import itertools
import time
import tracemalloc
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.stream.entry import Entry, EntryError, Imageset
from fsmcollect.stream.listing.choice import (
    MANY_REFERENCES,
    Chosen,
    NoMovies,
    choose,
    choose_imagesets,
    count_disagrees,
    folders,
    natural_order,
)
from fsmcollect.stream.listing.naming import kind
from fsmcollect.stream.values import Kind, Listed

MULTI = "micrographs - multiframe"


def an_entry(*imagesets: tuple[str, str] | Imageset) -> Entry:
    """An entry with imagesets of these directories and categories."""
    made = (
        one if isinstance(one, Imageset) else Imageset(name=f"Set {number}", directory=one[0], category=one[1])
        for number, one in enumerate(imagesets, 1)
    )
    return Entry(accession="10200", title="", imagesets=tuple(made))


def listed(*paths: str, size_bytes: int | None = None, about_bytes: int | None = None) -> list[tuple[str, Listed]]:
    return [(path, Listed(path.rpartition("/")[2], False, size_bytes, about_bytes)) for path in paths]


def chosen_from(entry: Entry, *paths: str, patterns: Sequence[str] = (), excludes: Sequence[str] = ()) -> Chosen:
    return choose(entry, choose_imagesets(entry), listed(*paths), patterns, excludes)


def movies(chosen: Chosen) -> list[str]:
    return [file.path for file in chosen.movies]


MOVIES = an_entry(("data/Movies", MULTI))

# ----------------------------------------------------------------------------------------------------------- imagesets

TOMO = an_entry(
    Imageset(name="Raw movies", directory="data/raw", category=MULTI),
    Imageset(name="Tilt series", directory="data/alignment", category="tilt series"),
    Imageset(name="Raw movies, second day", directory="data/raw2", category=MULTI),
    Imageset(name="2", directory="data/two", category=""),
)


def test_every_multiframe_imageset_is_chosen_where_nobody_says_otherwise() -> None:
    assert choose_imagesets(TOMO) == (0, 2)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["1"], (0,)),
        ([" 3 ", "1"], (2, 0)),
        (["2"], (1,)),
        (["tilt"], (1,)),
        (["TILT  series"], (1,)),
        (["raw movies"], (0,)),
        (["second"], (2,)),
        (["1", "raw movies", "01"], (0,)),
    ],
)
def test_an_imageset_is_chosen_by_number_by_name_or_by_a_part_that_only_one_has(
    wanted: list[str], chosen: tuple[int, ...]
) -> None:
    assert choose_imagesets(TOMO, wanted) == chosen


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("0", 'names none of the entry\'s imagesets: 1 "Raw movies" (micrographs - multiframe), 2 "Tilt series" '),
        ("5", "names none of the entry's imagesets: "),
        ("", "names none of the entry's imagesets: "),
        ("-1", "names none of the entry's imagesets: "),
        (
            "raw",
            'names several of the entry\'s imagesets: 1 "Raw movies" (micrographs - multiframe), 3 "Raw movies, sec',
        ),
    ],
)
def test_a_choice_that_names_none_or_several_is_refused_with_what_there_is(words: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        choose_imagesets(TOMO, ["1", words])
    (problem,) = refusal.value.problems
    assert (problem.field, problem.value) == ("--imageset", words)
    assert problem.allowed.startswith(allowed)


def test_every_wrong_choice_is_told_and_a_long_list_is_cut() -> None:
    entry = an_entry(*[("data", "tilt series")] * 40)
    with pytest.raises(InvalidRequest) as refusal:
        choose_imagesets(entry, ["99", "x"])
    assert [problem.value for problem in refusal.value.problems] == ["99", "x"]
    assert refusal.value.problems[0].allowed.endswith('12 "Set 12" (tilt series) and 28 more')
    with pytest.raises(InvalidRequest, match="none of the entry's imagesets: none at all"):
        choose_imagesets(an_entry(), ["1"])


def test_an_entry_without_movies_says_what_it_has_and_how_to_take_it_all_the_same() -> None:
    entry = an_entry(Imageset(name="mixedCTEM tomograms", directory="data", category="tilt series"))
    with pytest.raises(NoMovies) as refusal:
        choose_imagesets(entry)
    assert isinstance(refusal.value, EntryError)
    assert str(refusal.value) == (
        'EMPIAR-10200 has no imageset of movies (multiframe), only 1 "mixedCTEM tomograms" (tilt series); '
        "--imageset 1 takes one all the same"
    )
    assert choose_imagesets(entry, ["1"]) == (0,)
    with pytest.raises(NoMovies, match="EMPIAR-10200 names no imagesets: there is nothing to stream"):
        choose_imagesets(an_entry())


def test_a_folder_inside_another_is_walked_once() -> None:
    entry = an_entry(("data/a/b", MULTI), ("data/a", MULTI), ("data/ab", MULTI), ("data/a", MULTI), ("data/c", ""))
    assert folders(entry, (0, 1, 2, 3)) == [("data/a", 1), ("data/ab", 2)]
    assert folders(entry, (0,)) == [("data/a/b", 0)]
    assert folders(entry, (3, 1)) == [("data/a", 3)]


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("data/Movies/a.tif", 0),
        ("data/Movies/x/y/a.tif", 0),
        ("data/Movies/sums/a.tif", None),
        ("data/Movies/sums/x/a.tif", None),
        ("data/Movies/sums/again/a.tif", 2),
        ("data/Movies2/a.tif", None),
        ("data/a.tif", None),
        ("a.tif", None),
    ],
)
def test_a_file_is_of_the_imageset_with_the_deepest_folder_around_it(path: str, owner: int | None) -> None:
    entry = an_entry(
        ("data/Movies", MULTI), ("data/Movies/sums", "micrographs - single frame"), ("data/Movies/sums/again", MULTI)
    )
    assert choose_imagesets(entry) == (0, 2)
    found = choose(entry, (0, 2), listed(path))
    assert [file.imageset for file in found.movies] == ([] if owner is None else [owner])


def test_of_imagesets_that_share_a_folder_the_first_that_is_chosen_has_its_files() -> None:
    entry = an_entry(("data", ""), ("data", MULTI), ("data", MULTI))
    for chosen in ((1, 2), (2,)):
        (movie,) = choose(entry, chosen, listed("data/a.tif")).movies
        assert movie.imageset == chosen[0]
    (said,) = choose(entry, (1, 2), listed("data/a.tif")).notices
    assert (
        said
        == "imageset 1 is in the same folder as imageset 2, data: their files cannot be told apart, and all are taken"
    )


# ----------------------------------------------------------------------------------------------- the layouts of entries

#: entry: directory of its imageset, and what is in it, by kind. From the table of real entries.
LAYOUTS: dict[str, tuple[str, dict[str, Kind]]] = {
    "10200": (
        "data/Movies",
        {
            "data/Movies/apoferritin_0001.mrc": Kind.MOVIE,
            "data/Movies/CountRef_apoferritin.mrc": Kind.GAIN,
        },
    ),
    "10002": ("data", {"data/Falcon_2012_06_12-14_33_35_0_movie_gc.mrcs": Kind.MOVIE}),
    "10028": (
        "data/Micrographs",
        {
            "data/Micrographs/Micrographs_part1/001.mrc": Kind.MOVIE,
            "data/Micrographs/Micrographs_part2/004_movie.mrcs": Kind.MOVIE,
        },
    ),
    "10061": ("data/Movies", {"data/Movies/EMD-2984_0000_frames.mrc": Kind.MOVIE}),
    "10196": (
        "data/Dataset0",
        {
            "data/Dataset0/x_0001_movie.tif": Kind.MOVIE,
            "data/Dataset0/SuperRef_x.mrc": Kind.GAIN,
            "data/Dataset0/NOTE": Kind.OTHER,
        },
    ),
    "10288": ("data", {"data/0001.tif": Kind.MOVIE, "data/CountRef_x.dm4": Kind.GAIN}),
    "10309": ("data/Movies", {"data/Movies/FoilHole_1_Data_2_Fractions.tif": Kind.MOVIE}),
    "10340": (
        "data/Movies",
        {"data/Movies/Case3/0001.tif": Kind.MOVIE, "data/Movies/Case3/0001.tif.mdoc": Kind.OTHER},
    ),
    "10314": ("data/data/micrographs", {"data/data/micrographs/Part1/0001.mrcs": Kind.MOVIE}),
    "10317": ("data/Micrographs", {"data/Micrographs/a_0001.mrc": Kind.MOVIE}),
    "10511": ("data", {"data/0001.mrc": Kind.MOVIE, "data/gain-reference.mrc": Kind.GAIN}),
    "11190": ("data", {"data/part1.tar": Kind.ARCHIVE}),
    "11306": (
        "data",
        {
            "data/HeLa_argon/Position_1_001_EER.eer": Kind.MOVIE,
            "data/gain_ref/20220406_101030_EER_GainReference.gain": Kind.GAIN,
            "data/gain_ref/x.tif": Kind.GAIN,
            "data/gain_ref/README.txt": Kind.OTHER,
        },
    ),
    "11561": (
        "data/211206/data",
        {
            "data/211206/data/frames/TS_001_000_-0.0.tif": Kind.MOVIE,
            "data/211206/data/CountRef.mrc": Kind.GAIN,
            "data/211206/data/defects.tif": Kind.DEFECTS,
            "data/211206/data/mdoc/TS_001.mrc.mdoc": Kind.OTHER,
        },
    ),
}


@pytest.mark.parametrize("accession", LAYOUTS)
def test_every_layout_is_understood(accession: str) -> None:
    directory, files = LAYOUTS[accession]
    entry = an_entry((directory, MULTI))
    found = chosen_from(entry, *files)
    of_kind = {wanted: [path for path, is_of in files.items() if is_of is wanted] for wanted in Kind}
    assert movies(found) == of_kind[Kind.MOVIE]
    assert sorted(file.path for file in found.gains) == sorted(of_kind[Kind.GAIN] + of_kind[Kind.DEFECTS])
    assert any("not opened" in said for said in found.notices) is bool(of_kind[Kind.ARCHIVE])
    for path, is_of in files.items():
        assert kind(path, entry.imagesets[0]) is is_of
        assert kind(path) is is_of


# ------------------------------------------------------------------------------------------------------------ by name


@pytest.mark.parametrize(
    "name",
    [
        "a.MRC",
        "a.mrcs",
        "a.Tiff",
        "a.eer",
        "001.mrc",
        "FoilHole_1_Data_2_3_20200101_1234_EER.eer",
        "x_nogain_001.tif",
        "x_no_gain_001.tif",
        "x-without-gain_001.tif",
        "x_ungained_001.mrcs",
        "x_gaincorrected_001.mrc",
        "x_gain_corrected_001.mrc",
        "x_gain-corr_001.mrc",
        "GainCorrected_001.mrc",
        "x_gainnorm_001.mrc",
        "x_gain_normalised.mrc",
        "x_gain_ref_applied_001.mrc",
        "x_movie_gc.mrcs",
        "Again_001.tif",
        "retaken_again_1.tif",
        "AGAIN.tif",
        "bargain.tif",
        "receptor-gain-of-function_001.tif",
        "refolded_001.tif",
        "x_ref12_001.tif",
        "prefix_0001.tif",
        "aRefined.mrc",
        "defective_mutant_001.tif",
        "autophagy-defect_cells_001.tif",
        "dark_state_001.tif",
        "x_SumCorr.mrc",
        "x_DW.mrc",
        "a.b.c.tif",
    ],
)
def test_a_movie_is_told_by_its_format_whatever_harmless_words_are_in_its_name(name: str) -> None:
    assert kind(f"data/Movies/{name}") is Kind.MOVIE


@pytest.mark.parametrize(
    "name",
    [
        "CountRef.mrc",
        "CountRef_x-2020.Jan.01.dm4",
        "SuperRef_x.mrc",
        "superref_x.tif",
        "x_CountRef.mrc",
        "gain.mrc",
        "Gain.tif",
        "GAIN.MRC",
        "gain-reference.mrc",
        "gain_ref_flipx.mrc",
        "GainReference.mrc",
        "x_gainref.mrc",
        "x_gainRef.dm4",
        "K3-2020_gain.tiff",
        "K3gain_rot90.mrc",
        "EERgain_x.mrc",
        "EERGain.tif",
        "x.gain",
        "20220406_EER_GainReference.gain",
        "gain_corr_ref.mrc",
        "gain_correction_x.mrc",
        "Gains.mrc",
        "x_ref.mrc",
        "x_ref.dm4",
        "reference.mrc",
        "gain.raw",
    ],
)
def test_a_gain_reference_is_told_by_its_name(name: str) -> None:
    assert kind(f"data/Movies/{name}") is Kind.GAIN


@pytest.mark.parametrize(
    "name",
    ["defects.tif", "defects_x.txt", "defect_map.mrc", "DefectMap.tif", "x_defectfile.txt", "x_defects.tif",
     "defects_CountRef_x.tif", "CountRef_defects_x.tif", "Defects.dm4"],
)  # fmt: skip
def test_a_defect_map_is_told_by_its_name(name: str) -> None:
    assert kind(f"data/Movies/{name}") is Kind.DEFECTS


@pytest.mark.parametrize(
    "name",
    [
        "a.mdoc",
        "a.tif.mdoc",
        "a.mrc.st",
        "a.dm4",
        "a.xml",
        "README_gain.mrc.txt",
        "readme.tif",
        "NOTE",
        "note_on_gain.tif",
        "mrc",
        "a",
        "a.",
        ".mrc",
        "._001.mrc",
        ".DS_Store",
        "gain.txt",
        "gain.star",
        "CountRef.xml",
        "dark.mrc",
        "DarkRef.mrc",
        "dark_reference_x.mrc",
        "x_dark_gain.mrc",
    ],
)
def test_everything_else_is_left_where_it_is(name: str) -> None:
    assert kind(f"data/Movies/{name}") is Kind.OTHER


@pytest.mark.parametrize(
    "name", ["a.tar", "a.TAR.GZ", "a.tgz", "a.zip", "a.7z", "a.mrc.gz", "a.mrc.bz2", "a.tar.xz", "a.rar", "gain.tar"]
)
def test_an_archive_is_told_as_one_whatever_is_in_it(name: str) -> None:
    assert kind(f"data/Movies/{name}") is Kind.ARCHIVE


@pytest.mark.parametrize(
    ("path", "is_of"),
    [
        ("data/gain/x.mrc", Kind.GAIN),
        ("data/Gain_refs/day1/x.dm4", Kind.GAIN),
        ("data/gain_ref/defects.txt", Kind.DEFECTS),
        ("data/gain_ref/x.txt", Kind.OTHER),
        ("data/gain_ref/dark.mrc", Kind.OTHER),
        ("data/defects/x.txt", Kind.DEFECTS),
        ("data/gain_ref/frames/x.tif", Kind.GAIN),
        ("data/gain_corrected/x.tif", Kind.MOVIE),
        ("data/no_gain/x.tif", Kind.MOVIE),
        ("data/movies_and_gain/x.tif", Kind.MOVIE),
        ("data/movies_and_gain/gain.tif", Kind.GAIN),
        ("data/bargain/x.tif", Kind.MOVIE),
        ("data/reference/x.tif", Kind.MOVIE),
    ],
)
def test_a_folder_of_gain_references_is_one_unless_it_says_that_movies_are_in_it(path: str, is_of: Kind) -> None:
    assert kind(path) is is_of


def test_the_folders_above_an_imageset_say_nothing_of_its_files() -> None:
    entry = an_entry(("data/gain", MULTI))
    assert movies(chosen_from(entry, "data/gain/a.mrc")) == ["data/gain/a.mrc"]
    assert chosen_from(entry, "data/gain/gain/a.mrc").movies == ()


def test_there_are_never_more_gain_references_than_movies() -> None:
    many = [f"data/Movies/gain_{number}.tif" for number in range(MANY_REFERENCES + 1)]
    found = chosen_from(MOVIES, *many, "data/Movies/CountRef.mrc", "data/Movies/defects.txt", "data/Movies/a.tif")
    assert len(found.movies) == MANY_REFERENCES + 2
    assert {file.kind for file in found.movies} == {Kind.MOVIE}
    assert [file.path for file in found.gains] == ["data/Movies/CountRef.mrc", "data/Movies/defects.txt"]
    such = '11 files of imageset 1, such as "data/Movies/gain_0.tif", are named like gain references or defect maps, '
    assert found.notices == (f"{such}but are so many that they are taken for movies",)
    few = chosen_from(MOVIES, *many[1:])
    assert (len(few.movies), len(few.gains)) == (0, MANY_REFERENCES)
    beside = chosen_from(MOVIES, *many, *(f"data/Movies/{number}.tif" for number in range(MANY_REFERENCES + 1)))
    assert (len(beside.movies), len(beside.gains)) == (MANY_REFERENCES + 1, MANY_REFERENCES + 1)


# --------------------------------------------------------------------------------------------------------------- order


def test_movies_come_as_a_person_would_sort_them() -> None:
    in_order = ["data/Movies/1.mrc", "data/Movies/1.tif", "data/Movies/2/9.tif", "data/Movies/2/10.tif"]
    in_order += ["data/Movies/2 b/1.tif", "data/Movies/10.mrc", "data/Movies/a01.tif", "data/Movies/a1.tif"]
    in_order += ["data/Movies/a2b3.tif", "data/Movies/a2b20.tif", "data/Movies/a10b1.tif"]
    for seed in range(10):
        mixed = Random(seed).sample(in_order, len(in_order))
        assert movies(chosen_from(MOVIES, *mixed)) == in_order


PATHS = st.text(alphabet="ab01290/_.\u0660", max_size=8) | st.text()


@given(PATHS, PATHS)
def test_no_two_paths_are_equal_in_order(one: str, other: str) -> None:
    assert (natural_order(one) == natural_order(other)) == (one == other)


@given(st.text(alphabet="ab/_", max_size=4), st.integers(0, 10**30), st.integers(0, 10**30), st.text(max_size=4))
def test_a_smaller_number_comes_first(before: str, one: int, other: int, behind: str) -> None:
    behind = behind.lstrip("0123456789")
    smaller, larger = sorted((one, other))
    first, second = (natural_order(f"{before}{number}{behind}") for number in (smaller, larger))
    assert first < second or smaller == larger


@given(st.lists(st.tuples(st.sampled_from(["a", "a2", "a10", "a 1", "b"]), st.text("x01", min_size=1, max_size=3))))
def test_files_of_a_folder_stay_together(parts: list[tuple[str, str]]) -> None:
    in_order = sorted(("/".join(pair) for pair in parts), key=natural_order)
    visited = [folder for folder, _ in itertools.groupby(path.partition("/")[0] for path in in_order)]
    assert len(visited) == len(set(visited))


def test_a_file_that_is_listed_twice_is_taken_once() -> None:
    found = chosen_from(MOVIES, *["data/Movies/a.tif", "data/Movies/CountRef.mrc"] * 2)
    assert (len(found.movies), len(found.gains), found.found) == (1, 1, {0: 1})


# -------------------------------------------------------------------------------------------- patterns, counts, notices

SOME = [f"data/Movies/{grid}/{number}.tif" for grid in ("A", "B") for number in (1, 2)]


@pytest.mark.parametrize(
    ("patterns", "excludes", "left"),
    [
        ([], [], SOME),
        (["A/*"], [], SOME[:2]),
        (["A/*", "B/1.tif"], [], SOME[:3]),
        (["*.tif"], ["1.tif"], [SOME[1], SOME[3]]),
        ([], ["**/B/**", "2.*"], [SOME[0]]),
    ],
)
def test_patterns_choose_among_movies_and_leave_the_gain(
    patterns: list[str], excludes: list[str], left: list[str]
) -> None:
    found = chosen_from(MOVIES, *SOME, "data/Movies/CountRef.mrc", patterns=patterns, excludes=excludes)
    assert movies(found) == left
    assert len(found.gains) == 1
    assert found.found == {0: 4}
    assert found.notices == ()


def test_patterns_that_leave_nothing_say_so() -> None:
    found = chosen_from(MOVIES, *SOME, patterns=["*.mrc"], excludes=["x\x1b"])
    assert (found.movies, found.notices) == ((), ("none of 4 movies is left by --pattern *.mrc --exclude x\\x1b",))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (4, None),
        (None, None),
        (5, "imageset 1 has 4 movies in the archive, and 5 by the description"),
        (1, "imageset 1 has 4 movies in the archive, and 1 by the description"),
    ],
)
def test_a_count_that_disagrees_is_told_whatever_patterns_leave(images: int | None, said: str | None) -> None:
    entry = an_entry(Imageset(name="", directory="data/Movies", category=MULTI, images=images))
    for patterns in ([], ["1.tif"]):
        assert count_disagrees(entry, (0,), chosen_from(entry, *SOME, patterns=patterns)) == said


def test_counts_are_compared_folder_by_folder() -> None:
    counted = functools.partial(Imageset, name="", category=MULTI)
    entry = an_entry(
        counted(directory="data/Movies", images=1),
        counted(directory="data/Movies", images=2),
        counted(directory="data/x", images=9),
        counted(directory="data/y", images=1),
    )
    found = choose(entry, (0, 1, 2), listed(*SOME))
    assert count_disagrees(entry, (0, 1, 2), found) == (
        "imagesets 1 and 2 have 4 movies in the archive, and 3 by the description; "
        "imageset 3 has 0 movies in the archive, and 9 by the description"
    )
    assert count_disagrees(entry, (0,), choose(entry, (0,), listed(*SOME))) is None, "shared with one not chosen"


@pytest.mark.parametrize(
    ("archives", "said"),
    [
        (
            listed("data/a.tar", size_bytes=10**9),
            "1 .tar archive, 1.0 GB, is not opened: what is inside is not streamed",
        ),
        (
            listed(*(f"data/{n}.tar" for n in range(6)), about_bytes=2 * 10**11),
            "6 .tar archives, about 1.2 TB, are not opened: what is inside is not streamed",
        ),
        (
            listed("data/a.tar.gz", "data/b.zip", "data/c.tar.gz"),
            "2 .tar.gz, 1 .zip archives are not opened: what is inside is not streamed",
        ),
    ],
)
def test_archives_are_told_of_with_their_size_where_it_is_known(archives: list[tuple[str, Listed]], said: str) -> None:
    entry = an_entry(("data", MULTI))
    found = choose(entry, (0,), archives)
    assert found.movies == ()
    assert found.notices == (said, "imageset 1 has no movies (.mrc, .mrcs, .tif, .tiff, .eer) in data")
    assert choose(entry, (0,), [*archives, *listed("data/x.tif")]).notices == (said,)


def test_an_imageset_without_movies_says_what_it_has_instead() -> None:
    found = chosen_from(MOVIES, *(f"data/Movies/{n}.dm4" for n in range(1200)), "data/Movies/a.xml", "data/Movies/NOTE")
    assert found.notices == (
        "imageset 1 has no movies (.mrc, .mrcs, .tif, .tiff, .eer) in data/Movies, but 1,200 .dm4, 1 .xml, 1 other",
    )


def test_pixel_sizes_that_differ_are_told() -> None:
    sized = functools.partial(Imageset, name="", category=MULTI)
    files = listed("data/a/1.tif", "data/b/1.tif", "data/c/1.tif")
    entry = an_entry(
        sized(directory="data/a", pixel_size_a=1.06),
        sized(directory="data/b"),
        sized(directory="data/c", pixel_size_a=0.5),
    )
    (said,) = choose(entry, (0, 1, 2), files).notices
    assert said == "the imagesets' pixel sizes differ: 1 has 1.06 A, 3 has 0.5 A; every movie keeps its own"
    assert choose(entry, (0, 1), files[:2]).notices == ()


def test_what_the_listing_knows_of_a_file_is_kept() -> None:
    (movie,) = choose(MOVIES, (0,), listed("data/Movies/a.tif", size_bytes=5, about_bytes=6)).movies
    assert (movie.path, movie.kind, movie.imageset) == ("data/Movies/a.tif", Kind.MOVIE, 0)
    assert (movie.size_bytes, movie.about_bytes) == (5, 6)


def test_nothing_found_is_nothing_chosen() -> None:
    found = chosen_from(MOVIES)
    assert (found.movies, found.gains, found.found) == ((), (), {})


@given(st.lists(st.lists(st.sampled_from(["data", "gain", "a", "Ref", "x.tif", "y.tar", ""]) | st.text(max_size=3))))
def test_any_paths_are_told_apart(paths: list[list[str]]) -> None:
    entry = an_entry(("data", MULTI), ("data/a", ""), ("data/gain", MULTI))
    files = list({"/".join(parts): None for parts in paths})
    found = choose(entry, (0, 2), listed(*files))
    told = [(file.path, file.imageset) for file in (*found.movies, *found.gains)]
    assert len(set(told)) == len(told)
    # Imageset 2, which is not chosen, keeps what is below data/a; what is outside of data is nobody's.
    assert all(path in files and path.startswith("data/") and not path.startswith("data/a/") for path, _ in told)
    assert all(path.startswith("data/gain/") is (imageset == 2) for path, imageset in told)
    every = {path for path in files if kind(path) in (Kind.MOVIE, Kind.GAIN, Kind.DEFECTS)}
    assert {path for path, _ in told} <= every


def hundred_thousand() -> list[tuple[str, Listed]]:
    return listed(*(f"data/Movies/Grid{n % 40}/FoilHole_{n * 7919 % 100_003}_{n}_Data.tiff" for n in range(100_000)))


def test_a_hundred_thousand_files_take_seconds_whatever_their_names() -> None:
    """It takes 0.9 s, and 1.3 s where every name has to be thought about; what is quadratic would take hours."""
    files = hundred_thousand()
    doubtful = [(path.replace("Foil", "gain_Foil"), row) for path, row in files]
    began_s = time.thread_time()
    assert len(choose(MOVIES, (0,), files, ["Grid*/*.tiff"], ["*99_*"]).movies) > 90_000
    assert len(choose(MOVIES, (0,), doubtful).movies) == 100_000
    assert time.thread_time() - began_s < 30, "ten times what it takes: coverage and a slow machine are no bug"


def test_choosing_needs_little_memory_beside_the_listing() -> None:
    files = hundred_thousand()[:20_000]
    tracemalloc.start()
    try:
        found = choose(MOVIES, (0,), files)
        kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.movies) == 20_000
    assert kept_bytes < 20_000 * 120
    assert peak_bytes < 20_000 * 400
