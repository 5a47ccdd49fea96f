"""How a run may end that met faults, and which rules they excuse: what the declared table says of it.

Owns the verdict on a run's ending. Owns no row of the table (`declared`). A run that was stopped by somebody may end
better than it says: that such a run never ends as done is a rule of its own.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

import attrs

from fsmcollect.sim.faults.declared import (
    DECLARED,
    ENDINGS,
    LYING,
    NO_SHUTTER,
    READ_BACKS,
    STOPS,
    TWO_LIES,
    Declared,
    Ending,
)
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault


@attrs.frozen
class Struck:
    """A fault befell the run in this state."""

    fault: Fault
    state: str


@attrs.frozen
class _Rest:
    """Which device is at rest by which step of `safing`."""

    role: str
    name: str


#: What must hold of a device when all is over, unless the run has ended in FAULT and says that this step failed.
_AT_REST = {
    "FastShutterClosed": _Rest("fast_shutter", "fast shutter closed"),
    "SafetyShutterClosed": _Rest("safety_shutter", "safety shutter closed"),
    "DetectorAtRest": _Rest("detector", "detector idle"),
    "GoniometerStands": _Rest("goniometer", "goniometer still"),
    "DetectorStageStands": _Rest("detector_stage", "detector stage still"),
    "MonochromatorStands": _Rest("monochromator", "monochromator still"),
    "RobotStands": _Rest("sample_changer", "sample changer still"),
}


def row_for(fault: Fault, state: str) -> Declared:
    """The row that holds for a fault that struck in `state`.

    One that lasts a while is between the two: it ends as it would if it had befallen one call only, as it would if it
    lasted for ever, or in between.
    """
    if fault.lasts_s in (ONCE_S, FOR_EVER_S):
        return next(row for row in DECLARED if row.fits(fault, state))
    once, ever = (row_for(attrs.evolve(fault, lasts_s=lasts_s), state) for lasts_s in (ONCE_S, FOR_EVER_S))
    worst, best = max(*once.endings, *ever.endings), min(*once.endings, *ever.endings)
    if fault.effect in (Effect.HANGS, Effect.ANSWER_LOST):  # over after a while, the answer comes: it is only late
        best = Ending.DONE
    return Declared(
        endings=frozenset(end for end in Ending if best <= end <= worst),
        why=f"{once.why}; {ever.why}",
        excuses=once.excuses | ever.excuses,
    )


def is_excused(rule: str, struck: Iterable[Struck], unverified: Sequence[str] = ()) -> bool:
    """Whether a rule of `sim.checkers` is broken by these faults themselves.

    That a device is not at rest when all is over is excused only where the run says so itself: `unverified` are the
    safing steps that failed for good.
    """
    faults = {hit.fault: hit.state for hit in struck}
    lying = [fault.device for fault in faults if fault.effect in LYING]
    lie_twice = {device for device in lying if lying.count(device) > 1}
    if rule in _AT_REST:
        step = _AT_REST[rule]
        return step.role in lie_twice or any(failure.startswith(step.name) for failure in unverified)
    if any(rule in TWO_LIES.get(device, ()) for device in lie_twice):
        return True
    if rule in NO_SHUTTER and {"fast_shutter", "safety_shutter"} <= {
        fault.device for fault in faults if fault.lasts_s != ONCE_S and fault.command in ("", "close")
    }:
        return True
    return any(rule in row_for(fault, state).excuses for fault, state in faults.items())


def judge(struck: Sequence[Struck], ending: Ending, *, stopped: bool) -> str:
    """A sentence where a run that met these faults must not end so; empty where it may.

    Several faults may end as any of them may, or better: one can keep another from mattering. So may a run that was
    stopped. Several of ONE device may add up: two delays to a time limit, which is one ending worse than the worst of
    them; what spoils a safing step and its repetition to FAULT.
    """
    firsts = {hit.fault: hit for hit in reversed(struck)}
    rows = [row_for(hit.fault, hit.state) for hit in firsts.values()]
    allowed = frozenset[Ending]().union(*(row.endings for row in rows)) if rows else frozenset({Ending.DONE})
    devices = [fault.device for fault in firsts]
    if len(set(devices)) < len(devices):
        allowed |= {Ending.FAULT if _meet_in_one_step(firsts) else Ending(min(max(allowed) + 1, Ending.FAULT))}
    if len(rows) != 1 or stopped:
        allowed = frozenset(end for end in Ending if end <= max(allowed))
    if ending in allowed or (stopped and not rows):
        return ""
    met = "; ".join(f"{hit.fault} in {hit.state}" for hit in firsts.values()) or "no fault"
    may = " or ".join(f'"{ENDINGS[end]}"' for end in sorted(allowed))
    return f'it ended as "{ENDINGS[ending]}", and must end as {may}: {met}'


def _meet_in_one_step(faults: Iterable[Fault]) -> bool:
    """Two of them can spoil the same device's command or read-back in making safe."""
    patterns = f"{STOPS} {READ_BACKS}".split()
    spoilt = [
        fault.device
        for fault in faults
        if not fault.command or any(fnmatch.fnmatchcase(f"{fault.device}.{fault.command}", name) for name in patterns)
    ]
    return len(set(spoilt)) < len(spoilt)
