"""A stream from the first question to closed sets, by the command: from a server on loopback, and from memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from fsmcollect.sim.archive import Archive, Fault
from fsmcollect.stream.listing import dry_run
from fsmcollect.stream.patience import Policy
from tests.cli.commanding import Command, Ran, Running, program, run, tree
from tests.cli.test_stream_display import Terminal, bars
from tests.cli.test_terminal import lines_of

SETS = {
    "scipion": "movies.sqlite",
    "relion": "movies.star",
    "jsonl": "movies.jsonl",
    "checksums": "SHA256SUMS",
}


@attrs.frozen
class Served:
    """A pretend archive that is being served by a thread of this process."""

    archive: Archive
    port: int

    @property
    def urls(self) -> list[str]:
        root = f"http://127.0.0.1:{self.port}/empiar"
        return ["--api-url", f"{root}/api/entry/", "--data-url", f"{root}/world_availability/"]


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Served]:
    archive = Archive(**{"movies": 4, "latency_s": 0.0, "bandwidth_bytes_per_s": None, **settings})
    began, ended = threading.Event(), trio.Event()
    found: list[Any] = []

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            found.append(await nursery.start(archive.listen, 0))
            found.append(trio.lowlevel.current_trio_token())
            began.set()
            await ended.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert began.wait(30)
    try:
        yield Served(archive, found[0])
    finally:
        found[1].run_sync_soon(ended.set)
        thread.join(30)
        assert not thread.is_alive()


def movies(out: Path) -> list[dict[str, Any]]:
    """What ``movies.jsonl`` says, without its closing line."""
    *lines, last = (out / "movies.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(last)["closed"] is True
    return [json.loads(line) for line in lines]


def check_whole(out: Path, archive: Archive, registered: int) -> None:
    """So many movies are there, each once and as the archive has it, and the sets are closed."""
    rows = movies(out)
    assert [row["movie"] for row in rows] == list(range(1, registered + 1))
    assert len({row["path"] for row in rows}) == registered
    for row in rows:
        data = (out / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"] == archive.sha256(row["path"])
    assert sorted(path.name for path in (out / "movies").rglob("*.mrc") if path.is_file()) == sorted(
        Path(row["path"]).name for row in rows
    )


# ---------------------------------------------------------------------------------------------------------------------
# To the end
# ---------------------------------------------------------------------------------------------------------------------


def test_for_programs(command: Command, work: Path) -> None:
    with serving() as served:
        ran = command("stream", "10200", *served.urls, "--json")
        assert (ran.code, ran.err) == (0, ""), ran
        told = ran.json
        out = work / "EMPIAR-10200"
        assert (told["outcome"], told["entry"], told["registered"], told["rejected"]) == ("done", "EMPIAR-10200", 4, 0)
        assert told["bytes"] == sum(map(served.archive.size_bytes, served.archive.paths))
        assert told["outputs"] == {name: str(out / file) for name, file in SETS.items()}
        assert (told["errors"], told["resumed_bytes"]) == ([], 0)
        check_whole(out, served.archive, 4)
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert names == {"movies", "gain", "journal.sqlite", *SETS.values()}


def test_for_people(command: Command, work: Path) -> None:
    with serving() as served:
        ran = command("stream", "EMPIAR-10200", *served.urls, "--limit", "2", "--out", "a place", "--output", "jsonl")
        assert ran.code == 0, ran
        check_whole(work / "a place", served.archive, 2)
    labels = [line.split("  ")[0] for line in ran.out.splitlines()]
    assert labels == ["outcome", "entry", "movies", "jsonl", "checksums"]
    said = [line.split(" s  ")[1] for line in ran.err.splitlines()]
    assert [line for line in said if re.fullmatch(r"\w+ \(\w+\)", line)] == [
        "describing (start)",
        "listing (described)",
        "streaming (listed)",
        "closing (streamed)",
        "idle (closed)",
    ]
    assert sum(line.startswith("gain: data/Movies/CountRef") for line in said) == 1
    assert (
        sum(re.match(r"movie [12] of 2: data/Movies/grid1_00000[12]_frames\.mrc, ", line) is not None for line in said)
        == 2
    )


def test_a_rejected_movie_is_told_and_is_no_failure(command: Command, work: Path) -> None:
    with serving(faults=[Fault.parse("corrupt:*000002*:always")]) as served:
        ran = command("stream", "10200", *served.urls, "--out", "out")
    assert ran.code == 0, ran
    assert "rejected    1: see out/rejected\n" in ran.out
    assert "rejected: data/Movies/grid1_000002_frames.mrc: " in ran.err
    assert "fsmcollect: data/Movies/grid1_000002_frames.mrc is set aside in rejected/: " in ran.err
    assert (work / "out" / "rejected" / "data" / "Movies" / "grid1_000002_frames.mrc").is_file()
    assert len(movies(work / "out")) == 3


@pytest.mark.parametrize("how", ["lines", "json", "terminal"])
def test_what_a_person_should_know_is_told_once(command: Command, work: Path, how: str) -> None:
    note = "note: 9 movies were asked for, there are 4"
    with serving() as served:
        options = ["stream", "10200", *served.urls, "--limit", "9", "--out", "out"]
        if how == "terminal":
            lines = lines_of(Terminal("-m", "fsmcollect", *options[:-1], work / "out", columns=90).ended())
        else:
            ran = command(*options, *(["--json"] if how == "json" else []))
            lines = ran.err.splitlines()
    told = [line for line in lines if note in line]
    assert len(told) == 1, lines
    assert told[0] == {"json": f"fsmcollect: {note}", "terminal": note}.get(how, told[0])


def test_a_resumed_stream_counts_what_was_registered_and_what_was_rejected(command: Command, work: Path) -> None:
    faults = [Fault.parse(f"corrupt:*00000{number}*:always") for number in (1, 3)]
    with serving(movies=7, faults=faults) as served:
        options = ("--out", "out", "--jobs", "1")
        assert command("stream", "10200", *served.urls, *options, "--limit", "3", "--json").json["rejected"] == 2
        ran = command("stream", "--resume", "out", "--limit", "all")
    assert "7 movies, about 3.7 MB, and 1 gain reference or defect map; already 3 registered and 2 rejected" in ran.err
    assert "movies      5 registered" in ran.out
    assert "rejected    2: see out/rejected\n" in ran.out


def test_an_entry_that_is_not_there(command: Command, work: Path) -> None:
    with serving() as served:
        ran = command("stream", "4711", *served.urls, "--json")
    assert (ran.code, ran.json["outcome"], ran.json["registered"]) == (1, "failed", 0)
    assert ran.err.startswith("fsmcollect: EMPIAR-4711 is not in the archive")
    assert ran.err.count("\n") == 1, "there is nothing to go on with"
    assert list(work.iterdir()) == []


def test_no_network(command: Command, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "Policy", lambda: Policy(attempts_of_requests=1))
    urls = ["--api-url", "http://127.0.0.1:9/api/", "--data-url", "http://127.0.0.1:9/data/"]
    ran = command("stream", "10200", *urls, "--dry-run")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("fsmcollect: http://127.0.0.1:9/api/")
    assert list(work.iterdir()) == []


def test_a_dry_run_says_that_it_asks_again(command: Command, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "Policy", lambda: Policy(attempts_of_requests=2, first_wait_s=0.01))
    urls = ["--api-url", "http://127.0.0.1:9/api/", "--data-url", "http://127.0.0.1:9/data/"]
    ran = command("stream", "10200", *urls, "--dry-run")
    again, failed = ran.err.splitlines()
    assert again.endswith("; again in 0.0 s")
    assert again.count("http://127.0.0.1:9/api/") == 1
    assert failed.startswith("fsmcollect: http://127.0.0.1:9/api/")


# ---------------------------------------------------------------------------------------------------------------------
# Beforehand
# ---------------------------------------------------------------------------------------------------------------------


def test_a_dry_run_for_programs_writes_nothing(command: Command, work: Path) -> None:
    with serving(movies=20) as served:
        ran = command("stream", "10200", *served.urls, "--dry-run", "--json")
        archive = served.archive
    assert (ran.code, ran.err) == (0, "")
    told = ran.json
    assert list(told) == ["entry", "title", "movies", "gains", "bytes", "free_bytes", "estimated_s", "files", "notices"]
    assert (told["entry"], told["movies"], told["gains"]) == ("EMPIAR-10200", 20, 1)
    paths = [*archive.gain_paths, *archive.paths]
    kinds = ["gain"] + ["movie"] * 20
    assert told["files"] == [
        {"path": path, "bytes": archive.size_bytes(path), "kind": kind} for path, kind in zip(paths, kinds, strict=True)
    ]
    assert told["bytes"] == sum(file["bytes"] for file in told["files"])
    assert told["free_bytes"] > 0
    assert list(work.iterdir()) == []


def test_a_dry_run_for_people(command: Command, work: Path) -> None:
    with serving(movies=20) as served:
        ran = command("stream", "10200", *served.urls, "--dry-run", "--until", "count=15,time=0.01s", "--out", "a/b")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert any(re.match(r"entry +EMPIAR-10200$", line) for line in lines)
    rows = lines[lines.index(next(line for line in lines if line.startswith("number  kind "))) + 1 :][:12]
    assert rows[-2].strip() == "..."
    assert rows[-1].startswith("    16  movie  ")
    assert any(re.match(r"to fetch +15 movies and 1 gain file: 8\.1 MB, 8,142,848 bytes$", line) for line in lines)
    assert any(re.match(r"free disk +[\d.,]+ .B for a/b$", line) for line in lines)
    assert any(re.match(r"duration +0\.0 s: that ends it by --until", line) for line in lines)
    assert list(work.iterdir()) == []


def test_a_dry_run_says_what_is_left_of_a_stream(command: Command, work: Path) -> None:
    with serving() as served:
        assert command("stream", "10200", *served.urls, "--limit", "3", "--out", "out", "--jobs", "1").code == 0
        before = tree(work)
        ran = command("stream", "--resume", "out", "--limit", "4", "--dry-run", "--json")
    assert [file["path"] for file in ran.json["files"]] == ["data/Movies/grid1_000004_frames.mrc"]
    assert (ran.json["movies"], ran.json["gains"]) == (1, 0)
    assert tree(work) == before


def test_a_dry_run_into_a_directory_that_will_not_do(command: Command, work: Path) -> None:
    (work / "out").write_text("a file", encoding="utf-8")
    ran = command("stream", "10200", "--out", "out", "--dry-run", "--api-url", "http://127.0.0.1:9/")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("fsmcollect: --out = ")


# ---------------------------------------------------------------------------------------------------------------------
# Stopped, and gone on with
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_closes_the_sets_and_says_how_to_go_on(work: Path, number: signal.Signals) -> None:
    with serving(movies=12, bandwidth_bytes_per_s=1.5e6) as served:
        running = Running("stream", "10200", *served.urls, "--out", "my out", cwd=work)
        running.until("movie 2 of 12")
        running.send(number, times=3)
        ran = running.ended()
        assert ran.code == 3, ran
        assert ran.out.splitlines()[0] == "outcome     aborted"
        assert ran.err.splitlines()[-1] == "go on with: fsmcollect stream --resume 'my out'"
        assert "Traceback" not in ran.err
        have = len(movies(work / "my out"))
        assert 2 <= have < 12
        check_whole(work / "my out", served.archive, have)
        again = run("stream", "--resume", "my out", "--json", cwd=work)
        assert (again.code, again.json["outcome"], again.json["registered"]) == (0, "done", 12)
        check_whole(work / "my out", served.archive, 12)


def test_who_asked_for_no_hangup_has_none(work: Path) -> None:
    """As ``nohup fsmcollect stream ...``."""
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(movies=6, bandwidth_bytes_per_s=1.5e6) as served:
            running = Running("stream", "10200", *served.urls, "--out", "out", cwd=work)
            running.until("movie 2 of 6")
            running.send(signal.SIGHUP)
            assert running.ended().code == 0
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert len(movies(work / "out")) == 6


def test_a_terminal_that_is_closed_closes_the_sets(work: Path) -> None:
    out = work / "out"
    with serving(movies=12, bandwidth_bytes_per_s=1.5e6) as served:
        terminal = Terminal("-m", "fsmcollect", "stream", "10200", *served.urls, "--out", out, columns=90)
        terminal.until(r"\b[1-9] registered")
        os.close(terminal.master)
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(60) in (1, 3), "nobody is left to be told"
        have = len(movies(out))
        assert 1 <= have < 12
        check_whole(out, served.archive, have)


def test_a_signal_while_the_first_answer_is_waited_for(work: Path) -> None:
    with serving(latency_s=60.0) as served:
        running = Running("stream", "10200", *served.urls, cwd=work)
        running.until("describing")
        running.send(signal.SIGINT, times=2)
        ran = running.ended()
    assert (ran.code, ran.out.splitlines()[0]) == (3, "outcome     aborted")
    assert "go on with" not in ran.err, "there is nothing to go on with"
    assert {path.name for path in work.iterdir()} == {"out.txt", "err.txt"}


def test_a_file_named_stop_is_an_end_like_any_other(work: Path) -> None:
    with serving(movies=12, bandwidth_bytes_per_s=1.5e6) as served:
        running = Running("stream", "10200", *served.urls, "--out", "out", cwd=work)
        running.until("movie 2 of 12")
        (work / "out" / "STOP").touch()
        ran = running.ended()
    assert ran.code == 0, ran
    assert 2 <= len(movies(work / "out")) < 12


# ---------------------------------------------------------------------------------------------------------------------
# From memory
# ---------------------------------------------------------------------------------------------------------------------


def test_simulated_streams_of_equal_seeds_are_equal(command: Command, work: Path) -> None:
    for out, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        # One at a time: of several that arrive at one simulated instant, the thread that is faster decides.
        options = ("--seed", seed, "--limit", "5", "--out", out, "--jobs", "1", "--json")
        ran = command("stream", "10200", "--simulate", *options)
        assert (ran.code, ran.json["registered"], ran.err) == (0, 5, ""), ran
    a, b, c = (tree_of_contents(work / out) for out in "abc")
    assert a == b != c


def tree_of_contents(out: Path) -> dict[str, bytes]:
    """The movies and the sets that hold no path and no time."""
    kept = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".mrc", ".jsonl", ".star")]
    return {str(path.relative_to(out)): path.read_bytes() for path in (*kept, out / "SHA256SUMS")}


def test_a_simulated_stream_is_gone_on_with_as_such(command: Command, work: Path) -> None:
    assert command("stream", "10200", "--simulate", "--limit", "5", "--out", "out").code == 0
    ran = command("stream", "--resume", "out", "--limit", "7", "--simulate", "--json")
    assert (ran.code, ran.json["registered"]) == (0, 7)


def test_a_directory_in_use_is_refused_in_a_simulation_too(command: Command, work: Path) -> None:
    (work / "out").write_text("a file", encoding="utf-8")
    ran = command("stream", "10200", "--simulate", "--out", "out")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("fsmcollect: --out = ")


# ---------------------------------------------------------------------------------------------------------------------
# On a terminal, and when nobody reads it
# ---------------------------------------------------------------------------------------------------------------------


def test_on_a_terminal_there_are_bars_and_then_the_summary(work: Path) -> None:
    out = work / "out"
    with serving(movies=6, bandwidth_bytes_per_s=3e6) as served:
        sent = Terminal("-m", "fsmcollect", "stream", "10200", *served.urls, "--out", out, columns=90).ended()
    assert bars(sent)[-1].startswith("done ")
    assert "6/6 movies" in bars(sent)[-1]
    assert any(line.startswith("streaming ") for line in bars(sent))
    lines = lines_of(sent)
    assert sum(line.startswith("EMPIAR-10200: ") for line in lines) == 1
    assert "outcome     done" in lines


def test_ctrl_c_on_a_terminal_leaves_it_tidy(work: Path) -> None:
    out = work / "out"
    with serving(movies=12, bandwidth_bytes_per_s=1.5e6) as served:
        terminal = Terminal("-m", "fsmcollect", "stream", "10200", *served.urls, "--out", out, columns=90)
        terminal.until(r"\b[1-9] registered")
        terminal.press_ctrl_c()
        sent = terminal.ended(code=3)
    shown = bars(sent)
    assert shown[-1].startswith("aborted ")
    assert all("^C" not in line for line in shown), "it stands behind the last line, and the next picture covers it"
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1, "the cursor is there again"
    assert lines_of(sent)[-2] == f"go on with: fsmcollect stream --resume {out}"
    assert "^C" in sent
    assert "Traceback" not in sent


def test_a_reader_that_has_gone_away_is_no_failure(work: Path) -> None:
    """As ``fsmcollect stream ... 2>&1 | head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = ["stream", "10200", "--simulate", "--limit", "3", "--out"]
    try:
        ran = subprocess.run([*program(), *arguments, "a"], cwd=work, stdout=writing, stderr=writing, check=False)
    finally:
        os.close(writing)
    assert ran.returncode == 0
    closed = f'"{sys.executable}" -m fsmcollect {" ".join(arguments)} b >&- 2>&- <&-'
    assert subprocess.run(["sh", "-c", closed], cwd=work, check=False).returncode == 0
    assert len(movies(work / "a")) == len(movies(work / "b")) == 3


#: What only other commands need, and takes long to import.
HEAVY = ("numpy", "h5py", "hdf5plugin", "PIL", "fsmcollect.sim", "fsmcollect.collecting", "fsmcollect.simulate")


def test_a_stream_imports_nothing_that_it_does_not_need(work: Path) -> None:
    code = f"""
import atexit, sys
heavy = {HEAVY!r}
atexit.register(lambda: print(*(name for name in heavy if name in sys.modules), file=sys.stderr))
"""
    with serving() as served:
        ran: Ran = run("stream", "10200", *served.urls, "--limit", "1", "--json", cwd=work, code=code)
    assert (ran.code, ran.err) == (0, "\n")
