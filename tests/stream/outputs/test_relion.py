"""``movies.star``, as gemmi and starfile read it."""

from __future__ import annotations

import linecache
import os
import tracemalloc
from pathlib import Path

import attrs
import gemmi
import pytest
import starfile

from fsmcollect.errors import StorageError
from fsmcollect.stream.outputs.relion import Relion
from fsmcollect.stream.values import Movie, Optics
from tests.stream.outputs.registering import BARE, FACTS, movie, movies, named, unknown

Table = dict[str, list[str]]


def by_gemmi(path: Path) -> dict[str, Table]:
    """Block -> column -> values."""
    tables: dict[str, Table] = {}
    for block in gemmi.cif.read_file(str(path)):
        (item,) = block
        assert item.loop is not None
        tags = item.loop.tags
        tables[block.name] = {tag: [gemmi.cif.as_string(text) for text in block.find_values(tag)] for tag in tags}
    return tables


def by_starfile(path: Path) -> dict[str, Table]:
    # It keeps the lines of a file by its name, and would show what stood there before.
    linecache.clearcache()
    return {
        name: {f"_{column}": [str(value) for value in table[column]] for column in table.columns}
        for name, table in starfile.read(path, always_dict=True).items()
    }


def names(tables: dict[str, Table]) -> list[str]:
    return tables["movies"]["_rlnMicrographMovieName"]


class Clock:
    """Seconds that only a test moves; `per_write_s` pass between the two looks at it of a renewal."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.step_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_movies_and_their_optics_are_read_by_gemmi_and_by_starfile(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(FACTS, [])
    for one in movies(3):
        output.append(one)
    output.close("done")
    expected: dict[str, Table] = {
        "optics": {
            "_rlnOpticsGroupName": ["opticsGroup1"],
            "_rlnOpticsGroup": ["1"],
            "_rlnMicrographOriginalPixelSize": ["1.06"],
            "_rlnVoltage": ["300.0"],
            "_rlnSphericalAberration": ["2.7"],
            "_rlnAmplitudeContrast": ["0.1"],
        },
        "movies": {
            "_rlnMicrographMovieName": [f"movies/data/Movies/{number:03}.mrc" for number in (1, 2, 3)],
            "_rlnOpticsGroup": ["1", "1", "1"],
        },
    }
    assert by_gemmi(output.path) == expected
    assert by_starfile(output.path) == expected


def test_the_layout_is_the_one_relion_writes(tmp_path: Path) -> None:
    """RELION cuts a label by counting characters up to its number, and tells the format by the version."""
    output = Relion(tmp_path)
    output.open(FACTS, movies(1))
    assert output.path.read_text() == (
        "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        "opticsGroup1 1 1.06 300.0 2.7 0.1\n\n\n"
        "# version 30001\n\ndata_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n"
        "movies/data/Movies/001.mrc 1\n\n"
    )


def test_what_is_not_known_has_no_column(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(BARE, unknown(movies(2)))
    assert by_gemmi(output.path)["optics"] == {"_rlnOpticsGroupName": ["opticsGroup1"], "_rlnOpticsGroup": ["1"]}
    output.open(attrs.evolve(BARE, optics=Optics(voltage_kv=200)), movies(2))
    assert by_starfile(output.path)["optics"] == {
        "_rlnOpticsGroupName": ["opticsGroup1"],
        "_rlnOpticsGroup": ["1"],
        "_rlnMicrographOriginalPixelSize": ["1.06"],
        "_rlnVoltage": ["200"],
    }


def test_every_pixel_size_is_an_optics_group(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(FACTS, [])
    sizes = [0.53, 1.06, 0.53]
    for number, pixel_size_a in enumerate(sizes, start=1):
        output.append(movie(number, pixel_size_a=pixel_size_a))
    output.close("done")
    tables = by_gemmi(output.path)
    assert tables["optics"]["_rlnOpticsGroupName"] == ["opticsGroup1", "opticsGroup2"]
    assert tables["optics"]["_rlnMicrographOriginalPixelSize"] == ["0.53", "1.06"]
    assert tables["movies"]["_rlnOpticsGroup"] == ["1", "2", "1"]


def test_a_pixel_size_that_one_group_lacks_is_left_out_for_all(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(FACTS, [movie(1), movie(2, pixel_size_a=None)])
    tables = by_gemmi(output.path)
    assert "_rlnMicrographOriginalPixelSize" not in tables["optics"]
    assert tables["optics"]["_rlnOpticsGroup"] == ["1", "2"]
    assert tables["movies"]["_rlnOpticsGroup"] == ["1", "2"]


def test_an_empty_set_is_a_table_without_rows(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(FACTS, [])
    output.close("failed")
    assert names(by_gemmi(output.path)) == names(by_starfile(output.path)) == []
    assert by_gemmi(output.path)["optics"]["_rlnMicrographOriginalPixelSize"] == ["1.06"]


AWKWARD = [
    "a b.mrc",
    "a  two.mrc",
    "part #1.mrc",
    "#1.mrc",
    'a"b.mrc',
    "é 日本.mrc",
    "é.mrc",
    "data_movies/loop_/_x.mrc",
    "a;b,c.mrc",
    "back\\slash.mrc",
    "$b[c].mrc",
    "nan",
    "no-break\u00a0space.mrc",
]
#: starfile exchanges the one kind of quote for the other, whatever is written.
NOT_FOR_STARFILE = ["it's.mrc", "it's a.mrc", 'a" b.mrc', "'a b'/x.mrc", '"a b"/x.mrc', "a' b\"c.mrc", "a\" b'c.mrc"]


def test_awkward_names_are_read_as_they_are(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    several = named(*AWKWARD)
    output.open(FACTS, several)
    assert names(by_gemmi(output.path)) == names(by_starfile(output.path)) == [one.file for one in several]


def test_names_with_quotes_are_read_by_gemmi_as_they_are(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    several = named(*NOT_FOR_STARFILE)
    output.open(FACTS, several)
    assert names(by_gemmi(output.path)) == [one.file for one in several]


def test_a_name_that_no_quotes_can_hold_is_told_and_changes_nothing(tmp_path: Path) -> None:
    output = Relion(tmp_path)
    output.open(FACTS, movies(1))
    with pytest.raises(StorageError, match="cannot hold the name"):
        output.append(movie(2, "a\" b' c.mrc"))
    output.close("failed")
    assert names(by_gemmi(output.path)) == ["movies/data/Movies/001.mrc"]


def test_it_is_renewed_once_a_second_at_most(tmp_path: Path, clock: Clock) -> None:
    output = Relion(tmp_path, clock)
    output.open(FACTS, [])
    shown: list[int] = []
    for number, now_s in enumerate([0.5, 0.9, 1.1, 1.9, 2.2], start=1):
        clock.now_s = now_s
        output.append(movie(number))
        shown.append(len(names(by_gemmi(output.path))))
    assert shown == [0, 0, 3, 3, 5]


def test_what_was_held_back_is_shown_when_nothing_more_arrives(tmp_path: Path, clock: Clock) -> None:
    output = Relion(tmp_path, clock)
    output.open(FACTS, [])
    clock.now_s = 0.5
    output.append(movie(1))
    output.show()
    assert names(by_gemmi(output.path)) == []
    clock.now_s = 1.5
    output.show()
    assert len(names(by_gemmi(output.path))) == 1
    written = output.path.stat().st_mtime_ns, output.path.stat().st_ino
    clock.now_s = 99.0
    output.show()
    assert (output.path.stat().st_mtime_ns, output.path.stat().st_ino) == written, "nothing new, nothing written"


def test_when_writing_is_slow_it_is_renewed_less_often(tmp_path: Path, clock: Clock) -> None:
    """A twentieth of the time at most, so that a long set is not written over and over."""
    output = Relion(tmp_path, clock)
    clock.step_s = 0.3
    output.open(FACTS, [])
    clock.step_s, begun_s = 0.0, clock.now_s
    for number, after_s in enumerate([1.1, 5.9, 6.1], start=1):
        clock.now_s = begun_s + after_s
        output.append(movie(number))
        assert len(names(by_gemmi(output.path))) == (3 if after_s > 6 else 0)


def test_closing_shows_every_movie_and_may_be_repeated(tmp_path: Path, clock: Clock) -> None:
    output = Relion(tmp_path, clock)
    output.open(FACTS, [])
    for one in movies(4):
        output.append(one)
    output.close("done")
    assert len(names(by_gemmi(output.path))) == 4
    inode = output.path.stat().st_ino
    output.close("done")
    assert output.path.stat().st_ino == inode
    with pytest.raises(StorageError, match="is not open"):
        output.append(movie(5))
    output.open(FACTS, movies(4))
    output.append(movie(5))
    output.close("done")
    assert len(names(by_gemmi(output.path))) == 5


def test_what_is_not_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not open"):
        Relion(tmp_path).close("done")


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """At every sync and rename of a renewal, the file that has the name is whole."""
    output = Relion(tmp_path, clock)
    output.open(FACTS, movies(2))
    seen: list[int] = []
    fsync = os.fsync

    def looked(descriptor: int) -> None:
        seen.append(len(names(by_gemmi(output.path))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looked)
    clock.now_s = 5.0
    output.append(movie(3))
    assert seen == [2, 3]


@pytest.mark.parametrize("left", ["nothing", "half", "other", "hidden", "hidden link"])
def test_whatever_a_killed_run_left_it_equals_the_undisturbed_one(tmp_path: Path, left: str) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = Relion(tmp_path / "whole")
    whole.open(FACTS, movies(3))
    whole.close("done")
    output = Relion(tmp_path / "killed")
    hidden = output.path.with_name(".movies.star.part")
    outside = tmp_path / "outside"
    outside.write_text("precious")
    match left:
        case "half":
            output.path.write_bytes(whole.path.read_bytes()[:200])
        case "other":
            output.path.write_text("data_movies\n\nloop_\n_rlnMicrographMovieName #1\nforeign.mrc\n")
        case "hidden":
            hidden.write_text("data_")
        case "hidden link":
            hidden.symlink_to(outside)
        case _:
            pass
    output.open(FACTS, movies(2))
    output.append(movie(3))
    output.close("done")
    assert output.path.read_bytes() == whole.path.read_bytes()
    assert [path.name for path in output.path.parent.iterdir()] == ["movies.star"]
    assert outside.read_text() == "precious"


def test_nothing_is_written_over_a_link(tmp_path: Path) -> None:
    (tmp_path / "movies.star").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="is a symbolic link"):
        Relion(tmp_path).open(FACTS, [])


def test_a_disk_that_refuses_is_told_and_the_movie_is_there_at_the_next_renewal(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Relion(tmp_path, clock)
    output.open(FACTS, movies(1))

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    clock.now_s = 9.0
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match=r"movies\.star: No space left on device; free space there"):
            output.append(movie(2))
    assert len(names(by_gemmi(output.path))) == 1
    output.close("failed")
    assert len(names(by_gemmi(output.path))) == 2


def test_a_hundred_thousand_movies_cost_little_memory(tmp_path: Path, clock: Clock) -> None:
    one = movie(1)
    output = Relion(tmp_path, clock)
    tracemalloc.start()
    output.open(FACTS, [])
    for number in range(1, 100_001):
        output.append(Movie(**{**attrs.asdict(one, recurse=False), "number": number}))
    output.close("done")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
