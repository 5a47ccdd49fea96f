"""Tries mutants: each in a copy of the package of its own, in a process of its own.

Owns the copying, the processes and the score. Owns no mutant and no run on the beamline.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
#: What a copy consists of: the package, and what its tests read beside it.
PARTS = ("fsmcollect", "tests", "examples", "docs", "pyproject.toml", "README.md")
#: A mutant that keeps the checkers or one file of tests busy for longer is caught: it does not end. Processor time, for
#: a machine may be busy with other things. Assumed: five times what an unchanged copy needs.
LIMIT_S = 120
#: The same for one that waits and is never busy: in simulated time nothing does. Assumed.
WAIT_LIMIT_S = 300.0
#: One that goes round in circles notes everything it does. Assumed: several times what an unchanged copy needs.
MEMORY_LIMIT_BYTES = 1 << 30
#: Tests to ask where the checkers saw nothing, the quickest first.
TESTS = (
    "tests/machines/test_driver.py",
    "tests/machines/test_engine.py",
    "tests/machines/test_table.py",
    "tests/machines/test_collection.py",
    "tests/test_safing.py",
    "tests/test_together.py",
    "tests/test_wedges.py",
    "tests/test_timing.py",
    "tests/collecting/test_bugs.py",
    "tests/collecting/test_faults.py",
    "tests/collecting/test_beforehand.py",
    "tests/collecting/test_rotations.py",
    "tests/collecting/test_read_back.py",
    "tests/collecting/test_stuck.py",
    "tests/collecting/test_order.py",
    "tests/collecting/test_conditions.py",
    "tests/collecting/test_files.py",
    "tests/collecting/test_hold.py",
    "tests/collecting/test_abort.py",
)
#: The package is imported, and asked where it lies, before pytest can put any other folder first.
_PYTEST = """
import sys, pathlib, fsmcollect, pytest
assert pathlib.Path(fsmcollect.__file__).is_relative_to(sys.argv[1]), fsmcollect.__file__
sys.exit(pytest.main(sys.argv[2:]))
"""
_LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, ({LIMIT_S}, {LIMIT_S}))
resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_LIMIT_BYTES}, {MEMORY_LIMIT_BYTES}))
"""


@attrs.frozen
class Verdict:
    """What became of a mutant: `by` is empty where it has survived."""

    mutant: Mutant
    by: str
    what: str
    seconds: float

    @property
    def by_checkers(self) -> bool:
        return bool(self.by) and not self.by.startswith("tests/")


def copied(folder: Path, mutant: Mutant | None = None, *, source: Path = ROOT) -> Path:
    """A copy of the package and its tests in `folder`, with the mutant's mistake in it."""
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif (source / part).exists():
            shutil.copy(source / part, folder / part)
    if mutant is not None:
        mutant.apply(folder / "fsmcollect")
    return folder


def ask_checkers(folder: Path) -> tuple[str, str]:
    """Which of the looks complains about the package in `folder`, and of what; both empty where none does."""
    done = _run(folder, "from tests.mutants.watching import main; import sys; main(sys.argv[1])")
    if done is None:
        return "time", "the looks do not end"
    if done.returncode and "MemoryError" in done.stderr:
        return "memory", "the looks take all memory that they are given"
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    said = json.loads(done.stdout.splitlines()[-1])
    return said["by"], said["what"]


def ask_tests(folder: Path, tests: Sequence[str] = TESTS) -> tuple[str, str]:
    """Which of the tests fails on the package in `folder`, and how; both empty where none does."""
    for path in tests:
        done = _run(folder, _PYTEST, "-x", "-q", "--no-header", "--no-cov", "-p", "no:cacheprovider", "--tb=line", path)
        if done is None:
            return path, "does not end"
        if done.returncode:
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return path, failed[0] if failed else (done.stdout + done.stderr).strip()[-200:]
    return "", ""


def _run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """A process that imports from `folder` before anything that is installed; None where it does not end."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LIMITED + program, str(folder), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else done


def judge(mutant: Mutant, *, tests: Sequence[str] = TESTS, source: Path = ROOT) -> Verdict:
    """Ask the checkers, and the tests where they see nothing."""
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = copied(Path(name).resolve(), mutant, source=source)
        by, what = ask_checkers(folder)
        if not by and not mutant.equal:
            by, what = ask_tests(folder, tests)
    return Verdict(mutant, by, what, time.perf_counter() - began_s)


def judge_all(mutants: Iterable[Mutant], *, tests: Sequence[str] = TESTS, jobs: int = 1) -> Iterator[Verdict]:
    """The verdicts in order, so many at a time, all of them of the sources as they are now.

    Raises
    ------
    RuntimeError
        Checkers or tests complain about the unchanged sources: no verdict would mean anything.
    """
    with tempfile.TemporaryDirectory(prefix="unchanged-") as name:
        source = copied(Path(name).resolve())
        by, what = ask_checkers(source)
        if not by:
            by, what = ask_tests(source, tests)
        if by:
            raise RuntimeError(f"the unchanged sources do not pass: {by}: {what}")
        with ThreadPoolExecutor(jobs) as pool:  # threads: each only waits for processes of its own
            yield from pool.map(lambda mutant: judge(mutant, tests=tests, source=source), mutants)


def row(verdict: Verdict) -> str:
    """A line of the table."""
    mutant = verdict.mutant
    by = verdict.by or ("equal: " + mutant.equal if mutant.equal else "SURVIVED")
    return f"{verdict.seconds:6.1f} s  {mutant.file:28} {mutant.name:58} {by:28} {verdict.what[:100]}"


def score(verdicts: Sequence[Verdict]) -> str:
    """How many were caught, and by what."""
    real = [verdict for verdict in verdicts if not verdict.mutant.equal]
    checkers = sum(verdict.by_checkers for verdict in real)
    caught = sum(bool(verdict.by) for verdict in real)
    return (
        f"mutants: {caught} of {len(real)} caught, {checkers} of them by the checkers alone; "
        f"{len(verdicts) - len(real)} more change nothing"
    )
