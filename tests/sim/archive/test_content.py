"""An entry has the files that its layout says, and metadata of the real shape."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.sim.archive import FORMATS, LAYOUTS, Archive, Fault, FaultKind
from fsmcollect.sim.archive.content import Entry
from fsmcollect.sim.archive.movies import Shape

each_layout = pytest.mark.parametrize("layout", LAYOUTS)
WITH_MOVIES = [name for name, layout in LAYOUTS.items() if any(imageset.movies for imageset in layout.imagesets)]

#: Of the API's answers, as they have been seen.
ENTRY_KEYS = [
    "imagesets",
    "workflow_file",
    "grant_references",
    "version_history",
    "title",
    "principal_investigator",
    "status",
    "deposition_date",
    "release_date",
    "obsolete_date",
    "update_date",
    "corresponding_author",
    "authors",
    "cross_references",
    "biostudies_references",
    "idr_references",
    "empiar_references",
    "citation",
    "dataset_size",
    "experiment_type",
    "scale",
    "entry_doi",
]
IMAGESET_KEYS = [
    "segmentations",
    "name",
    "directory",
    "category",
    "header_format",
    "data_format",
    "num_images_or_tilt_series",
    "frames_per_image",
    "frame_range_min",
    "frame_range_max",
    "voxel_type",
    "pixel_width",
    "pixel_height",
    "micrographs_file_pattern",
    "picked_particles_file_pattern",
    "picked_particles_directory",
    "details",
    "image_width",
    "image_height",
]


def entry(layout: str = "Movies", movies: int = 7, form: str = "tiff", **more: object) -> Entry:
    return Entry(
        accession="10200",
        layout=LAYOUTS[layout],
        shape=Shape(form, 64, 32, 3),
        movies=movies,
        has_gain=True,
        seed=0,
        **more,  # type: ignore[arg-type]
    )


def walked(of: Entry, folder: str = "") -> list[str]:
    paths = []
    for row in of.rows(folder):
        paths += walked(of, folder + row.name) if row.size_bytes is None else [folder + row.name]
    return paths


@each_layout
@pytest.mark.parametrize("movies", [0, 1, 2, 7])
def test_who_walks_the_folders_finds_every_file_once(layout: str, movies: int) -> None:
    here = entry(layout, movies)
    found = walked(here)
    assert sorted(found) == sorted((*here.paths, *here.gain_paths, *here.other_paths))
    assert len(set(found)) == len(found)
    for path in found:
        file = here.file(path)
        assert file is not None
        assert len(file.read(0, file.size_bytes)) == file.size_bytes


@pytest.mark.parametrize("layout", WITH_MOVIES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_layout_has_as_many_movies_as_were_asked_for(layout: str, form: str) -> None:
    here = entry(layout, 7, form)
    paths = list(here.paths)
    assert len(paths) == len(set(paths)) == 7
    assert all(path.endswith(FORMATS[form].suffix) and here.is_movie(path) for path in paths)
    assert not any(here.is_movie(path) for path in (*here.gain_paths, *here.other_paths))


@each_layout
def test_a_listing_states_the_size_of_what_is_there(layout: str) -> None:
    here = entry(layout)
    for folder in {path.rpartition("/")[0] + "/" for path in (*here.paths, *here.gain_paths)}:
        for row in here.rows(folder):
            file = here.file(folder + row.name)
            assert row.size_bytes == (file.size_bytes if file else None)


@each_layout
def test_the_metadata_has_the_shape_of_the_real_one(layout: str) -> None:
    document = json.loads(entry(layout).metadata())
    assert list(document) == ["EMPIAR-10200"]
    described = document["EMPIAR-10200"]
    assert list(described) == ENTRY_KEYS
    assert described["status"] == "REL"
    assert described["dataset_size"].endswith("B")
    for imageset in described["imagesets"]:
        assert list(imageset) == IMAGESET_KEYS
        assert imageset["image_width"] == "64"
        assert isinstance(imageset["pixel_width"], float)


@pytest.mark.parametrize("layout", WITH_MOVIES)
def test_the_metadata_counts_the_movies_of_each_imageset(layout: str) -> None:
    here = entry(layout)
    imagesets = json.loads(here.metadata())["EMPIAR-10200"]["imagesets"]
    multiframe = [imageset for imageset in imagesets if "multiframe" in imageset["category"]]
    assert sum(imageset["num_images_or_tilt_series"] for imageset in multiframe) == 7
    for imageset in multiframe:
        below = [path for path in here.paths if path.startswith(imageset["directory"] + "/")]
        assert len(below) == imageset["num_images_or_tilt_series"]


def test_movies_of_two_folders_may_have_the_same_name_and_differ() -> None:
    here = entry("nested", 4)
    first, _, second, _ = here.paths
    assert first.rpartition("/")[2] == second.rpartition("/")[2]
    assert here.file(first) != here.file(second)


def test_movies_lie_where_they_are_told_to() -> None:
    here = entry("flat", 5, folders=("data/odd {n}/x", "/elsewhere/"))
    assert list(here.paths) == [
        "data/odd {n}/x/001_movie_gc.tif",
        "data/odd {n}/x/002_movie_gc.tif",
        "data/odd {n}/x/003_movie_gc.tif",
        "elsewhere/001_movie_gc.tif",
        "elsewhere/002_movie_gc.tif",
    ]
    assert sorted(walked(here)) == sorted((*here.paths, *here.gain_paths, *here.other_paths))


@given(st.text(max_size=40))
def test_no_other_path_is_a_file(path: str) -> None:
    here = entry("awkward")
    known = {*here.paths, *here.gain_paths, *here.other_paths}
    assert (here.file(path) is not None) == (path in known)


@pytest.mark.parametrize("name", ["grid1_000008_frames.tif", "grid1_000000_frames.tif", "grid1_1_frames.tif", ""])
def test_a_number_that_is_none_of_its_movies_is_no_file(name: str) -> None:
    assert entry().file(f"data/Movies/{name}") is None


def test_a_file_that_changes_keeps_its_size_and_nothing_else() -> None:
    here = entry()
    for path in (next(iter(here.paths)), here.gain_paths[0], "data/Movies/NOTE"):
        before, validators = here.file(path), here.validators(path)
        here.change(path)
        after, renewed = here.file(path), here.validators(path)
        assert before is not None
        assert after is not None
        assert after.size_bytes == before.size_bytes
        assert after.sha256() != before.sha256()
        assert renewed[0] != validators[0]
        assert renewed[1] != validators[1]


@pytest.mark.parametrize(
    "fault, corrupt",
    [
        (Fault(FaultKind.CORRUPT, times=None), [0, 1, 2, 3, 4, 5, 6]),
        (Fault(FaultKind.CORRUPT, times=2), [0, 1]),
        (Fault(FaultKind.CORRUPT, times=2, skip=3), [3, 4]),
        (Fault(FaultKind.CORRUPT, times=None, skip=5), [5, 6]),
        (Fault(FaultKind.CORRUPT, path="*_000004_*"), [3]),
        (Fault(FaultKind.CORRUPT, path="NOTE"), []),
    ],
)
def test_which_movies_are_corrupt_follows_from_the_fault_alone(fault: Fault, corrupt: list[int]) -> None:
    archive = Archive(movies=7, faults=[fault])
    assert [i for i, path in enumerate(archive.paths) if archive.is_corrupt(path)] == corrupt
    assert not any(map(archive.is_corrupt, (*archive.gain_paths, *archive.other_paths)))


def test_equal_seeds_give_equal_files_and_others_differ() -> None:
    one, same, other = (Archive(seed=seed, movies=3) for seed in (1, 1, 2))
    for path in (*one.paths, *one.gain_paths):
        assert one.sha256(path) == same.sha256(path) != other.sha256(path)


def test_an_archive_of_a_million_movies_costs_nothing() -> None:
    tracemalloc.start()
    archive = Archive(movies=1_000_000)
    assert archive.size_bytes("data/Movies/grid1_999999_frames.mrc") == 1024 + 256 * 256 * 4 * 2
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_a_path_that_is_no_file_has_no_size() -> None:
    with pytest.raises(KeyError):
        Archive().size_bytes("data/Movies/none.mrc")


@pytest.mark.parametrize(
    "wrong",
    [
        {"entry": "../10200"},
        {"movies": -1},
        {"width_px": 0},
        {"frames": 0},
        {"format": "gif"},
        {"layout": "none"},
        {"style": "iis"},
        {"latency_s": -0.1},
        {"bandwidth_bytes_per_s": 0},
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Archive(**wrong)  # type: ignore[arg-type]
    assert [problem.field for problem in caught.value.problems] == list(wrong)
