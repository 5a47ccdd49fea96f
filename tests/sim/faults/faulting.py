"""A simulated beamline with faults, and what its commands are told: what the tests of this folder are written in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from fsmcollect.beamline import Acquisition, Location, Question, Sweep
from fsmcollect.events import Moved
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.commands import COMMANDS
from fsmcollect.sim.faults.injector import Injector
from fsmcollect.sim.faults.values import ONCE_S, Effect, Fault
from fsmcollect.sim.moments import Moment, Moments
from fsmcollect.timing import run_up_deg

SWEEP = Sweep(
    omega_start_deg=0.0, width_deg=10.0, duration_s=1.0, run_up_deg=run_up_deg(10.0, 0.1, 0.06), shutter_lead_s=0.06
)
ACQUISITION = Acquisition(images=10, images_per_trigger=10, frame_time_s=0.1, energy_ev=12_700.0)
#: What a command is told where it is told anything.
ARGUMENTS: Mapping[tuple[str, str], tuple[object, ...]] = {
    ("goniometer", "move"): ({"omega_deg": 90.0, "x_mm": 1.0},),
    ("goniometer", "prepare_sweep"): (SWEEP,),
    ("detector", "arm"): (ACQUISITION,),
    ("detector", "take_dark"): (1.0,),
    ("detector", "read_out"): (0, 10),
    ("detector_stage", "move"): (400.0,),
    ("attenuator", "set_transmission"): (0.2,),
    ("monochromator", "move"): (12_000.0,),
    ("aperture", "select"): (20.0,),
    ("fluorescence_detector", "measure"): (1.0,),
    ("diodes", "set_gains"): (5, 5),
    ("sample_changer", "load"): (Location(1, 5),),
    ("person", "ask"): (Question.VALIDATE_CENTRING,),
}
EVERY_COMMAND = [(device, command) for device, commands in COMMANDS.items() for command in commands]


@attrs.define(eq=False)
class Bench:
    """A beamline whose lines may be faulty.

    Attributes
    ----------
    lines : list of (int, str, str)
        What every device noted, with its instants.
    """

    faults: tuple[Fault, ...]
    record: bool = False
    simulated: SimulatedBeamline = attrs.field(factory=SimulatedBeamline)
    state: str = ""
    moments: Moments = attrs.field(init=False)
    injector: Injector = attrs.field(init=False)
    lines: list[tuple[int, str, str]] = attrs.field(init=False, factory=list[tuple[int, str, str]])

    def __attrs_post_init__(self) -> None:
        self.moments = Moments(self.simulated.kernel)
        self.injector = Injector(
            self.simulated, self.faults, self.moments, record=self.record, state=lambda: self.state
        )
        self.simulated.trace.listeners.append(
            lambda t_us, lines: self.lines.extend((t_us, source, text) for source, text in lines)
        )

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        self.simulated.kernel.run(body)
        self.simulated.trace.sha256()  # so that the last instant is told too

    async def call(self, device: str, command: str, *args: object) -> Any:
        """Give a command as the sequencer does."""
        role = getattr(self.simulated.beamline, device)
        keywords = {"with_images": False} if command == "read_out" else {}
        return await getattr(role, command)(*(args or ARGUMENTS.get((device, command), ())), **keywords)

    async def answers_within(self, limit_s: float, device: str, command: str) -> bool:
        """Whether a command is answered in time."""
        with trio.move_on_after(limit_s):
            await self.call(device, command)
            return True
        return False

    def enters(self, state: str) -> None:
        """The collection enters a state."""
        self.state = state
        machine, _, name = state.rpartition(".")
        self.moments.hear(Moved(t_us=self.now_us, machine=machine or "collection", source="", event="", dest=name))

    @property
    def now_us(self) -> int:
        return self.simulated.kernel.now_us

    @property
    def now_s(self) -> float:
        return self.now_us / 1e6

    def noted(self, device: str) -> list[str]:
        """What a device noted."""
        return [text for _, source, text in self.lines if source == device or source.startswith(f"{device}.")]


def at_call(
    device: str, command: str, effect: Effect, call: int = 1, lasts_s: float = ONCE_S, delay_s: float = 5.0
) -> Fault:
    return Fault(device=device, command=command, effect=effect, call=call, lasts_s=lasts_s, delay_s=delay_s)


def of_device(device: str, effect: Effect, at_s: float = 1.0, lasts_s: float = ONCE_S) -> Fault:
    return Fault(device=device, effect=effect, moment=Moment(at_s=at_s), lasts_s=lasts_s)


async def expose(bench: Bench) -> None:
    """One sweep of ten images, all of it."""
    await bench.call("detector", "arm")
    await bench.call("goniometer", "prepare_sweep")
    await bench.call("goniometer", "begin_sweep")
    await bench.call("goniometer", "finish_sweep")
