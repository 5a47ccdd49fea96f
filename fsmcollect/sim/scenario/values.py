"""What a scenario is: requests, a beamline, what fails, what people do, what happens around it, what must come of it.

Owns the values. Owns no text (`reading`, `writing`), no file (`library`) and no run (`fsmcollect.simulate.playing`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from fsmcollect.beamline import Location, Question
from fsmcollect.request import Request
from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.person import Answer


class Does(enum.Enum):
    """What the operator can do to a run."""

    ABORT = "abort"
    HOLD = "hold"
    RESUME = "resume"
    SKIP = "skip"
    ACKNOWLEDGE = "acknowledge"
    #: Answer the question that is being asked.
    CONFIRM = "confirm"
    REJECT = "reject"

    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class Deed:
    """Something that the operator does at a moment. One that is refused or finds nothing to do is reported."""

    does: Does
    moment: Moment
    where: str = attrs.field(default="", eq=False, repr=False)


class What(enum.Enum):
    """What can happen around a beamline."""

    BEAM_LOST = "beam lost"
    BEAM_BACK = "beam back"
    HUTCH_OPENED = "hutch opened"
    HUTCH_SEARCHED = "hutch searched"

    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class Happening:
    """Something that happens at a moment, to the ring or the interlock. One that changes nothing is reported."""

    what: What
    moment: Moment
    where: str = attrs.field(default="", eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Setup:
    """The parameters of the simulated beamline.

    Attributes
    ----------
    without : frozenset of str
        Roles that it lacks.
    bare_pins : frozenset of Location
        Places in the dewar whose pin holds no sample.
    settings : mapping of str to mapping
        By device, or ``config`` for `BeamlineConfig`: numbers and truth values, each named as the device's attribute.
    """

    without: frozenset[str] = frozenset()
    bare_pins: frozenset[Location] = frozenset()
    settings: Mapping[str, Mapping[str, float | bool]] = attrs.field(factory=dict[str, Mapping[str, float | bool]])


@attrs.frozen(kw_only=True)
class Expectation:
    """What must come of it; None where nothing is said.

    Attributes
    ----------
    outcome : str or None
        ``done``, ``skipped``, ``failed``, ``aborted``: of a list, its worst.
    ends_in : str or None
        ``IDLE`` (verified safe) or ``FAULT``.
    images : int or None
        Images taken, of all collections together.
    failure : str or None
        Words of one of the sentences that tell what went wrong.
    visits : tuple of str
        States that the collection must come through, in this order.
    places : mapping of str to str
        File and line of each, where known.
    """

    outcome: str | None = None
    ends_in: str | None = None
    images: int | None = None
    failure: str | None = None
    visits: tuple[str, ...] = ()
    places: Mapping[str, str] = attrs.field(factory=dict[str, str], eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Strike:
    """What a sweep adds to a scenario, so that what it finds is a scenario too. None where it adds nothing.

    Attributes
    ----------
    cancel_at : int or None
        The program's task is cancelled at this checkpoint (from 1, of all tasks of the run together).
    abort_at : int or None
        The run is aborted within its n-th event (from 1).
    schedule : int or None
        Seed of the order in which tasks run that wake together; None takes the scenario's seed.
    places : mapping of str to str
        File and line of each, where known.
    """

    cancel_at: int | None = None
    abort_at: int | None = None
    schedule: int | None = None
    places: Mapping[str, str] = attrs.field(factory=dict[str, str], eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Scenario:
    """A run that can be repeated bit for bit.

    Attributes
    ----------
    name : str
        ``beam_lost_in_the_third_wedge``; of a file, its stem.
    summary : str
        One line.
    requests : tuple of Request
        Collected one after the other.
    undisturbed : Expectation
        How it ended before something was added to it, as far as anybody has said: so it may still end.
    """

    name: str
    summary: str = ""
    requests: tuple[Request, ...]
    seed: int = 0
    beamline: Setup = Setup()
    answers: Mapping[Question, Answer] = attrs.field(factory=dict[Question, Answer])
    faults: tuple[Fault, ...] = ()
    operator: tuple[Deed, ...] = ()
    happenings: tuple[Happening, ...] = ()
    strike: Strike = Strike()
    expect: Expectation = Expectation()
    undisturbed: Expectation = Expectation()

    def disturbed(self) -> Scenario:
        """Another run, made of this one: how this one ends is remembered, and nothing is expected any more."""
        expect = self.expect
        ends = Expectation(outcome=expect.outcome, ends_in=expect.ends_in)
        undisturbed = self.undisturbed if ends == Expectation() else ends
        return attrs.evolve(self, summary="", expect=Expectation(), undisturbed=undisturbed)
