"""Does the proof bite? Mistakes that somebody could make are caught, most of them by the checkers alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import trying
from tests.mutants.mutant import PACKAGE, Mutant, read_mutants
from tests.mutants.trying import ROOT, ask_checkers, ask_tests, copied, judge, judge_all, row, score

MUTANTS = read_mutants()
#: Of the most dangerous ones, those that the default tests show to be caught: each costs a second or two.
WORST = [mutant for mutant in MUTANTS if mutant.worst]


def test_every_mutant_changes_the_sources_in_one_place_and_is_python() -> None:
    assert [defect for mutant in MUTANTS if (defect := mutant.defect())] == []


def test_there_are_enough_of_them_each_with_a_name_and_a_danger_of_its_own() -> None:
    assert len(MUTANTS) >= 165
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.danger for mutant in MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_of_other_sources_is_refused() -> None:
    gone = Mutant(name="gone", file="safing.py", old="what nobody has written", new="", danger="none")
    assert gone.defect(PACKAGE) == "gone: its text is 0 times in safing.py, not once"
    with pytest.raises(ValueError, match="0 times"):
        gone.apply(PACKAGE)
    elsewhere = Mutant(name="lost", file="nowhere.py", old="a", new="b", danger="none")
    assert elsewhere.defect(PACKAGE) == "lost: there is no nowhere.py"


def test_what_is_judged_is_the_copy_and_the_copy_as_it_is_passes(tmp_path: Path) -> None:
    folder = copied(tmp_path.resolve())
    assert ask_checkers(folder) == ("", "")
    (folder / "fsmcollect" / "errors.py").write_text("raise ZeroDivisionError('the copy was imported')\n")
    by, what = ask_checkers(folder)
    assert by == "import"
    assert "the copy was imported" in what
    by, what = ask_tests(folder, ["tests/test_together.py"])
    assert by == "tests/test_together.py"
    assert "the copy was imported" in what


def test_another_package_than_the_copy_is_not_judged(tmp_path: Path) -> None:
    program = "from tests.mutants.watching import main; import sys; main(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"which is not in {tmp_path}" in done.stderr


def test_looks_that_take_all_memory_do_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that goes round in circles meets one limit or the other, whichever comes first on this machine."""
    fatal = (
        "Fatal Python error: _PyErr_NormalizeException: Cannot recover from MemoryErrors while normalizing exceptions."
    )
    died = subprocess.CompletedProcess[str]([], -signal.SIGABRT, "", fatal)
    monkeypatch.setattr(trying, "_run", lambda *_: died)
    assert ask_checkers(tmp_path) == ("memory", "the looks take all memory that they are given")
    crashed = subprocess.CompletedProcess[str]([], 1, "", "ZeroDivisionError")
    monkeypatch.setattr(trying, "_run", lambda *_: crashed)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        ask_checkers(tmp_path)


@pytest.mark.parametrize("mutant", WORST, ids=lambda mutant: mutant.name)
def test_the_checkers_alone_catch_the_most_dangerous_ones(mutant: Mutant) -> None:
    verdict = judge(mutant, tests=())
    assert verdict.by, row(verdict)


@pytest.mark.long
def test_all_of_them_are_caught_and_most_of_them_by_the_checkers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = []
    for verdict in judge_all(MUTANTS, jobs=os.cpu_count() or 1):
        verdicts.append(verdict)
        with capsys.disabled():
            sys.stdout.write(f"\n{row(verdict)}".rstrip())
    with capsys.disabled():
        sys.stdout.write(f"\n{score(verdicts)}\n")
    survived = [verdict.mutant.name for verdict in verdicts if not verdict.by and not verdict.mutant.equal]
    assert survived == []
    caught_all_the_same = [verdict.mutant.name for verdict in verdicts if verdict.by and verdict.mutant.equal]
    assert caught_all_the_same == [], "they change something after all"
    by_checkers = sum(verdict.by_checkers for verdict in verdicts)
    assert by_checkers >= 0.8 * len(verdicts)
