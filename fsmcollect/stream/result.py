"""What a stream came to, and what went wrong on the way, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from fsmcollect.machines.table import Outcome

#: More errors or notices of a run are counted, not kept.
MAX_TOLD = 200


@attrs.define(eq=False)
class Told:
    """Sentences in order, the first of them kept and the rest counted."""

    _kept: list[str] = attrs.field(init=False, factory=list[str])
    _more: int = attrs.field(init=False, default=0)

    def add(self, sentence: str) -> None:
        if len(self._kept) < MAX_TOLD:
            self._kept.append(sentence)
        else:
            self._more += 1

    def all(self) -> tuple[str, ...]:
        return (*self._kept, f"and {self._more:,} more") if self._more else tuple(self._kept)


@attrs.frozen(kw_only=True)
class StreamResult:
    """What a stream came to.

    Attributes
    ----------
    entry : str
        ``EMPIAR-10200``.
    registered, rejected, bytes : int
        Of the whole set in the directory, earlier runs included; `bytes` of registered movies.
    seconds : float
        Of this run.
    resumed_bytes : int
        Bytes of files that an earlier run had begun and that were not fetched again.
    outputs : mapping of str to Path
        The live outputs, by name.
    errors : tuple of str
        What failed, was rejected, or could not be fetched.
    notices : tuple of str
        What a person should know besides.
    """

    outcome: Outcome
    entry: str
    title: str
    registered: int
    rejected: int
    bytes: int
    seconds: float
    resumed_bytes: int
    outputs: Mapping[str, Path]
    errors: tuple[str, ...]
    notices: tuple[str, ...]
