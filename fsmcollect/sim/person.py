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

    async def ask(self, question: Question) -> bool:
        """Waits as long as it takes; when the asker gives up (cancels), the person stops too."""
        self.trace.note(self.name, f"asked {question.name}")
        answer = self.answers.get(question, NEVER)
        if answer.says is None:
            await trio.sleep_forever()
        await self.kernel.wait(to_us(self.rng.uniform(answer.delay_s.low, answer.delay_s.high)), by=self.name)
        says = bool(answer.says)
        if says and question in self.deeds:
            try:
                await self.deeds[question]()
            except DeviceError as error:
                self.trace.note(self.name, f"could not: {error}")
                says = False
        self.trace.note(self.name, f"says {'yes' if says else 'no'} to {question.name}")
        return says
