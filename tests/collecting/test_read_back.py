"""What a device says it has done is read back before it matters."""

from __future__ import annotations

import attrs
import pytest

from fsmcollect.machines.table import Outcome
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.values import Expectation, Happening, Scenario, Setup, What
from fsmcollect.simulate.playing import play

EVERYTHING = attrs.evolve(library.read("everything_asked_for"), expect=Expectation())


def lies(command: str, **more: object) -> Fault:
    device, name = command.split(".")
    return Fault(
        **{"device": device, "command": name, "effect": Effect.NO_ACTION, "call": 1, "lasts_s": FOR_EVER_S, **more}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("detector_cover.open", "detector_cover: was opened and reads back that it is closed"),
        ("safety_shutter.open", "safety_shutter: was opened and reads back that it is closed"),
        ("detector.arm", "just before the beam it reads back that it is not"),
        ("attenuator.set_transmission", "attenuator: was set to"),
        ("goniometer.move", "was sent to"),
        ("sample_changer.load", "but nothing is mounted"),
    ],
)
def test_a_device_that_answers_and_has_done_nothing_is_found_out_before_the_beam(command: str, words: str) -> None:
    played = play(attrs.evolve(EVERYTHING, faults=(lies(command),)))
    assert (played.outcome, played.images) == (Outcome.FAILED, 0)
    assert words in " | ".join(played.failures)
    assert played.violations == ()


def test_the_backlight_must_be_out_before_anything_is_exposed() -> None:
    stays = lies("backlight.move_out", moment=Moment(event="CENTRING"), call=None)
    played = play(attrs.evolve(EVERYTHING, faults=(stays,)))
    assert "it would be in the beam" in " | ".join(played.failures)
    assert played.images == 0


def test_absorbers_that_slip_end_the_collection_before_the_next_wedge() -> None:
    base = attrs.evolve(library.read("inverse_beam"), expect=Expectation())
    slips = Fault(
        device="attenuator", effect=Effect.DRIFTS, moment=Moment(event="wedge.EXPOSING", count=3), lasts_s=FOR_EVER_S
    )
    played = play(attrs.evolve(base, faults=(slips,)))
    assert played.outcome is Outcome.FAILED
    assert played.images < 360
    assert "attenuator: was set to 0.2 and reads back" in " | ".join(played.failures)


def hutch_opened(without: frozenset[str]) -> Scenario:
    base = attrs.evolve(library.read("inverse_beam"), expect=Expectation(), beamline=Setup(without=without))
    return attrs.evolve(
        base, happenings=(Happening(what=What.HUTCH_OPENED, moment=Moment(event="wedge.EXPOSING", count=3)),)
    )


def test_without_a_safety_shutter_an_opened_hutch_ends_the_collection_within_a_second() -> None:
    played = play(hutch_opened(frozenset({"safety_shutter"})))
    assert (played.outcome, played.safe, played.violations) == (Outcome.FAILED, True, ())
    assert "the hutch was opened while images were being taken" in " | ".join(played.failures)


@pytest.mark.parametrize("command", ["interlock.is_searched", "attenuator.read_transmission_frac", "detector.is_idle"])
@pytest.mark.parametrize("effect", [Effect.REFUSES, Effect.HANGS])
def test_one_lost_answer_to_a_question_costs_nothing(command: str, effect: Effect) -> None:
    once = attrs.evolve(lies(command), effect=effect, lasts_s=0.0)
    played = play(attrs.evolve(EVERYTHING, faults=(once,)))
    assert (played.outcome, played.violations, played.failures) == (Outcome.DONE, (), ())


def test_a_detector_that_never_gives_its_images_ends_a_pause() -> None:
    """Found by a sweep: a resume waited for them for ever."""
    base = attrs.evolve(library.read("operator_holds_and_resumes"), expect=Expectation())
    hangs = attrs.evolve(lies("detector.read_out"), effect=Effect.HANGS, call=2)
    played = play(attrs.evolve(base, faults=(hangs,)))
    assert (played.outcome, played.safe, played.violations) == (Outcome.FAILED, True, ())


def test_omega_that_stands_where_it_was_is_found_out_at_the_looks_of_the_centring() -> None:
    """Two looks from one side agree about a crystal that is off the beam: all was done, with nothing in the beam."""
    base = attrs.evolve(library.read("inverse_beam"), expect=Expectation())
    played = play(attrs.evolve(base, faults=(lies("goniometer.move", call=3, lasts_s=0.0),)))
    assert (played.outcome, played.images, played.violations) == (Outcome.FAILED, 0, ())
    assert "was sent to" in " | ".join(played.failures)


def test_before_each_exposure_the_detector_is_asked_whether_it_is_armed_also_with_a_shutter_for_each() -> None:
    base = attrs.evolve(library.read("shuttered_passes_with_a_lost_beam"), expect=Expectation(), happenings=())
    played = play(base, record_calls=True)
    calls = [f"{call.device}.{call.command}" for call in played.calls]
    begun = [index for index, call in enumerate(calls) if call == "goniometer.begin_sweep"]
    assert len(begun) == played.images * base.requests[0].sweep.passes > 10
    between = [calls[before + 1 : index] for before, index in zip([0, *begun], begun, strict=False)]
    assert all("detector.is_idle" in asked for asked in between)
