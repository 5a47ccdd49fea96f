"""Faults are data: how they are written, what they mean, and which request each of them hits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.sim.archive import FAULTS, Fault, FaultKind
from fsmcollect.sim.archive.faults import Plan

MOVIE = "data/Movies/a.mrc"


def test_every_kind_is_put_in_words() -> None:
    assert list(FAULTS) == list(FaultKind)
    assert all(FAULTS.values())


@pytest.mark.parametrize(
    "text, fault",
    [
        ("truncation", Fault(FaultKind.TRUNCATION)),
        ("truncation:*.mrc:2", Fault(FaultKind.TRUNCATION, path="*.mrc", times=2)),
        ("TOO_MANY::always:retry_after=3", Fault(FaultKind.TOO_MANY, times=None, retry_after="3")),
        (" stall:::delay_s=60:each=yes ", Fault(FaultKind.STALL, delay_s=60.0, each=True)),
        ("server-error:*/:1:status=500:skip=2", Fault(FaultKind.SERVER_ERROR, path="*/", status=500, skip=2)),
        ("no-length:::method=HEAD", Fault(FaultKind.NO_LENGTH, method="HEAD")),
        ("wrong-length:::extra_bytes=-5:at_fraction=0", Fault(FaultKind.WRONG_LENGTH, extra_bytes=-5, at_fraction=0)),
    ],
)
def test_a_fault_is_read_as_it_is_written(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "unknown kind"),
        ("nonsense:*", "allowed are truncation, reset"),
        ("stall:*:many", "no number of times"),
        ("stall:*:0", "must be at least 1"),
        ("stall:*:1:delay_s=soon", "'soon' is no value for delay_s"),
        ("stall:*:1:delay_s=nan", "must be greater than 0 s"),
        ("stall:*:1:colour=red", "is not one of skip=..."),
        ("stall:*:1:skip", "is not one of skip=..."),
        ("stall:*:1:each=perhaps", "no value for each"),
        ("stall:*:1:at_fraction=2", "between 0 and 1"),
        ("too-many:::retry_after=a\nb", "printable ASCII"),
    ],
)
def test_what_is_no_fault_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Fault.parse(text)
    (problem,) = caught.value.problems
    assert problem.field == "--fault"
    assert says in problem.allowed


@given(st.text() | st.lists(st.sampled_from([*(k.value for k in FaultKind), "*", "", "1", "skip=1"])).map(":".join))
def test_reading_a_fault_raises_nothing_else(text: str) -> None:
    try:
        fault = Fault.parse(text)
    except InvalidRequest:
        pass
    else:
        assert fault.kind in FAULTS


@pytest.mark.parametrize(
    "kind, pattern, meant",
    [
        (FaultKind.RESET, "*", {"data/Movies/a.mrc", "data/NOTE"}),
        (FaultKind.RESET, "*.mrc", {"data/Movies/a.mrc"}),
        (FaultKind.RESET, "data/*", {"data/Movies/a.mrc", "data/NOTE"}),
        (FaultKind.RESET, "NOTE", {"data/NOTE"}),
        (FaultKind.RESET, "*.MRC", set()),
        (FaultKind.RESET, "*/", {"/", "data/", "data/Movies/"}),
        (FaultKind.RESET, "data/", {"data/"}),
        (FaultKind.RESET, "api/*", {"api/entry/10200"}),
        (FaultKind.FLAPPING, "*", {"/", "data/", "data/Movies/"}),
        (FaultKind.FLAPPING, "data/Movies/", {"data/Movies/"}),
        (FaultKind.FLAPPING, "*.mrc", set()),
    ],
)
def test_a_pattern_means_files_unless_it_says_folders_or_metadata(
    kind: FaultKind, pattern: str, meant: set[str]
) -> None:
    fault = Fault(kind, path=pattern)
    paths = ["data/Movies/a.mrc", "data/NOTE", "/", "data/", "data/Movies/", "api/entry/10200"]
    assert {path for path in paths if fault.matches(path)} == meant


def hits(plan: Plan, *paths: str, method: str = "GET", has_range: bool = False) -> list[list[str]]:
    return [[fault.kind.value for fault in plan.due(method, path, has_range=has_range)] for path in paths]


def test_a_fault_hits_the_requests_that_it_counts_to() -> None:
    plan = Plan([Fault(FaultKind.RESET, path="*.mrc", skip=1, times=2)])
    assert hits(plan, "a.mrc", "NOTE", "b.mrc", "a.mrc", "a.mrc") == [[], [], ["reset"], ["reset"], []]


def test_it_can_count_for_each_path_of_its_own() -> None:
    plan = Plan([Fault(FaultKind.RESET, each=True)])
    assert hits(plan, "a.mrc", "b.mrc", "a.mrc", "b.mrc") == [["reset"], ["reset"], [], []]


def test_always_is_always() -> None:
    plan = Plan([Fault(FaultKind.RESET, times=None)])
    assert hits(plan, *["a.mrc"] * 50) == [["reset"]] * 50


def test_a_method_that_is_not_meant_does_not_count() -> None:
    plan = Plan([Fault(FaultKind.RESET)])
    assert hits(plan, MOVIE, method="HEAD") == [[]]
    assert hits(plan, MOVIE) == [["reset"]]
    assert hits(Plan([Fault(FaultKind.RESET, method="*", times=None)]), MOVIE, method="HEAD") == [["reset"]]


def test_what_spoils_ranges_waits_for_one() -> None:
    plan = Plan([Fault(FaultKind.WRONG_RANGE)])
    assert hits(plan, MOVIE) == [[]]
    assert hits(plan, MOVIE, has_range=True) == [["wrong-range"]]


def test_only_one_fault_spoils_an_answer_and_the_other_waits_for_the_next() -> None:
    plan = Plan([Fault(FaultKind.RESET), Fault(FaultKind.STALL), Fault(FaultKind.CHANGED)])
    assert hits(plan, MOVIE, MOVIE, MOVIE) == [["reset", "changed"], ["stall"], []]


def test_a_listing_without_movies_omits_none_and_does_not_count() -> None:
    plan = Plan([Fault(FaultKind.FLAPPING)])
    assert plan.due("GET", "data/", has_range=False) == []
    assert len(plan.due("GET", "data/Movies/", has_range=False, holds_movies=True)) == 1


faults = st.builds(
    Fault,
    st.sampled_from(FaultKind),
    path=st.sampled_from(["*", "*.mrc", "*/", "api/*"]),
    times=st.none() | st.integers(1, 3),
    skip=st.integers(0, 2),
    each=st.booleans(),
)


@given(
    st.lists(faults, max_size=5),
    st.lists(st.tuples(st.sampled_from(["GET", "HEAD"]), st.sampled_from(["a.mrc", "b", "c/"]), st.booleans())),
)
def test_equal_requests_meet_equal_faults(chosen: list[Fault], asked: list[tuple[str, str, bool]]) -> None:
    def met() -> list[list[Fault]]:
        plan = Plan(chosen)
        return [plan.due(method, path, has_range=ranged, holds_movies=True) for method, path, ranged in asked]

    assert met() == met()
