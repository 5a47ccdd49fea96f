"""Whoever is on shift, simulated: answers as data, after a while.

Owns when and what a person answers. What the person's hands do (put a sample on, centre it) is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from fsmcollect.beamline import Question, Range
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.trace import Trace

#: What a person's hands do when the answer is going to be yes.
Deed = Callable[[], Awaitable[None]]


def _range(delay_s: Range | float) -> Range:
    return delay_s if isinstance(delay_s, Range) else Range(delay_s, delay_s)


@attrs.frozen
class Answer:
    """How a person answers one question.

    Attributes
    ----------
    delay_s : Range, or a float for exactly so long
        Until the answer; drawn evenly from the range at every question.
    says : bool or None
        True for done or yes. None never answers: nobody is there, or they have gone to lunch.
    """

    delay_s: Range = attrs.field(converter=_range)
    says: bool | None = True


#: Nobody is there.
NEVER = Answer(0.0, None)

#: All assumed: no source was found for how long people take.
USUAL_ANSWERS: Mapping[Question, Answer] = {
    Question.MOUNT_BY_HAND: Answer(Range(60.0, 180.0)),
    Question.CENTRE_BY_HAND: Answer(Range(20.0, 60.0)),
    Question.VALIDATE_CENTRING: Answer(Range(2.0, 10.0)),
}


@attrs.define(eq=False)
class Person:
    """A person who answers as `answers` says and is asked one thing at a time.

    Attributes
    ----------
    answers : mapping
        A question that is missing here is never answered. May be changed while the simulation runs.
    deeds : mapping
        What is done before saying yes; where it fails with a DeviceError the answer is no.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    answers: Mapping[Question, Answer] = USUAL_ANSWERS
    deeds: Mapping[Question, Deed] = attrs.field(factory=dict[Question, Deed])
    name: str = "person"
    #: What `say` has said to the question that is being asked; None while nobody is asked.
    _said: trio.Event | None = attrs.field(init=False, default=None)
    _says: bool = attrs.field(init=False, default=False)

    def say(self, says: bool) -> bool:
        """Answer the question that is being asked, now. False where none is."""
        if self._said is None:
            return False
        self._says = says
        self._said.set()
        return True

    def _answer_now(self, says: bool) -> None:
        self.say(says)

    async def ask(self, question: Question) -> bool:
        """Waits as long as it takes; when the asker gives up (cancels), the person stops too."""
        self.trace.note(self.name, f"asked {question.name}")
        self._said = trio.Event()
        try:
            says = await self._answer(self.answers.get(question, NEVER), self._said)
        finally:
            self._said = None
        if says and question in self.deeds:
            try:
                await self.deeds[question]()
            except DeviceError as error:
                self.trace.note(self.name, f"could not: {error}")
                says = False
        self.trace.note(self.name, f"says {'yes' if says else 'no'} to {question.name}")
        return says

    async def _answer(self, answer: Answer, said: trio.Event) -> bool:
        if answer.says is not None:
            delay_s = self.rng.uniform(answer.delay_s.low, answer.delay_s.high)
            due = self.kernel.after(to_us(delay_s), lambda: self._answer_now(bool(answer.says)), by=self.name)
            try:
                await said.wait()
            finally:
                due.cancel()
        else:
            await said.wait()
        return self._says
