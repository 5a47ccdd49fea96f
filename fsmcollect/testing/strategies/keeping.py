"""Failing scenarios, kept as files that a person can read, play and put among the regressions.

Owns where they are written and what is said about it. Owns no text of a scenario (`fsmcollect.sim.scenario.writing`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator
from pathlib import Path

from fsmcollect.sim.scenario.values import Scenario
from fsmcollect.sim.scenario.writing import to_toml

#: Where failing scenarios go unless told, below the working directory: beside Hypothesis' own examples.
FOLDER = Path(".hypothesis") / "scenarios"


@contextlib.contextmanager
def kept(scenario: Scenario, folder: Path | None = None, *, name: str = "") -> Generator[Path]:
    """Within it, whatever fails leaves the scenario behind as a TOML file.

    While Hypothesis shrinks, the same file is written again and again; what it tries last, and leaves, is the smallest
    scenario that still fails. The error carries a note with the text and with the command that plays it.

    Parameters
    ----------
    scenario : Scenario
    folder : Path or None
        None: ``.hypothesis/scenarios`` below the working directory.
    name : str
        Of the file, without its suffix; empty: that of the test under pytest, else the scenario's.

    Yields
    ------
    Path
        Where the file will be.
    """
    path = (FOLDER if folder is None else folder) / f"{name or _name_of_test() or scenario.name}.toml"
    try:
        yield path
    except Exception as error:
        text = to_toml(scenario)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        error.add_note(f"The scenario is kept. To see its story:\n  fsmcollect simulate {path} --explain\n\n{text}")
        raise


def _name_of_test() -> str:
    """Of the test that pytest runs now: ``test_it_holds`` of ``tests/test_x.py::test_it_holds[a] (call)``."""
    running = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0].rpartition("::")[2]
    return re.sub(r"[^A-Za-z0-9_]+", "_", running).strip("_")
