"""The pretend archive as a server: it says how to stream from it, shows every request, and ends when it is told to."""

from __future__ import annotations

import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.commanding import Command, Running, tree


def served(work: Path, *options: str) -> tuple[Running, str, str]:
    """A running archive, and its two URLs."""
    running = Running("archive", "--port", "0", *options, cwd=work)
    running.until("fsmcollect stream ", running.out)
    found = re.findall(r"http://127\.0\.0\.1:\d+/\S+", running.out.read_text(encoding="utf-8"))
    return running, found[0], found[1]


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_says_where_it_is_and_shows_every_request(work: Path) -> None:
    running, api_url, data_url = served(work, "--entry", "EMPIAR-4711", "--movies", "3", "--size", "64x32x2")
    before = tree(work).keys()
    assert asked(f"{api_url}4711/")[0] == 200
    status, body = asked(f"{data_url}4711/data/Movies/grid1_000003_frames.mrc")
    assert (status, len(body)) == (200, 1024 + 64 * 32 * 2 * 2)
    assert asked(f"{data_url}4711/data/Movies/grid1_000004_frames.mrc")[0] == 404
    running.send(signal.SIGINT, times=2)
    ran = running.ended()
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert f"fsmcollect stream 4711 --api-url {api_url} --data-url {data_url}" in lines
    told = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines[-3:]]
    root = "/empiar/world_availability/4711/data/Movies"
    assert told == [
        "200  GET   /empiar/api/entry/4711/",
        f"200  GET   {root}/grid1_000003_frames.mrc",
        f"404  GET   {root}/grid1_000004_frames.mrc",
    ]
    assert tree(work).keys() == before


def test_a_fault_is_shown_where_it_is_met(work: Path) -> None:
    running, _, data_url = served(work, "--movies", "1", "--fault", "server-error:*.mrc:1", "--seed", "7")
    path = "/empiar/world_availability/10200/data/Movies/grid1_000001_frames.mrc"
    url = data_url.removesuffix("/empiar/world_availability/") + path
    assert [asked(url)[0], asked(url)[0]] == [503, 200]
    running.send(signal.SIGTERM)
    ran = running.ended()
    assert ran.code == 0
    assert ran.out.splitlines()[-2].endswith(f"503  GET   {path}  (server-error)")


def test_a_port_that_somebody_has(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = command("archive", "--port", str(port))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"fsmcollect: --port = {port}: cannot be served on: ")
    assert ran.err.endswith("choose another, or 0 for one that is free\n")
    assert ran.err.count("\n") == 1


WRONG = {
    "a port beyond the last": (["--port", "65536"], "--port"),
    "no entry": (["--entry", "x"], "--entry = x: "),
    "fewer movies than none": (["--movies", "-1"], "--movies = -1: must be at least 0"),
    "an unknown format": (["--format", "png"], "--format = png: must be one of mrc, "),
    "no size": (["--size", "64x64"], "--size = 64x64: must be width, height and frames"),
    "a movie of no width": (["--size", "0x64x1"], "--size = 0: must be at least 1"),
    "an unknown fault": (["--fault", "fire"], "--fault = fire: unknown kind"),
    "no bandwidth": (["--bandwidth", "0MB"], "--bandwidth = "),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_told_by_its_option(command: Command, arguments: list[str], says: str) -> None:
    ran = command("archive", "--port", "0", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_its_help_lists_every_fault(command: Command) -> None:
    from fsmcollect.sim.archive import FAULTS

    out = command("archive", "--help").out
    assert all(re.search(rf"^  {kind.value} ", out, re.MULTILINE) for kind in FAULTS)
