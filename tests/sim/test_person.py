"""A person answers as told, after a while, or never."""

from __future__ import annotations

import random

import pytest
import trio

from fsmcollect.beamline import Person as Role
from fsmcollect.beamline import Question, Range
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Deadlock, Kernel, to_us
from fsmcollect.sim.person import NEVER, USUAL_ANSWERS, Answer, Deed, Person
from fsmcollect.sim.trace import Trace

YES_OR_NO = Question.VALIDATE_CENTRING


def new_person(
    kernel: Kernel, answers: dict[Question, Answer] | None = None, deeds: dict[Question, Deed] | None = None
) -> Person:
    person = Person(kernel, Trace(kernel), random.Random("test/person"), answers or USUAL_ANSWERS, deeds or {})
    role: Role = person
    assert role is person
    return person


@pytest.mark.parametrize("question", list(Question))
def test_the_usual_answer_is_yes_within_its_usual_time(question: Question) -> None:
    kernel = Kernel()
    assert kernel.run(lambda: new_person(kernel).ask(question))
    assert kernel.now_us / 1e6 in USUAL_ANSWERS[question].delay_s


def test_no_is_an_answer() -> None:
    kernel = Kernel()
    person = new_person(kernel, {YES_OR_NO: Answer(7.0, says=False)})
    assert not kernel.run(lambda: person.ask(YES_OR_NO))
    assert kernel.now_us == to_us(7)


@pytest.mark.parametrize("answers", [{YES_OR_NO: NEVER}, {Question.MOUNT_BY_HAND: Answer(1.0)}])
def test_nobody_may_be_there(answers: dict[Question, Answer]) -> None:
    kernel = Kernel()
    person = new_person(kernel, answers)

    async def body() -> bool:
        with trio.move_on_after(120) as scope:
            await person.ask(YES_OR_NO)
        return scope.cancelled_caught

    assert kernel.run(body)
    with pytest.raises(Deadlock, match="ask"):
        kernel.run(lambda: person.ask(YES_OR_NO))


def test_hands_have_done_their_work_when_the_answer_comes() -> None:
    kernel = Kernel()
    done: list[int] = []

    async def mount() -> None:
        await kernel.wait(to_us(3))
        done.append(kernel.now_us)

    person = new_person(kernel, {Question.MOUNT_BY_HAND: Answer(10.0)}, {Question.MOUNT_BY_HAND: mount})
    assert kernel.run(lambda: person.ask(Question.MOUNT_BY_HAND))
    assert done == [to_us(13)]


def test_hands_that_fail_make_it_a_no() -> None:
    kernel = Kernel()

    async def centre() -> None:
        raise DeviceError("goniometer", "out of reach")

    person = new_person(kernel, {Question.CENTRE_BY_HAND: Answer(1.0)}, {Question.CENTRE_BY_HAND: centre})
    assert not kernel.run(lambda: person.ask(Question.CENTRE_BY_HAND))


def test_a_person_who_says_no_does_nothing() -> None:
    kernel = Kernel()

    async def mount() -> None:
        raise AssertionError("touched the sample")

    answers = {Question.MOUNT_BY_HAND: Answer(Range(1.0, 2.0), says=False)}
    person = new_person(kernel, answers, {Question.MOUNT_BY_HAND: mount})
    assert not kernel.run(lambda: person.ask(Question.MOUNT_BY_HAND))


def test_a_person_whose_asker_gives_up_stops() -> None:
    kernel = Kernel()

    async def mount() -> None:
        raise AssertionError("touched the sample")

    person = new_person(kernel, {Question.MOUNT_BY_HAND: Answer(10.0)}, {Question.MOUNT_BY_HAND: mount})

    async def body() -> None:
        with trio.move_on_after(5):
            await person.ask(Question.MOUNT_BY_HAND)
        await kernel.wait(to_us(60))

    kernel.run(body)
