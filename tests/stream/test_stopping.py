"""What ends a stream is read as people write it, and refused in words where it is nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.stream.stopping import Criteria, parse_size, size_in_bytes, size_in_words


def refused(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidRequest) as refusal:
        Criteria.parse(text)
    return refusal.value.problems


@pytest.mark.parametrize(
    ("text", "criteria"),
    [
        ("count=5", Criteria(count=5)),
        ("count=5,size=10GB,time=600s", Criteria(count=5, size_bytes=10_000_000_000, time_s=600.0)),
        (" time = 10 min , count = 007 ", Criteria(count=7, time_s=600.0)),
        ("time=600", Criteria(time_s=600.0)),
        ("time=1.5h", Criteria(time_s=5400.0)),
        ("time=2m", Criteria(time_s=120.0)),
        ("size=.5kB", Criteria(size_bytes=500)),
    ],
)
def test_criteria_are_read_in_any_order_and_unit(text: str, criteria: Criteria) -> None:
    assert Criteria.parse(text) == criteria


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1B", 1),
        ("500 kB", 500_000),
        ("500KB", 500_000),
        ("10MB", 10_000_000),
        ("10mb", 10_000_000),
        ("305.5 GB", 305_500_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("2KiB", 2048),
        ("2MiB", 2 << 20),
        ("10gib", 10 << 30),
        ("1TiB", 1 << 40),
        ("0.3GB", 300_000_000),
    ],
)
def test_a_size_is_exact_decimal_or_binary(text: str, size_bytes: int) -> None:
    assert parse_size(text, "--rate") == size_bytes


@pytest.mark.parametrize(
    "text", ["", "10", "GB", "-1GB", "0GB", "0.1B", "1e3GB", "10 G", "1Gb", "1,5GB", "1PB", "NaN GB"]
)
def test_what_is_no_size_is_refused_in_the_name_of_what_was_asked(text: str) -> None:
    with pytest.raises(InvalidRequest, match="with its unit, at least 1 B: 500MB, 10GB") as refusal:
        parse_size(text, "--rate")
    assert [(problem.field, problem.value) for problem in refusal.value.problems] == [("--rate", text)]


@pytest.mark.parametrize(
    ("text", "value", "allowed"),
    [
        ("", "", "must be count=N, size=SIZE or time=TIME"),
        ("5", "5", "must be count=N, size=SIZE or time=TIME"),
        ("movies=5", "movies=5", "must be count=N, size=SIZE or time=TIME"),
        ("count", "count", "must be count=N, size=SIZE or time=TIME"),
        ("count=0", "count=0", "must be a whole number of movies, 1 or more"),
        ("count=-1", "count=-1", "must be a whole number of movies, 1 or more"),
        ("count=1.5", "count=1.5", "must be a whole number of movies, 1 or more"),
        ("count=٣", "count=٣", "must be a whole number of movies, 1 or more"),
        ("size=5", "size=5", "must be a size with its unit"),
        ("time=0", "time=0", "must be a time greater than 0"),
        ("time=inf", "time=inf", "must be a time greater than 0"),
        ("time=5d", "time=5d", "must be a time greater than 0"),
        ("count=1,count=2", "count=2", "is said twice"),
        ("count=\x1b[2J", "count=\\x1b[2J", "must be a whole number of movies, 1 or more"),
    ],
)
def test_nonsense_is_refused_in_words(text: str, value: str, allowed: str) -> None:
    (problem,) = refused(text)
    assert (problem.field, problem.value) == ("--until", value)
    assert problem.allowed.startswith(allowed)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert [problem.value for problem in refused("count=0,size=1,,time=1s,time=2s")] == [
        "count=0", "size=1", "", "time=2s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: Criteria(count=0),
        lambda: Criteria(size_bytes=0),
        lambda: Criteria(time_s=0.0),
        lambda: Criteria(time_s=math.nan),
        lambda: Criteria(time_s=math.inf),
    ],
)
def test_no_criteria_can_be_made_that_are_nonsense(make: Callable[[], Criteria]) -> None:
    with pytest.raises(InvalidRequest, match="--until"):
        make()


@given(st.text() | st.lists(st.text(alphabet="countsizeme=0123456789.kKMGTiBhm, -+e"), max_size=4).map(",".join))
def test_any_text_is_criteria_or_refused(text: str) -> None:
    try:
        criteria: Criteria | None = Criteria.parse(text)
    except InvalidRequest:
        criteria = None
        assert all("\n" not in str(problem) and str(problem).isprintable() for problem in refused(text))
    assert criteria != Criteria()


@given(st.integers(1, 10**18 - 1), st.integers(1, 10**15), st.integers(1, 10**9))
def test_criteria_come_back_from_their_words(count: int, size_bytes: int, time_s: int) -> None:
    parsed = Criteria.parse(f"size={size_bytes}B,count={count},time={time_s}")
    assert parsed == Criteria(count=count, size_bytes=size_bytes, time_s=time_s)


def test_a_limit_only_tightens() -> None:
    assert Criteria(count=5).tighter(3) == Criteria(count=3)
    assert Criteria(count=5).tighter(9) == Criteria(count=5)
    assert Criteria(time_s=1.0).tighter(9) == Criteria(count=9, time_s=1.0)
    assert Criteria(count=5).tighter(None) == Criteria(count=5)
    with pytest.raises(InvalidRequest, match=r"--limit = 0: must be a whole number of movies, 1 or more"):
        Criteria().tighter(0)


def test_no_criteria_are_never_met() -> None:
    assert Criteria().may_begin(10**9, 10**9, 10**18, 10**18)
    assert not Criteria().is_met(10**9, 10**18)


def test_what_is_in_flight_counts_before_more_is_begun() -> None:
    until = Criteria(count=5)
    assert until.may_begin(2, 2, 0, 0)
    assert not until.may_begin(2, 3, 0, 0)
    assert not until.is_met(4, 0)
    assert until.is_met(5, 0)


def test_the_movie_that_reaches_the_size_is_the_last() -> None:
    until = Criteria(size_bytes=100)
    assert until.may_begin(1, 1, 50, 49)
    assert not until.may_begin(1, 1, 50, 50)
    assert not until.is_met(1, 99)
    assert until.is_met(2, 101)


@given(
    st.builds(
        Criteria, count=st.none() | st.integers(1, 30), size_bytes=st.none() | st.integers(1, 300), time_s=st.none()
    ),
    st.lists(st.integers(1, 50), min_size=60, max_size=60),
    st.integers(1, 5),
)
def test_whoever_asks_before_each_movie_gets_enough_and_never_one_too_many(
    until: Criteria, sizes: list[int], jobs: int
) -> None:
    registered: list[int] = []
    in_flight: list[int] = []
    waiting = list(sizes)
    while waiting or in_flight:
        while (
            waiting
            and len(in_flight) < jobs
            and until.may_begin(len(registered), len(in_flight), sum(registered), sum(in_flight))
        ):
            in_flight.append(waiting.pop(0))
        if not in_flight:
            break
        registered.append(in_flight.pop(0))
    assert until.is_met(len(registered), sum(registered)) or not waiting
    assert not registered or not until.is_met(len(registered) - 1, sum(registered[:-1]))


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1536, "1.5 kB"),
        (999_960, "1.0 MB"),
        (305_500_000_000, "305.5 GB"),
        (1_234_000_000_000_000, "1,234.0 TB"),
    ],
)
def test_a_size_is_said_as_people_say_it(size_bytes: int, words: str) -> None:
    assert size_in_words(size_bytes) == words


@given(st.integers(1000, 10**16))
def test_a_size_in_words_is_nearly_the_size(size_bytes: int) -> None:
    again = size_in_bytes(size_in_words(size_bytes).replace(",", ""))
    assert again == pytest.approx(size_bytes, rel=0.051)
