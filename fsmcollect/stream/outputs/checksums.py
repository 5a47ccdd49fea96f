"""``SHA256SUMS``: what ``sha256sum --check SHA256SUMS`` reads, run in the output directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

from fsmcollect.stream.outputs.lines import LineFile
from fsmcollect.stream.values import Movie, SetFacts


class Checksums:
    """The checksums of the files that arrived. A movie without one (none was asked for) has no line.

    Parameters
    ----------
    directory : Path
        The output directory, absolute.
    beside : callable
        Gives (file, sha256) of what else lies below the directory when the set is opened, the gain references; they
        come first.
    """

    name = "checksums"

    def __init__(self, directory: Path, beside: Callable[[], Iterable[tuple[str, str | None]]] = tuple) -> None:
        self.path = directory / "SHA256SUMS"
        self._beside = beside
        self._lines = LineFile(self.path)

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        gains = (_line(file, sha256) for file, sha256 in self._beside())
        self._lines.open(chain(gains, (_line(movie.file, movie.sha256) for movie in movies)))

    def append(self, movie: Movie) -> None:
        if movie.sha256 is not None:
            self._lines.append(_line(movie.file, movie.sha256))

    def show(self) -> None:
        """Every movie can be seen at once."""

    def close(self, outcome: str) -> None:
        if not self._lines.is_closed:
            self._lines.close()


_ESCAPES = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r"}


def _line(file: str, sha256: str | None) -> bytes:
    """As coreutils write it: a backslash before the checksum says that the name has escapes."""
    if sha256 is None:
        return b""
    escaped = file.translate(_ESCAPES)
    return os.fsencode(("\\" if escaped != file else "") + f"{sha256}  {escaped}\n")
