"""When something happens, what the operator does, what happens around the beamline, in which order tasks run.

Owns what is drawn and how it shrinks: towards nothing at all, then towards one plain event at the begin of a state.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from hypothesis import strategies as st

from fsmcollect.sim.moments import EVENTS, Moment
from fsmcollect.sim.scenario.values import Deed, Does, Happening, Strike, What

#: Events that every collection which exposes comes through, the most telling first.
_USUAL = ("wedge.EXPOSING", "OSCILLATING", "MOUNTING", "CENTRING", "wedge.ARMING", "CLOSING", "images_taken")
#: Of an effect that ends at a number of seconds, and of a moment. Assumed: the longest step of a small collection, the
#: robot's, takes some 15 s; a person takes minutes.
LONGEST_S = 300.0


@functools.lru_cache(maxsize=64)
def seconds(max_s: float) -> st.SearchStrategy[float]:
    """From 0 to `max_s`, in whole milliseconds so that a person can read them, mostly short."""
    short_ms = st.integers(0, int(min(max_s, 2.0) * 1000))
    return st.one_of(short_ms, short_ms, st.integers(0, int(max_s * 1000))).map(lambda ms: ms / 1000)


def moments(
    *, events: Collection[str] = EVENTS, max_count: int = 3, max_s: float = LONGEST_S
) -> st.SearchStrategy[Moment]:
    """Moments of a run, at or after one of its events, or at a time.

    Parameters
    ----------
    events : collection of str
        Out of `fsmcollect.sim.moments.EVENTS`.
    max_count : int
        The last time that an event may be meant.
    max_s : float
        The latest time, and the longest after an event.
    """
    return _moments(tuple(events), max_count, max_s)


@functools.lru_cache(maxsize=64)
def _moments(events: tuple[str, ...], max_count: int, max_s: float) -> st.SearchStrategy[Moment]:
    usual = [event for event in _USUAL if event in events]
    names = st.sampled_from([*usual, *(event for event in EVENTS if event in events and event not in usual)])
    at_event = st.builds(Moment, event=names, count=st.integers(1, max_count), after_s=seconds(max_s))
    return st.one_of(at_event, at_event, st.builds(Moment, at_s=seconds(max_s)))


def _deed(does: Does, event: str, after: st.SearchStrategy[float], count: int = 1) -> st.SearchStrategy[Deed]:
    return st.builds(
        Deed, does=st.just(does), moment=st.builds(Moment, event=st.just(event), count=st.just(count), after_s=after)
    )


def _pauses() -> st.SearchStrategy[tuple[Deed, ...]]:
    """Hold while something is exposed, and go on; once or twice."""
    once = st.tuples(
        st.builds(
            Deed, does=st.just(Does.HOLD), moment=moments(events=("wedge.EXPOSING", "OSCILLATING", "wedge.ARMING"))
        ),
        _deed(Does.RESUME, "HOLDING", seconds(60.0)),
    )
    again = _deed(Does.RESUME, "HOLDING", seconds(60.0), 2)
    hold = st.builds(Deed, does=st.just(Does.HOLD), moment=moments(events=("wedge.EXPOSING",), max_s=10.0))
    twice = st.tuples(once, st.tuples(hold, again)).map(lambda both: (*both[0], *both[1]))
    return st.one_of(once, twice)


def _ends() -> st.SearchStrategy[tuple[Deed, ...]]:
    """Stop or skip, once or, as people do, again."""
    end = st.builds(Deed, does=st.sampled_from([Does.ABORT, Does.SKIP]), moment=moments())
    return st.lists(end, min_size=1, max_size=2).map(tuple)


def _answers() -> st.SearchStrategy[tuple[Deed, ...]]:
    """Say yes or no to a question, or acknowledge a fault."""
    asked = st.one_of(
        _deed(Does.CONFIRM, "person_asked", seconds(30.0)), _deed(Does.REJECT, "person_asked", seconds(30.0))
    )
    return st.one_of(asked, _deed(Does.ACKNOWLEDGE, "FAULT", seconds(60.0))).map(lambda deed: (deed,))


@functools.lru_cache(maxsize=64)
def operator_actions(*, max_deeds: int = 4, sensible: bool | None = None) -> st.SearchStrategy[tuple[Deed, ...]]:
    """What the operator does.

    Parameters
    ----------
    max_deeds : int
        At most so many.
    sensible : bool or None
        True: in an order that makes sense (a hold is followed by a resume, a question is answered). False: anything at
        any time. None: both.
    """
    orderly: st.SearchStrategy[tuple[Deed, ...]] = st.lists(
        st.one_of(_ends(), _pauses(), _answers()), max_size=max(1, max_deeds // 2)
    ).map(lambda parts: tuple(deed for part in parts for deed in part)[:max_deeds])
    deed = st.builds(Deed, does=st.sampled_from(Does), moment=moments())
    anything: st.SearchStrategy[tuple[Deed, ...]] = st.lists(deed, max_size=max_deeds).map(tuple)
    if sensible is None:
        return st.one_of(orderly, anything)
    return orderly if sensible else anything


@st.composite
def _with_its_end(draw: st.DrawFn, what: What, end: What) -> tuple[Happening, ...]:
    """Something, and mostly what undoes it, after a while."""
    moment = draw(moments())
    begins = Happening(what=what, moment=moment)
    if moment.at_s is not None:
        after = Moment(at_s=round(moment.at_s + draw(seconds(LONGEST_S)), 3))
    else:
        after_s = round(moment.after_s + draw(seconds(LONGEST_S)), 3)
        after = Moment(event=moment.event, count=moment.count, after_s=after_s)
    return (begins, Happening(what=end, moment=after)) if draw(st.integers(0, 3)) < 3 else (begins,)


def happenings(
    *, max_happenings: int = 4, without: Collection[str] = frozenset()
) -> st.SearchStrategy[tuple[Happening, ...]]:
    """What happens to ring and hutch.

    Parameters
    ----------
    max_happenings : int
        At most so many.
    without : collection of str
        Roles that the beamline lacks: without a ring no beam is lost, without an interlock nobody opens the hutch.
    """
    return _happenings(max_happenings, frozenset(without))


@functools.lru_cache(maxsize=64)
def _happenings(max_happenings: int, without: frozenset[str]) -> st.SearchStrategy[tuple[Happening, ...]]:
    kinds: list[tuple[What, What]] = []
    if "ring" not in without:
        kinds.append((What.BEAM_LOST, What.BEAM_BACK))
    if "interlock" not in without:
        kinds.append((What.HUTCH_OPENED, What.HUTCH_SEARCHED))
    if not kinds or max_happenings < 1:
        return st.just(())
    # Always one choice of two, also where there is but one kind: what needs fewer would be taken for simpler.
    pair = st.integers(0, 1).flatmap(lambda which: _with_its_end(*kinds[which % len(kinds)]))
    return st.lists(pair, max_size=max(1, max_happenings // 2)).map(lambda parts: _flat(parts)[:max_happenings])


def _flat(parts: Sequence[tuple[Happening, ...]]) -> tuple[Happening, ...]:
    return tuple(happening for part in parts for happening in part)


def schedules() -> st.SearchStrategy[int | None]:
    """Seeds of the order in which tasks run that wake together; None takes the scenario's."""
    return st.none() | st.integers(0, 2**16)


def strikes(*, max_checkpoint: int = 150, max_event: int = 60) -> st.SearchStrategy[Strike]:
    """What a sweep does to a run: nothing but the order of tasks; or a cancellation, or an abort, somewhere in it.

    Parameters
    ----------
    max_checkpoint, max_event : int
        The last checkpoint at which the run is cancelled, and the last event within which it is aborted. A small
        collection has some 100 checkpoints and 40 events.
    """
    # Few orders: a checkpoint's number means another one in each.
    cancelled = st.builds(Strike, cancel_at=st.integers(1, max_checkpoint), schedule=st.integers(0, 9))
    aborted = st.builds(Strike, abort_at=st.integers(1, max_event), schedule=schedules())
    unstruck = st.builds(Strike, schedule=schedules())
    return st.one_of(unstruck, unstruck, aborted, cancelled)
