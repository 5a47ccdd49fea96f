"""Streams from the pretend archive, in simulated time, and what has to be true of a directory afterwards."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs

from fsmcollect.events import Event
from fsmcollect.observers import Observers
from fsmcollect.sim.archive import Archive
from fsmcollect.simulate.streaming import simulate_stream
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.result import StreamResult
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.stopping import Criteria

#: Small movies: 128 x 64 pixels, 3 frames.
SMALL: dict[str, Any] = {"width_px": 128, "height_px": 64, "frames": 3}


@attrs.define
class Rehearsal:
    """What a stream came to, and what was told of it."""

    result: StreamResult
    events: list[Event]
    stream: Stream

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def stream(
    archive: Archive,
    directory: Path,
    *,
    count: int | None = None,
    size_bytes: int | None = None,
    time_s: float | None = None,
    resume: bool = False,
    policy: Policy | None = None,
    accession: str | None = None,
    before: Callable[[Stream], None] = lambda _: None,
    **settings: Any,
) -> Rehearsal:
    """Stream the archive into the directory; `before` is called inside the simulation before it begins."""
    asked = Settings(
        accession=accession or archive.entry,
        api_url=archive.api_url,
        data_url=archive.data_url,
        until=Criteria(count=count, size_bytes=size_bytes, time_s=time_s),
        **settings,
    )
    events: list[Event] = []
    made: list[Stream] = []

    def stream_on(network: Any) -> Stream:
        made.append(
            Stream(
                settings=asked,
                directory=directory,
                resume=resume,
                observers=Observers([events.append]),
                network=network,
                policy=policy or Policy(),
                random=Random(1),
            )
        )
        before(made[0])
        return made[0]

    result = simulate_stream(stream_on, archive)
    return Rehearsal(result, events, made[0])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def journalled(directory: Path) -> list[tuple[str, str | None]]:
    """Path and checksum of every registered movie, in order."""
    with sqlite3.connect(directory / "journal.sqlite") as journal:
        return list(journal.execute("SELECT path, sha256 FROM movies ORDER BY number"))


def in_scipion(directory: Path) -> tuple[list[str], str]:
    """The file names in Scipion's set, in order, and its stream state."""
    with sqlite3.connect(directory / "movies.sqlite") as database:
        names = [row[0] for row in database.execute("SELECT c02 FROM Objects ORDER BY id")]
        ((state,),) = database.execute("SELECT value FROM Properties WHERE key = '_streamState'")
    return names, state


def in_lines(directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The movies of ``movies.jsonl`` and its closing line."""
    lines = [json.loads(line) for line in (directory / "movies.jsonl").read_text().splitlines()]
    if lines and lines[-1].get("closed"):
        return lines[:-1], lines[-1]
    return lines, None


def in_star(directory: Path) -> list[str]:
    import gemmi

    block = gemmi.cif.read(str(directory / "movies.star")).find_block("movies")
    return [gemmi.cif.as_string(name) for name in block.find_loop("_rlnMicrographMovieName")]


def check(directory: Path, archive: Archive, *, closed: bool = True) -> None:
    """Whatever happened: what is registered is right, every set holds just that, once, and says that it is closed."""
    registered = journalled(directory)
    paths = [path for path, _ in registered]
    assert len(set(paths)) == len(paths)
    for path, checksum in registered:
        file = directory / "movies" / path
        assert sha256(file) == archive.sha256(path), path
        assert checksum in (None, archive.sha256(path))
    there = sorted(
        str(file.relative_to(directory / "movies"))
        for file in (directory / "movies").rglob("*")
        if file.is_file() and not file.name.startswith(".")
    )
    assert there == sorted(paths)
    names, state = in_scipion(directory)
    assert names == [str(directory / "movies" / path) for path in paths]
    assert state == ("2" if closed else "1")
    lines, closing = in_lines(directory)
    assert [line["path"] for line in lines] == paths
    if closed:
        assert closing is not None
        assert closing["movies"] == len(paths)
        assert in_star(directory) == [f"movies/{path}" for path in paths]
    sums = [line.split("  ", 1)[1] for line in (directory / "SHA256SUMS").read_text().splitlines()]
    assert [name for name in sums if name.startswith("movies/")] == [f"movies/{path}" for path in paths]


def registered(directory: Path) -> Sequence[str]:
    return [path for path, _ in journalled(directory)]
