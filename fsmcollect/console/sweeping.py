"""What a person sees of a sweep: how far it is, how many points were tried, what was violated and what was covered."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from fsmcollect.console import INDENT, say, show_row, show_table
from fsmcollect.console.amounts import count, duration

if TYPE_CHECKING:
    from fsmcollect.testing.sweeping.report import Covered, Report

#: On narrower terminals the bar leaves out the time that is left.
_WIDE = 60
#: Names of what was missed that are printed; ``--json`` has them all.
_MISSED_SHOWN = 6
#: Violations that are printed.
_VIOLATIONS_SHOWN = 10


# ---------------------------------------------------------------------------------------------------------------------
# Progress
# ---------------------------------------------------------------------------------------------------------------------


@attrs.define
class Count:
    """How many points were tried, and of how many; None before that is known."""

    done: int = 0
    of: int | None = None

    def __str__(self) -> str:
        return "before the first point" if self.of is None else f"after {self.done:,} of {self.of:,} points"


@contextmanager
def progress(so_far: Count, *, is_quiet: bool = False) -> Generator[Callable[[int, int], object]]:
    """Show on standard error, where that is a terminal, how a sweep gets on; yields who wants to be told of it."""

    def note(done: int, of: int) -> None:
        so_far.done, so_far.of = done, of

    no_bar = is_quiet or sys.stderr is None or not sys.stderr.isatty()
    if no_bar or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield note
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    # A terminal shows Ctrl-C as ^C behind the bar; a full line would be broken by it.
    console.width = max(console.width - len("^C") - 1, INDENT)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("points"),
    ]
    if console.width >= _WIDE:
        columns += [TimeRemainingColumn(), TextColumn("left")]
    with Progress(*columns, console=console, expand=True, transient=True) as shown:
        task = shown.add_task("undisturbed", total=None)

        def show(done: int, of: int) -> None:
            note(done, of)
            shown.update(task, description="sweeping", completed=done, total=of)

        yield show


# ---------------------------------------------------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------------------------------------------------


def show_report(report: Report) -> None:
    """Print what a sweep has tried and found."""
    kinds = {
        "cancelled at a checkpoint": report.cancel_points,
        "aborted at an event": report.abort_points,
        "one fault": report.fault_points,
        "two faults": report.pair_points,
    }
    show_table(_numbered("point", kinds), numeric=("tried",))
    say("")
    show_table(_numbered("struck in", _in_order(report.points_by_state)), numeric=("tried",))
    say("")
    show_row("scenario", report.scenario)
    orders = f" in {report.schedules} orders of tasks" if report.schedules > 1 else ""
    rate = f", {report.runs / report.seconds:,.0f}/s" if report.seconds else ""
    show_row("played", f"{count(report.runs, 'run')}{orders} in {duration(report.seconds)}{rate}")
    coverage = report.coverage
    show_row("states", _covered(coverage.states, coverage.states.missed))
    show_row("rows", _covered(coverage.rows, coverage.rows.missed))
    effects = coverage.fault_x_state.of // coverage.states.of
    show_row("faults", _covered(coverage.fault_x_state, _by_state(coverage.fault_x_state.missed, effects)))
    for never in report.never:
        show_row("never", never)
    show_row("violations", str(len(report.violations)))
    for violation in report.violations[:_VIOLATIONS_SHOWN]:
        _show_violation(violation.what, violation.state, violation.times, violation.replay)
    if (more := len(report.violations) - _VIOLATIONS_SHOWN) > 0:
        say(f"\nand {more:,} more: --json has them all")


def _numbered(heading: str, numbers: Mapping[str, int]) -> list[tuple[str, ...]]:
    """The rows of a table of what was tried, with their sum."""
    rows = [(name, f"{number:,}") for name, number in numbers.items() if number]
    return [(heading, "tried"), *rows, ("all", f"{sum(numbers.values()):,}")]


def _in_order(by_state: Mapping[str, int]) -> dict[str, int]:
    """States in the order of a run, those of a wedge after those of the collection."""
    from fsmcollect.machines.collection import COLLECTION
    from fsmcollect.machines.wedge import WEDGE

    order = [*(state.name for state in COLLECTION.states), *(f"wedge.{state.name}" for state in WEDGE.states)]
    found = sorted(by_state, key=lambda name: order.index(name) if name in order else len(order))
    return {name or "(never)": by_state[name] for name in found}


def _covered(covered: Covered, missed: Sequence[str]) -> str:
    """How much was visited, and the beginning of what was not."""
    text = f"{covered.visited:,} of {covered.of:,}"
    if not missed:
        return text
    more = len(missed) - _MISSED_SHOWN
    return f"{text}; missed: {', '.join(missed[:_MISSED_SHOWN])}{f' and {more:,} more' if more > 0 else ''}"


def _by_state(missed: Sequence[str], effects: int) -> list[str]:
    """Pairs such as "refuses in HOLDING", a state that has seen no fault at all in one."""
    number = Counter(_state_of(pair) for pair in missed)
    unseen = [f"all in {state}" for state, missing in number.items() if missing == effects]
    return unseen + [pair for pair in missed if number[_state_of(pair)] < effects]


def _state_of(pair: str) -> str:
    return pair.rpartition(" in ")[2]


def _show_violation(what: str, state: str, times: int, replay: str) -> None:
    """A violation, and the command that plays it again: in one piece, to be copied."""
    often = f" ({count(times, 'time')})" if times > 1 else ""
    where = f"{state}: " if state else ""
    say("")
    show_row("violated", f"{where}{what}{often}")
    say(f"{'replay':<{INDENT}}{replay}")
