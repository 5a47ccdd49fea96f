"""What a person sees of plans and runs: lines in a pipe, a progress bar on a terminal.

Owns the wording and layout of what the command prints, and what becomes of it when nobody reads it any more. Owns no
exit code and no option (`cli`); decides nothing about a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fsmcollect.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console

    from fsmcollect.events import Event
    from fsmcollect.observers import Listener
    from fsmcollect.simulate import Simulation
    from fsmcollect.wedges import Plan, Wedge

#: Wedges that a person is shown; ``--json`` has them all.
_WEDGES_SHOWN = 12
#: Where the second column of a summary begins.
_INDENT = 12
#: On narrower terminals the progress bar leaves out the times.
_WIDE = 72


def say(text: str, *, err: bool = False) -> None:
    """Print a line. That nobody reads any more (``| head -1``) neither fails the command nor stops a run.

    Raises
    ------
    StorageError
        What was to be printed on standard output is lost for another reason, such as a full disk.
    """
    try:
        click.echo(text, err=err)
    except OSError as error:
        # Python would flush what is left once more on its way out, and complain then.
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), (sys.stderr if err else sys.stdout).fileno())
        if not (err or isinstance(error, BrokenPipeError)):
            raise StorageError(f"cannot print the result: {error.strerror or error}") from error


def complain(sentence: object) -> None:
    """Say on standard error what is wrong."""
    say(f"fsmcollect: {sentence}", err=True)


# ---------------------------------------------------------------------------------------------------------------------
# Progress
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def progress(plans: Sequence[Plan]) -> Generator[list[Listener]]:
    """Show on standard error how a list of runs gets on, fed by events; yields who wants to be told of them."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        # A terminal shows Ctrl-C as ^C behind the bar; a full line would be broken by it.
        console.width = max(console.width - len("^C") - 1, _INDENT)
        with _bar(console, sum(plan.images for plan in plans)) as listener:
            yield [listener]
    else:
        yield [_lines(named=len(plans) > 1)]


def _lines(*, named: bool) -> Listener:
    """A line for every state; with the name of each run where there are several."""
    from fsmcollect.events import Moved, RunStarted

    def show(event: Event) -> None:
        if isinstance(event, RunStarted) and named:
            say(f"{event.run}, {event.images:,} images", err=True)
        elif isinstance(event, Moved) and event.machine == "collection" and event.source != event.dest:
            say(f"{event.t_us / 1e6:12.3f} s  {_words(event.dest)} ({_words(event.event)})", err=True)

    return show


@contextmanager
def _bar(console: Console, images: int) -> Generator[Listener]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

    from fsmcollect.events import ImagesTaken, Moved, RunEnded

    columns: list[ProgressColumn] = [
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("images"),
    ]
    if console.width >= _WIDE:
        columns += [TextColumn("{task.fields[simulated_s]:8.1f} s simulated in"), TimeElapsedColumn()]
    with Progress(*columns, console=console, expand=True) as shown:
        task = shown.add_task("", total=images, simulated_s=0.0)
        ended_s = now_s = 0.0

        def show(event: Event) -> None:
            nonlocal ended_s, now_s
            now_s = ended_s + event.t_us / 1e6  # events count from the beginning of their run
            if isinstance(event, ImagesTaken):
                shown.update(task, advance=event.images, simulated_s=now_s)
            elif isinstance(event, Moved) and event.machine == "collection":
                shown.update(task, description=_words(event.dest), simulated_s=now_s)
            elif isinstance(event, RunEnded):
                shown.update(task, description=event.outcome, simulated_s=now_s)
                ended_s = now_s

        yield show


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


# ---------------------------------------------------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------------------------------------------------


def show_plan(plan: Plan, duration_s: float, friedel_delay_s: float | None) -> None:
    """Print the wedges of one collection in order, then what they add up to."""
    rows: list[tuple[str, ...]] = [("wedge", "pass", "omega (deg)", "images", "numbers")]
    wedges = list(plan.wedges[: _WEDGES_SHOWN - 2] if len(plan.wedges) > _WEDGES_SHOWN else plan.wedges)
    rows += [_wedge_row(wedge) for wedge in wedges]
    if len(wedges) < len(plan.wedges):
        rows += [("...", "", "", "", ""), _wedge_row(plan.wedges[-1])]
    _show_table(rows, numeric=("wedge", "images"))
    say("")
    how_many = f"{len(plan.wedges):,} wedges" if len(plan.wedges) > 1 else "1 wedge"
    _show_row(
        "images", f"{plan.images:,} of {float(plan.image_width_deg):g} deg and {plan.exposure_s:g} s, in {how_many}"
    )
    _show_row("series", ", ".join(series.name for series in plan.series))
    _show_row("duration", f"{duration_s:,.1f} s on the simulated beamline, mounting and centring not counted")
    if friedel_delay_s is not None:
        _show_row("Friedel", f"mates are recorded {friedel_delay_s:.1f} s apart")


def _wedge_row(wedge: Wedge) -> tuple[str, ...]:
    start, end = f"{float(wedge.omega_start_deg):g}", f"{float(wedge.omega_end_deg):g}"
    first, last = wedge.first_image, wedge.last_image
    return (
        str(wedge.index),
        wedge.series.pass_.value,
        f"{start} to {end}" if start != end else start,
        f"{wedge.images:,}",
        f"{first} to {last}" if first != last else f"{first}",
    )


def _show_table(rows: Sequence[tuple[str, ...]], *, numeric: Sequence[str]) -> None:
    """Print columns under their headings, those in `numeric` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, rows[0], strict=True)
        say("  ".join(cell.rjust(n) if heading in numeric else cell.ljust(n) for cell, n, heading in cells).rstrip())


def show_simulation(ended: Simulation, out: str) -> None:
    """Print what became of simulated collections; `out` is where the rest could be collected."""
    verdict = "" if ended.safe else "; the beamline could not be verified safe"
    _show_row("outcome", f"{_coloured(str(ended.outcome), safe=ended.safe)}{verdict}")
    _show_row("images", f"{ended.images:,}")
    faster = f", {ended.simulated_s / ended.wall_s:,.0f} times as fast" if ended.simulated_s and ended.wall_s else ""
    _show_row("simulated", f"{ended.simulated_s:,.1f} s in {ended.wall_s:.2f} s{faster}")
    _show_row("trace", ended.trace_sha256)
    _show_row("violations", str(len(ended.violations)))
    for violation in ended.violations:
        _show_row("", violation)
    for file in ended.files:
        _show_row("file", str(file))
    if ended.images and str(ended.outcome) in ("aborted", "failed"):
        _show_row("the rest", f"can be collected with files.skip_existing = true and --out {out}")


def _coloured(outcome: str, *, safe: bool) -> str:
    """Colour on a terminal that wants it; see https://no-color.org."""
    if os.environ.get("NO_COLOR") or not _on_a_terminal():
        return outcome
    colours = {"done": "green", "skipped": "green", "aborted": "yellow"}
    return click.style(outcome, fg=colours.get(outcome, "red") if safe else "red", bold=True)


def _on_a_terminal() -> bool:
    """Whether a person reads along; where standard output is closed, Python has none."""
    return sys.stdout is not None and sys.stdout.isatty()


def _show_row(label: str, text: str) -> None:
    """Print a label and its text, on a terminal in lines of its width; a path or a hash is never broken."""
    label = label.ljust(_INDENT)
    if not _on_a_terminal():
        say(label + text)
        return
    width = max(shutil.get_terminal_size().columns, 2 * _INDENT)
    indent = " " * _INDENT
    say(
        textwrap.fill(
            text, width, initial_indent=label, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    )


# ---------------------------------------------------------------------------------------------------------------------
# What programs are told
# ---------------------------------------------------------------------------------------------------------------------


def plan_json(plans: Sequence[Plan], durations_s: Sequence[float]) -> str:
    """One object for a list of collections, their wedges in order."""
    from fsmcollect import wedges

    parts = [wedges.as_json(plan, duration_s) for plan, duration_s in zip(plans, durations_s, strict=True)]
    listed = [wedge for part in parts for wedge in part["wedges"]]
    return json.dumps(
        {
            "images": sum(part["images"] for part in parts),
            "duration_s": round(sum(durations_s), 6),
            "wedges": [{**wedge, "index": index} for index, wedge in enumerate(listed)],
        }
    )


def simulation_json(ended: Simulation) -> str:
    """One object for simulated collections."""
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
