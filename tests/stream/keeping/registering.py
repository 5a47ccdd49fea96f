"""A stream without a network, and a process that dies at any of its steps: what the tests of the registry share.

As a program it is a process to be killed: ``registering.py DIRECTORY STEP`` streams and kills itself before that step.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import attrs

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from fsmcollect.storage import temporary_path
from fsmcollect.stream.keeping.journal import Journal
from fsmcollect.stream.keeping.registry import Registry
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.outputs import Output
from fsmcollect.stream.values import Header, Kind, Movie, Optics, Remote, SetFacts, Verified

HEADER = Header(format="MRC", width_px=8, height_px=4, frames=3, mode="uint8")
FACTS = SetFacts(
    accession="10200",
    title="Made up",
    pixel_size_a=1.06,
    optics=Optics(voltage_kv=300.0),
    gains=("gain/data/Movies/CountRef.mrc",),
)
NOON = dt.datetime(2026, 11, 21, 12, 0, 0, tzinfo=dt.UTC)


@attrs.frozen
class Sent:
    """A file as the archive sends it."""

    path: str
    kind: Kind = Kind.MOVIE
    #: Why it is not what its name says.
    wrong: str | None = None

    @property
    def content(self) -> bytes:
        return hashlib.shake_256(self.path.encode()).digest(96)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def remote(self) -> Remote:
        return Remote(size_bytes=len(self.content), validator=f'"{self.path}"')

    @property
    def verified(self) -> Verified:
        return Verified(
            path=self.path,
            kind=self.kind,
            size_bytes=len(self.content),
            sha256=self.sha256,
            header=HEADER if self.kind is Kind.MOVIE else None,
            imageset="movies",
            pixel_size_a=1.06,
        )


SENT = (
    Sent("data/Movies/CountRef.mrc", Kind.GAIN),
    Sent("data/Movies/defects.txt", Kind.DEFECTS),
    Sent("data/Movies/a.mrc"),
    Sent("data/Movies/Part2/a.mrc"),
    Sent("data/Movies/b.mrc", wrong="its header says 100 bytes, it has 96"),
    Sent("data/Movies/c 3.mrc"),
)
MOVIES = tuple(sent for sent in SENT if sent.kind is Kind.MOVIE and sent.wrong is None)


class Lines:
    """A live output of the simplest kind: a line a movie, written in place, so that a kill can tear it."""

    def __init__(self, directory: Path, name: str = "lines") -> None:
        self.name = name
        self.path = directory / f"{name}.txt"

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        text = "".join(map(_line, [facts.title, *map(str, movies)]))
        part = temporary_path(self.path)
        with _written(part, os.O_TRUNC) as descriptor:
            os.write(descriptor, text.encode())
        part.replace(self.path)

    def append(self, movie: Movie) -> None:
        with _written(self.path, os.O_APPEND) as descriptor:
            os.write(descriptor, _line(movie).encode())

    def show(self) -> None:
        """Nothing is held back."""

    def close(self, outcome: str) -> None:
        if not self.path.read_text(encoding="utf-8").endswith(_line(outcome)):
            with _written(self.path, os.O_APPEND) as descriptor:
                os.write(descriptor, _line(outcome).encode())


def _line(what: object) -> str:
    return f"{what}\n"


@contextlib.contextmanager
def _written(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


#: Makes the outputs for a directory.
Outputs = Callable[[Path], Sequence[Output]]


def two_files_of_lines(directory: Path) -> Sequence[Output]:
    return Lines(directory), Lines(directory, "more")


def no_outputs(_: Path) -> Sequence[Output]:
    return ()


# ---------------------------------------------------------------------------------------------------------------------
# A stream
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Desk:
    """An open stream."""

    workspace: Workspace
    journal: Journal
    registry: Registry

    def part(self, sent: Sent) -> Path:
        return temporary_path(self.workspace.place(sent.kind, sent.path))

    def fetch(self, sent: Sent, content: bytes | None = None) -> Path:
        """Bring the rest of a file into its partial file, as the pipeline does."""
        final = self.workspace.place(sent.kind, sent.path)
        keep = self.journal.part(sent.path) == sent.remote
        descriptor = self.workspace.open_part(final, keep=keep)
        try:
            if not keep:
                self.journal.note_part(sent.path, sent.remote)
            position = os.fstat(descriptor).st_size
            os.pwrite(descriptor, (sent.content if content is None else content)[position:], position)
        finally:
            os.close(descriptor)
        return temporary_path(final)

    def register(self, sent: Sent) -> Movie | None:
        return self.registry.register(sent.verified, self.fetch(sent))

    def settle(self, sent: Sent) -> None:
        """Fetch a file and bring it where it belongs."""
        part = self.fetch(sent)
        if sent.wrong is not None:
            self.registry.reject(sent.path, part, sent.wrong, len(sent.content), sent.sha256)
        else:
            self.registry.register(sent.verified, part)


@contextlib.contextmanager
def desk(directory: Path, outputs: Outputs = no_outputs) -> Iterator[Desk]:
    """Open the stream of a directory, or make it."""
    resume = (directory / "journal.sqlite").exists()
    with Workspace.open(directory, resume) as workspace:
        path = workspace.journal_path
        with Journal.open(path) if resume else Journal.create(path, "10200", {"limit": 5}) as journal:
            registry = Registry(workspace, journal, outputs(workspace.directory), clock=lambda: NOON)
            yield Desk(workspace, journal, registry)


def stream(directory: Path, outputs: Outputs = two_files_of_lines) -> None:
    """Stream everything that is not there yet, whatever there is."""
    with desk(directory, outputs) as opened:
        journal, registry = opened.journal, opened.registry
        registry.recover()
        for sent in SENT:
            if sent.kind is not Kind.MOVIE and not journal.is_known(sent.path):
                opened.settle(sent)
        registry.begin(FACTS)
        by_path = {sent.path: sent for sent in SENT}
        for movie in list(registry.missing):
            registry.restore(movie.path, opened.fetch(by_path[movie.path]), movie.sha256, movie.size_bytes)
        for sent in SENT:
            if sent.kind is Kind.MOVIE and not journal.is_known(sent.path):
                opened.settle(sent)
        registry.close("done")


def picture(directory: Path) -> dict[str, Any]:
    """Everything that a directory holds: hidden names and all rows of the databases too."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(path)) as connection:
                found[name] = [line for line in connection.iterdump() if 'INTO "stream"' not in line]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def check_after_a_kill(directory: Path) -> None:
    """What has its name is complete, and what an output tells of is in the journal: whenever it was killed."""
    for sent in SENT:
        for folder in ("movies", "gain", "rejected"):
            path = directory / folder / sent.path
            assert not path.exists() or path.read_bytes() == sent.content, path
    registered = set()
    if (directory / "journal.sqlite").exists():
        with contextlib.closing(sqlite3.connect(directory / "journal.sqlite")) as connection:
            registered = {path for (path,) in connection.execute("SELECT path FROM movies")}
    assert registered <= {movie.path for movie in MOVIES}
    for output in directory.glob("*.txt"):
        for movie in MOVIES:
            assert movie.path in registered or f"'{movie.path}'" not in output.read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Dying
# ---------------------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process dies here: nothing of it does anything afterwards."""


def crash() -> NoReturn:
    raise Crash


def kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived")


_STEPS = ("fsync", "ftruncate", "mkdir", "rename", "replace", "rmdir", "unlink")
_STATEMENTS = ("BEGIN", "COMMIT", "CREATE", "DELETE", "INSERT", "UPDATE")


class Steps:
    """Counts what a process does to the disk, and lets it die before step number `last`.

    A write is two steps, so that a kill tears it.
    """

    def __init__(self, last: int | None = None, die: Callable[[], NoReturn] = crash) -> None:
        self.taken: list[str] = []
        self.is_dead = False
        self._last = last
        self._die = die
        self._descriptors: set[int] = set()
        self._connections: list[sqlite3.Connection] = []

    def step(self, name: str) -> None:
        if self.is_dead or len(self.taken) == self._last:
            self.is_dead = True
            self._die()
        self.taken.append(name)

    @contextlib.contextmanager
    def watched(self, *, synced: bool = False) -> Iterator[None]:
        """Count in this block; at its end the kernel takes back what a dead process had open.

        `synced` has the disk really wait for every byte, which a death of the process alone does not need.
        """
        try:
            with contextlib.ExitStack() as patches:
                for name, replacement in self._replacements(synced=synced):
                    patches.enter_context(mock.patch.object(os, name, replacement))
                connect = functools.partial(sqlite3.connect, factory=self._connection_class(synced=synced))
                patches.enter_context(mock.patch.object(sqlite3, "connect", connect))
                yield
        finally:
            for descriptor in self._descriptors if self.is_dead else ():
                os.close(descriptor)
            for connection in self._connections:
                connection.close()

    def _replacements(self, *, synced: bool) -> Iterator[tuple[str, Callable[..., Any]]]:
        for name in _STEPS:
            real = getattr(os, name)
            if name == "fsync" and not synced:
                real = os.fstat
            yield name, functools.partial(self._counted, name, real)
        for name in ("write", "pwrite"):
            yield name, functools.partial(self._halved, name, getattr(os, name))
        for name in ("open", "dup"):
            yield name, functools.partial(self._opened, getattr(os, name))
        yield "close", functools.partial(self._closed, os.close)

    def _counted(self, name: str, real: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        self.step(f"{name} {Path(args[0]).name}" if isinstance(args[0], str | Path) else name)
        return real(*args, **settings)

    def _halved(self, name: str, real: Callable[..., int], descriptor: int, data: bytes, *position: int) -> int:
        self.step(name)
        done = real(descriptor, data[: len(data) // 2], *position)
        self.step(name)
        return done + real(descriptor, data[done:], *(each + done for each in position))

    def _opened(self, real: Callable[..., int], *args: Any, **settings: Any) -> int:
        if len(args) > 1 and args[1] & os.O_CREAT:
            self.step(f"create {Path(args[0]).name}")
        descriptor = real(*args, **settings)
        self._descriptors.add(descriptor)
        return descriptor

    def _closed(self, real: Callable[[int], None], descriptor: int) -> None:
        self._descriptors.discard(descriptor)
        real(descriptor)

    def _connection_class(self, *, synced: bool) -> type[sqlite3.Connection]:
        steps = self

        class Counted(sqlite3.Connection):
            def __init__(self, *args: Any, **settings: Any) -> None:
                super().__init__(*args, **settings)
                steps._connections.append(self)

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if (word := sql.split(maxsplit=1)[0].upper()) in _STATEMENTS:
                    steps.step(word)
                if not synced:
                    sql = sql.replace("synchronous = FULL", "synchronous = OFF")
                return super().execute(sql, *values)

            def executescript(self, script: str) -> sqlite3.Cursor:
                steps.step("script")
                return super().executescript(script)

            def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
                steps.step("many")
                return super().executemany(sql, values)

            def commit(self) -> None:
                if self.in_transaction:
                    steps.step("COMMIT")
                super().commit()

        return Counted


def killed(directory: Path, last: int) -> int:
    """Stream in a process of its own that kills itself before that step; how it ended."""
    program = [sys.executable, str(Path(__file__)), str(directory), str(last)]
    return subprocess.run(program, capture_output=True, timeout=60, check=False).returncode


if __name__ == "__main__":
    with Steps(int(sys.argv[2]), kill).watched(synced=True):
        stream(Path(sys.argv[1]))
