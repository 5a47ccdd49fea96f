"""Whole streams from real servers on loopback: nginx, with Apache's pages of folders and with its own, and FTP."""

from __future__ import annotations

import ftplib
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Literal

import attrs
import pytest

from fsmcollect.events import BytesArrived, Event, GainArrived
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.stream.listing.choice import natural_order
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.pipeline import Stream, run_stream
from fsmcollect.stream.result import StreamResult
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.stopping import Criteria
from tests.stream.layouts import LAYOUTS, ImagesetOf, Layout
from tests.stream.rehearsing import in_lines, in_scipion, in_star, journalled, registered, sha256
from tests.stream.sources.serving import Ftp, ftp, nginx
from tests.stream.trees import API_OF_NGINX, FILES, LARGE_BYTES, Planted, large_movie, planted

Way = Literal["apache", "autoindex", "ftp"]
WAYS: tuple[Way, ...] = ("apache", "autoindex", "ftp")
each_way = pytest.mark.parametrize("way", WAYS)

#: These have movies to stream; the rest of the layouts are 10064 (a tilt series) and 11190 (archives).
STREAMED = [one for one in LAYOUTS if one.entry not in ("10064", "11190")]

#: Two imagesets of movies with names in common, and two that are not of movies.
SEVERAL = Layout(
    "20001",
    (
        ImagesetOf("data/untilted", count=3),
        ImagesetOf("data/sums", "micrographs - single frame", 1),
        ImagesetOf("data/tilted/30", count=2),
        ImagesetOf("data/picked", "picked particles - single frame - processed", 1),
    ),
    {
        "data/untilted/1.mrc": "movie",
        "data/untilted/2.mrc": "movie",
        "data/untilted/day2/1.mrc": "movie",
        "data/tilted/30/1.tif": "movie",
        "data/tilted/30/2.tif": "movie",
        "data/sums/1.mrc": "other",
        "data/picked/1.mrcs": "other",
    },
)
MANY = Layout(
    "20002",
    (ImagesetOf("data/Movies", count=12),),
    {f"data/Movies/{number}_Fractions.mrc": "movie" for number in range(1, 13)},
)
#: The description says more movies than there are.
FEWER = Layout(
    "20003",
    (ImagesetOf("data/Movies", count=1_234),),
    {"data/Movies/1.mrc": "movie", "data/Movies/2.mrc": "movie", "data/Movies/rest.tar": "archive"},
)
AWKWARD = Layout(
    "20004",
    (ImagesetOf("data/Grid 1 & 2 (50%)", count=7),),
    {
        f"data/Grid 1 & 2 (50%)/{name}": "movie"
        for name in (
            "a b.mrc",
            "100%.mrc",
            "[1]*?.mrc",
            "#1;x=y&z+.mrc",
            "12:30.mrc",
            "Grün µm.mrc",
            "a name that is far longer than what Apache shows of it_0001.mrc",
        )
    },
)
LARGE = Layout(
    "20005",
    (ImagesetOf("data/Movies", count=2),),
    {"data/Movies/1.mrc": "movie", "data/Movies/2.mrc": "movie"},
)
#: Stacks of particles, which nobody calls movies but the name of whose category has "multiframe" in it.
PARTICLES = Layout(
    "20006",
    (
        ImagesetOf("data/Movies", count=1),
        ImagesetOf("data/Particles", "picked particles - multiframe - processed", 1),
    ),
    {"data/Movies/1.mrc": "movie", "data/Particles/1_particles.mrcs": "other"},
)
EXTRA = (SEVERAL, MANY, FEWER, AWKWARD, LARGE, PARTICLES)


# ---------------------------------------------------------------------------------------------------------------------
# The servers
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Servers:
    """One tree, served in every way.

    Attributes
    ----------
    log : Path
        Of both nginx: a line for every request.
    """

    tree: Path
    entries: Mapping[str, Planted]
    http: Mapping[str, str]
    ftp: Ftp
    log: Path

    def urls(self, way: Way) -> dict[str, str]:
        pages = self.http["autoindex" if way == "ftp" else way]
        return {"api_url": f"{pages}api/", "data_url": f"{self.ftp.url if way == 'ftp' else pages}{FILES}/"}

    def forget(self) -> None:
        """What was asked until now."""
        os.truncate(self.log, 0)
        self.ftp.commands.clear()

    @property
    def answers(self) -> list[tuple[str, str, int, int]]:
        """Method, path, status and bytes of every answer by HTTP."""
        row = re.compile(r'"(\w+) (\S+) HTTP/1.1" (\d+) (\d+)')
        found = (match for line in self.log.read_text().splitlines() if (match := row.search(line)))
        return [(match[1], match[2], int(match[3]), int(match[4])) for match in found]

    def fetched(self, entry: str) -> list[str]:
        """Which files of an entry were asked for, by HTTP and by FTP; once for every time."""
        below = f"/{FILES}/{entry}/"
        paths = [path for method, path, _, _ in self.answers if method == "GET" and path.startswith(below)]
        paths += [line.removeprefix("RETR ") for line in self.ftp.commands if line.startswith(f"RETR {below}")]
        return [path.removeprefix(below) for path in paths if not path.endswith("/")]


@contextmanager
def serving(tree: Path, scratch: Path, entries: Mapping[str, Planted]) -> Generator[Servers]:
    log = scratch / "requests"
    log.touch()
    settings = f"access_log '{log}'; {API_OF_NGINX}"
    with (
        nginx(tree, "apache", settings) as apache,
        nginx(tree, "autoindex", settings) as autoindex,
        ftp(tree) as by_ftp,
    ):
        yield Servers(tree, entries, {"apache": apache, "autoindex": autoindex}, by_ftp, log)


@pytest.fixture(scope="module")
def all_servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    tree = tmp_path_factory.mktemp("tree")
    entries = {one.entry: planted(tree, one) for one in (*LAYOUTS, *EXTRA) if one is not LARGE}
    entries[LARGE.entry] = planted(tree, LARGE, {path: large_movie(seed) for seed, path in enumerate(LARGE.files)})
    with serving(tree, tmp_path_factory.mktemp("servers"), entries) as servers:
        yield servers


@pytest.fixture
def servers(all_servers: Servers) -> Servers:
    all_servers.forget()
    return all_servers


# ---------------------------------------------------------------------------------------------------------------------
# Streams from them
# ---------------------------------------------------------------------------------------------------------------------


@attrs.define
class Streamed:
    """What a stream came to, and what was told of it."""

    result: StreamResult
    events: list[Event]

    @property
    def said(self) -> str:
        return "\n".join((*self.result.errors, *self.result.notices))


def stream(
    servers: Servers,
    entry: str,
    way: Way,
    directory: Path,
    *,
    count: int | None = None,
    resume: bool = False,
    before: Callable[[Stream], None] = lambda _: None,
    **settings: Any,
) -> Streamed:
    events: list[Event] = []
    made = Stream(
        settings=Settings(accession=entry, until=Criteria(count=count), **{**servers.urls(way), **settings}),
        directory=directory,
        resume=resume,
        observers=Observers([events.append]),
        policy=Policy(first_wait_s=0.01, longest_wait_s=0.1),
        random=Random(1),
    )
    before(made)
    return Streamed(run_stream(made), events)


def check(directory: Path, entry: Planted, *paths: str) -> None:
    """Just these movies are registered, in every set, each with its bytes under its path, and the sets are closed."""
    found = journalled(directory)
    order = [path for path, _ in found]
    assert sorted(order) == sorted(paths)
    for path, checksum in found:
        assert checksum == hashlib.sha256(entry.files[path]).hexdigest() == sha256(directory / "movies" / path), path
    assert files_below(directory / "movies") == sorted(paths)
    assert in_scipion(directory) == ([str(directory / "movies" / path) for path in order], "2")
    lines, closing = in_lines(directory)
    assert [(line["path"], line["bytes"]) for line in lines] == [(path, len(entry.files[path])) for path in order]
    assert closing is not None
    assert closing["movies"] == len(paths)
    assert in_star(directory) == [f"movies/{path}" for path in order]
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=directory, check=False, timeout=20
    )
    assert done.returncode == 0


def files_below(folder: Path) -> list[str]:
    """Hidden ones too: what is half there shows."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def property_in_scipion(directory: Path, key: str) -> str | None:
    with sqlite3.connect(directory / "movies.sqlite") as database:
        ((value,),) = database.execute("SELECT value FROM Properties WHERE key = ?", (key,))
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("number", [one.entry for one in STREAMED])
def test_the_movies_of_a_layout_and_nothing_else_are_registered(
    tmp_path: Path, servers: Servers, number: str, way: Way
) -> None:
    entry = servers.entries[number]
    ended = stream(servers, number, way, tmp_path / "out")
    assert (ended.result.outcome, ended.result.registered, ended.result.rejected) == (
        Outcome.DONE,
        len(entry.movies),
        0,
    )
    assert ended.result.errors == ()
    assert ended.result.notices == ()  # all is as the description says
    assert (ended.result.entry, ended.result.title) == (f"EMPIAR-{number}", entry.title)
    assert ended.result.bytes == sum(map(len, entry.movies.values()))
    check(tmp_path / "out", entry, *entry.movies)

    # Gain references and defect maps, and Scipion is told of the one gain reference.
    beside = entry.of("gain", "defects")
    assert {path: (tmp_path / "out/gain" / path).read_bytes() for path in beside} == beside
    gain = tmp_path / "out/gain"
    assert (files_below(gain) if gain.exists() else []) == sorted(beside)
    assert {event.path for event in ended.events if isinstance(event, GainArrived)} == set(beside)
    named: list[str | None] = [str(gain / path) for path in entry.gains] or [None]
    assert [property_in_scipion(tmp_path / "out", "_gainFile")] == named
    # Each file was asked for once, and nothing that is not kept.
    assert sorted(servers.fetched(number)) == sorted({**entry.movies, **beside})


@each_way
def test_an_entry_without_movies_says_so_and_makes_no_directory(tmp_path: Path, servers: Servers, way: Way) -> None:
    ended = stream(servers, "10064", way, tmp_path / "out")
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 0)
    assert len(ended.result.errors) == 1
    assert "no imageset of movies (multiframe), only 1" in ended.said
    assert "tilt series" in ended.said
    assert not (tmp_path / "out").exists()
    assert servers.fetched("10064") == []


@each_way
def test_what_is_no_imageset_of_movies_is_streamed_where_somebody_asks_for_it(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    entry = servers.entries["10064"]
    ended = stream(servers, "10064", way, tmp_path, imagesets=("1",))
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 2)
    check(tmp_path, entry, *entry.movies)


@each_way
def test_an_entry_of_nothing_but_archives_is_said_and_nothing_of_it_is_fetched(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    ended = stream(servers, "11190", way, tmp_path / "out")
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 0)
    assert len(ended.result.errors) == 1
    assert "2 .tar archives" in ended.said
    assert "are not opened" in ended.said
    assert not (tmp_path / "out").exists()
    assert servers.fetched("11190") == []


@each_way
def test_archives_beside_movies_and_a_count_that_disagrees_are_told_and_the_movies_are_streamed(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    entry = servers.entries[FEWER.entry]
    ended = stream(servers, FEWER.entry, way, tmp_path)
    assert (ended.result.outcome, ended.result.registered, ended.result.errors) == (Outcome.DONE, 2, ())
    counted, archives = ended.result.notices
    assert counted == "imageset 1 has 2 movies in the archive, and 1,234 by the description (listed twice)"
    assert archives.startswith("1 .tar archive")
    check(tmp_path, entry, *entry.movies)
    # It was listed twice indeed.
    folder = f"/{FILES}/{FEWER.entry}/data/Movies"
    asked = [path for _, path, _, _ in servers.answers] + [line.removeprefix("CWD ") for line in servers.ftp.commands]
    assert asked.count(folder if way == "ftp" else f"{folder}/") == 2


@each_way
def test_every_imageset_of_movies_is_streamed_and_equal_names_in_two_folders_do_not_collide(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    entry = servers.entries[SEVERAL.entry]
    ended = stream(servers, SEVERAL.entry, way, tmp_path)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 5)
    (differ,) = ended.result.notices
    assert "pixel sizes differ" in differ
    check(tmp_path, entry, *entry.movies)
    assert {line["path"]: (line["imageset"], line["pixel_size_a"]) for line in in_lines(tmp_path)[0]} == {
        path: ("Set 1", 1.06) if "/untilted/" in path else ("Set 3", 3.18) for path in entry.movies
    }


@each_way
@pytest.mark.parametrize("named", ["3", "Set 3"])
def test_one_imageset_alone_is_streamed_where_it_is_named(
    tmp_path: Path, servers: Servers, named: str, way: Way
) -> None:
    ended = stream(servers, SEVERAL.entry, way, tmp_path, imagesets=(named,))
    assert ended.result.notices == ()
    check(tmp_path, servers.entries[SEVERAL.entry], "data/tilted/30/1.tif", "data/tilted/30/2.tif")
    assert "imageset" not in ended.said


@each_way
def test_patterns_choose_among_the_movies_of_nested_folders(tmp_path: Path, servers: Servers, way: Way) -> None:
    entry = servers.entries["10340"]
    stream(servers, "10340", way, tmp_path, patterns=("Case*/*.tif",), excludes=("Case2/**",))
    check(tmp_path, entry, *(path for path in entry.movies if "/Case1/" in path or "/Case3/" in path))


@each_way
def test_names_that_mean_something_in_a_url_or_to_a_server_are_only_names(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    entry = servers.entries[AWKWARD.entry]
    ended = stream(servers, AWKWARD.entry, way, tmp_path)
    assert (ended.result.outcome, ended.result.errors, ended.result.notices) == (Outcome.DONE, (), ())
    check(tmp_path, entry, *entry.movies)


def test_the_pixel_size_of_a_set_is_that_of_its_movies(tmp_path: Path, servers: Servers) -> None:
    stream(servers, SEVERAL.entry, "apache", tmp_path, patterns=("data/tilted/**",))
    assert {line["pixel_size_a"] for line in in_lines(tmp_path)[0]} == {3.18}
    assert property_in_scipion(tmp_path, "_samplingRate") == "3.18"


@each_way
def test_stacks_of_particles_are_no_movies(tmp_path: Path, servers: Servers, way: Way) -> None:
    stream(servers, PARTICLES.entry, way, tmp_path)
    check(tmp_path, servers.entries[PARTICLES.entry], "data/Movies/1.mrc")


@each_way
def test_an_entry_that_the_archive_does_not_know_is_said_in_a_sentence(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    ended = stream(servers, "99999", way, tmp_path / "out")
    assert ended.result.outcome is Outcome.FAILED
    (error,) = ended.result.errors
    assert error.startswith("EMPIAR-99999 is not in the archive: unknown, withdrawn or not yet released")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Some of it, and the rest later
# ---------------------------------------------------------------------------------------------------------------------


@each_way
def test_a_limit_takes_the_first_movies_and_resumes_with_larger_ones_take_the_rest_once(
    tmp_path: Path, servers: Servers, way: Way
) -> None:
    entry = servers.entries[MANY.entry]
    in_order = sorted(entry.movies, key=natural_order)
    for limit, there in ((5, 5), (5, 5), (9, 9), (None, 12)):
        ended = stream(servers, MANY.entry, way, tmp_path, count=limit, resume=(tmp_path / "journal.sqlite").exists())
        assert (ended.result.outcome, ended.result.registered, ended.result.errors) == (Outcome.DONE, there, ())
        assert ended.result.resumed_bytes == 0
        check(tmp_path, entry, *in_order[:there])
    assert sorted(servers.fetched(MANY.entry)) == sorted(in_order)


def parts(directory: Path) -> dict[str, int]:
    """How much there is of each movie that is not complete."""
    movies = directory / "movies"
    return {
        part.with_name(part.name.removeprefix(".").removesuffix(".part")).relative_to(movies).as_posix(): size_bytes
        for part in movies.rglob(".*.part")
        if (size_bytes := part.stat().st_size)
    }


def abort_in_the_middle(servers: Servers, way: Way, directory: Path) -> dict[str, int]:
    """Stream slowly, abort when every movie is under way, and say how much of each is there."""
    under_way: set[str] = set()

    def before(made: Stream) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, BytesArrived) and 0 < event.bytes < event.of_bytes:
                under_way.add(event.path)
                if len(under_way) == len(LARGE.files):
                    made.abort()

        made.observers.listeners.append(listen)

    # Two seconds for both; how far they have come is told four times a second.
    ended = stream(servers, LARGE.entry, way, directory, before=before, rate_bytes_per_s=LARGE_BYTES)
    assert (ended.result.outcome, ended.result.registered, ended.result.resumed_bytes) == (Outcome.ABORTED, 0, 0)
    assert in_scipion(directory) == ([], "2")
    assert in_lines(directory) == ([], {"closed": True, "movies": 0, "outcome": "aborted"})
    there = parts(directory)
    assert set(there) == set(LARGE.files)
    assert all(size_bytes < LARGE_BYTES for size_bytes in there.values())
    servers.forget()
    return there


@each_way
def test_a_partial_file_is_gone_on_with_behind_what_is_there(tmp_path: Path, servers: Servers, way: Way) -> None:
    entry = servers.entries[LARGE.entry]
    there = abort_in_the_middle(servers, way, tmp_path)
    resumed = stream(servers, LARGE.entry, way, tmp_path, resume=True)
    assert (resumed.result.outcome, resumed.result.registered, resumed.result.errors) == (Outcome.DONE, 2, ())
    assert resumed.result.resumed_bytes == sum(there.values()) > 0
    check(tmp_path, entry, *entry.movies)
    # The server was asked for the rest, by Range or by REST, and sent no more than that.
    if way == "ftp":
        commands = servers.ftp.commands
        assert {line for line in commands if line.startswith("REST")} == {f"REST {size}" for size in there.values()}
        assert sum(line.startswith("RETR") for line in commands) == 2
    else:
        below = f"/{FILES}/{LARGE.entry}/"
        assert sorted((path, sent) for _, path, status, sent in servers.answers if status == 206) == [
            (below + path, LARGE_BYTES - size_bytes) for path, size_bytes in sorted(there.items())
        ]


@each_way
def test_a_partial_file_of_a_movie_that_has_changed_begins_afresh(tmp_path: Path, servers: Servers, way: Way) -> None:
    there = abort_in_the_middle(servers, way, tmp_path)
    was = servers.entries[LARGE.entry]
    changed, same = LARGE.files
    entry = Planted(LARGE, {**was.files, changed: large_movie(7)})
    file = servers.tree / FILES / LARGE.entry / changed
    try:
        # As long as it was, and from another day.
        file.write_bytes(entry.files[changed])
        os.utime(file, (1_700_000_000, 1_700_000_000))
        resumed = stream(servers, LARGE.entry, way, tmp_path, resume=True)
    finally:
        file.write_bytes(was.files[changed])
    assert (resumed.result.outcome, resumed.result.registered) == (Outcome.DONE, 2)
    assert resumed.result.resumed_bytes == there[same]
    check(tmp_path, entry, *entry.movies)


# ---------------------------------------------------------------------------------------------------------------------
# By FTP
# ---------------------------------------------------------------------------------------------------------------------


def test_ftp_is_asked_on_the_same_host_where_it_is_asked_for(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As everywhere, the FTP server is where FTP servers are.
    monkeypatch.setattr(ftplib, "FTP_PORT", int(servers.ftp.url.rstrip("/").rpartition(":")[2]))
    entry = servers.entries["10200"]
    ended = stream(servers, "10200", "apache", tmp_path, ftp=True)
    assert (ended.result.outcome, ended.result.errors, ended.result.notices) == (Outcome.DONE, (), ())
    check(tmp_path, entry, *entry.movies)
    assert [path for _, path, _, _ in servers.answers] == ["/api/10200/"]
    assert sum(line.startswith("RETR") for line in servers.ftp.commands) == 4


def test_ftp_is_gone_on_with_where_the_folders_cannot_be_listed_by_http(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ftplib, "FTP_PORT", int(servers.ftp.url.rstrip("/").rpartition(":")[2]))
    entry = servers.entries["10288"]
    ended = stream(servers, "10288", "apache", tmp_path, data_url=f"{nobody_at_home()}{FILES}/")
    assert (ended.result.outcome, ended.result.errors) == (Outcome.DONE, ())
    (notice,) = ended.result.notices
    assert notice.endswith("; going on by FTP")
    check(tmp_path, entry, *entry.movies)


def nobody_at_home() -> str:
    """A URL without a port where the FTP server's host has no web server."""
    for scheme, port in (("http", 80), ("https", 443)):
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) != 0:
                return f"{scheme}://127.0.0.1/"
    raise RuntimeError("this test needs port 80 or 443 of 127.0.0.1 to be nobody's")


def test_no_more_than_two_ftp_sessions_are_opened_for_any_number_of_jobs(tmp_path: Path, servers: Servers) -> None:
    stream(servers, MANY.entry, "ftp", tmp_path, jobs=16)
    assert len(registered(tmp_path)) == 12
    assert 1 <= sum(line.startswith("USER") for line in servers.ftp.commands) <= 2


# ---------------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------------


def command(servers: Servers, way: Way, *words: str) -> list[str]:
    urls = servers.urls(way)
    asked = ["--api-url", urls["api_url"], "--data-url", urls["data_url"]]
    return [sys.executable, "-m", "fsmcollect", "stream", *words, *asked]


def ran(call: Sequence[str], directory: Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one object on standard output, and what was said besides."""
    done = subprocess.run(call, cwd=directory, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_the_command_streams_and_tells_what_became_of_it_in_one_object(tmp_path: Path, servers: Servers) -> None:
    entry, out = servers.entries["10340"], tmp_path / "out"
    code, told, said = ran(command(servers, "apache", "EMPIAR-10340", "--out", "out", "--json"), tmp_path)
    assert (code, said) == (0, "")
    assert list(told) == [
        "outcome",
        "entry",
        "title",
        "registered",
        "rejected",
        "bytes",
        "seconds",
        "resumed_bytes",
        "outputs",
        "errors",
    ]
    assert told.pop("seconds") > 0
    assert told == {
        "outcome": "done",
        "entry": "EMPIAR-10340",
        "title": entry.title,
        "registered": 5,
        "rejected": 0,
        "bytes": sum(map(len, entry.movies.values())),
        "resumed_bytes": 0,
        "outputs": {
            "scipion": str(out / "movies.sqlite"),
            "relion": str(out / "movies.star"),
            "jsonl": str(out / "movies.jsonl"),
            "checksums": str(out / "SHA256SUMS"),
        },
        "errors": [],
    }
    check(out, entry, *entry.movies)


def test_a_dry_run_tells_exact_sizes_and_writes_nothing(tmp_path: Path, servers: Servers) -> None:
    entry = servers.entries["10200"]
    code, told, said = ran(command(servers, "apache", "10200", "--limit", "2", "--dry-run", "--json"), tmp_path)
    assert (code, said) == (0, "")
    movies = sorted(entry.movies, key=natural_order)[:2]
    sizes = {path: len(entry.files[path]) for path in (*movies, *entry.gains)}
    assert {file["path"]: file["bytes"] for file in told["files"]} == sizes
    assert told["bytes"] == sum(sizes.values())
    assert (told["entry"], told["title"], told["movies"], told["gains"]) == ("EMPIAR-10200", entry.title, 2, 1)
    assert told["free_bytes"] > 0
    assert told["notices"] == []
    assert list(tmp_path.iterdir()) == []
    assert servers.fetched("10200") == []


def test_the_command_that_is_interrupted_says_how_to_go_on_and_goes_on(tmp_path: Path, servers: Servers) -> None:
    entry, out = servers.entries[LARGE.entry], tmp_path / "out"
    slowly = command(servers, "autoindex", LARGE.entry, "--out", "out", "--json", "--rate", "2MB")
    with subprocess.Popen(slowly, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            deadline = time.monotonic() + 30
            while not parts(out) and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)
            stdout, stderr = running.communicate(timeout=30)
        finally:
            running.kill()
    assert (running.returncode, json.loads(stdout)["outcome"]) == (3, "aborted")
    assert "go on with: fsmcollect stream --resume out" in stderr
    assert in_scipion(out) == ([], "2")
    # The settings are kept, the addresses too.
    again = [sys.executable, "-m", "fsmcollect", "stream", "--resume", "out", "--rate", "1GB", "--json"]
    code, told, said = ran(again, tmp_path)
    assert (code, told["registered"], said) == (0, 2, "")
    assert told["resumed_bytes"] > 0
    check(out, entry, *entry.movies)
