"""``fsmcollect sweep``: a scenario struck at every point at which it can be.

Owns the options, who hears Ctrl-C meanwhile, and what the shell is told. Which points there are, who plays them and
what is found is `fsmcollect.testing.sweeping`'s.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Generator
from concurrent.futures import as_completed
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from fsmcollect import console
from fsmcollect.cli import reading
from fsmcollect.cli.calling import Exit, WithExamples, json_option
from fsmcollect.cli.checking import checked
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.sim.scenario.values import Scenario


#: More pairs than anybody waits for. Assumed.
MAX_PAIRS = 1_000_000


@click.command(
    cls=WithExamples,
    short_help="Stop SCENARIO everywhere, with every fault.",
    lists={
        "Examples": (
            ("fsmcollect sweep short", "every stop, every fault"),
            ("fsmcollect sweep lyso.toml --limit 200", "200 points of each kind, evenly spread"),
            ("fsmcollect sweep short --faults --pairs 500", "faults only, alone and in pairs"),
            ("fsmcollect sweep short --schedules 4", "in four orders of tasks"),
        )
    },
)
@click.argument("asked", metavar="SCENARIO")
@click.option("--cancel", is_flag=True, help="Cancel it at every checkpoint, abort it at every event.")
@click.option("--faults", is_flag=True, help="Every fault at every call of every device. [default: both]")
@click.option("--pairs", type=int, default=0, metavar="N", help="So many random pairs of faults too.")
@click.option("--seed", type=int, default=0, metavar="N", help="Another draw of pairs for another seed. [default: 0]")
@click.option("--schedules", type=int, default=1, metavar="N", help="All in so many orders of tasks. [default: 1]")
@click.option("--limit", type=int, metavar="N", help="At most so many points of each kind. [default: all]")
@click.option("--jobs", type=int, metavar="N", help="How many processes share the work. [default: one for each core]")
@json_option
def sweep(
    asked: str,
    cancel: bool,
    faults: bool,
    pairs: int,
    seed: int,
    schedules: int,
    limit: int | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Play SCENARIO again and again, each time stopped elsewhere or with something else that fails.

    SCENARIO is a TOML file, or the name of a bundled one (see fsmcollect scenarios). Its undisturbed run says where it
    can be struck; each point is then a run of its own, in simulated time. Whatever must never be is told with the
    command that plays it again.

    It ends with 0 where nothing was violated, with 1 where something was, with 2 where part of the scenario never comes
    to pass; Ctrl-C ends it with 3.
    """
    _check(pairs=(pairs, 0, MAX_PAIRS), schedules=(schedules, 1), limit=(limit, 1), jobs=(jobs, 1))
    from fsmcollect.console import sweeping as showing
    from fsmcollect.simulate.playing import beamline_of
    from fsmcollect.testing import sweep as strike_everywhere

    source = reading.from_file_or_library(asked, "SCENARIO")
    found = reading.scenario_in(source)
    checked(found.written, beamline_of(found.scenario).beamline, None)
    so_far = showing.Count()
    try:
        with _interruptible() as heed, showing.progress(so_far, is_quiet=as_json) as progress:

            def told(done: int, of: int) -> None:
                progress(done, of)
                heed()

            report = strike_everywhere(
                _called(source, found.scenario),
                cancel=cancel or not faults,
                faults=faults or not cancel,
                pairs=pairs,
                schedules=schedules,
                limit=limit,
                jobs=jobs,
                seed=seed,
                progress=told,
            )
    except KeyboardInterrupt:
        console.complain(f"interrupted {so_far}; nothing is reported of a part")
        sys.exit(Exit.ABORTED)
    if as_json:
        console.say(json.dumps(report.to_json_dict()))
    else:
        showing.show_report(report)
    for never in report.never:
        console.complain(never)
    sys.exit(Exit.FAILED if report.violations else Exit.INVALID if report.never else Exit.DONE)


def _check(**numbers: tuple[int | None, int] | tuple[int | None, int, int]) -> None:
    """Refuse numbers below, or above, what each can be."""
    problems: list[Problem] = []
    for name, (number, least, *most) in numbers.items():
        if number is not None and (number < least or any(number > highest for highest in most)):
            range_ = f"from {least} to {most[0]:,}" if most else f"{least} or more"
            problems.append(Problem(field=f"--{name}", value=str(number), allowed=f"must be a whole number, {range_}"))
    if problems:
        raise InvalidRequest(problems)


def _called(source: reading.Source, scenario: Scenario) -> Scenario | str:
    """What the sweep is given: a name, where the command that replays a point can be given it too."""
    if source.bundled:
        return source.name
    path = Path(source.where)
    if not path.is_file() or not reading.is_scenario(source):  # a pipe can be read once, a request is no scenario
        return scenario
    return str(path) if path.name != source.where else f"./{path}"  # which is no bundled scenario's name


@contextmanager
def _interruptible() -> Generator[Callable[[], None]]:
    """SIGINT, SIGTERM and SIGHUP end the sweep, when it is told of the next points; at once where it waits for them.

    Elsewhere an exception could come while a run is being played, or half-way through the start of a process.

    Yields what raises `KeyboardInterrupt` where one has come. They are heard once: what follows is clean-up.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        is_first = not heard
        heard.append(number)
        if is_first and _is_waiting_for_workers(frame):
            raise KeyboardInterrupt

    def heed() -> None:
        if heard:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:  # under nohup, SIGHUP stays ignored
            signal.signal(number, hear)
    try:
        yield heed
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _is_waiting_for_workers(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is as_completed.__code__:
            return True
        frame = frame.f_back
    return False
