"""When the rules are looked at, what becomes of what they say, and how a rule is excused.

Owns the moments (every event of the sequencer, the end of every instant, the end of every opening of the fast shutter,
the end of a run, the end of all) and the sentences with their times. Owns no rule of physics.

What can be looked at in the middle of an instant, and what cannot: every device's state is a formula of time and of the
commands it has had, so a rule that says "this while that" holds within an instant too, in whatever order tasks run and
callbacks fire. A rule that says "at this microsecond the other has done its part" does not: the other may have it still
before it. Such rules are looked at when the instant is over, and their docstrings say what would still be to come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

import attrs
import trio

from fsmcollect.events import Event, RunEnded
from fsmcollect.sim.kernel import US_PER_S, Kernel
from fsmcollect.sim.shutter import Blade, FastShutter, SafetyShutter

#: How many sentences are kept; all are counted.
KEPT = 100
_TIMER_RULE = "NoTimerLeft"


class Rule(Protocol):
    """One invariant of what is now. Its name, for excuses, is that of its class."""

    def look(self) -> str | None:
        """What is wrong now, or None."""


class Hearer(Protocol):
    """A rule that needs to know of some of the sequencer's events."""

    kinds: ClassVar[tuple[type[Event], ...]]

    def hear(self, event: Event) -> None:
        """One of `kinds` has happened."""


class Robot(Protocol):
    """The sample changer, as far as rules go."""

    @property
    def is_moving(self) -> bool: ...
    @property
    def needs_distance_mm(self) -> float: ...


@attrs.define(eq=False)
class AtRest:
    """One thing that must hold when all is over, and at the end of every run that says it has ended safely.

    Attributes
    ----------
    name : str
        For excuses.
    sentence : str
        What is said where it does not hold: "the fast shutter was not closed".
    holds : callable
    """

    name: str
    sentence: str
    holds: Callable[[], bool]


def _never(_rule: str) -> bool:
    return False


@attrs.define(eq=False, repr=False)
class Checkers:
    """Looks at every rule that applies, and collects what they say.

    A rule that keeps saying the same is heard once, until it has been silent again.

    An open fast shutter behind a WHOLLY closed safety shutter violates no rule of the light (`open_rules`,
    `settled_rules`): nothing passes, whatever ring and absorbers do, and it is what safing aims at where the fast
    shutter is stuck. No danger is missed: the instant the safety shutter begins to open, all of them are looked at; the
    robot's rules and those at rest want BOTH shutters closed in any case; and an image taken behind a closed safety
    shutter was not in the beam, which `FramesAreTrue` says. A ring without beam, a transmission of 0 or a crystal
    beside the beam is no such reason: the beam comes back without anybody's leave.

    Attributes
    ----------
    shutter : FastShutter
    safety_shutter : SafetyShutter or None
        None where the beamline has none.
    robot : Robot or None
        None where the beamline has none.
    rules : list of Rule
        Looked at at every event and at the end of each instant.
    robot_rules : list of Rule
        The same, while the robot is away from its safe position.
    open_rules : list of Rule
        The same, while the fast shutter is open or opening and the safety shutter is not wholly closed.
    settled_rules : list of Rule
        Then too, but only at the end of each instant.
    opening_over : list of callables
        Called at the end of the instant at which an opening of the fast shutter is over.
    at_rest_rules : list of AtRest
    excused : callable
        Asked with the name of a rule that says something: it is known why, and no violation.
    violations, excused_sentences : list of str
        The first of them, each with its time.
    count : int
        All violations.
    """

    kernel: Kernel
    shutter: FastShutter
    safety_shutter: SafetyShutter | None = None
    robot: Robot | None = None
    rules: list[Rule] = attrs.field(factory=list[Rule])
    robot_rules: list[Rule] = attrs.field(factory=list[Rule])
    open_rules: list[Rule] = attrs.field(factory=list[Rule])
    settled_rules: list[Rule] = attrs.field(factory=list[Rule])
    opening_over: list[Callable[[], None]] = attrs.field(factory=list[Callable[[], None]])
    at_rest_rules: list[AtRest] = attrs.field(factory=list[AtRest])
    excused: Callable[[str], bool] = _never
    violations: list[str] = attrs.field(init=False, factory=list[str])
    excused_sentences: list[str] = attrs.field(init=False, factory=list[str])
    count: int = attrs.field(init=False, default=0)
    _hearers: dict[type[Event], list[Hearer]] = attrs.field(init=False, factory=dict[type[Event], list[Hearer]])
    #: Names of rules that speak by themselves.
    _speakers: list[str] = attrs.field(init=False, factory=list[str])
    #: Rules that say something now and have been heard: as a violation, or (False) excused for it.
    _told: dict[Rule, bool] = attrs.field(init=False, factory=dict[Rule, bool])
    #: There are any.
    _is_told: bool = attrs.field(init=False, default=False)
    #: At the end of the last instant the fast shutter was not closed.
    _was_open: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.kernel.settled.append(self.look)

    # -- moments ------------------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Something has happened: tell the rules that want to know, and look at all that can be looked at now.

        A listener of every collection's `Observers`; those drop a listener that raises, so a rule that does is told as
        a violation here.
        """
        try:
            for hearer in self._hearers.get(type(event), ()):
                hearer.hear(event)
            self._look_within()
            if isinstance(event, RunEnded) and event.safe:
                self._look_at_rest("the run ended as safe, and")
        except Exception as error:  # noqa: BLE001  (a broken rule must not pass for a silent one)
            self.say(f"a rule cannot be looked at: {error!r}")

    def look(self) -> None:
        """The instant is over: look at every rule that applies."""
        self._look_within()
        if not self.shutter.closed:
            self._was_open = True
            if self._light_can_pass():
                self._look_at(self.settled_rules)
            elif self._is_told:
                self._hush(self.settled_rules)
        elif self._was_open:
            self._was_open = False
            self._hush(self.settled_rules)
            for judge in self.opening_over:
                judge()

    def at_rest(self) -> None:
        """All is over: nothing may be open, armed or moving, and no deadline left.

        Call it when a run has ended, within its trio run and outside of any deadline of your own.
        """
        self._look_at_rest("when all was over,")
        if trio.lowlevel.in_trio_run():
            left_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if left_s != math.inf:
                self.say(f"when all was over, a deadline was left, due in {left_s:g} s", rule=_TIMER_RULE)

    # -- what rules say -----------------------------------------------------------------------------------------------

    def add(self, hearer: Hearer) -> None:
        """Tell `hearer` of its kinds of events."""
        for kind in hearer.kinds:
            self._hearers.setdefault(kind, []).append(hearer)

    @property
    def names(self) -> frozenset[str]:
        """Of all rules there are here, as `excused` is asked."""
        looked_at = (*self.rules, *self.robot_rules, *self.open_rules, *self.settled_rules)
        return frozenset(
            {type(rule).__name__ for rule in looked_at}
            | {rule.name for rule in self.at_rest_rules}
            | {*self._speakers, _TIMER_RULE}
        )

    def saying(self, rule: str) -> Callable[[str], None]:
        """`say` for the rule of this name: for rules that speak by themselves."""
        self._speakers.append(rule)
        return lambda sentence: self.say(sentence, rule=rule)

    def say(self, sentence: str, *, rule: str = "") -> None:
        """Note a violation, now, unless the rule of this name is excused."""
        self._note(sentence, excused=bool(rule) and self.excused(rule))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _look_within(self) -> None:
        """Look at what can be looked at in the middle of an instant."""
        self._look_at(self.rules)
        if self.robot is not None and self.robot.is_moving:
            self._look_at(self.robot_rules)
        elif self._is_told:
            self._hush(self.robot_rules)
        if self._light_can_pass():
            self._look_at(self.open_rules)
        elif self._is_told:
            self._hush(self.open_rules)

    def _light_can_pass(self) -> bool:
        """Both shutters let light through, or soon will; one that is CLOSING has been told to, and nobody minds."""
        shutter, safety = self.shutter, self.safety_shutter
        return not shutter.closed and shutter.blade is not Blade.CLOSING and (safety is None or not safety.closed)

    def _look_at(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            if (said := rule.look()) is not None:
                self._hear_rule(rule, said)
            elif self._is_told:
                self._hush((rule,))

    def _hush(self, rules: Iterable[Rule]) -> None:
        """These have nothing to say now."""
        for rule in rules:
            self._told.pop(rule, None)
        self._is_told = bool(self._told)

    def _hear_rule(self, rule: Rule, said: str) -> None:
        told = self._told.get(rule)
        if told is True:
            return
        excused = self.excused(type(rule).__name__)
        if excused and told is not None:
            return
        # What was excused is told once more when the excuse is over and it is still so.
        self._told[rule] = not excused
        self._is_told = True
        self._note(said, excused=excused)

    def _note(self, sentence: str, *, excused: bool) -> None:
        sentences = self.excused_sentences if excused else self.violations
        self.count += not excused
        if len(sentences) < KEPT:
            sentences.append(f"at {self.kernel.now_us / US_PER_S:.6f} s: {sentence}")

    def _look_at_rest(self, when: str) -> None:
        for rule in self.at_rest_rules:
            if not rule.holds():
                self.say(f"{when} {rule.sentence}", rule=rule.name)
