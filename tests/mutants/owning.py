"""What people say, whose a beamline is, and how it was found."""

from __future__ import annotations

import functools
from typing import Any

import trio

from fsmcollect.beamline import Question
from fsmcollect.errors import BeamlineBusy
from fsmcollect.events import WedgeStarted
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.person import NEVER, Answer
from tests.collecting.rehearsing import (
    INVERSE,
    SECOND_US,
    SHUTTERLESS,
    Play,
    ask,
    simulate,
)
from tests.collecting.test_faults import FAULTS, strike
from tests.mutants.judging import check_done


def people() -> None:
    for question, request in QUESTIONS.items():
        for answer in (NEVER, Answer(5.0, False)):
            play = Play(request)
            play.simulated.person.answers = {**play.simulated.person.answers, question: answer}
            play.run().check("failed")
            assert not play.of(WedgeStarted), f"{question.name}: exposed against a person's word"


QUESTIONS = {
    Question.MOUNT_BY_HAND: ask(sample={"location": None}),
    Question.CENTRE_BY_HAND: ask(centring={"method": "manual"}),
    Question.VALIDATE_CENTRING: ask(centring={"validate": True}),
}


def one_at_a_time() -> None:
    """A beamline belongs to one run, is free after it, and is refused while a fault is latched."""
    play = Play(INVERSE)
    refused: list[bool] = []

    async def another() -> None:
        await play.simulated.kernel.wait(30 * SECOND_US)
        refused.append(await _is_refused(play.simulated.beamline))

    play.run(another)
    check_done(play)
    assert refused == [True], "two collections at once"
    following = Play(SHUTTERLESS, play.simulated).run()
    assert following.outcome == "done", "a second collection is not done as the first was"
    for jammed in (False, True):
        play = Play(INVERSE)
        strike(FAULTS["fast shutter jammed open"], play)
        answers: list[bool] = []
        latched = trio.Event()
        play.enters("FAULT", latched.set)

        async def mend(
            play: Play = play, answers: list[bool] = answers, jammed: bool = jammed, latched: trio.Event = latched
        ) -> None:
            await latched.wait()
            answers.append(await _is_refused(play.simulated.beamline))
            answers.append(play.collection.abort())
            await trio.sleep(60.0)
            assert play.collection.state.name == "FAULT", "a fault that nobody has acknowledged is over"
            play.simulated.fast_shutter.jammed = jammed
            answers.append(play.collection.acknowledge())
            await trio.sleep(100.0)
            play.scope.cancel()

        play.run(mend)
        assert answers == [True, True, True], answers
        assert play.outcome == "aborted", play.outcome
        assert play.result.safe is not jammed
        assert play.states.count("FAULT") == (2 if jammed else 1), f"a stop has ended a fault: {play.states}"
        assert play.simulated.beamline.free is not jammed, "a fault that is not latched, or does not end"


async def _is_refused(beamline: Any) -> bool:
    from fsmcollect.collecting.collection import Collection

    try:
        await Collection(beamline=beamline, request=ask(files={"prefix": "other"})).run()
    except BeamlineBusy:
        return True
    return False


def found_open() -> None:
    """Somebody has left the beam on and the detector near: nothing comes near before it is off."""

    async def leave_open(simulated: SimulatedBeamline) -> None:
        await simulated.detector_stage.move(150.0)
        await simulated.safety_shutter.open()
        await simulated.fast_shutter.open()

    for jammed in (False, True):
        simulated = simulate()
        simulated.kernel.run(functools.partial(leave_open, simulated))
        simulated.fast_shutter.jammed = jammed
        simulated.checkers.violations.clear()
        play = Play(ask(sweep={"images": 20}, beam={"detector_distance_mm": 150.0}), simulated)
        play.enters("FAULT", play.scope.cancel).run()
        assert "load 1:5" not in [text for _, text in play.commands("sample_changer")] or not jammed, "robot in beam"
        said = [said for said in simulated.checkers.violations if "robot" in said]
        assert not said, said
        assert play.outcome == ("failed" if jammed else "done"), play.result.failures
