"""``movies.star``: the movies and their optics groups as RELION 3.1 and later read them.

Owns that file. It is always replaced as a whole, and not for every movie: a file of n movies would be written n times.
Names in it are relative to the output directory, as RELION's are to its project's.

References
----------
RELION's conventions of STAR files: https://relion.readthedocs.io/en/latest/Reference/Conventions.html. Its reader wants
``_rlnVoltage``, ``_rlnSphericalAberration`` and a pixel size among the optics; a column whose values are not known is
left out all the same, so that RELION names what is missing and nobody computes with an invented value.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fsmcollect.errors import StorageError
from fsmcollect.storage import remove, replacing, temporary_path
from fsmcollect.stream.outputs.lines import refuse_link
from fsmcollect.stream.values import Movie, Optics, SetFacts

#: The format with optics groups; a reader that finds no version takes the file for one of RELION 3.0.
_VERSION = "# version 30001\n\n"
#: Between two renewals at least this long, and at least this many times as long as the last one took: writing takes
#: a twentieth of the time at most, however long the set has become.
_RENEWAL_S = 1.0
_RENEWAL_SHARE = 20


class Relion:
    """The movies as a STAR file.

    Parameters
    ----------
    directory : Path
        The output directory, absolute.
    clock : callable
        Returns seconds that only grow.
    """

    name = "relion"

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = directory / "movies.star"
        self._clock = clock
        self._optics = Optics()
        #: Pixel size -> number of its optics group, in order of appearance.
        self._groups: dict[float | None, int] = {}
        #: The rows of the movies as they are written.
        self._rows = bytearray()
        self._is_open = self._is_closed = False
        #: Movies were added since the file was written.
        self._is_behind = False
        self._renew_at_s = 0.0

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        self._is_open = self._is_closed = False
        refuse_link(self.path)
        remove(temporary_path(self.path))
        self._optics = facts.optics
        # A set without movies has an optics group all the same: its reader wants one.
        self._groups = {(movies[0] if movies else facts).pixel_size_a: 1}
        self._rows = bytearray()
        for movie in movies:
            self._add(movie)
        self._write()
        self._is_open = True

    def append(self, movie: Movie) -> None:
        if not self._is_open:
            raise StorageError(f"{self.path} is not open")
        if not self._rows:
            self._groups = {movie.pixel_size_a: 1}
        self._add(movie)
        self._is_behind = True
        self.show()

    def show(self) -> None:
        if self._is_behind and self._is_open and self._clock() >= self._renew_at_s:
            self._write()

    def close(self, outcome: str) -> None:
        if self._is_closed:
            return
        if not self._is_open:
            raise StorageError(f"{self.path} is not open")
        self._write()
        self._is_open, self._is_closed = False, True

    def _add(self, movie: Movie) -> None:
        group = self._groups.setdefault(movie.pixel_size_a, len(self._groups) + 1)
        self._rows += f"{self._quoted(movie.file)} {group}\n".encode(errors="surrogateescape")

    def _quoted(self, file: str) -> str:
        """A value as every reader tried takes it: bare where it can be, as starfile and gemmi disagree about quotes."""
        if _BARE.fullmatch(file):
            return file
        # Only a quote before a blank ends the value; but starfile does not take it so.
        for quote in ('"', "'"):
            if quote not in file:
                return quote + file + quote
        for quote in ('"', "'"):
            if quote + " " not in file:
                return quote + file + quote
        raise StorageError(f"{self.path} cannot hold the name {file!r}: no way of quoting it is left; leave it out")

    def _write(self) -> None:
        begun_s = self._clock()
        self._is_behind = False
        with replacing(self.path) as sink:
            sink.write(_optics_table(self._optics, self._groups).encode())
            sink.write(_table_head("movies", ["_rlnMicrographMovieName", "_rlnOpticsGroup"]).encode())
            sink.write(self._rows)
            sink.write(b"\n")
        ended_s = self._clock()
        self._renew_at_s = ended_s + max(_RENEWAL_S, _RENEWAL_SHARE * (ended_s - begun_s))


#: Printable ASCII without blanks; starfile takes ``#`` for a comment and gemmi other letters for a mistake. What a bare
#: value must not begin with needs no care here: it begins with ``movies/``.
_BARE = re.compile(r'[!"$-~]+')


def _optics_table(optics: Optics, groups: dict[float | None, int]) -> str:
    known = {
        "_rlnVoltage": optics.voltage_kv,
        "_rlnSphericalAberration": optics.spherical_aberration_mm,
        "_rlnAmplitudeContrast": optics.amplitude_contrast,
    }
    columns = {name: value for name, value in known.items() if value is not None}
    # A cell cannot be empty, so a column that one group cannot fill is left out for all.
    has_pixel_size = None not in groups
    pixel_size = ["_rlnMicrographOriginalPixelSize"] if has_pixel_size else []
    rows = [
        " ".join([f"opticsGroup{number}", str(number), *map(str, [size] * has_pixel_size), *map(str, columns.values())])
        for size, number in groups.items()
    ]
    head = _table_head("optics", ["_rlnOpticsGroupName", "_rlnOpticsGroup", *pixel_size, *columns])
    return head + "".join(row + "\n" for row in rows) + "\n\n"


def _table_head(name: str, columns: Sequence[str]) -> str:
    # One blank between a label and its number: RELION cuts the label by counting characters.
    labels = "".join(f"{column} #{number}\n" for number, column in enumerate(columns, start=1))
    return f"{_VERSION}data_{name}\n\nloop_\n{labels}"
