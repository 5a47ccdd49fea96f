"""A pretend EMPIAR, deterministic from a seed: metadata, listings, any number of synthetic movies, faults as data.

It is served in memory under simulated time, or as a real HTTP server on loopback. Below everything that streams: it
knows nothing of who asks.
"""

from __future__ import annotations

from fsmcollect.sim.archive.archive import Archive, Request
from fsmcollect.sim.archive.faults import FAULTS, Fault, FaultKind
from fsmcollect.sim.archive.layouts import LAYOUTS
from fsmcollect.sim.archive.movies import FORMATS

__all__ = ["FAULTS", "FORMATS", "LAYOUTS", "Archive", "Fault", "FaultKind", "Request"]
