"""The command in this process: its `main`, what it prints and how it leaves, without the time a process takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsmcollect.cli import main
from tests.cli.commanding import Command, Ran, signals_kept


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the command is given."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def command(work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def give(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["fsmcollect", *map(str, arguments)])
        with signals_kept(), pytest.raises(SystemExit) as leaving:
            main()
        out, err = capfd.readouterr()
        return Ran(int(leaving.value.code or 0), out, err)

    return give
