"""One collection on the simulated beamline and everything that happened: what the tests of this folder are written in.

Owns building requests, running one collection with deeds at chosen instants, and the sentences that must hold after
every run, however it ended. Owns no expectation about one kind of run.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Collection as CollectionOf
from pathlib import Path
from typing import Any

import attrs
import trio

from fsmcollect import images
from fsmcollect.beamline import DetectorInfo
from fsmcollect.collecting.collection import Collection, Result
from fsmcollect.events import Event, ImagesTaken, Moved, RunEnded, SafingStep, StepDone
from fsmcollect.observers import Listener, Observers
from fsmcollect.request import Request
from fsmcollect.request.reading import from_dict
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.detector import EIGER_1M
from fsmcollect.sim.trace import Line

#: As an EIGER, but with images that cost nothing: what is tested is which ones exist.
SMALL = attrs.evolve(EIGER_1M, pixels_fast=32, pixels_slow=32, beam_centre_px=(16.0, 16.0))
SECOND_US = 1_000_000


def ask(**sections: Mapping[str, Any]) -> Request:
    """A small request, with what the sections say instead of what it says itself; None leaves a key out."""
    whole: dict[str, dict[str, Any]] = {
        "sample": {"location": "1:5"},
        "files": {"directory": "data", "prefix": "lyso"},
        "beam": {"energy_ev": 12_700, "transmission_frac": 0.2, "detector_distance_mm": 200.0},
        "sweep": {"image_width_deg": 0.5, "images": 20, "exposure_s": 0.01},
    }
    for name, section in sections.items():
        whole[name] = {**whole.get(name, {}), **section}
    return from_dict({name: {k: v for k, v in section.items() if v is not None} for name, section in whole.items()})


#: The ways to expose that everything is shown in.
SHUTTERLESS = ask(sweep={"images": 60, "wedge_images": 30})
SHUTTERED = ask(sweep={"images": 6, "shutterless": False, "passes": 2, "exposure_s": 0.2})
STILLS = ask(sweep={"image_width_deg": 0, "images": 30, "exposure_s": 0.05})
INVERSE = ask(sweep={"images": 20}, inverse_beam={"wedge_images": 10})
#: Long enough that images are stored while others are being exposed.
LONG_WEDGE = ask(sweep={"images": 250, "exposure_s": 0.02, "image_width_deg": 0.1})
WAYS = {
    "shutterless": SHUTTERLESS,
    "shuttered": SHUTTERED,
    "stills": STILLS,
    "inverse beam": INVERSE,
    "long wedge": LONG_WEDGE,
}


@functools.cache
def _chunks(info: DetectorInfo) -> list[bytes]:
    return images.noise_chunks(1, info, 4)


def simulate(seed: int | str = 0, **parts: Any) -> SimulatedBeamline:
    """A simulated beamline with a detector whose images are small."""
    simulated = SimulatedBeamline(seed=seed, **parts)
    simulated.detector.info = SMALL
    chunks = _chunks(SMALL)
    simulated.detector.frame_source = lambda index: chunks[index % len(chunks)]
    return simulated


class Adapter:
    """A device as another adapter has it: some of its methods are others, the rest is the device's."""

    def __init__(self, device: object, **methods: object) -> None:
        self.__dict__.update(methods)
        self._device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def adapt(simulated: SimulatedBeamline, role: str, **methods: object) -> SimulatedBeamline:
    """Replace methods of the device that the beamline has for a role."""
    setattr(simulated.beamline, role, Adapter(getattr(simulated.beamline, role), **methods))
    return simulated


@attrs.define(eq=False, repr=False)
class Play:
    """One collection and what came of it."""

    request: Request
    simulated: SimulatedBeamline = attrs.field(factory=simulate)
    directory: Path | None = None
    listeners: Sequence[Listener] = ()
    first_of_list: bool = False
    collection: Collection = attrs.field(init=False)
    events: list[Event] = attrs.field(init=False, factory=list[Event])
    lines: list[tuple[int, Line]] = attrs.field(init=False, factory=list[tuple[int, Line]])
    #: What `run` raised, where it did not return.
    raised: BaseException | None = attrs.field(init=False, default=None)
    tasks_left: list[str] = attrs.field(init=False, factory=list[str])
    #: Cancelling it cancels the run from outside.
    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self.simulated.trace.listeners.append(lambda t_us, new: self.lines.extend((t_us, line) for line in new))
        self.collection = Collection(
            beamline=self.simulated.beamline,
            request=self.request,
            directory=self.directory,
            observers=Observers([self.events.append, self.simulated.checkers.hear, *self.listeners]),
            first_of_list=self.first_of_list,
        )

    # -- running ------------------------------------------------------------------------------------------------------

    def at(self, when_us: int, deed: Callable[[], object]) -> Play:
        """Have `deed` done at an instant of simulated time."""
        self.simulated.kernel.at(when_us, lambda: _do(deed), by="test", priority=9)
        return self

    def when(
        self, kind: type[Event], deed: Callable[[], object], *, after_us: int = 0, count: int = 1, **be: Any
    ) -> Play:
        """Have `deed` done at the `count`-th event of this kind with these fields, or so long after it."""
        seen = [0]

        def listen(event: Event) -> None:
            if type(event) is kind and all(getattr(event, name) == value for name, value in be.items()):
                seen[0] += 1
                if seen[0] == count:
                    self.simulated.kernel.after(after_us, lambda: _do(deed), by="test", priority=9)

        self.collection.observers.listeners.append(listen)
        return self

    def enters(self, state: str, deed: Callable[[], object], *, after_us: int = 0, count: int = 1) -> Play:
        """Have `deed` done when the collection (or, ``wedge.EXPOSING``, the wedge) enters a state."""
        machine, _, name = state.rpartition(".")
        return self.when(Moved, deed, after_us=after_us, count=count, machine=machine or "collection", dest=name)

    def run(self, beside: Callable[[], Awaitable[object]] | None = None) -> Play:
        """Run it in simulated time; `beside` runs meanwhile and is cancelled at the end."""
        self.simulated.kernel.run(functools.partial(self.run_here, beside))
        return self

    async def run_here(self, beside: Callable[[], Awaitable[object]] | None = None) -> None:
        before = _tasks()
        async with trio.open_nursery() as nursery:
            if beside is not None:
                nursery.start_soon(beside)
            try:
                with self.scope:
                    await self.collection.run()
            except BaseException as error:
                self.raised = error
            nursery.cancel_scope.cancel()
        self.tasks_left = sorted(set(_tasks()) - set(before))
        self.simulated.checkers.at_rest()

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def result(self) -> Result:
        return self.collection.result()

    @property
    def outcome(self) -> str:
        return str(self.result.outcome)

    @property
    def violations(self) -> list[str]:
        return self.simulated.checkers.violations

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def states(self) -> list[str]:
        """The states of the collection in order, without the first IDLE."""
        moves = [event for event in self.of(Moved) if event.machine == "collection"]
        return [move.dest for move in moves if move.dest != move.source]

    @property
    def steps(self) -> list[str]:
        return [event.step for event in self.of(StepDone)]

    @property
    def planned(self) -> list[tuple[str, int]]:
        """Every image asked for, in order of collection."""
        return [
            (wedge.series.name, wedge.first_image + index)
            for wedge in self.collection.plan.wedges
            for index in range(wedge.images)
        ]

    @property
    def reported(self) -> list[tuple[str, int]]:
        """Every image that an event said was taken, in that order."""
        return [
            (event.series, event.first_image + index) for event in self.of(ImagesTaken) for index in range(event.images)
        ]

    @property
    def folder(self) -> Path:
        assert self.directory is not None
        return self.directory / self.request.files.directory

    @property
    def on_disk(self) -> list[tuple[str, int]]:
        """Every image that a reader finds, in order of collection."""
        found = {
            (series.name, number)
            for series in self.collection.plan.series
            for first, stop in images.existing_images(self.folder, series.name)
            for number in range(first, stop)
        }
        assert found <= set(self.planned)
        return [image for image in self.planned if image in found]

    def commands(self, device: str) -> list[tuple[int, str]]:
        """What a device noted, with its instants."""
        return [(t_us, text) for t_us, (source, text) in self.lines if source == device]

    def when_step(self, step: str) -> int:
        """When a step was first done."""
        return next(int(event.t_us) for event in self.of(StepDone) if event.step == step)

    def instant(self, device: str, text: str) -> int:
        """When a device first noted that."""
        return next(t_us for t_us, noted in self.commands(device) if noted == text)

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check(self, outcome: str, *, safe: bool = True) -> None:
        """The sentences that hold after every run, whatever ended it."""
        result = self.result
        assert (str(result.outcome), result.safe) == (outcome, safe), result.failures
        assert self.violations == []
        assert self.tasks_left == []
        endings = self.of(RunEnded)
        assert [(end.outcome, end.safe, end.images) for end in endings] == [(outcome, safe, result.images)]
        assert self.events[-1] is endings[0]
        assert len(self.reported) == len(set(self.reported)) == result.images
        if safe:
            assert self.states[-2:] == ["CLOSING", "IDLE"]
            last_closing = max(i for i, event in enumerate(self.events) if _dest(event) == "CLOSING")
            steps = [event for event in self.events[last_closing:] if type(event) is SafingStep]
            assert steps
            assert all(step.verified for step in steps), steps
            assert self.simulated.beamline.free
        if outcome == "done":
            assert self.reported == self.planned
            assert result.failures == ()
        if self.directory is not None and self.folder.is_dir():
            self.check_files()

    def check_files(self) -> None:
        """Every image that was reported can be read, no other is there, and the masters list exactly those."""
        assert set(self.reported) <= set(self.on_disk)
        for series in self.collection.plan.series:
            check_master(self.folder, series.name)
        assert not list(self.folder.glob(".*.part"))
        for line in (self.folder / "events.jsonl").read_text().splitlines():
            json.loads(line)


def check_master(folder: Path, stem: str) -> None:
    """A finished master reads back every image that its data files hold; without images there is none."""
    import h5py
    import hdf5plugin  # noqa: F401  (so that HDF5 can unpack)

    ranges = images.existing_images(folder, stem)
    path = folder / f"{stem}_master.h5"
    assert path.exists() == bool(ranges)
    if not ranges:
        return
    parts = images.existing_parts(folder, stem)
    masked = 2**SMALL.bit_depth - 1
    with h5py.File(path, "r") as file:
        data, omega = file["entry/data/data"], file["entry/data/omega"]
        assert len(data) == len(omega)
        first = parts[-1].stop - len(data)  # number of the master's first image
        there = {number for start, stop in ranges for number in range(start, stop)}
        for index in range(len(data)):
            assert ((data[index] == masked).all()) == (first + index not in there), first + index
        for part in parts:
            assert float(omega[part.first_image - first]) == float(part.omega_start_deg)


def _dest(event: Event) -> str:
    entered = isinstance(event, Moved) and event.machine == "collection" and event.source != event.dest
    return event.dest if isinstance(event, Moved) and entered else ""


def _do(deed: Callable[[], object]) -> None:
    deed()


def _tasks() -> CollectionOf[str]:
    """Every task of the program but trio's own."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found: list[str] = []
    tasks = [root]
    while tasks:
        task = tasks.pop()
        found.append(f"{task.name} {id(task)}")
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found
