"""Measure every promised figure against its limit: ``python -m benchmarks [--json] [NAME ...]``.

Each figure is the median of several runs, because machines are noisy; a baseline that does the same work without this
project (where there is one) is measured in the same run. Exit code 1 where a limit is missed.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table as RichTable
from transitions import Machine

from fsmcollect.machines.collection import State as CollectionState
from fsmcollect.machines.engine import Engine, Transition
from fsmcollect.machines.table import Row, Table
from fsmcollect.machines.wedge import WEDGE, Event, State
from fsmcollect.request import Request, parse_toml
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.simulate import Rehearsal, Simulation
from fsmcollect.wedges import make_plan

RUNS = 7


@attrs.frozen(kw_only=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    values : list of float
        One for each run.
    at_most, at_least : float or None
        The limit; one of them is given, or none for a baseline.
    """

    name: str
    unit: str
    values: list[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        return (self.at_most is None or self.median < self.at_most) and (
            self.at_least is None or self.median >= self.at_least
        )


def _timed(work: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Milliseconds of each run, after one that does not count."""
    work()
    times_ms: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times_ms.append((time.perf_counter() - began) * 1e3)
    return times_ms


def _request(*, images: int, wedge_images: int | None, exposure_s: float = 0.01, extra: str = "") -> Request:
    inverse = f"[inverse_beam]\nwedge_images = {wedge_images}\n" if wedge_images else ""
    return parse_toml(
        f"""
[sample]
location = "1:5"
[files]
directory = "data"
prefix = "bench"
[beam]
energy_ev = 12700
transmission_frac = 0.2
detector_distance_mm = 200.0
[sweep]
image_width_deg = 0.1
images = {images}
exposure_s = {exposure_s}
{extra}
{inverse}
"""
    )


def _simulate(request: Request, seed: int = 0) -> Simulation:
    ended = Rehearsal(requests=[request], simulated=SimulatedBeamline(seed=seed)).run()
    if str(ended.outcome) != "done" or ended.violations:
        raise RuntimeError(f"the benchmark's own collection went wrong: {ended}")
    return ended


def plan() -> Iterator[Figure]:
    """1,000,000 images in 10,000 inverse-beam wedges."""
    request = _request(images=500_000, wedge_images=100)
    planned = make_plan(request)
    if (planned.images, len(planned.wedges)) != (1_000_000, 10_000):
        raise RuntimeError("not the plan that was promised")
    yield Figure(
        name="plan of 1,000,000 images in 10,000 wedges",
        unit="ms",
        at_most=50,
        values=_timed(lambda: make_plan(request)),
    )


def shutterless() -> Iterator[Figure]:
    """One wedge of 3,600 images, without image files."""
    request = _request(images=3600, wedge_images=None)
    ended = [_simulate(request) for _ in range(RUNS + 1)][1:]
    yield Figure(
        name="3,600 images shutterless, simulated", unit="ms", at_most=50, values=[e.wall_s * 1e3 for e in ended]
    )
    yield Figure(
        name="the same, simulated seconds per second",
        unit="x",
        at_least=5000,
        values=[e.simulated_s / e.wall_s for e in ended],
    )


def single_image_wedges() -> Iterator[Figure]:
    """3,600 wedges of one image, inverse beam, without image files; beside them, twice as many."""
    for images in (1800, 3600):
        request = _request(images=images, wedge_images=1)
        values = [_simulate(request).wall_s for _ in range(4)][1:]
        limit = 0.7 if images == 1800 else None
        yield Figure(name=f"{2 * images:,} single-image wedges, simulated", unit="s", at_most=limit, values=values)


def transitions_per_second() -> Iterator[Figure]:
    """Guarded, logged transitions; beside them the `transitions` library alone doing the same."""
    ways_out = (WEDGE.cancelled, WEDGE.crashed)  # these may not be guarded
    rows = tuple(row if row.event in ways_out else attrs.evolve(row, guard="always") for row in WEDGE.rows)
    loop = Row(State.TAKEN, Event.START, State.ARMING, why="the benchmark goes round", guard="always")
    table = Table(
        name="guarded wedge",
        initial=WEDGE.initial,
        start=WEDGE.start,
        final=WEDGE.final,
        urgent={},
        cancelled=WEDGE.cancelled,
        crashed=WEDGE.crashed,
        rows=(*rows, loop),
    )
    events = [Event.START, Event.ARMED, Event.AT_SPEED, Event.EXPOSED, Event.DRAINED]
    rounds = 10_000
    log: list[Transition] = []
    engine = Engine(table, {"always": lambda: True}, log.append)

    def ours() -> None:
        log.clear()
        for _ in range(rounds):
            for event in events:
                engine.fire(event)

    yield Figure(
        name="guarded, logged transitions",
        unit="1/s",
        at_least=40_000,
        values=[len(events) * rounds / ms * 1e3 for ms in _timed(ours)],
    )

    class Model:
        state = State.TAKEN.name

    model, names = Model(), [event.name for event in events]
    seen: list[Any] = []
    machine = Machine(
        model=model,
        states=[state.name for state in State],
        initial=State.TAKEN.name,
        auto_transitions=False,
        send_event=True,
        after_state_change=seen.append,
        transitions=[
            {"trigger": r.event.name, "source": r.source.name, "dest": r.dest.name, "conditions": lambda _: True}
            for r in table.rows
        ],
    )
    fire = [machine.events[name] for name in names]

    def library() -> None:
        seen.clear()
        for _ in range(rounds):
            for event in fire:
                event.trigger(model)

    yield Figure(
        name="  the library alone",
        unit="1/s",
        values=[len(events) * rounds / ms * 1e3 for ms in _timed(library)],
    )


def importing() -> Iterator[Figure]:
    """A new interpreter that imports the package and what a caller of it uses."""
    for name, statement, limit in (
        ("import fsmcollect", "import fsmcollect", 220),
        ("  and its public names", "from fsmcollect import *", 220),
        ("  trio, httpx, attrs, transitions alone", "import trio, httpx, attrs, transitions", None),
    ):
        code = f"import time; t = time.perf_counter()\n{statement}\nprint((time.perf_counter() - t) * 1e3)"
        values = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(RUNS + 1)][1:]
        yield Figure(name=name, unit="ms", at_most=limit, values=values)


def abort() -> Iterator[Figure]:
    """From the call of abort to the close command of the fast shutter, in real time, at random instants."""
    request = _request(images=100, wedge_images=10)
    whole_us = round(_simulate(request).simulated_s * 1e6)
    instants = random.Random("abort")
    latencies_ms: list[float] = []
    later_us: list[float] = []
    for _ in range(200):
        simulated = SimulatedBeamline()
        called: list[tuple[float, int]] = []
        closed: list[tuple[float, int]] = []
        close = simulated.fast_shutter.close

        async def watched(
            simulated: Any = simulated, called: Any = called, closed: Any = closed, close: Any = close
        ) -> None:
            if called and not closed:
                closed.append((time.perf_counter(), simulated.kernel.now_us))
            await close()

        simulated.beamline.fast_shutter = _Watched(simulated.fast_shutter, watched)

        def schedule(rehearsal: Rehearsal, called: Any = called, at_us: int = instants.randrange(whole_us)) -> None:
            def call() -> None:
                if rehearsal.current.state is not CollectionState.CLOSING:  # else the command has left before
                    called.append((time.perf_counter(), rehearsal.simulated.kernel.now_us))
                rehearsal.current.abort()

            rehearsal.simulated.kernel.at(at_us, call)

        Rehearsal(requests=[request], simulated=simulated, before=schedule).run()
        if called:
            latencies_ms.append((closed[0][0] - called[0][0]) * 1e3)
            later_us.append(float(closed[0][1] - called[0][1]))
    yield Figure(name="abort to the shutter's close command", unit="ms", at_most=1.0, values=latencies_ms)
    yield Figure(name="  the worst of 200, simulated time", unit="us", at_most=0.5, values=[max(later_us)])


@attrs.frozen
class _Watched:
    """The fast shutter with a stop-watch at its close command."""

    shutter: Any
    close: Callable[[], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shutter, name)


GROUPS = {
    "plan": plan,
    "shutterless": shutterless,
    "wedges": single_image_wedges,
    "transitions": transitions_per_second,
    "import": importing,
    "abort": abort,
}


def main(arguments: list[str]) -> int:
    """Measure the named groups, or all."""
    as_json = "--json" in arguments
    names = [name for name in arguments if name != "--json"] or list(GROUPS)
    unknown = sorted(set(names) - set(GROUPS))
    if unknown:
        Console(stderr=True).print(f"no such figures: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
        return 2
    figures = [figure for name in names for figure in GROUPS[name]()]
    if as_json:
        print(json.dumps([{**attrs.asdict(f), "median": f.median, "is_met": f.is_met} for f in figures]))
    else:
        table = RichTable(box=None)
        for heading in ("figure", "median", "min", "max", "limit", ""):
            table.add_column(heading, justify="left" if heading in ("figure", "") else "right", no_wrap=True)
        for f in figures:
            limit = f"< {f.at_most:g}" if f.at_most is not None else f">= {f.at_least:,g}" if f.at_least else ""
            numbers = [
                f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"
                for value in (f.median, min(f.values), max(f.values))
            ]
            verdict = "" if not limit else "met" if f.is_met else "MISSED"
            table.add_row(f"{f.name} [{f.unit}]".replace("[", r"\["), *numbers, limit, verdict)
        Console(width=120).print(table)
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
