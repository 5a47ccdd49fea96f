"""The command ``fsmcollect``: options, exit codes, reading what is asked for.

Owns what is done in which order and what the shell is told; `console` owns the words for people. Results go to
standard output, everything else to standard error, so that ``--json`` prints one JSON object and nothing else.
Libraries that only some commands need are imported by these.
"""

from __future__ import annotations

import enum
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fsmcollect import __version__, console
from fsmcollect.errors import FsmCollectError, InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.beamline import Beamline
    from fsmcollect.observers import Listener
    from fsmcollect.request import Written
    from fsmcollect.simulate import Simulation
    from fsmcollect.wedges import Plan

EXAMPLE = "inverse_beam.toml"
#: Larger files are no requests. Assumed: room for ten thousand collections of MXCuBE's.
MAX_REQUEST_BYTES = 20_000_000


class Exit(enum.IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    ABORTED = 3
    UNSAFE = 4


_EXIT_CODES = (
    ("0", "done, or nothing was missing"),
    ("1", "failed"),
    ("2", "the input or the call is wrong: nothing moved, no file was made"),
    ("3", "aborted"),
    ("4", "it could not be verified that the beamline is safe"),
)


class _WithExamples(click.Command):
    """A command whose help ends with aligned lists, such as examples."""

    def __init__(self, *args: Any, lists: dict[str, Sequence[tuple[str, str]]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._lists = lists

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, rows in self._lists.items():
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=38)


class _GroupWithExamples(_WithExamples, click.Group):
    pass


@click.group(
    cls=_GroupWithExamples,
    context_settings={"help_option_names": ["-h", "--help"]},
    lists={
        "Examples": (
            ("fsmcollect simulate", "the bundled example, with image files"),
            ("fsmcollect plan lyso.toml", "what would be collected, and how long it takes"),
            ("fsmcollect simulate lyso.toml", "collect it on the simulated beamline"),
            ("fsmcollect diagrams --check", "do drawings and tables agree?"),
        ),
        "Exit codes": _EXIT_CODES,
    },
)
@click.version_option(__version__, prog_name="fsmcollect")
def cli() -> None:
    """Collect macromolecular-crystallography data, sequenced by explicit state machines."""


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@cli.command(
    cls=_WithExamples,
    short_help="Show what REQUEST would collect.",
    lists={
        "Examples": (
            ("fsmcollect plan lyso.toml", "the wedges, in order"),
            ("fsmcollect plan parameters.json --json", "all of them, for a program"),
            ("fsmcollect plan - < lyso.toml", "from standard input"),
        )
    },
)
@click.argument("request_file", metavar="REQUEST")
@_JSON
def plan(request_file: str, as_json: bool) -> None:
    """Show what REQUEST would collect, in order, checked against the simulated beamline. Nothing moves.

    REQUEST is a TOML file, or MXCuBE's parameter dictionary (or a list of them) as a JSON file.
    """
    from fsmcollect import timing
    from fsmcollect.sim.beamline import SimulatedBeamline

    simulated = SimulatedBeamline()
    plans = _checked(_read(request_file), simulated.beamline, None)
    durations_s = [timing.predicted_duration_s(planned, simulated.timings) for planned in plans]
    if as_json:
        console.say(console.plan_json(plans, durations_s))
        return
    for number, (planned, duration_s) in enumerate(zip(plans, durations_s, strict=True), 1):
        if len(plans) > 1:
            console.say(f"{'' if number == 1 else chr(10)}Collection {number} of {len(plans)}\n")
        console.show_plan(planned, duration_s, timing.friedel_delay_s(planned, simulated.timings))


@cli.command(
    cls=_WithExamples,
    short_help="Collect REQUEST on the simulated beamline.",
    lists={
        "Examples": (
            ("fsmcollect simulate", "the bundled inverse-beam example"),
            ("fsmcollect simulate lyso.toml --out a", "image files go below a/"),
            ("fsmcollect simulate --speed 10", "to look at; try Ctrl-C"),
        )
    },
)
@click.argument("request_file", metavar="[REQUEST]", required=False)
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal simulations.")
@click.option(
    "--speed",
    type=click.Choice(["max", "1", "10"]),
    default="max",
    show_default=True,
    help="Simulated seconds per second.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the request's directory goes. [default: a new folder simulated-1, simulated-2, ... here]",
)
@_JSON
def simulate(request_file: str | None, seed: int, speed: str, out: Path | None, as_json: bool) -> None:
    """Collect REQUEST on the simulated beamline and leave its image files.

    REQUEST is a TOML file, or MXCuBE's parameter dictionary (or a list of them) as a JSON file; without it, a bundled
    example is collected. MXCuBE's absolute directories are kept below --out, so that a simulation never writes into a
    facility's data; an absolute directory in a TOML file is taken as it is.

    Ctrl-C aborts: the beam goes off, everything is made safe, the images that are complete are kept.
    """
    from fsmcollect.sim.beamline import SimulatedBeamline
    from fsmcollect.simulate import Rehearsal

    asked = _read(request_file) if request_file is not None else [_example()]
    directory = out if out is not None else _new_folder()
    simulated = SimulatedBeamline(seed=seed, speed=None if speed == "max" else float(speed))
    plans = _checked(asked, simulated.beamline, directory)
    progress: AbstractContextManager[list[Listener]] = nullcontext([]) if as_json else console.progress(plans)
    with _signals_noted() as noted, progress as listeners:
        rehearsal = Rehearsal(
            requests=[written.request for written in asked],
            simulated=simulated,
            directory=directory,
            listeners=listeners,
            before=lambda rehearsal: rehearsal.abort() if noted else None,
        )
        ended = rehearsal.run(heed_signals=True)
    if as_json:
        console.say(console.simulation_json(ended))
    else:
        console.show_simulation(ended, str(directory))
    for failure in ended.failures:
        console.complain(failure)
    sys.exit(_exit_code(ended))


@cli.command(
    cls=_WithExamples,
    short_help="Draw the state machines from their tables.",
    lists={
        "Examples": (
            ("fsmcollect diagrams", "write the pages"),
            ("fsmcollect diagrams --check", "have they drifted from the tables?"),
        )
    },
)
@click.option("--check", is_flag=True, help="Write nothing; fail with a diff where pages and tables disagree.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs/machines"),
    show_default=True,
    help="Where the pages are.",
)
def diagrams(check: bool, out: Path) -> None:
    """Draw the state machines from their tables: a Markdown page each, and SVG where Graphviz is installed."""
    from fsmcollect.machines import diagrams as drawing
    from fsmcollect.machines.collection import COLLECTION
    from fsmcollect.machines.wedge import WEDGE

    tables = (COLLECTION, WEDGE)
    try:
        if not check:
            for path in drawing.write(out, tables):
                console.say(str(path))
            return
        difference = drawing.check(out, tables)
    except OSError as error:
        allowed = f"cannot be used: {error.strerror}"
        raise InvalidRequest([Problem(field="--out", value=str(out), allowed=allowed)]) from error
    if difference:
        console.say(difference)
        console.complain(f"{out} does not agree with the tables; run: fsmcollect diagrams")
        sys.exit(Exit.FAILED)


def main() -> NoReturn:
    """Run the command and say in a sentence, not a traceback, what a person can mend."""
    try:
        cli(standalone_mode=False)
    except click.Abort:
        console.complain("aborted before anything was running")
        sys.exit(Exit.ABORTED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.INVALID)
    except InvalidRequest as error:
        for problem in error.problems:
            console.complain(problem)
        sys.exit(Exit.INVALID)
    except FsmCollectError as error:
        console.complain(error)
        sys.exit(Exit.FAILED)
    sys.exit(Exit.DONE)


@contextmanager
def _signals_noted() -> Generator[list[int]]:
    """From here on SIGINT and SIGTERM no longer end the command where it stands: a run must end through CLOSING.

    Yields those that came and that no run has heard. Afterwards they are ignored: the result is printed.
    """
    noted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda came, _frame: noted.append(came))
    try:
        yield noted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def _read(name: str) -> Sequence[Written]:
    """The requests of a file, or of standard input. A TOML document holds one, MXCuBE's JSON may hold a list."""
    from fsmcollect.request import written_in_mxcube, written_in_toml

    where = "standard input" if name == "-" else name
    try:
        data = _bytes(name)
        text = data.decode()
    except OSError as error:
        raise _unreadable(name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"is no text in UTF-8 (byte {error.start}): is it a request at all?") from error
    if len(data) > MAX_REQUEST_BYTES:
        raise _unreadable(name, f"is larger than {MAX_REQUEST_BYTES / 1e6:g} MB: is it a request at all?")
    if not (name.lower().endswith(".json") or (name == "-" and _looks_like_json(text))):
        return [written_in_toml(text, where)]
    return [_below_out(written) for written in written_in_mxcube(text, where)]


def _bytes(name: str) -> bytes:
    """The beginning of a file, long enough to see that it is too long."""
    if name != "-":
        with Path(name).open("rb") as file:
            return file.read(MAX_REQUEST_BYTES + 1)
    if sys.stdin is None:
        raise _unreadable(name, "standard input is closed")
    return sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)


def _unreadable(name: str, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field="REQUEST", value=name, allowed=allowed)])


def _looks_like_json(text: str) -> bool:
    """TOML may begin with a bracket too, but not with a brace behind it."""
    return text.lstrip("\ufeff \t\r\n[").startswith("{")


def _below_out(written: Written) -> Written:
    """MXCuBE names a facility's absolute directories; a simulation keeps them below --out."""
    import attrs

    files = written.request.files

    def relative(directory: str) -> str:
        return str(Path(directory).relative_to(Path(directory).anchor)) if directory else ""

    try:
        files = attrs.evolve(
            files, directory=relative(files.directory), process_directory=relative(files.process_directory)
        )
    except InvalidRequest as refusal:
        raise written.retold(refusal) from None
    return attrs.evolve(written, request=attrs.evolve(written.request, files=files))


def _checked(asked: Sequence[Written], beamline: Beamline, directory: Path | None) -> list[Plan]:
    """The plans of what is asked, if beamline and disk can do it; `directory` is None where no file will be made.

    Raises
    ------
    InvalidRequest
        Everything that is wrong with any of them, as the user finds it in the file.
    """
    from fsmcollect import limits, wedges
    from fsmcollect.collecting.storing import Store

    plans: list[Plan] = []
    problems: list[Problem] = []
    for written in asked:
        plans.append(wedges.make_plan(written.request))
        try:
            limits.check(written.request, plans[-1], beamline)
            if directory is not None:
                Store.checked(directory, written.request, plans[-1], beamline)
        except InvalidRequest as refusal:
            problems += written.retold(refusal).problems
    for position, clash in limits.name_clashes([written.request for written in asked], plans):
        problems += asked[position].retold(InvalidRequest([clash])).problems
    if problems:
        raise InvalidRequest(problems)
    return plans


def _example() -> Written:
    from fsmcollect.request import written_in_toml

    return written_in_toml((resources.files("fsmcollect.sim") / EXAMPLE).read_text("utf-8"), EXAMPLE)


def _new_folder() -> Path:
    """The first of simulated-1, simulated-2, ... that is not here yet."""
    number = 1
    while (folder := Path(f"simulated-{number}")).exists():
        number += 1
    return folder


def _exit_code(ended: Simulation) -> Exit:
    from fsmcollect.machines.table import Outcome

    if not ended.safe:
        return Exit.UNSAFE
    if ended.outcome is Outcome.ABORTED:
        return Exit.ABORTED
    return Exit.FAILED if ended.outcome is Outcome.FAILED else Exit.DONE
