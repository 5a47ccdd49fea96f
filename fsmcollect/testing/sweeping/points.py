"""Where a sweep strikes a scenario: at which checkpoint, at which event, with which faults.

Owns which points there are, given an undisturbed run, and which of them are drawn. Plays nothing. A point is a scenario
too: the base with something added, so that what it finds can be kept and replayed.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol, TypeVar

import attrs

from fsmcollect.sim.faults.commands import Call, every_fault_at
from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.scenario.values import Scenario, Strike

T = TypeVar("T")


class Kind(enum.Enum):
    """What a point does to the run."""

    CANCEL = "cancelled at a checkpoint"
    ABORT = "aborted at an event"
    FAULT = "a fault"
    PAIR = "a pair of faults"

    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class Point:
    """One way to disturb the base scenario.

    Attributes
    ----------
    kind : Kind
    schedule : int
        Seed of the order of tasks.
    at : int
        CANCEL: the checkpoint, ABORT: the event; from 1.
    faults : tuple of Fault
        FAULT, PAIR: what fails besides the base's own faults.
    """

    kind: Kind
    schedule: int
    at: int = 0
    faults: tuple[Fault, ...] = ()

    @property
    def strike(self) -> Strike:
        return Strike(
            cancel_at=self.at if self.kind is Kind.CANCEL else None,
            abort_at=self.at if self.kind is Kind.ABORT else None,
            schedule=self.schedule,
        )

    def of(self, base: Scenario) -> Scenario:
        """The base scenario, disturbed at this point."""
        return struck(base, self.faults, self.strike)


def struck(base: Scenario, faults: Sequence[Fault], strike: Strike) -> Scenario:
    """`base` with `faults` added, struck as `strike` says and not as it says itself.

    What it says and expects of its run, it says of the undisturbed one.
    """
    if faults or strike.cancel_at is not None or strike.abort_at is not None:
        base = base.disturbed()
    return attrs.evolve(base, faults=(*base.faults, *faults), strike=strike)


@attrs.frozen(kw_only=True)
class Wanted:
    """Which points are asked for, as `sweep` is given it."""

    cancel: bool = True
    faults: bool = True
    pairs: int = 0
    limit: int | None = None
    seed: int = 0


class Reference(Protocol):
    """An undisturbed run, as far as points are concerned."""

    @property
    def checkpoints(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def calls(self) -> Sequence[Call]: ...


def every_point(references: Sequence[Reference], wanted: Wanted) -> list[Point]:
    """Every point of each schedule's undisturbed run, kind after kind; no more than the limit of each kind.

    Parameters
    ----------
    references : sequence of Reference
        The undisturbed runs of the schedules 0, 1, ...
    """
    points: list[Point] = []
    for kind in Kind:
        of_kind = [
            point
            for schedule, reference in enumerate(references)
            for point in _points(kind, schedule, reference, wanted)
        ]
        points += drawn(of_kind, wanted.limit, Random(f"{wanted.seed}/limit/{kind.name}"))
    return points


def _points(kind: Kind, schedule: int, reference: Reference, wanted: Wanted) -> Iterator[Point]:
    if kind is Kind.CANCEL and wanted.cancel:
        for at in range(1, reference.checkpoints + 1):
            yield Point(kind=kind, schedule=schedule, at=at)
    elif kind is Kind.ABORT and wanted.cancel:
        for at in range(1, reference.events + 1):
            yield Point(kind=kind, schedule=schedule, at=at)
    elif kind is Kind.FAULT and wanted.faults:
        for fault in every_fault_at(reference.calls):
            yield Point(kind=kind, schedule=schedule, faults=(fault,))
    elif kind is Kind.PAIR and wanted.pairs:
        # The same draw for each schedule: where the calls are the same, so are the pairs.
        rng = Random(f"{wanted.seed}/pairs")
        for pair in pairs_of(list(every_fault_at(reference.calls)), wanted.pairs, rng):
            yield Point(kind=kind, schedule=schedule, faults=pair)


def pairs_of(singles: Sequence[Fault], count: int, rng: Random) -> Iterator[tuple[Fault, Fault]]:
    """Random pairs of faults; the two never begin at the same call, where they would contradict each other.

    There are fewer than `count` only where `singles` has no such pair.
    """
    if len({_begins(fault) for fault in singles}) < 2:
        return
    for _ in range(count):
        first = second = rng.choice(singles)
        while _begins(first) == _begins(second):
            second = rng.choice(singles)
        yield first, second


def _begins(fault: Fault) -> tuple[object, ...]:
    return fault.device, fault.command, fault.call, fault.moment


def drawn(values: Sequence[T], limit: int | None, rng: Random) -> list[T]:
    """All of them, or `limit`: one at random out of each of as many equal stretches, so that they lie evenly."""
    if limit is None or len(values) <= limit:
        return list(values)
    edges = [index * len(values) // limit for index in range(limit + 1)]
    return [values[rng.randrange(begin, end)] for begin, end in itertools.pairwise(edges)]
