"""Whatever the archive does: every movie is registered and correct, or the end is clear and the sets are closed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.machines.table import Outcome
from fsmcollect.sim.archive import Archive, Fault, FaultKind
from tests.stream.rehearsing import SMALL, Rehearsal, check, registered, stream

#: After these, once, every movie is there all the same.
SURVIVED = [
    Fault(FaultKind.TRUNCATION),
    Fault(FaultKind.TRUNCATION, times=3, at_fraction=0.9),
    Fault(FaultKind.RESET),
    Fault(FaultKind.RESET, at_fraction=0.0),
    Fault(FaultKind.STALL),
    Fault(FaultKind.TRICKLE, delay_s=10.0),
    Fault(FaultKind.WRONG_LENGTH, extra_bytes=100),
    Fault(FaultKind.WRONG_LENGTH, extra_bytes=-100),
    Fault(FaultKind.SERVER_ERROR),
    Fault(FaultKind.SERVER_ERROR, method="HEAD", times=4, status=500),
    Fault(FaultKind.TOO_MANY, retry_after="30"),
    Fault(FaultKind.TOO_MANY, retry_after="soon"),
    Fault(FaultKind.MISSING),
    Fault(FaultKind.PAGE),
    Fault(FaultKind.PAGE, method="HEAD"),
    Fault(FaultKind.REDIRECT),
    Fault(FaultKind.REDIRECT, method="HEAD"),
    Fault(FaultKind.GARBAGE),
    Fault(FaultKind.NO_LENGTH, times=None, method="*"),
    Fault(FaultKind.CHANGED),
    Fault(FaultKind.FLAPPING, path="*/"),
    Fault(FaultKind.SERVER_ERROR, path="*/", times=2),
    Fault(FaultKind.TRUNCATION, path="*/"),
    Fault(FaultKind.HOSTILE_INDEX, path="*/", times=None),
    Fault(FaultKind.SERVER_ERROR, path="api/*", times=2),
    Fault(FaultKind.PAGE, path="*/", times=2),
    Fault(FaultKind.PAGE, path="api/*", times=2),
    Fault(FaultKind.TRUNCATION, path="api/*"),
]

#: These, for ever, cost what they meet: the end is clear, and nothing wrong is registered.
FATAL = [
    Fault(FaultKind.FOREIGN_REDIRECT, times=None),
    Fault(FaultKind.BOMB, times=None),
    Fault(FaultKind.ENDLESS, times=None),
    Fault(FaultKind.MISSING, times=None),
    Fault(FaultKind.PAGE, times=None),
    Fault(FaultKind.SERVER_ERROR, times=None),
    Fault(FaultKind.RESET, times=None, at_fraction=0.0),
    Fault(FaultKind.BOMB, times=None, path="api/*"),
    Fault(FaultKind.ENDLESS, times=None, path="api/*"),
    Fault(FaultKind.PAGE, times=None, path="api/*"),
    Fault(FaultKind.FOREIGN_REDIRECT, times=None, path="api/*"),
    Fault(FaultKind.PAGE, times=None, path="*/"),
    Fault(FaultKind.BOMB, times=None, path="*/"),
    Fault(FaultKind.FOREIGN_REDIRECT, times=None, path="*/"),
]


def named(fault: Fault) -> str:
    return f"{fault.kind.value}-{fault.method}-{fault.path.replace('/', '|')}-{fault.times}"


@pytest.mark.parametrize("fault", SURVIVED, ids=named)
def test_a_fault_that_passes_costs_time_and_no_movie(tmp_path: Path, fault: Fault) -> None:
    archive = Archive(movies=5, faults=[fault], **SMALL)
    ended = stream(archive, tmp_path)
    assert (ended.result.outcome, ended.result.registered, ended.result.rejected) == (Outcome.DONE, 5, 0)
    assert any(request.fault for request in archive.requests), "the fault has hit nothing"
    check(tmp_path, archive)


@pytest.mark.parametrize("fault", FATAL, ids=named)
def test_a_fault_that_stays_ends_clearly_and_a_resume_completes_what_is_missing(tmp_path: Path, fault: Fault) -> None:
    archive = Archive(movies=5, faults=[fault], **SMALL)
    ended = stream(archive, tmp_path / "out")
    assert ended.result.outcome is Outcome.FAILED
    assert ended.result.errors
    assert all("\n" not in error and len(error) < 600 for error in ended.result.errors), ended.result.errors
    assert ended.result.registered == 0
    if (tmp_path / "out").exists():
        check(tmp_path / "out", archive)
    mended = Archive(movies=5, **SMALL)
    stream(mended, tmp_path / "out", resume=(tmp_path / "out").exists())
    assert sorted(registered(tmp_path / "out")) == sorted(mended.paths)
    check(tmp_path / "out", mended)


faults = st.builds(
    Fault,
    st.sampled_from(FaultKind),
    path=st.sampled_from(["*", "*", "*_0*", "*1.mrc", "*/", "api/*"]),
    times=st.one_of(st.none(), st.integers(1, 4)),
    skip=st.integers(0, 5),
    each=st.booleans(),
    method=st.sampled_from(["GET", "GET", "HEAD", "*"]),
    at_fraction=st.floats(0.0, 1.0),
    delay_s=st.floats(0.1, 300.0),
    status=st.sampled_from([403, 404, 410, 429, 500, 502, 503]),
    retry_after=st.sampled_from(["", "5", "-3", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"]),
    extra_bytes=st.integers(-5000, 5000).filter(bool),
)


def _end(ended: Rehearsal, directory: Path, archive: Archive) -> None:
    assert ended.result.outcome in (Outcome.DONE, Outcome.FAILED)
    if ended.result.outcome is Outcome.DONE:
        unlisted = any("listed twice" in notice for notice in ended.result.notices)
        rejected = sum((directory / "rejected" / path).exists() for path in archive.paths)
        assert ended.result.registered + rejected == len(archive.paths) or unlisted
    else:
        assert ended.result.errors
    if directory.exists():
        check(directory, archive)


@given(mixed=st.lists(faults, min_size=1, max_size=4), seed=st.integers(0, 3), jobs=st.integers(1, 5))
def test_mixed_faults_lose_nothing_and_register_nothing_wrong(mixed: list[Fault], seed: int, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch).resolve() / "out"
        archive = Archive(seed=seed, movies=4, faults=mixed, **SMALL)
        _end(stream(archive, directory, jobs=jobs), directory, archive)


@pytest.mark.long
@given(mixed=st.lists(faults, min_size=1, max_size=6), seed=st.integers(0, 99), jobs=st.integers(1, 8))
def test_mixed_faults_and_a_resume_lose_nothing(mixed: list[Fault], seed: int, jobs: int) -> None:
    """The long proof: the same, and what is missing comes with the next run."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch).resolve() / "out"
        archive = Archive(seed=seed, movies=6, faults=mixed, **SMALL)
        _end(stream(archive, directory, jobs=jobs), directory, archive)
        if directory.exists():
            passed = stream(archive, directory, jobs=jobs, resume=True)
            _end(passed, directory, archive)


def test_names_that_no_file_may_have_are_left_out_and_told(tmp_path: Path) -> None:
    archive = Archive(movies=3, faults=[Fault(FaultKind.HOSTILE_INDEX, path="*/", times=None)], **SMALL)
    ended = stream(archive, tmp_path / "out")
    assert ended.result.registered == 3
    assert any("is left out: " in notice for notice in ended.result.notices)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
