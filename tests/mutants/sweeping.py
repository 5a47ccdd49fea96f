"""What users have too: the bundled scenarios, and a sweep."""

from __future__ import annotations

from fsmcollect.sim.scenario import library
from fsmcollect.simulate.playing import play
from fsmcollect.testing import sweep

#: Points of each kind that are struck here, spread over the run; `make prove` sweeps the whole of them elsewhere.
POINTS = {"short": 60, "inverse_beam": 20}


def bundled() -> None:
    """Every bundled scenario breaks no rule and ends as it says that it does."""
    for name in library.names():
        played = play(library.read(name))
        assert not played.violations, f"{name}: {played.violations[0]}"
        assert not played.unmet, f"{name}: {played.unmet[0]}"
        assert not played.never, f"{name}: {played.never[0]}"


def swept() -> None:
    """Cancelled at checkpoints, aborted at events, every kind of fault at the calls of devices."""
    for name, points in POINTS.items():
        violations = sweep(name, limit=points, jobs=1).violations
        assert not violations, f"{name}: {violations[0].what}"
