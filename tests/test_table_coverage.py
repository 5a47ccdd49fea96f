"""A whole run of the tests in which a row of a table has never fired is told, and fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fsmcollect.machines.collection import COLLECTION, Event
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from tests.collecting.rehearsing import INVERSE, Play
from tests.table_coverage import DEFENCES, TABLES, TableCoverage, name_of

ROOT = Path(__file__).parents[1]
EVERY = [name_of(table, row) for table in TABLES for row in table.rows]


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> TableCoverage:
    """A coverage of its own for one test; what it has replaced is put back."""
    monkeypatch.setattr(Driver, "run", Driver.run)
    monkeypatch.setattr(Engine, "_arrived", Engine._arrived)
    coverage = TableCoverage()
    coverage.watch_drivers()
    return coverage


def test_nothing_has_fired_before_anything_has_run() -> None:
    coverage = TableCoverage()
    assert coverage.missed_rows == [name for name in EVERY if name not in DEFENCES]
    assert set(DEFENCES) < set(EVERY)
    assert coverage.sentences()[0].startswith(f"rows of the tables: {len(DEFENCES)} of {len(EVERY)} ")
    assert "fault x state: 0 of " in coverage.sentences()[0]


def test_a_collection_fires_its_rows_and_those_of_its_wedges(watching: TableCoverage) -> None:
    Play(INVERSE).run().check("done")
    missed = watching.missed_rows
    assert not {"collection: OSCILLATING on COLLECTED", "collection: CLOSING on SAFE", "wedge: ARMING on ARMED"} & {
        *missed
    }
    assert {"collection: FAULT on ACKNOWLEDGE", "wedge: ARMING on FAILED", "stream: IDLE on START"} <= {*missed}
    assert f"rows that no run has fired: {missed[0]}, " in watching.sentences()[1]


def test_a_row_that_a_test_fires_by_hand_does_not_count(watching: TableCoverage) -> None:
    Engine(COLLECTION, guards={"beamline_claimed": lambda: True}).fire(Event.START)
    assert "collection: IDLE on START" in watching.missed_rows


def test_what_another_process_has_noted_counts_as_well(watching: TableCoverage) -> None:
    Play(INVERSE).run().check("done")
    watching.pairs.add(("hangs", "MOUNTING"))
    adding = TableCoverage()
    adding.add(json.loads(json.dumps(watching.noted())))
    assert adding.sentences() == watching.sentences() != TableCoverage().sentences()


ONE = """
from tests.collecting.rehearsing import INVERSE, Play

def test_one():
    Play(INVERSE).run().check("done")
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 1),
        (["-n", "2"], 1),
        (["checks/test_one.py"], 0),
        (["checks/test_one.py", "-n", "2"], 0),
        (["-k", "one"], 0),
    ],
)
def test_only_a_whole_run_fails_for_a_row_that_has_not_fired(arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "checks")
    (tmp_path / "checks" / "test_one.py").write_text(ONE)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["checks"]\n')
    options = ["-p", "no:cacheprovider", "--import-mode=importlib", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert ("rows that no run has fired: collection: " in done.stdout) is bool(code)
    assert "collection: IDLE on START" not in done.stdout, "it has fired, in whichever process"
