"""The README does what it says: its commands, its request and its programs are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fsmcollect.request import parse_toml
from tests.cli.commanding import LYSO, ROOT, SMALL, events, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block(language: str, holding: str) -> str:
    (found,) = [text for name, text in BLOCKS if name == language and holding in text]
    return found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A place with the examples, the request made small."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "lyso.toml").write_text(SMALL, encoding="utf-8")
    return tmp_path


def python(code: str, work: Path, *arguments: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=work, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)\b", README)) - {"and"} <= targets


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_request_is_the_example_with_its_defaults_written_out() -> None:
    text = block("toml", "[sample]")
    assert parse_toml(text) == parse_toml(LYSO)
    assert set(tomllib.loads(LYSO)) == set(tomllib.loads(text))


def test_the_settings_it_names_are_known() -> None:
    also = README[README.index("Also: ") : README.index("Whatever is wrong")]
    assert len(re.findall(r"`(\w+\.\w+)", also)) >= 7
    text = f"""
        {LYSO[: LYSO.index("[inverse_beam]")]}
        wedge_images = 2
        overlap_deg = 0.1
        shutterless = false
        passes = 2
        dark_image = true
        [snapshots]
        count = 4
        [positions]
        kappa_deg = 30.0
        [centring]
        validate = true
    """.replace("energy_ev", "aperture_um = 50\nenergy_ev")
    parse_toml(text)


def test_its_commands_work(work: Path) -> None:
    commands = [line.split("#")[0].split() for line in block("sh", "fsmcollect plan").splitlines()]
    assert [command[:2] for command in commands[1:]] == [
        ["fsmcollect", "plan"],
        ["fsmcollect", "simulate"],
        ["fsmcollect", "simulate"],
    ]
    for _, *arguments in commands[1:3]:
        assert run(*arguments, cwd=work).code == 0
    # Its program for readers, whose last image is the 900th: here the 4th.
    shown = python(block("python", "import fabio").replace("899", "3"), work)
    assert shown == ["4 (1065, 1030)", "0.3 degree"]


def test_its_program_is_the_example_and_runs(work: Path) -> None:
    code = block("python", "import fsmcollect")
    assert code == (ROOT / "examples" / "embed.py").read_text(encoding="utf-8")
    told = python(code, work, "examples/lyso.toml", "embedded")
    states = [line.split()[-1] for line in told[:5]]
    assert states == ["MOUNTING", "CENTRING", "OSCILLATING", "CLOSING", "IDLE"]
    out = work / "embedded" / "data" / "lyso"
    masters = [f"{out}/{name}_master.h5" for name in ("lyso_1", "lyso_1_inverse")]
    assert told[5:] == ["done", "8 images", *masters]
    assert events(out)[-1]["outcome"] == "done"
