"""On a terminal: a progress bar that fits, colour unless it is not wanted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.cli.commanding import LYSO, SMALL, program

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(work: Path, *arguments: str, columns: int = 80, **environment: str) -> str:
    """What a terminal of so many columns is sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    running = subprocess.Popen(
        [*program(), *arguments],
        cwd=work,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    sent = bytearray()
    try:
        while chunk := os.read(master, 65536):
            sent += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    finally:
        os.close(master)
    assert running.wait(60) == 0, sent
    return sent.decode()


def lines_of(sent: str) -> list[str]:
    """Everything that was ever shown on a line."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", sent))]


@pytest.fixture(autouse=True)
def small(work: Path) -> None:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_bar_fits_and_ends_with_the_outcome(work: Path, columns: int) -> None:
    lines = lines_of(on_a_terminal(work, "simulate", "r.toml", "--out", "out", columns=columns))
    bars = [line for line in lines if "━" in line]
    assert max(map(len, bars)) <= columns - 3, "^C must fit behind it"
    assert bars[-1].startswith("done ")
    assert "8/8 images" in bars[-1]
    assert ("s simulated in" in bars[-1]) is (columns >= 80)


def test_colour_says_how_it_ended(work: Path) -> None:
    assert "outcome     \x1b[32m\x1b[1mdone\x1b[0m" in on_a_terminal(work, "simulate", "r.toml", "--out", "out")


def test_no_color_is_heeded(work: Path) -> None:
    sent = on_a_terminal(work, "simulate", "r.toml", "--out", "out", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", sent)
    assert "outcome     done" in sent


def test_a_dumb_terminal_gets_lines(work: Path) -> None:
    sent = on_a_terminal(work, "simulate", "r.toml", "--out", "out", TERM="dumb", NO_COLOR="1")
    assert "centring (mounted)" in sent
    assert "\x1b" not in sent


def test_with_json_a_terminal_gets_the_object_alone(work: Path) -> None:
    sent = on_a_terminal(work, "simulate", "r.toml", "--out", "out", "--json")
    assert sent.startswith('{"outcome": "done"')
    assert sent.count("\n") == 1


def test_a_plan_is_broken_at_words_on_a_narrow_terminal(work: Path) -> None:
    (work / "r.toml").write_text(LYSO, encoding="utf-8")
    lines = lines_of(on_a_terminal(work, "plan", "r.toml", columns=50))
    assert max(map(len, lines)) <= 50
    assert "duration    50.3 s on the simulated beamline," in lines
    assert "            mounting and centring not counted" in lines
