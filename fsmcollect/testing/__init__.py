"""For those who write adapters of their own devices, or scenarios of their own: the tools that prove this package.

>>> from fsmcollect import testing
>>> report = testing.sweep("inverse_beam", limit=20, jobs=1)    # every stop, every fault, twenty points of each kind
>>> report.violations                                           # each with the command that replays it
()
>>> testing.conforms(make_my_goniometer)                        # doctest: +SKIP

`sweep`
    Plays a scenario again and again: cancelled at every checkpoint, aborted at every event, with every fault. Returns a
    `Report` that lists each `Violation`.
`conforms`, `examine`
    Which part of its role's contract a device adapter breaks, in plain words.
`checkers`
    The rules that are looked at on every event: a module.
`strategies`
    Hypothesis strategies for requests, scenarios, faults and what operators do: a module. It needs Hypothesis.

Each name is imported when it is first used. A script that calls `sweep` does so below ``if __name__ == "__main__":``,
because the processes that share the work import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsmcollect.sim import checkers
    from fsmcollect.testing import strategies
    from fsmcollect.testing.conformance import conforms, examine
    from fsmcollect.testing.sweeping.engine import sweep
    from fsmcollect.testing.sweeping.report import Report, Violation

#: Where each name lives; modules have no name within their home.
_HOME = {
    "Report": "fsmcollect.testing.sweeping.report",
    "Violation": "fsmcollect.testing.sweeping.report",
    "conforms": "fsmcollect.testing.conformance",
    "examine": "fsmcollect.testing.conformance",
    "sweep": "fsmcollect.testing.sweeping.engine",
}
_MODULES = {
    "checkers": "fsmcollect.sim.checkers",
    "strategies": "fsmcollect.testing.strategies",
}

__all__ = ["Report", "Violation", "checkers", "conforms", "examine", "strategies", "sweep"]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
