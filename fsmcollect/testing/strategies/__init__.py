"""Hypothesis strategies for all that a simulated run is made of: requests, faults, people, happenings, schedules.

The only part of fsmcollect that needs Hypothesis: ``pip install "fsmcollect[testing]"``. A property over all of it::

    @given(strategies.scenarios(max_images=6, effects=[Effect.HANGS]))
    def test_a_hanging_device_is_survived(scenario):
        with strategies.kept(scenario):
            assert not play(scenario).violations

Everything shrinks towards the smallest scenario that a person can read: one image, no fault, nobody does anything,
seed 0. `kept` leaves it behind as a file.
"""

try:
    import hypothesis as _hypothesis
except ImportError as missing:
    raise ImportError('fsmcollect.testing.strategies needs Hypothesis: pip install "fsmcollect[testing]"') from missing

from fsmcollect.testing.strategies.asking import is_acceptable, plans, requests
from fsmcollect.testing.strategies.failing import fault_plans, faults
from fsmcollect.testing.strategies.happening import happenings, moments, operator_actions, schedules, seconds, strikes
from fsmcollect.testing.strategies.keeping import kept
from fsmcollect.testing.strategies.whole import scenarios

__all__ = [
    "fault_plans",
    "faults",
    "happenings",
    "is_acceptable",
    "kept",
    "moments",
    "operator_actions",
    "plans",
    "requests",
    "scenarios",
    "schedules",
    "seconds",
    "strikes",
]
del _hypothesis
