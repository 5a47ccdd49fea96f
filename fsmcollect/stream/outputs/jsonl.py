"""``movies.jsonl``: one JSON object a movie, and a last one that says that no more will come.

For programs of the users' own: to follow it, read line by line and wait at the end until a line says ``closed``. No
line holds a time, so that two equal streams give equal files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fsmcollect.stream.outputs.lines import LineFile
from fsmcollect.stream.values import Movie, SetFacts


class JsonLines:
    """The movies as JSON lines.

    Parameters
    ----------
    directory : Path
        The output directory, absolute.
    """

    name = "jsonl"

    def __init__(self, directory: Path) -> None:
        self.path = directory / "movies.jsonl"
        self._lines = LineFile(self.path)
        self._movies = 0

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        self._lines.open(map(_line, movies))
        self._movies = len(movies)

    def append(self, movie: Movie) -> None:
        self._lines.append(_line(movie))
        self._movies += 1

    def show(self) -> None:
        """Every movie can be seen at once."""

    def close(self, outcome: str) -> None:
        if not self._lines.is_closed:
            self._lines.close(_encoded({"closed": True, "movies": self._movies, "outcome": outcome}))


def _line(movie: Movie) -> bytes:
    return _encoded(
        {
            "movie": movie.number,
            "file": movie.file,
            "path": movie.path,
            "bytes": movie.size_bytes,
            "sha256": movie.sha256,
            "format": movie.header.format,
            "width_px": movie.header.width_px,
            "height_px": movie.header.height_px,
            "frames": movie.header.frames,
            "mode": movie.header.mode,
            "pixel_size_a": movie.pixel_size_a,
            "imageset": movie.imageset,
        }
    )


def _encoded(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"
