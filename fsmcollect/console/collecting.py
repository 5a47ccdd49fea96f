"""What a person sees of plans and simulated collections, and what programs are told of them."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fsmcollect.console import INDENT, ROWS_SHOWN, amounts, coloured, say, show_row, show_table, words

if TYPE_CHECKING:
    from rich.console import Console

    from fsmcollect.events import Event
    from fsmcollect.observers import Listener
    from fsmcollect.simulate.collecting import Simulation
    from fsmcollect.wedges import Plan, Wedge

#: On narrower terminals the progress bar leaves out the times.
_WIDE = 72


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
        console.width = max(console.width - len("^C") - 1, INDENT)
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
            say(f"{event.t_us / 1e6:12.3f} s  {words(event.dest)} ({words(event.event)})", err=True)

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
                shown.update(task, description=words(event.dest), simulated_s=now_s)
            elif isinstance(event, RunEnded):
                shown.update(task, description=event.outcome, simulated_s=now_s)
                ended_s = now_s

        yield show


# ---------------------------------------------------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------------------------------------------------


def show_plan(plan: Plan, duration_s: float, friedel_delay_s: float | None) -> None:
    """Print the wedges of one collection in order, then what they add up to."""
    rows: list[tuple[str, ...]] = [("wedge", "pass", "omega (deg)", "images", "numbers")]
    wedges = list(plan.wedges[: ROWS_SHOWN - 2] if len(plan.wedges) > ROWS_SHOWN else plan.wedges)
    rows += [_wedge_row(wedge) for wedge in wedges]
    if len(wedges) < len(plan.wedges):
        rows += [("...", "", "", "", ""), _wedge_row(plan.wedges[-1])]
    show_table(rows, numeric=("wedge", "images"))
    say("")
    how_many = f"{len(plan.wedges):,} wedges" if len(plan.wedges) > 1 else "1 wedge"
    show_row(
        "images", f"{plan.images:,} of {float(plan.image_width_deg):g} deg and {plan.exposure_s:g} s, in {how_many}"
    )
    show_row("series", ", ".join(series.name for series in plan.series))
    show_row("duration", f"{duration_s:,.1f} s on the simulated beamline, mounting and centring not counted")
    if friedel_delay_s is not None:
        show_row("Friedel", f"mates are recorded {friedel_delay_s:.1f} s apart")


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


def show_simulation(ended: Simulation, out: str, *, planned: int) -> None:
    """Print what became of simulated collections of so many images; `out` is where the rest could be collected."""
    verdict = "" if ended.safe else "; the beamline could not be verified safe"
    show_row("outcome", f"{coloured(str(ended.outcome), safe=ended.safe)}{verdict}")
    show_row("images", f"{ended.images:,}")
    show_row("simulated", amounts.pace(ended.simulated_s, ended.wall_s))
    show_row("trace", ended.trace_sha256)
    show_row("violations", str(len(ended.violations)))
    for violation in ended.violations:
        show_row("", violation)
    for file in ended.files:
        show_row("file", str(file))
    if 0 < ended.images < planned and str(ended.outcome) in ("aborted", "failed"):
        show_row("the rest", f"can be collected with files.skip_existing = true and --out {out}")


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
