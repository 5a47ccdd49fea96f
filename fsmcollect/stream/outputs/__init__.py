"""The live outputs: what other software reads while the set grows.

The journal is the truth and every output can be made again from it, so an output need not be durable by itself: after
any interruption `open` makes it hold exactly the movies of the journal, each once and in order of registration. All of
it is synchronous and called from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fsmcollect.stream.values import Movie, SetFacts


class Output(Protocol):
    """One live output.

    Attributes
    ----------
    name : str
        As ``--output`` and the result name it: ``scipion``.
    path : Path
        The file that readers open. It is always there, whole and readable, from `open` on.
    """

    name: str
    path: Path

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        """Exist, open for more, with exactly these movies: rows that a killed run lacks are added, others removed.

        A set that was closed is opened again. Where what is on disk agrees already, no row is touched.

        Raises
        ------
        StorageError
            The disk refused. So do the others.
        """
        ...

    def append(self, movie: Movie) -> None:
        """Add the next movie; readers may see it from now on (or from the next renewal of the file on)."""
        ...

    def show(self) -> None:
        """Let readers see what is held back, if it is time; an output that holds nothing back has nothing to do."""
        ...

    def close(self, outcome: str) -> None:
        """Show every movie and say that no more will come; durable when it returns. May be repeated.

        `outcome` is that of the run: ``done``, ``failed``, ``aborted``.
        """
        ...
