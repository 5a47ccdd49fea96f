"""``fsmcollect stream``: from options to settings, and what the shell is told of a stream."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from fsmcollect import console
from fsmcollect.cli.calling import Exit, WithExamples, json_option, signals_noted
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    import httpcore

    from fsmcollect.observers import Listener
    from fsmcollect.sim.archive import Archive
    from fsmcollect.stream.pipeline import Stream
    from fsmcollect.stream.result import StreamResult
    from fsmcollect.stream.settings import Settings
    from fsmcollect.stream.stopping import Criteria

T = TypeVar("T")

#: ``--resume`` without a directory behind it.
_HERE = ""
#: What takes back a ``--limit``, and whatever ends a stream, that an earlier run was given.
_NO_LIMIT = "all"
_NO_CRITERION = "none"


@click.command(
    cls=WithExamples,
    short_help="Stream the movies of an EMPIAR entry into live sets.",
    lists={
        "Examples": (
            ("fsmcollect stream 10200 --limit 5", "five movies, below EMPIAR-10200/"),
            ("fsmcollect stream 10200 --dry-run", "what would be fetched; nothing is written"),
            ("fsmcollect stream 10200 --until size=10GB,time=2h", "whichever comes first"),
            ("fsmcollect stream --resume EMPIAR-10200", "go on with what is there"),
            ("fsmcollect stream --resume DIR --limit all", "now take every movie"),
            ("fsmcollect stream 10200 --simulate", "from a pretend archive, without a network"),
        )
    },
)
@click.argument("entry", metavar="[ENTRY]", required=False)
@click.option("--limit", metavar="N", help="End at so many movies, as --until count=N; 'all' takes a kept one back.")
@click.option(
    "--until",
    metavar="LIST",
    help="End at the first of these, or of some of them: count=5,size=10GB,time=600s; 'none' takes kept ones back.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The directory of the stream. [default: EMPIAR-<number>, here]"
)
@click.option("--jobs", type=int, metavar="N", help="How many files are fetched at once. [default: 4]")
@click.option(
    "--imageset",
    "imagesets",
    multiple=True,
    metavar="X",
    help="Take this imageset of the entry, by number (from 1) or name; may be repeated. [default: all of movies]",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="GLOB",
    help="Take movies whose path or name is such: 'Case3/*.tif'; may be repeated. [default: all]",
)
@click.option("--exclude", "excludes", multiple=True, metavar="GLOB", help="Leave such movies out; may be repeated.")
@click.option("--output", metavar="LIST", help="The live sets to write. [default: scipion,relion,jsonl]")
@click.option("--rate", metavar="SIZE", help="Fetch at most so much a second, all files together, such as 50MB.")
@click.option(
    "--checksum/--no-checksum",
    default=None,
    help="Reckon the SHA-256 of every file as it comes, for SHA256SUMS. [default: checksum]",
)
@click.option(
    "--voltage-kv",
    type=float,
    metavar="KV",
    help="Of the microscope, for the sets. EMPIAR does not tell it: it stays empty unless given, as do the next three.",
)
@click.option("--spherical-aberration-mm", type=float, metavar="MM", help="Cs of the microscope, for the sets.")
@click.option("--amplitude-contrast", type=float, metavar="X", help="A fraction, such as 0.1, for the sets.")
@click.option(
    "--dose-per-frame", type=float, metavar="X", help="In electrons per square angstrom and frame, for the sets."
)
@click.option(
    "--api-url", metavar="URL", help="Where entries are described, if not at EMPIAR; the number is put behind it."
)
@click.option(
    "--data-url", metavar="URL", help="Where entries' files are, if not at EMPIAR: https, http or ftp; likewise."
)
@click.option("--ftp", is_flag=True, default=None, help="Fetch by FTP. [default: where HTTPS does not list the files]")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=_HERE,
    metavar="[DIR]",
    help="Go on with the stream that is in DIR (or in --out, or in EMPIAR-<number> of ENTRY).",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be fetched, and how long that may take; fetch and write nothing."
)
@click.option("--simulate", is_flag=True, help="Stream from a pretend archive in memory, in simulated time: to try it.")
@click.option("--seed", type=int, help="With --simulate: equal seeds give equal archives. [default: 0]")
@json_option
def stream(
    entry: str | None,
    out: Path | None,
    resume: str | None,
    dry_run: bool,
    simulate: bool,
    seed: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch the movies of an EMPIAR entry and add each to live sets the moment it is complete and verified.

    ENTRY is the entry's number: 10200 or EMPIAR-10200. The directory gets movies/, gain/ (gain references and defect
    maps), rejected/ (files that are not what they say), and the live sets, which other software can read while they
    grow: movies.sqlite (Scipion), movies.star (RELION), movies.jsonl (a line of JSON a movie) and SHA256SUMS.

    It ends when a criterion of --limit or --until is met, when every movie is there, or when a file named STOP appears
    in the directory. Ctrl-C aborts it. The sets are closed at every end.

    With --resume, an ended or killed stream goes on as it was asked for at first; options that are given besides
    replace what was kept.
    """
    from fsmcollect.console import streaming as showing
    from fsmcollect.stream.keeping.holdings import kept_settings
    from fsmcollect.stream.keeping.workspace import JOURNAL_FILE
    from fsmcollect.stream.settings import Settings

    where = _Where.of(entry, out, resume)
    kept = kept_settings(where.directory) if where.is_resumed else None
    problems = [*_at_odds(dry_run=dry_run, simulate=simulate, seed=seed, ftp=options["ftp"])]
    given = _given(options, kept, problems)
    if kept is not None and where.accession not in (None, kept.accession):
        allowed = f"{where.directory} holds a stream of EMPIAR-{kept.accession}: leave ENTRY out, or choose another"
        problems.append(Problem(field="ENTRY", value=entry or resume or "", allowed=allowed))
    settings: Settings | None = None
    archive = _pretended(seed or 0, kept.accession if kept else str(where.accession)) if simulate else None
    if archive is not None and kept is None:
        # Its own address: what is pretended can never be gone on with from the real archive.
        given.setdefault("api_url", archive.api_url)
        given.setdefault("data_url", archive.data_url)
    try:
        settings = Settings(accession=str(where.accession), **given) if kept is None else attrs.evolve(kept, **given)
    except InvalidRequest as refusal:
        problems += refusal.problems
    if problems or settings is None:
        raise InvalidRequest(problems)
    if dry_run:
        _look_ahead(settings, where.directory, is_resumed=where.is_resumed, as_json=as_json)
        return
    result = _carry_out(settings, where.directory, is_resumed=where.is_resumed, archive=archive, as_json=as_json)
    if as_json:
        console.say(showing.result_json(result))
        showing.tell_notices(result.notices)
    else:
        showing.show_result(result, where.directory)
    showing.complain_of(result.errors)
    code = {"done": Exit.DONE, "aborted": Exit.ABORTED}.get(str(result.outcome), Exit.FAILED)
    if code is not Exit.DONE and (where.directory / JOURNAL_FILE).is_file():
        console.say(f"go on with: {_again(where.directory, archive)}", err=True)
    sys.exit(code)


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Where:
    """Which stream: what ENTRY, --out and --resume say together."""

    directory: Path
    accession: str | None
    is_resumed: bool

    @classmethod
    def of(cls, entry: str | None, out: Path | None, resume: str | None) -> _Where:
        """Sort out what the one value behind ``--resume`` is: a directory, or (click cannot know) ENTRY.

        Raises
        ------
        InvalidRequest
            ENTRY is missing or none, or two directories are named.
        """
        from fsmcollect.stream.entry import accession

        behind = resume or None
        if behind is not None and entry is None and (out is not None or not Path(behind).exists()):
            with suppress(InvalidRequest):  # a directory, then
                entry, behind = accession(behind), None
        if behind is not None:
            if out is not None and out.absolute() != Path(behind).absolute():
                allowed = f"names another directory than --out = {out}: leave one of them out"
                raise InvalidRequest([Problem(field="--resume", value=behind, allowed=allowed)])
            out = Path(behind)
        number = accession(entry) if entry is not None else None
        if number is None and (resume is None or out is None):
            allowed = "is required: the entry's number, such as 10200 (or --resume DIR, to go on with a stream)"
            raise InvalidRequest([Problem(field="ENTRY", allowed=allowed)])
        return cls(out if out is not None else Path(f"EMPIAR-{number}"), number, resume is not None)


def _at_odds(*, dry_run: bool, simulate: bool, seed: int | None, ftp: bool | None) -> Sequence[Problem]:
    """Options that cannot be given together."""
    problems: list[Problem] = []
    if seed is not None and not simulate:
        problems.append(Problem(field="--seed", value=str(seed), allowed="is that of a simulation: add --simulate"))
    if simulate and dry_run:
        problems.append(Problem(field="--dry-run", allowed="asks the real archive: leave --simulate out"))
    if simulate and ftp:
        problems.append(Problem(field="--ftp", allowed="the pretend archive in memory has none: leave it out"))
    return problems


def _given(options: dict[str, Any], kept: Settings | None, problems: list[Problem]) -> dict[str, Any]:
    """The settings that options were given for; no option has a default, so a resume keeps what is not here."""
    from fsmcollect.stream.stopping import Criteria, parse_size
    from fsmcollect.stream.values import Optics

    def parsed(parse: Callable[[], T]) -> T | None:
        try:
            return parse()
        except InvalidRequest as refusal:
            problems.extend(refusal.problems)
            return None

    direct = ("jobs", "imagesets", "patterns", "excludes", "checksum", "api_url", "data_url")
    given = {name: options[name] for name in direct if options[name] not in (None, ())}
    if options["ftp"]:
        given["ftp"] = True
    if (text := options["output"]) is not None:
        given["outputs"] = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if (text := options["rate"]) is not None:
        given["rate_bytes_per_s"] = parsed(lambda: parse_size(text, "--rate"))
    until, limit = options["until"], options["limit"]
    count = parsed(lambda: _count(limit)) if limit is not None else None
    if until is not None:
        if (criteria := parsed(lambda: _criteria(until))) is not None:
            given["until"] = criteria.tighter(count)
    elif limit is not None:
        given["until"] = attrs.evolve(kept.until if kept else Criteria(), count=count)
    optics = {
        "voltage_kv": options["voltage_kv"],
        "spherical_aberration_mm": options["spherical_aberration_mm"],
        "amplitude_contrast": options["amplitude_contrast"],
        "dose_per_frame_e_per_a2": options["dose_per_frame"],
    }
    if known := {name: value for name, value in optics.items() if value is not None}:
        given["optics"] = attrs.evolve(kept.optics if kept else Optics(), **known)
    return given


def _count(limit: str) -> int | None:
    """The number of ``--limit``; None for all."""
    text = limit.strip()
    if text == _NO_LIMIT:
        return None
    from fsmcollect.request.fields import printable

    if re.fullmatch("0*[1-9][0-9]{0,17}", text) is None:
        allowed = f"must be a whole number of movies, 1 or more, or {_NO_LIMIT}"
        raise InvalidRequest([Problem(field="--limit", value=printable(text), allowed=allowed)])
    return int(text)


def _criteria(until: str) -> Criteria:
    from fsmcollect.stream.stopping import Criteria

    return Criteria() if until.strip() == _NO_CRITERION else Criteria.parse(until)


# ---------------------------------------------------------------------------------------------------------------------
# Doing it
# ---------------------------------------------------------------------------------------------------------------------


def _look_ahead(settings: Settings, directory: Path, *, is_resumed: bool, as_json: bool) -> None:
    """``--dry-run``: ask the archive, and write nothing."""
    import trio

    from fsmcollect.console.streaming import Outlook, outlook_json, show_outlook
    from fsmcollect.stream.keeping.journal import Journal
    from fsmcollect.stream.keeping.workspace import JOURNAL_FILE, can_open
    from fsmcollect.stream.listing.dry_run import survey

    can_open(directory.absolute(), is_resumed)
    ask = partial(survey, settings, failed=_say_again)
    if is_resumed:
        with Journal.open(directory / JOURNAL_FILE) as journal:
            so_far = {"registered": len(journal.movies()), "registered_bytes": journal.movies_bytes()}
            found = trio.run(partial(ask, is_settled=journal.is_known, **so_far))
    else:
        found = trio.run(ask)
    outlook = Outlook(
        survey=found,
        directory=directory,
        free_bytes=shutil.disk_usage(_existing(directory.absolute())).free,
        rate_bytes_per_s=settings.rate_bytes_per_s,
        time_s=settings.until.time_s,
    )
    if as_json:
        console.say(outlook_json(outlook))
    else:
        show_outlook(outlook)


def _say_again(what: str, error: Exception, wait_s: float) -> None:
    from fsmcollect.console.tally import asked_again

    console.say(asked_again(what, str(error), wait_s), err=True)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _carry_out(
    settings: Settings, directory: Path, *, is_resumed: bool, archive: Archive | None, as_json: bool
) -> StreamResult:
    """Stream, from the pretend archive where there is one; Ctrl-C and SIGTERM abort it."""
    from fsmcollect.console.following import following
    from fsmcollect.observers import Observers
    from fsmcollect.stream.pipeline import Stream, run_stream

    def built(network: httpcore.AsyncNetworkBackend | None = None) -> Stream:
        return Stream(
            settings=settings,
            directory=directory,
            resume=is_resumed,
            observers=observers,
            network=network,
            random=Random() if archive is None else Random(f"{archive.seed}/stream"),
        )

    observers = Observers()
    streams = [built()]  # refuses what cannot be before anything is shown
    display: AbstractContextManager[Listener | None] = nullcontext() if as_json else following(settings.jobs)
    with signals_noted(lambda: [stream.abort() for stream in streams]) as noted, display as listener:
        if listener is not None:
            observers.listeners.append(listener)
        if archive is None:
            return run_stream(streams[0], heed_signals=True)

        def simulated(network: httpcore.AsyncNetworkBackend) -> Stream:
            streams[:] = [built(network)]
            if noted:
                streams[0].abort()
            return streams[0]

        from fsmcollect.simulate.streaming import simulate_stream

        return simulate_stream(simulated, archive, heed_signals=True)


def _pretended(seed: int, accession: str) -> Archive:
    from fsmcollect.sim.archive import Archive

    return Archive(seed=seed, entry=accession)


def _again(directory: Path, archive: Archive | None) -> str:
    """The command that goes on with a stream."""
    words = ["fsmcollect", "stream", "--resume", str(directory)]
    if archive is not None:
        words += ["--simulate", *(["--seed", str(archive.seed)] if archive.seed else [])]
    return shlex.join(words)
