"""Does the adapter of a device keep the contract of its role? Said in plain words.

>>> from fsmcollect.testing import conforms
>>> conforms(make_detector_stage)           # doctest: +SKIP

Owns the two functions that an author of adapters calls. What is checked is in `planning`, what each breach means in
`rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import trio

from fsmcollect.testing.conformance.examining import Examiner
from fsmcollect.testing.conformance.findings import Breach, Examination, LeftOut, NotConforming
from fsmcollect.testing.conformance.running import Run
from fsmcollect.testing.conformance.settings import Settings, Wishes, settings_from

__all__ = ["Breach", "Examination", "LeftOut", "NotConforming", "Settings", "conforms", "examine"]


def conforms(
    make: Callable[[], object], *, role: str | None = None, run: Run = trio.run, **settings: Unpack[Wishes]
) -> None:
    """Do nothing where the device that `make` makes keeps the contract of its role. THE DEVICE MOVES.

    Parameters
    ----------
    make : callable
        Makes a fresh adapter, or gives an async context manager of one; it may be async. Called inside the run, once
        for each check.
    role : str, optional
        As it is named on `Beamline`. By default what the device has tells, or the name of `make`
        (``make_detector_cover``).
    run : callable
        Runs an async function to its end: `trio.run` for real devices; for simulated ones what runs it in their time.
    **settings
        See `Settings`.

    Raises
    ------
    NotConforming
        It breaks the contract; says where, and what to do.
    ValueError
        The role cannot be told, or there is no such role.
    TypeError
        There is no such setting, or `make` makes nothing.
    """
    __tracebackhide__ = True
    examination = examine(make, role=role, run=run, **settings)
    if not examination.conforms:
        raise NotConforming(examination)


def examine(
    make: Callable[[], object], *, role: str | None = None, run: Run = trio.run, **settings: Unpack[Wishes]
) -> Examination:
    """What `conforms` finds, as data. Parameters and errors are the same, but for NotConforming."""
    if not callable(make):
        raise TypeError(f"make must be a function that makes the adapter, and is {make!r}")
    return Examiner(make, run, settings_from(settings)).examine(role)
