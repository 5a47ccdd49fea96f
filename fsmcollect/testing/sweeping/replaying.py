"""The command that plays a point again.

Owns how a point is said in a shell. It is the very same run: the scenario, what was added to it, the order of tasks.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.scenario import writing
from fsmcollect.sim.scenario.values import Scenario, Strike
from fsmcollect.testing.sweeping.points import struck

#: Ends a scenario that is given to the command on standard input; no line of TOML looks like it.
_END = "END_OF_SCENARIO"


def replay(scenario: Scenario, called: str, faults: Sequence[Fault], strike: Strike) -> str:
    """A shell's command that plays `scenario` with `faults` and `strike` added, and tells its story.

    Parameters
    ----------
    called : str
        What the command line calls the scenario: its name or its file. Empty where it knows neither: then the command
        holds the whole scenario. So does it where the scenario is struck itself, which an addition cannot take back.
    """
    is_struck = scenario.strike.cancel_at is not None or scenario.strike.abort_at is not None
    if called and not is_struck:
        additions = shlex.quote(writing.additions_toml(tuple(faults), strike))
        return f"fsmcollect simulate {shlex.quote(called)} --explain --with {additions}"
    whole = struck(scenario, faults, strike)
    return f"fsmcollect simulate - --explain <<'{_END}'\n{writing.to_toml(whole).rstrip()}\n{_END}"
