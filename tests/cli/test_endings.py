"""How a run ended is told by the exit code, in words and in JSON; what was taken stays readable."""

from __future__ import annotations

from pathlib import Path

import fabio
import pytest

from tests.cli.commanding import SMALL, Command, events, run

#: A beamline whose fast shutter sticks once it is open: it cannot be made safe.
JAMMED = """
from fsmcollect.sim.beamline import SimulatedBeamline
build = SimulatedBeamline.__attrs_post_init__
def build_jammed(self):
    build(self)
    def jam():
        if self.fast_shutter.wholly_open:
            self.fast_shutter.jammed = True
    self.kernel.settled.append(jam)
SimulatedBeamline.__attrs_post_init__ = build_jammed
"""

#: A beamline whose dewar has no sample on the pin that is asked for.
BARE = """
import functools
from fsmcollect.beamline import Location
from fsmcollect.sim import beamline
beamline.SimulatedBeamline = functools.partial(beamline.SimulatedBeamline, bare_pins=[Location(1, 5)])
"""


@pytest.fixture
def out(work: Path) -> Path:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    return work / "out" / "data" / "lyso"


def test_done_is_0(command: Command, out: Path) -> None:
    ran = command("simulate", "r.toml", "--out", "out", "--json")
    assert (ran.code, ran.json["outcome"], ran.json["images"], ran.json["violations"]) == (0, "done", 8, [])
    assert ran.err == ""


def test_nothing_missing_is_0_too(command: Command, work: Path, out: Path) -> None:
    assert command("simulate", "r.toml", "--out", "out").code == 0
    (work / "r.toml").write_text(SMALL.replace("run_number = 1", "skip_existing = true"), encoding="utf-8")
    ran = command("simulate", "r.toml", "--out", "out")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "outcome     skipped")
    assert "times as fast" not in ran.out


def test_failed_is_1(work: Path, out: Path) -> None:
    ran = run("simulate", "r.toml", "--out", "out", "--json", cwd=work, code=BARE)
    assert (ran.code, ran.json["outcome"], ran.json["images"], ran.json["files"]) == (1, "failed", 0, [])
    assert (
        ran.err == "fsmcollect: mounting: sample_changer: the pin at 1:5 holds no sample: the pin sensor sees nothing\n"
    )
    assert events(out)[-1]["outcome"] == "failed"


def test_not_verified_safe_is_4(work: Path, out: Path) -> None:
    ran = run("simulate", "r.toml", "--out", "out", cwd=work, code=JAMMED)
    assert ran.code == 4
    assert ran.out.splitlines()[0] == "outcome     failed; the beamline could not be verified safe"
    assert "closing: fast shutter closed: " in ran.err
    ended = events(out)[-1]
    assert (ended["event"], ended["safe"]) == ("run_ended", False)


def test_not_verified_safe_is_4_with_json_too(work: Path, out: Path) -> None:
    ran = run("simulate", "r.toml", "--out", "out", "--json", cwd=work, code=JAMMED)
    assert (ran.code, ran.json["outcome"]) == (4, "failed")
    for master in ran.json["files"]:
        with fabio.open(master) as image:
            assert image.nframes > 0
