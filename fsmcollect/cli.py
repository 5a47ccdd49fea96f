"""The command ``fsmcollect``: reads files, calls the library, prints.

Owns words, exit codes and the progress display. Results go to standard output, everything else to standard error, so
that ``--json`` prints one JSON object and nothing else. Libraries that only some commands need are imported by these.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fsmcollect import __version__
from fsmcollect.errors import FsmCollectError, InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.observers import Listener
    from fsmcollect.request import Request
    from fsmcollect.simulate import Simulation
    from fsmcollect.wedges import Plan

EXAMPLE = "inverse_beam.toml"
#: Wedges that a person is shown; ``--json`` has them all.
_WEDGES_SHOWN = 12


class Exit(enum.IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    ABORTED = 3
    UNSAFE = 4


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fsmcollect")
def cli() -> None:
    r"""Sequence data collection with explicit state machines.

    \b
    Examples:
      fsmcollect simulate --out trial           the bundled inverse-beam example, with image files
      fsmcollect plan lyso.toml                 what would be collected, in which order, how long it takes
      fsmcollect simulate lyso.toml --speed 1   the same collection in real time
      fsmcollect diagrams --check               do the drawn state machines agree with the tables?

    \b
    Exit codes: 0 done, 1 failed, 2 the input or call is wrong, 3 aborted, 4 safing could not be verified.
    """


@cli.command()
@click.argument("request_file", metavar="REQUEST")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def plan(request_file: str, as_json: bool) -> None:
    r"""Show what REQUEST collects, in order, checked against the simulated beamline. Nothing moves.

    REQUEST is a TOML file, or MXCuBE's dictionary as a JSON file.

    \b
    Examples:
      fsmcollect plan lyso.toml
      fsmcollect plan mxcube_parameters.json --json
    """
    from fsmcollect import limits, timing, wedges
    from fsmcollect.sim.beamline import SimulatedBeamline

    requests = _read(request_file)
    simulated = SimulatedBeamline()
    plans = [wedges.make_plan(request) for request in requests]
    for request, planned in zip(requests, plans, strict=True):
        limits.check(request, planned, simulated.beamline)
    durations_s = [timing.predicted_duration_s(planned, simulated.timings) for planned in plans]
    if as_json:
        parts = [wedges.as_json(planned, duration_s) for planned, duration_s in zip(plans, durations_s, strict=True)]
        merged = [wedge for part in parts for wedge in part["wedges"]]
        for index, wedge in enumerate(merged):
            wedge["index"] = index
        total = {"images": sum(p.images for p in plans), "duration_s": sum(durations_s), "wedges": merged}
        click.echo(json.dumps(total))
        return
    for planned, duration_s in zip(plans, durations_s, strict=True):
        _print_plan(planned, duration_s, timing.friedel_delay_s(planned, simulated.timings))


@cli.command()
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def simulate(request_file: str | None, seed: int, speed: str, out: Path | None, as_json: bool) -> None:
    r"""Collect REQUEST on the simulated beamline and leave its image files.

    Without REQUEST it runs a bundled inverse-beam example. Ctrl-C aborts: the beam goes off, everything is made safe,
    what was taken is kept. MXCuBE's absolute directories are kept below --out, so that a simulation never writes into
    a facility's data; an absolute directory in a TOML file is taken as it is.

    \b
    Examples:
      fsmcollect simulate
      fsmcollect simulate lyso.toml --out trial --seed 7
      fsmcollect simulate lyso.toml --speed 10
    """
    from fsmcollect.sim.beamline import SimulatedBeamline
    from fsmcollect.simulate import Rehearsal

    requests = _read(request_file, absolute_below_out=True) if request_file is not None else [_example()]
    directory = out if out is not None else _new_folder()
    simulated = SimulatedBeamline(seed=seed, speed=None if speed == "max" else float(speed))
    with _progress(requests, quiet=as_json) as listeners:
        rehearsal = Rehearsal(requests=requests, simulated=simulated, directory=directory, listeners=listeners)
        ended = rehearsal.run(heed_signals=True)
    if as_json:
        click.echo(_simulation_json(ended))
    else:
        _print_simulation(ended)
    for failure in ended.failures:
        click.echo(f"fsmcollect: {failure}", err=True)
    sys.exit(_exit_code(ended))


@cli.command()
@click.option("--check", is_flag=True, help="Write nothing; fail with a diff where pages and tables disagree.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs/machines"),
    show_default=True,
    help="Where the pages are.",
)
def diagrams(check: bool, out: Path) -> None:
    r"""Draw the state machines from their tables: a Markdown page each, and SVG where Graphviz is installed.

    \b
    Examples:
      fsmcollect diagrams
      fsmcollect diagrams --check
    """
    from fsmcollect.machines import diagrams as drawing
    from fsmcollect.machines.collection import COLLECTION
    from fsmcollect.machines.wedge import WEDGE

    tables = (COLLECTION, WEDGE)
    if check:
        difference = drawing.check(out, tables)
        if difference:
            click.echo(difference)
            click.echo(f"fsmcollect: {out} does not agree with the tables; run: fsmcollect diagrams", err=True)
            sys.exit(Exit.FAILED)
        return
    for path in drawing.write(out, tables):
        click.echo(path)


def main() -> NoReturn:
    """Entry point: run the command and say in a sentence, not a traceback, what a person can mend."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.Abort:
        click.echo("fsmcollect: aborted before anything was running", err=True)
        sys.exit(Exit.ABORTED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.INVALID)
    except InvalidRequest as error:
        for problem in error.problems:
            click.echo(f"fsmcollect: {problem}", err=True)
        sys.exit(Exit.INVALID)
    except FsmCollectError as error:
        click.echo(f"fsmcollect: {error}", err=True)
        sys.exit(Exit.FAILED)
    sys.exit(Exit.DONE)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def _read(name: str, *, absolute_below_out: bool = False) -> Sequence[Request]:
    """The requests of a file. A TOML file holds one, MXCuBE's JSON may hold a list."""
    from fsmcollect.request import parse_toml
    from fsmcollect.request.mxcube import parse_mxcube

    path = Path(name)
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise _unreadable(name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if path.suffix.lower() != ".json":
        return [parse_toml(text, path.name)]
    requests = parse_mxcube(text, path.name)
    return [_below_out(request) for request in requests] if absolute_below_out else requests


def _unreadable(name: str, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field="REQUEST", value=name, allowed=allowed)])


def _below_out(request: Request) -> Request:
    """MXCuBE names a facility's absolute directories; a simulation keeps them below --out."""
    import attrs

    files = request.files

    def relative(directory: str) -> str:
        return str(Path(directory).relative_to(Path(directory).anchor)) if directory else ""

    return attrs.evolve(
        request,
        files=attrs.evolve(
            files, directory=relative(files.directory), process_directory=relative(files.process_directory)
        ),
    )


def _example() -> Request:
    from fsmcollect.request import parse_toml

    return parse_toml((resources.files("fsmcollect.sim") / EXAMPLE).read_text("utf-8"), EXAMPLE)


def _new_folder() -> Path:
    """The first of simulated-1, simulated-2, ... that is not here yet."""
    number = 1
    while (folder := Path(f"simulated-{number}")).exists():
        number += 1
    return folder


# ---------------------------------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(requests: Sequence[Request], *, quiet: bool) -> Iterator[list[Listener]]:
    """A progress bar on a terminal, fed by events; plain lines elsewhere; nothing with --json."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fsmcollect.events import Event, ImagesTaken, Moved, RunStarted

    console = Console(stderr=True)
    if quiet:
        yield []
        return
    if not console.is_terminal:

        def print_state(event: Event) -> None:
            if isinstance(event, Moved) and event.machine == "collection" and event.source != event.dest:
                click.echo(f"{event.t_us / 1e6:12.3f} s  {event.dest.lower()} ({event.event.lower()})", err=True)

        yield [print_state]
        return
    columns = (
        TextColumn("{task.fields[state]:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images  {task.fields[simulated_s]:.1f} s simulated"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None, state="", simulated_s=0.0)

        def show(event: Event) -> None:
            if isinstance(event, RunStarted):
                progress.update(task, total=event.images, completed=0)
            elif isinstance(event, ImagesTaken):
                progress.update(task, advance=event.images, simulated_s=event.t_us / 1e6)
            elif isinstance(event, Moved) and event.machine == "collection":
                progress.update(task, state=event.dest.lower(), simulated_s=event.t_us / 1e6)

        yield [show]


def _print_plan(planned: Plan, duration_s: float, friedel_delay_s: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None)
    for heading in ("wedge", "series", "pass", "omega", "images", "numbers"):
        table.add_column(heading, justify="left" if heading in ("series", "pass") else "right", no_wrap=True)
    shown = planned.wedges if len(planned.wedges) <= _WEDGES_SHOWN else planned.wedges[: _WEDGES_SHOWN - 1]
    for wedge in shown:
        table.add_row(
            str(wedge.index),
            wedge.series.name,
            wedge.series.pass_.value,
            f"{float(wedge.omega_start_deg):g} to {float(wedge.omega_end_deg):g} deg",
            str(wedge.images),
            f"{wedge.first_image} to {wedge.last_image}",
        )
    console.print(table)
    if len(shown) < len(planned.wedges):
        console.print(f"... and {len(planned.wedges) - len(shown):,} more wedges (--json lists them all)")
    console.print(
        f"{planned.images:,} images of {float(planned.image_width_deg):g} deg and {planned.exposure_s:g} s "
        f"in {len(planned.wedges):,} wedges; about {duration_s:,.1f} s on the simulated beamline, mounting and "
        "centring not counted"
    )
    if friedel_delay_s is not None:
        console.print(f"Friedel mates are recorded {friedel_delay_s:.2f} s apart")


def _print_simulation(ended: Simulation) -> None:
    faster = f", {ended.simulated_s / ended.wall_s:,.0f} times as fast" if ended.wall_s else ""
    click.echo(f"outcome     {ended.outcome}" + ("" if ended.safe else "; the beamline could not be verified safe"))
    click.echo(f"images      {ended.images:,}")
    click.echo(f"simulated   {ended.simulated_s:,.1f} s in {ended.wall_s:.2f} s{faster}")
    click.echo(f"trace       {ended.trace_sha256}")
    click.echo(f"violations  {len(ended.violations)}")
    for violation in ended.violations:
        click.echo(f"            {violation}")
    for file in ended.files:
        click.echo(f"file        {file}")


def _simulation_json(ended: Simulation) -> str:
    return json.dumps(
        {
            "outcome": str(ended.outcome),
            "images": ended.images,
            "simulated_s": ended.simulated_s,
            "wall_s": round(ended.wall_s, 6),
            "trace_sha256": ended.trace_sha256,
            "violations": list(ended.violations),
            "files": [str(file) for file in ended.files],
        }
    )


def _exit_code(ended: Simulation) -> Exit:
    from fsmcollect.machines.table import Outcome

    if not ended.safe:
        return Exit.UNSAFE
    if ended.outcome is Outcome.ABORTED:
        return Exit.ABORTED
    return Exit.FAILED if ended.outcome is Outcome.FAILED else Exit.DONE
