"""Equal requests and seeds give equal traces: in any process, with or without files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsmcollect.sim.scenario import library
from fsmcollect.simulate.collecting import Rehearsal
from fsmcollect.simulate.playing import play
from tests.collecting.rehearsing import WAYS, Play, ask, simulate

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fsmcollect.simulate.collecting import Rehearsal
from tests.collecting.rehearsing import WAYS, simulate
directory = Path(sys.argv[2]) if sys.argv[2] else None
for index, way in enumerate(WAYS):
    part = directory / str(index) if directory else None
    print(Rehearsal(requests=[WAYS[way]], simulated=simulate(seed=7), directory=part).run().trace_sha256)
"""
SCENARIOS = """
from fsmcollect.sim.scenario import library
from fsmcollect.simulate.playing import play
for name in library.names():
    print(name, play(library.read(name)).trace_sha256)
"""
ROOT = Path(__file__).parents[1]
#: Another interpreter, with what the package needs installed; `make prove` finds one.
OTHER_PYTHON = os.environ.get("FSMCOLLECT_OTHER_PYTHON", "")
#: With everything that can be asked of a person and of the beamline before the first image.
FULL = ask(
    sample={"location": None},
    centring={"method": "manual", "validate": True},
    snapshots={"count": 2},
    sweep={"dark_image": True, "images": 10},
    inverse_beam={"wedge_images": 5},
)


def said_by(program: str, *arguments: str, seed: str, python: str = sys.executable) -> list[str]:
    """What a process of its own prints, line by line."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [python, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def traces(seed: str, directory: Path | None, python: str = sys.executable) -> list[str]:
    return said_by(PROGRAM, str(ROOT), str(directory or ""), seed=seed, python=python)


def _abort(rehearsal: Rehearsal) -> None:
    assert rehearsal.current.abort()


def trace(seed: int, directory: Path | None = None, speed: float | None = None, stop_us: int | None = None) -> str:
    simulated = simulate(seed=seed, speed=speed)

    def before(rehearsal: Rehearsal) -> None:
        if stop_us is not None:
            simulated.kernel.at(stop_us, lambda: _abort(rehearsal))

    rehearsal = Rehearsal(requests=[FULL], simulated=simulated, directory=directory, before=before)
    return rehearsal.run().trace_sha256


def test_separate_processes_agree_whatever_their_hash_seed_with_files_and_without(tmp_path: Path) -> None:
    expected = traces("0", None)
    assert len(expected) == len(WAYS) == len(set(expected))
    for number in range(1, 5):
        assert traces(str(number * 1013), tmp_path / str(number) if number % 2 else None) == expected


@pytest.mark.long
def test_a_hundred_processes_agree(tmp_path: Path) -> None:
    expected = traces("0", None)
    for number in range(1, 100):
        assert traces(str(number * 7919), tmp_path / str(number) if number % 10 == 0 else None) == expected


def test_processes_agree_on_every_bundled_scenario() -> None:
    expected = said_by(SCENARIOS, seed="0")
    assert len(expected) == len(set(expected)) == len(library.names())
    assert said_by(SCENARIOS, seed="1013") == expected
    assert [f"{name} {play(library.read(name)).trace_sha256}" for name in library.names()] == expected


@pytest.mark.long
def test_a_hundred_processes_agree_on_every_bundled_scenario() -> None:
    """Every second one under another version of Python, where there is one."""
    pythons = (sys.executable, OTHER_PYTHON or sys.executable)
    expected = said_by(SCENARIOS, seed="0")
    for number in range(1, 100):
        assert said_by(SCENARIOS, seed=str(number * 7919), python=pythons[number % 2]) == expected, number


@pytest.mark.long
@pytest.mark.skipif(
    not OTHER_PYTHON, reason="FSMCOLLECT_OTHER_PYTHON names no other interpreter; `make prove` finds one"
)
def test_another_version_of_python_agrees_on_every_way_to_expose_and_every_bundled_scenario() -> None:
    version = "import sys; print(*sys.version_info[:2])"
    here, there = (said_by(version, seed="0", python=python) for python in (sys.executable, OTHER_PYTHON))
    assert here != there, f"{OTHER_PYTHON} is the same version of Python as this one"
    assert traces("1", None, OTHER_PYTHON) == traces("2", None)
    assert said_by(SCENARIOS, seed="3", python=OTHER_PYTHON) == said_by(SCENARIOS, seed="4")


def test_one_process_agrees_with_itself_and_another_seed_is_another_run(tmp_path: Path) -> None:
    first = trace(1)
    assert {trace(1) for _ in range(20)} == {first}
    assert trace(1, tmp_path) == first
    assert len({trace(seed) for seed in range(5)}) == 5


def test_a_run_that_is_stopped_is_as_repeatable() -> None:
    play = Play(FULL).run()
    for percent in (5, 50, 95):
        stop_us = play.simulated.kernel.now_us * percent // 100
        assert len({trace(1, stop_us=stop_us) for _ in range(5)}) == 1


@pytest.mark.parametrize("speed", [1000.0, pytest.param(50.0, marks=pytest.mark.long)])
def test_paced_by_the_clock_it_is_the_same_run(speed: float) -> None:
    """Nothing comes from outside, so nothing depends on when it came."""
    assert trace(1, speed=speed) == trace(1)
