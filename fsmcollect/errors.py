"""One hierarchy of errors, divided by what the CALLER can do about them.

Owns the error types and how they read; owns no policy about when a run fails (that is a row in a table).
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class FsmCollectError(Exception):
    """Base of every error that fsmcollect raises on purpose."""


class TableError(FsmCollectError):
    """A transition table contradicts itself: mend the table. Raised when it is built, never while it runs."""


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that is wrong with what was asked, in words a person can act upon.

    Attributes
    ----------
    field : str
        Dotted name as the user wrote it: ``sweep.exposure_s``.
    value : str
        The offending value, as it was given; empty where there is none (a missing section).
    allowed : str
        What is wrong and what is allowed, with the limit and its unit: ``must be greater than 0 s``.
    where : str
        File and line, where known: ``lyso.toml, line 14``.
    """

    field: str
    allowed: str
    value: str = ""
    where: str = ""

    def __str__(self) -> str:
        named = f"{self.field} = {self.value}" if self.value else self.field
        return f"{named}: {self.allowed}" + (f" ({self.where})" if self.where else "")


class InvalidRequest(FsmCollectError):
    """What was asked cannot be done; nothing has moved and no file was made. Mend the request.

    Attributes
    ----------
    problems : tuple of Problem
        Everything that is wrong, not only the first thing found.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BeamlineBusy(FsmCollectError):
    """Another run owns the beamline, or a FAULT is latched on it: wait, or acknowledge the fault."""


class DeviceError(FsmCollectError):
    """A device could not do what it was told. Adapters raise it; activities turn it into an event.

    Attributes
    ----------
    device : str
        The role that failed, as it is named on `Beamline`: ``fast_shutter``.
    """

    def __init__(self, device: str, message: str) -> None:
        self.device = device
        super().__init__(f"{device}: {message}")


class StorageError(FsmCollectError):
    """The disk refused an image or an event: free space or mend the directory, then go on."""


class SafingError(FsmCollectError):
    """The beamline could not be VERIFIED safe. Look at it, mend it, acknowledge.

    Attributes
    ----------
    failures : tuple of str
        One sentence for each step that could not be carried out or verified.
    """

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        super().__init__("could not verify that the beamline is safe: " + "; ".join(self.failures))
