"""Whole scenarios: requests, a beamline, what fails, what people do, what happens around it, a schedule.

Owns how they are put together, so that a scenario always ends: who holds for ever gives up, a beam that is lost for
ever is not waited for.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

import attrs
from hypothesis import strategies as st

from fsmcollect.beamline import Question
from fsmcollect.request import Request
from fsmcollect.sim.faults.values import Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.person import NEVER, Answer
from fsmcollect.sim.scenario.values import Deed, Does, Happening, Scenario, Setup, Strike, What
from fsmcollect.testing.strategies.asking import requests
from fsmcollect.testing.strategies.failing import fault_plans
from fsmcollect.testing.strategies.happening import happenings, operator_actions, schedules, strikes

#: When an operator who waits for something gives up. Assumed: later than anything that is drawn can happen (the
#: slowest person takes 200 s, a late device as long, a moment comes 300 s after its event), and sooner than the player
#: takes a run that waits for one that does not live.
GIVES_UP_S = 2500.0
#: Roles that a beamline may lack and still collect most requests.
_SPARE = ("diodes", "cryo_stream", "aperture", "fluorescence_detector", "backlight", "detector_cover", "interlock")
_SPARE_SETS = st.sampled_from([frozenset[str](), *(frozenset({role}) for role in _SPARE), frozenset(_SPARE)])


def scenarios(
    *,
    max_images: int = 12,
    max_requests: int = 1,
    max_faults: int = 2,
    max_deeds: int = 3,
    max_happenings: int = 2,
    without: Collection[str] | None = None,
    effects: Collection[Effect] | None = None,
    strike: bool = True,
    name: str = "drawn",
) -> st.SearchStrategy[Scenario]:
    """Scenarios that the player accepts and that end.

    Parameters
    ----------
    max_images : int
        Of each request.
    max_requests, max_faults, max_deeds, max_happenings : int
        At most so many; 0 of the last three leaves them out.
    without : collection of str or None
        Roles that the beamline lacks; None: none, and now and then some that it can do without.
    effects : collection of Effect or None
        Only these of all faults.
    strike : bool
        Now and then the run is cancelled at one of its checkpoints, or aborted within one of its events, as a sweep
        does it. The schedule is drawn in any case.
    name : str
        What the scenarios are called.
    """
    lacking = _SPARE_SETS if without is None else st.just(frozenset(without))

    @functools.cache
    def lacks(roles: frozenset[str]) -> st.SearchStrategy[Scenario]:
        return st.builds(
            _scenario,
            name=st.just(name),
            asked=_lists(max_images, max_requests, roles),
            seed=st.integers(0, 99),
            without=st.just(roles),
            answers=_answers(roles),
            faults=fault_plans(max_faults=max_faults, without=roles, effects=effects),
            operator=operator_actions(max_deeds=max_deeds) if max_deeds else st.just(()),
            happens=happenings(max_happenings=max_happenings, without=roles),
            strike=strikes() if strike else schedules().map(lambda schedule: Strike(schedule=schedule)),
        )

    return lacking.flatmap(lacks)


def _lists(max_images: int, max_requests: int, without: frozenset[str]) -> st.SearchStrategy[tuple[Request, ...]]:
    """So many requests, their runs numbered so that no two write the same files."""
    each = [requests(max_images=max_images, without=without, run_number=n + 1) for n in range(max_requests)]
    lists = st.integers(1, max_requests).flatmap(lambda count: st.tuples(*each[:count]))
    return lists.map(_one_after_the_other)


def _one_after_the_other(asked: tuple[Request, ...]) -> tuple[Request, ...]:
    """The robot does not take off what a person has mounted: after one by hand, all are."""
    possible: list[Request] = []
    by_hand: Request | None = None
    for request in asked:
        if by_hand is not None and request.sample.location is not None:
            centring = attrs.evolve(request.centring, timeout_s=by_hand.centring.timeout_s)
            possible.append(attrs.evolve(request, sample=by_hand.sample, centring=centring))
        else:
            possible.append(request)
        if possible[-1].sample.location is None and not possible[-1].sample.mounted:
            by_hand = possible[-1]
    return tuple(possible)


def _answers(without: frozenset[str]) -> st.SearchStrategy[dict[Question, Answer]]:
    """Usually as people usually answer; now and then no, or never."""
    if "person" in without:
        return st.just({})
    in_time = st.builds(Answer, st.sampled_from([1.0, 20.0, 200.0]), st.booleans())
    answer = st.one_of(in_time, in_time, st.just(NEVER))
    some = st.dictionaries(st.sampled_from(Question), answer, max_size=2)
    return st.one_of(st.just(dict[Question, Answer]()), st.just(dict[Question, Answer]()), some)


def _scenario(
    name: str,
    asked: tuple[Request, ...],
    seed: int,
    without: frozenset[str],
    answers: dict[Question, Answer],
    faults: tuple[Fault, ...],
    operator: tuple[Deed, ...],
    happens: tuple[Happening, ...],
    strike: Strike,
) -> Scenario:
    return Scenario(
        name=name,
        requests=asked,
        seed=seed,
        beamline=Setup(without=without),
        answers=answers,
        faults=faults,
        operator=_giving_up(operator, happens),
        happenings=happens,
        strike=strike,
    )


def _giving_up(operator: tuple[Deed, ...], happens: tuple[Happening, ...]) -> tuple[Deed, ...]:
    """With an abort at last, where something may be waited for that never comes."""
    waits = any(deed.does is Does.HOLD for deed in operator)
    waits = waits or any(happening.what is What.BEAM_LOST for happening in happens)
    return (*operator, Deed(does=Does.ABORT, moment=Moment(at_s=GIVES_UP_S))) if waits else operator
