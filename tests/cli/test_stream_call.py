"""How a stream is asked for: an option becomes a setting, a resume keeps what was asked for, a wrong call ends in 2."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from fsmcollect.machines.table import Outcome
from fsmcollect.stream import pipeline
from fsmcollect.stream.keeping.journal import Journal
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.result import StreamResult
from fsmcollect.stream.settings import API_URL, DATA_URL, Settings
from fsmcollect.stream.stopping import Criteria
from fsmcollect.stream.values import Optics
from tests.cli.commanding import Command, tree

#: What the fake stream ends with.
RESULT = StreamResult(
    outcome=Outcome.DONE,
    entry="EMPIAR-10200",
    title="A title \x1b[2J",
    registered=3,
    rejected=0,
    bytes=3_000_000,
    seconds=2.5,
    resumed_bytes=0,
    outputs={"jsonl": Path("/somewhere/movies.jsonl")},
    errors=(),
    notices=(),
)


@attrs.define
class Streams:
    """Streams that were asked for and not carried out."""

    asked: list[Stream] = attrs.field(factory=list[Stream])
    result: StreamResult = RESULT

    def run(self, stream: Stream, *, heed_signals: bool) -> StreamResult:
        assert heed_signals
        self.asked.append(stream)
        return self.result

    @property
    def settings(self) -> Settings:
        return self.asked[-1].settings


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    fake = Streams()
    monkeypatch.setattr(pipeline, "run_stream", fake.run)
    return fake


def holding(directory: Path, **settings: Any) -> Settings:
    """A directory in which a stream has begun."""
    kept = Settings(accession="10200", **settings)
    directory.mkdir()
    Journal.create(directory / "journal.sqlite", kept.accession, kept.to_dict()).close()
    return kept


# ---------------------------------------------------------------------------------------------------------------------
# Options
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["10200", "EMPIAR-10200", "empiar-10200"])
def test_an_entry_alone_is_enough(command: Command, work: Path, streams: Streams, entry: str) -> None:
    assert command("stream", entry).code == 0
    assert streams.settings == Settings(accession="10200")
    assert (streams.settings.api_url, streams.settings.data_url) == (API_URL, DATA_URL)
    assert (streams.asked[0].directory, streams.asked[0].resume) == (work / "EMPIAR-10200", False)
    assert list(work.iterdir()) == []


def test_every_option_becomes_a_setting(command: Command, work: Path, streams: Streams) -> None:
    options = {
        "--until": "size=10GB,time=600s",
        "--limit": "5",
        "--out": "out",
        "--jobs": "8",
        "--api-url": "http://h/api/",
        "--data-url": "ftp://h/data/",
        "--output": "jsonl,relion,jsonl",
        "--pattern": "*.mrc",
        "--rate": "50MB",
        "--voltage-kv": "300",
        "--spherical-aberration-mm": "2.7",
        "--amplitude-contrast": "0.1",
        "--dose-per-frame": "1.2",
    }
    repeated = ["--imageset", "2", "--imageset", "Dataset", "--exclude", "*_DW.mrc", "--exclude", "b*"]
    given = [word for option in options.items() for word in option]
    assert command("stream", "10200", *given, *repeated, "--ftp", "--no-checksum").code == 0
    assert streams.settings == Settings(
        accession="10200",
        api_url="http://h/api/",
        data_url="ftp://h/data/",
        ftp=True,
        imagesets=("2", "Dataset"),
        patterns=("*.mrc",),
        excludes=("*_DW.mrc", "b*"),
        until=Criteria(count=5, size_bytes=10_000_000_000, time_s=600.0),
        jobs=8,
        outputs=("jsonl", "relion"),
        checksum=False,
        rate_bytes_per_s=50_000_000,
        optics=Optics(voltage_kv=300, spherical_aberration_mm=2.7, amplitude_contrast=0.1, dose_per_frame_e_per_a2=1.2),
    )
    assert streams.asked[0].directory == work / "out"


@pytest.mark.parametrize(("until", "limit", "count"), [("count=5", 3, 3), ("count=3", 5, 3), ("time=1h", 7, 7)])
def test_of_two_numbers_of_movies_the_smaller_counts(
    command: Command, streams: Streams, until: str, limit: int, count: int
) -> None:
    assert command("stream", "10200", "--until", until, "--limit", str(limit)).code == 0
    assert streams.settings.until.count == count


def test_no_live_set_at_all_can_be_asked_for(command: Command, streams: Streams) -> None:
    assert command("stream", "10200", "--output", "").code == 0
    assert streams.settings.outputs == ()


# ---------------------------------------------------------------------------------------------------------------------
# Resuming
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume", "out"),
        ("--resume=out",),
        ("--out", "out", "--resume"),
        ("--resume", "--out", "out"),
        ("10200", "--out", "out", "--resume"),
        ("--resume", "10200", "--out", "out"),
        ("--resume", "EMPIAR-10200", "--out", "out"),
        ("--resume", "out", "10200"),
        ("10200", "--resume", "out"),
        ("--resume", "out", "--out", "./out"),
    ],
    ids=" ".join,
)
def test_the_ways_to_go_on(command: Command, work: Path, streams: Streams, arguments: tuple[str, ...]) -> None:
    kept = holding(work / "out", jobs=7, until=Criteria(count=9), optics=Optics(voltage_kv=300))
    ran = command("stream", *arguments)
    assert ran.code == 0, ran.err
    assert streams.settings == kept
    assert (streams.asked[0].directory, streams.asked[0].resume) == (work / "out", True)


@pytest.mark.parametrize("arguments", [("--resume", "10200"), ("10200", "--resume"), ("--resume", "EMPIAR-10200")])
def test_the_usual_directory_need_not_be_named(
    command: Command, work: Path, streams: Streams, arguments: tuple[str, ...]
) -> None:
    kept = holding(work / "EMPIAR-10200", jobs=7)
    assert command("stream", *arguments).code == 0
    assert (streams.settings, streams.asked[0].directory) == (kept, work / "EMPIAR-10200")


def test_what_is_said_when_going_on_replaces_what_was_said_at_first(
    command: Command, work: Path, streams: Streams
) -> None:
    kept = holding(
        work / "out",
        jobs=7,
        ftp=True,
        checksum=False,
        until=Criteria(count=9, time_s=60.0),
        optics=Optics(voltage_kv=300),
    )
    options = ["--jobs", "2", "--checksum", "--limit", "20", "--dose-per-frame", "1"]
    assert command("stream", "--resume", "out", *options).code == 0
    assert streams.settings == attrs.evolve(
        kept,
        jobs=2,
        checksum=True,
        until=Criteria(count=20, time_s=60.0),
        optics=Optics(voltage_kv=300, dose_per_frame_e_per_a2=1),
    )
    assert command("stream", "--resume", "out", "--until", "size=1GB").code == 0
    assert streams.settings == attrs.evolve(kept, until=Criteria(size_bytes=10**9))


@pytest.mark.parametrize(
    ("options", "until"),
    [
        (["--limit", "all"], Criteria(time_s=60.0)),
        (["--until", "none"], Criteria()),
        (["--until", " none "], Criteria()),
        (["--until", "none", "--limit", "20"], Criteria(count=20)),
        (["--until", "size=1GB", "--limit", "all"], Criteria(size_bytes=10**9)),
        (["--until", "none", "--limit", "all"], Criteria()),
    ],
    ids=str,
)
def test_a_limit_that_was_kept_can_be_taken_back(
    command: Command, work: Path, streams: Streams, options: list[str], until: Criteria
) -> None:
    kept = holding(work / "out", jobs=7, until=Criteria(count=9, time_s=60.0))
    ran = command("stream", "--resume", "out", *options)
    assert ran.code == 0, ran
    assert streams.settings == attrs.evolve(kept, until=until)


def test_no_limit_can_be_said_from_the_beginning(command: Command, streams: Streams) -> None:
    assert command("stream", "10200", "--limit", "all", "--until", "none").code == 0
    assert streams.settings == Settings(accession="10200")


# ---------------------------------------------------------------------------------------------------------------------
# Wrong calls
# ---------------------------------------------------------------------------------------------------------------------

WRONG = {
    "nothing": ([], "ENTRY: is required: the entry's number"),
    "no entry": (["lyso.toml"], "ENTRY = "),
    "a negative limit": (["10200", "--limit", "-1"], "--limit = -1: must be a whole number of movies"),
    "a limit of nothing": (["10200", "--limit", "0"], "--limit = 0: must be a whole number"),
    "a limit beyond all limits": (["10200", "--limit", "9" * 5000], "must be a whole number"),
    "an unknown criterion": (["10200", "--until", "movies=5"], "--until = movies=5: "),
    "no criterion": (["10200", "--until", ""], "--until"),
    "no jobs": (["10200", "--jobs", "0"], "--jobs = 0: must be 1 to 32"),
    "an unknown output": (["10200", "--output", "scipion,eman"], "--output = eman: must be of scipion, relion, jsonl"),
    "a rate without a unit": (["10200", "--rate", "fast"], "--rate = "),
    "another scheme": (["10200", "--data-url", "file:///etc/"], "--data-url = file:///etc/: must be a plain URL"),
    "no voltage": (["10200", "--voltage-kv", "nan"], "--voltage-kv = nan: must be greater than 0"),
    "a dose of nothing": (["10200", "--dose-per-frame", "0"], "--dose-per-frame"),
    "a seed for the real archive": (["10200", "--seed", "3"], "--seed = 3: is that of a simulation: add --simulate"),
    "FTP in memory": (["10200", "--simulate", "--ftp"], "--ftp: the pretend archive in memory has none"),
    "a dry simulation": (["10200", "--simulate", "--dry-run"], "--dry-run: asks the real archive"),
    "nothing to go on with": (["--resume", "elsewhere"], "--resume = elsewhere: "),
    "nothing to go on with here": (["10200", "--resume"], "--resume = EMPIAR-10200: "),
    "nowhere to go on": (["--resume"], "ENTRY: is required"),
    "two directories": (["--resume", "a", "--out", "b"], "--resume = a: names another directory than --out = b"),
    "an option that is none": (["10200", "--fast"], "No such option"),
    "no number": (["10200", "--limit", "many"], "--limit = many: must be a whole number of movies, 1 or more, or all"),
    "none and something": (["10200", "--until", "none,count=5"], "--until = none: must be count=N, "),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_told_by_its_option(
    command: Command, work: Path, streams: Streams, arguments: list[str], says: str
) -> None:
    ran = command("stream", *arguments)
    assert (ran.code, ran.out) == (2, ""), ran
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert streams.asked == []
    assert list(work.iterdir()) == []


def test_everything_that_is_wrong_is_told_at_once(command: Command, streams: Streams) -> None:
    ran = command("stream", "10200", "--jobs", "99", "--until", "x=1", "--seed", "1", "--rate", "-1")
    assert (ran.code, streams.asked) == (2, [])
    for option in ("--jobs", "--until", "--seed", "--rate"):
        assert f"fsmcollect: {option} = " in ran.err


def test_another_entry_than_the_directory_holds(command: Command, work: Path, streams: Streams) -> None:
    holding(work / "out")
    before = tree(work)
    ran = command("stream", "10300", "--resume", "--out", "out")
    assert (ran.code, streams.asked) == (2, [])
    assert "ENTRY = 10300: out holds a stream of EMPIAR-10200" in ran.err
    assert tree(work) == before


def test_a_directory_that_holds_a_stream_already(command: Command, work: Path, streams: Streams) -> None:
    holding(work / "out")
    before = tree(work)
    ran = command("stream", "10200", "--out", "out")
    assert (ran.code, streams.asked) == (2, [])
    assert "--out = " in ran.err
    assert "--resume" in ran.err
    assert tree(work) == before


@pytest.mark.parametrize("spoil", ["no database", "another database", "empty"])
def test_a_journal_that_is_none(command: Command, work: Path, streams: Streams, spoil: str) -> None:
    (work / "out").mkdir()
    journal = work / "out" / "journal.sqlite"
    if spoil == "another database":
        with sqlite3.connect(journal) as database:
            database.execute("CREATE TABLE t (a)")
        database.close()
    else:
        journal.write_bytes(b"not a database at all" * 100 if spoil == "no database" else b"")
    ran = command("stream", "--resume", "out")
    assert (ran.code, ran.out, streams.asked) == (2, "", []), ran
    assert ran.err.startswith("fsmcollect: ")
    assert ran.err.count("\n") == 1


# ---------------------------------------------------------------------------------------------------------------------
# How it is told
# ---------------------------------------------------------------------------------------------------------------------


def test_the_object_for_programs(command: Command, streams: Streams) -> None:
    ran = command("stream", "10200", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert list(ran.json.items()) == [
        ("outcome", "done"),
        ("entry", "EMPIAR-10200"),
        ("title", "A title \x1b[2J"),
        ("registered", 3),
        ("rejected", 0),
        ("bytes", 3_000_000),
        ("seconds", 2.5),
        ("resumed_bytes", 0),
        ("outputs", {"jsonl": "/somewhere/movies.jsonl"}),
        ("errors", []),
    ]


def test_the_summary_for_people(command: Command, streams: Streams) -> None:
    streams.result = attrs.evolve(RESULT, rejected=1, resumed_bytes=1_500_000, errors=("data/x.mrc is set aside",))
    ran = command("stream", "10200", "--out", "out")
    assert ran.code == 0, "a rejected movie is the archive's fault"
    assert ran.out == (
        "outcome     done\n"
        "entry       EMPIAR-10200, A title ?[2J\n"
        "movies      3 registered, 3.0 MB, in 2.5 s\n"
        "rejected    1: see out/rejected\n"
        "resumed     1.5 MB of files that an earlier run had begun\n"
        "jsonl       /somewhere/movies.jsonl\n"
    )
    assert ran.err == "fsmcollect: data/x.mrc is set aside\n"


def test_of_many_errors_the_first_are_told(command: Command, streams: Streams) -> None:
    streams.result = attrs.evolve(RESULT, errors=tuple(f"error {n}" for n in range(20)))
    ran = command("stream", "10200", "--json")
    assert len(ran.json["errors"]) == 20
    assert ran.err.splitlines() == [f"fsmcollect: error {n}" for n in range(12)] + ["fsmcollect: and 8 more"]


def test_where_nothing_has_been_shown_notices_are_told_at_the_end(command: Command, streams: Streams) -> None:
    notices = ("4 movies are listed, the entry says 5", "the time of 60 s \x1bis up")
    streams.result = attrs.evolve(RESULT, notices=notices, errors=("data/x.mrc is set aside",))
    ran = command("stream", "10200", "--json")
    assert ran.json["outcome"] == "done"
    assert ran.err == (
        "fsmcollect: note: 4 movies are listed, the entry says 5\n"
        "fsmcollect: note: the time of 60 s ?is up\n"
        "fsmcollect: data/x.mrc is set aside\n"
    )
    ran = command("stream", "10200")
    assert ran.err == "fsmcollect: data/x.mrc is set aside\n", "lines or bars have told them when they came"


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.FAILED, 1), (Outcome.ABORTED, 3)])
def test_how_to_go_on_is_said_where_there_is_something_to_go_on_with(
    command: Command, work: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    streams.result = attrs.evolve(RESULT, outcome=outcome)
    ran = command("stream", "10200", "--json")
    assert (ran.code, ran.err, ran.json["outcome"]) == (code, "", str(outcome))

    def make(stream: Stream, *, heed_signals: bool) -> StreamResult:
        stream.directory.mkdir()
        (stream.directory / "journal.sqlite").touch()
        return streams.result

    monkeypatch.setattr(pipeline, "run_stream", make)
    ran = command("stream", "10200", "--out", "my stream")
    assert ran.code == code
    assert ran.err == "go on with: fsmcollect stream --resume 'my stream'\n"


def test_a_signal_just_before_the_stream_begins_is_not_lost(
    command: Command, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    aborted: list[bool] = []
    abort: Callable[[Stream], bool] = Stream.abort

    def run(stream: Stream, *, heed_signals: bool) -> StreamResult:
        os.kill(os.getpid(), signal.SIGTERM)
        return RESULT

    monkeypatch.setattr(Stream, "abort", lambda stream: aborted.append(abort(stream)))
    monkeypatch.setattr(pipeline, "run_stream", run)
    assert command("stream", "10200", "--json").code == 0
    assert aborted == [True], "the machine keeps it until it is started"
