"""Sequencing data collection with explicit state machines.

>>> import fsmcollect
>>> request = fsmcollect.parse_toml(text)                      # doctest: +SKIP
>>> result = await fsmcollect.collect(beamline, request)       # doctest: +SKIP

The names below are the public ones; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fsmcollect.beamline import Beamline, BeamlineConfig, Location
    from fsmcollect.collecting.collection import Collection, Result, collect
    from fsmcollect.errors import BeamlineBusy, DeviceError, FsmCollectError, InvalidRequest, SafingError, StorageError
    from fsmcollect.machines.table import Outcome
    from fsmcollect.observers import Observers
    from fsmcollect.request import Request, parse_mxcube, parse_toml
    from fsmcollect.wedges import Plan, make_plan

_HOME = {
    "Beamline": "beamline",
    "BeamlineBusy": "errors",
    "BeamlineConfig": "beamline",
    "Collection": "collecting.collection",
    "DeviceError": "errors",
    "FsmCollectError": "errors",
    "InvalidRequest": "errors",
    "Location": "beamline",
    "Observers": "observers",
    "Outcome": "machines.table",
    "Plan": "wedges",
    "Request": "request",
    "Result": "collecting.collection",
    "SafingError": "errors",
    "StorageError": "errors",
    "collect": "collecting.collection",
    "make_plan": "wedges",
    "parse_mxcube": "request",
    "parse_toml": "request",
}

__all__ = [
    "Beamline",
    "BeamlineBusy",
    "BeamlineConfig",
    "Collection",
    "DeviceError",
    "FsmCollectError",
    "InvalidRequest",
    "Location",
    "Observers",
    "Outcome",
    "Plan",
    "Request",
    "Result",
    "SafingError",
    "StorageError",
    "collect",
    "make_plan",
    "parse_mxcube",
    "parse_toml",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
