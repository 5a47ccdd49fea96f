"""The command as tests give it: in this process, or as a process of its own."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
#: The request of the issue and the README.
LYSO = (ROOT / "examples" / "lyso.toml").read_text(encoding="utf-8")
#: A small one: two series of 4 images in 4 wedges.
SMALL = LYSO.replace("images = 900", "images = 4").replace("wedge_images = 100", "wedge_images = 2")
#: Taken from what MXCuBE hands to a collection.
MXCUBE: dict[str, Any] = json.loads((Path(__file__).parent / "mxcube.json").read_text(encoding="utf-8"))[0]


def lyso(*changes: tuple[str, str]) -> str:
    """The request with some of its text replaced."""
    text = LYSO
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def mxcube(**settings: Any) -> dict[str, Any]:
    """MXCuBE's dictionary with some fields different: `fileinfo__run_number=2`, `osc__range=5`."""
    result = copy.deepcopy(MXCUBE)
    for name, value in settings.items():
        table, _, key = name.rpartition("__")
        section = result["oscillation_sequence"][0] if table == "osc" else result[table] if table else result
        section[key] = value
    return result


@attrs.frozen
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its one JSON object: more on standard output, or a second line, is an error."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        found: dict[str, Any] = json.loads(self.out)
        return found


#: Gives the command in this process, in a directory of its own: fixture `command`.
Command = Callable[..., Ran]


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """The command sets signal handlers, which outlive it in this process."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def run(*arguments: str | Path, cwd: Path, code: str = "", stdin: str | None = None, **settings: Any) -> Ran:
    """The command as a process of its own; `code` is run before it, in the same process."""
    ended = subprocess.run(
        [*program(code), *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        **settings,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def program(code: str = "") -> list[str]:
    if not code:
        return [sys.executable, "-m", "fsmcollect"]
    return [sys.executable, "-c", f"{code}\nfrom fsmcollect.__main__ import main\nmain()"]


def tree(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a directory, and what would show that it was touched."""
    found = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


class Running:
    """A command under way."""

    def __init__(self, *arguments: str | Path, cwd: Path) -> None:
        self.out, self.err = cwd / "out.txt", cwd / "err.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            # A session of its own: what a terminal sends to all its processes can be sent to these.
            self.process = subprocess.Popen(
                [*program(), *map(str, arguments)], cwd=cwd, stdout=out, stderr=err, start_new_session=True
            )

    def until(self, text: str, file: Path | None = None) -> None:
        """Wait until a file, or standard error, holds a text. Fails after a minute, or when the command has ended."""
        path, patience = file or self.err, time.monotonic() + 60
        while not (path.exists() and text in path.read_text(encoding="utf-8")):
            assert time.monotonic() < patience, f"no {text!r} in {path.name}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
                raise AssertionError(f"ended without {text!r}: {self.err.read_text(encoding='utf-8')}")

    def send(self, number: signal.Signals, times: int = 1) -> None:
        for _ in range(times):
            self.process.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        """To its workers too, as a terminal does."""
        os.killpg(self.process.pid, number)

    def ended(self) -> Ran:
        code = self.process.wait(60)
        return Ran(code, self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8"))


def events(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
