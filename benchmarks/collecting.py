"""What collections promise: planning, simulating, transitions, import, abort."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from transitions import Machine

from benchmarks.figure import RUNS, Figure, timed
from fsmcollect.machines.collection import State as CollectionState
from fsmcollect.machines.engine import Engine, Transition
from fsmcollect.machines.table import Row, Table
from fsmcollect.machines.wedge import WEDGE, Event, State
from fsmcollect.request import Request, parse_toml
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.simulate.collecting import Rehearsal, Simulation
from fsmcollect.wedges import make_plan


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
        values=timed(lambda: make_plan(request)),
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
        values=[len(events) * rounds / ms * 1e3 for ms in timed(ours)],
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
        values=[len(events) * rounds / ms * 1e3 for ms in timed(library)],
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
