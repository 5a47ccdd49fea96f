"""Sweeps that are ended early leave no process, however they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
from fsmcollect.testing.sweeping.engine import Sweep
from fsmcollect.testing.sweeping.points import Wanted
from tests.testing.pretending import BASE, never_ends, well_behaved

Sweep(
    scenario=BASE, wanted=Wanted(pairs=100), jobs=2, player=never_ends, recording_player=well_behaved, called="x"
).run()
"""
#: Far more than it takes: new interpreters on a busy machine.
PATIENCE_S = 60.0
#: How long the end may take.
QUICKLY_S = 5.0


def wait_until(holds: Callable[[], bool], within_s: float) -> None:
    began_s = time.perf_counter()
    while not holds():
        assert time.perf_counter() - began_s < within_s, "it never came true"
        time.sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has waited for is still known: of an orphan, its new parent has to.
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize(
    "number, to_all",
    [
        pytest.param(signal.SIGINT, True, id="Ctrl-C, which a terminal sends to all its processes"),
        pytest.param(signal.SIGINT, False, id="SIGINT to the sweep alone"),
        pytest.param(signal.SIGTERM, False, id="SIGTERM"),
        pytest.param(signal.SIGKILL, False, id="SIGKILL"),
    ],
)
def test_a_sweep_that_is_ended_leaves_no_process(number: signal.Signals, to_all: bool, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PRETENDED_WORKERS": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2 or process.poll() is not None, PATIENCE_S)
        workers = [int(file.name) for file in tmp_path.iterdir()]
        assert len(workers) == 2
        if to_all:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, told = process.communicate(timeout=QUICKLY_S)  # the workers have its standard error open too
        assert process.returncode == -number, told.decode()
        wait_until(lambda: not any(map(is_alive, workers)), QUICKLY_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
