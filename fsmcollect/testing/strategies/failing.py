"""Faults that can befall a simulated beamline, singly and several in one run.

Owns what is drawn and how it shrinks: towards no fault, then towards a plain refusal at the first call, once. Which
effect can befall which command is declared in `fsmcollect.sim.faults.commands`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TypeVar

import attrs
from hypothesis import strategies as st

from fsmcollect.sim.faults.commands import COMMANDS, effects_of
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.testing.strategies.happening import moments, seconds

T = TypeVar("T")
#: How late an answer comes: within every limit of the sequencer, as what is declared of late answers means it. Later
#: than any limit is HANGS for a while.
_DELAYS_S = st.sampled_from([3.0, 0.01, 0.5])
_LASTS_S = st.one_of(st.just(ONCE_S), st.just(FOR_EVER_S), seconds(60.0).map(lambda lasts_s: max(lasts_s, 0.001)))
#: Where a device as a whole is befallen: at the begin of what a collection does.
_STATES = ("OSCILLATING", "wedge.EXPOSING", "wedge.ARMING", "CLOSING", "MOUNTING", "CENTRING", "wedge.DRAINING")


def faults(
    *,
    devices: Collection[str] | None = None,
    without: Collection[str] = frozenset(),
    effects: Collection[Effect] | None = None,
    max_call: int = 4,
) -> st.SearchStrategy[Fault]:
    """Faults, each of which can befall its command.

    Parameters
    ----------
    devices : collection of str or None
        Only these; None: every role.
    without : collection of str
        Roles that the beamline lacks.
    effects : collection of Effect or None
        Only these; None: all.
    max_call : int
        Up to which call of a command is counted. Whether a run comes so far is another matter.

    Raises
    ------
    ValueError
        Nothing of that can befall any of these devices.
    """
    return _faults(_fixed(devices), frozenset(without), _fixed(effects), max_call)


def _fixed(some: Collection[T] | None) -> frozenset[T] | None:
    return None if some is None else frozenset(some)


@functools.lru_cache(maxsize=256)
def _faults(
    devices: frozenset[str] | None, without: frozenset[str], effects: frozenset[Effect] | None, max_call: int
) -> st.SearchStrategy[Fault]:
    kinds = [
        (device, command, effect)
        for device, commands in COMMANDS.items()
        if device not in without and (devices is None or device in devices)
        for command in (*commands, "")
        for effect in effects_of(device, command)
        if effects is None or effect in effects
    ]
    if not kinds:
        raise ValueError("none of these effects can befall any of these devices")
    return st.sampled_from(kinds).flatmap(lambda kind: _fault(*kind, max_call))


def fault_plans(
    *,
    max_faults: int = 2,
    devices: Collection[str] | None = None,
    without: Collection[str] = frozenset(),
    effects: Collection[Effect] | None = None,
) -> st.SearchStrategy[tuple[Fault, ...]]:
    """What goes wrong in one run: none to `max_faults` faults, no two of them at the same call of one command.

    See `faults` for the parameters.
    """
    fault = faults(devices=devices, without=without, effects=effects)
    return st.lists(fault, max_size=max_faults, unique_by=_place).map(tuple)


def _place(fault: Fault) -> tuple[str, str, int | None, str]:
    return fault.device, fault.command, fault.call, str(fault.moment)


@st.composite
def _fault(draw: st.DrawFn, device: str, command: str, effect: Effect, max_call: int) -> Fault:
    call: int | None = None
    moment: Moment | None = None
    if not command:
        moment = draw(moments(events=_STATES, max_s=30.0))
    elif draw(st.integers(0, 3)) < 3:
        call = draw(st.integers(1, max_call))
    else:
        moment = draw(moments(max_s=30.0))
    fault = Fault(device=device, command=command, effect=effect, call=call, moment=moment, lasts_s=draw(_LASTS_S))
    return attrs.evolve(fault, delay_s=draw(_DELAYS_S)) if effect is Effect.DELAYED else fault
