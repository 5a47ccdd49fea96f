"""What must hold of the events of runs: a true record says nothing, and every way to falsify it is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from fsmcollect.events import Event, ImagesTaken, Moved, RunEnded, RunStarted, StepDone
from fsmcollect.sim.checkers import KEPT, RunRules
from tests.collecting.rehearsing import INVERSE, SHUTTERLESS, Play

STEP = StepDone(t_us=10**9, step="something")


def record() -> list[Event]:
    return list(Play(SHUTTERLESS).run().events)


def judge(events: Sequence[Event]) -> list[str]:
    rules = RunRules()
    for event in events:
        rules.hear(event)
    rules.ended()
    return rules.sentences


def where(events: Sequence[Event], kind: type[Event], **fields: str) -> int:
    return next(
        index
        for index, event in enumerate(events)
        if type(event) is kind and all(getattr(event, name) == value for name, value in fields.items())
    )


def test_a_true_record_of_one_run_or_several_says_nothing() -> None:
    assert judge(record()) == []
    assert judge([*record(), *Play(INVERSE).run().events]) == []
    assert judge([]) == []


@pytest.mark.parametrize("ends", ["abort", "skip"])
def test_a_record_of_a_run_that_was_stopped_says_nothing(ends: str) -> None:
    play = Play(SHUTTERLESS)
    play.enters("wedge.EXPOSING", getattr(play.collection, ends), count=2).run()
    assert judge(play.events) == []
    assert play.of(RunEnded)[0].images > 0


def replaced(events: list[Event], kind: type[Event], **changes: Any) -> list[Event]:
    index = where(events, kind)
    return [*events[:index], attrs.evolve(events[index], **changes), *events[index + 1 :]]


def without(events: list[Event], kind: type[Event]) -> list[Event]:
    index = where(events, kind)
    return events[:index] + events[index + 1 :]


def twice(events: list[Event], kind: type[Event]) -> list[Event]:
    index = where(events, kind)
    return events[: index + 1] + events[index:]


FALSE: dict[str, tuple[Callable[[list[Event]], list[Event]], str]] = {
    "no end": (lambda events: events[:-1], "'lyso_1' has begun and its end was never told"),
    "two ends": (lambda events: [*events, events[-1]], "run_ended was told after the run 'lyso_1' had ended"),
    "something after the end": (lambda events: [*events, STEP], "step_done was told after the run 'lyso_1' had ended"),
    "something before the beginning": (lambda events: [STEP, *events], "step_done was told before any run had begun"),
    "no beginning": (lambda events: events[1:], "transition was told before any run had begun"),
    "two at a time": (lambda events: [*events[:5], *events], "the run 'lyso_1' began while 'lyso_1' was under way"),
    "no outcome of the table": (
        lambda events: replaced(events, RunEnded, outcome="perhaps"),
        "the run ended as 'perhaps', which is no outcome",
    ),
    "another outcome": (
        lambda events: replaced(events, RunEnded, outcome="aborted"),
        "the run ended as aborted and its transitions say done",
    ),
    "not safe in IDLE": (lambda events: replaced(events, RunEnded, safe=False), "ended in IDLE with safe = False"),
    "fewer images": (
        lambda events: replaced(events, RunEnded, images=59),
        "the run ended with 59 images and 60 were reported",
    ),
    "images lost": (lambda events: without(events, ImagesTaken), "the run ended as done with 30 of 60 images"),
    "images twice": (
        lambda events: twice(events, ImagesTaken),
        "some of the images 1 to 30 of lyso_1 were reported before",
    ),
    "a state passed over": (
        lambda events: without(events, Moved),
        "a transition from MOUNTING was told and the machine",
    ),
    "an edge that is no row": (
        lambda events: replaced(events, Moved, dest="OSCILLATING"),
        "collection: no row leads from IDLE by START to OSCILLATING",
    ),
    "time runs backwards": (
        lambda events: replaced(events, ImagesTaken, t_us=5),
        "images_taken was told after something of",
    ),
    "an end in the middle": (
        lambda events: [*events[:10], events[-1], *events[10:]],
        "the run ended in ",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_record_is_found_out(name: str) -> None:
    falsify, words = FALSE[name]
    assert any(words in said for said in judge(falsify(record()))), judge(falsify(record()))


def test_a_file_is_reported_once() -> None:
    events = [
        attrs.evolve(event, file="lyso_1_data_000001.h5") if isinstance(event, ImagesTaken) else event
        for event in record()
    ]
    assert [said.partition(": ")[2] for said in judge(events)] == ["the file lyso_1_data_000001.h5 was reported before"]


def test_images_of_a_series_may_come_in_any_order_and_be_there_before() -> None:
    events = record()
    first, second = (index for index, event in enumerate(events) if isinstance(event, ImagesTaken))
    events[first], events[second] = (
        attrs.evolve(events[second], t_us=events[first].t_us),
        attrs.evolve(events[first], t_us=events[second].t_us),
    )
    assert judge(events) == []
    begun = events[0]
    assert isinstance(begun, RunStarted)
    files = {**begun.request["files"], "skip_existing": True}
    resumed = attrs.evolve(begun, images=90, request={**begun.request, "files": files})
    assert judge([resumed, *events[1:]]) == []
    assert judge([attrs.evolve(begun, images=90), *events[1:]]) != []


def test_only_some_sentences_are_kept() -> None:
    assert len(judge([STEP] * (KEPT + 1))) == KEPT
