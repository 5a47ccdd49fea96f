"""The simulated devices as an author of adapters would hand them to the kit, and what it is told of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import attrs

from fsmcollect.beamline import Location, Question
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.person import Answer
from fsmcollect.testing.conformance import Examination, examine
from fsmcollect.testing.conformance.settings import Wishes

BARE = Location(1, 3)


@attrs.define(eq=False)
class Bench:
    """Runs each check in simulated time on a beamline of its own, and hands out one of its devices.

    `wrap` makes an adapter of the device: one that is broken.
    """

    role: str
    wrap: Callable[[object], object] = lambda device: device
    simulated: SimulatedBeamline = attrs.field(init=False)

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        self.simulated = SimulatedBeamline(bare_pins={BARE})
        self.simulated.head.mount_by_hand()
        self.simulated.kernel.run(body)

    def make(self) -> object:
        if self.role == "sample_changer":
            self.simulated.head.take_off_by_hand()
        if self.role == "diodes":
            self.simulated.safety_shutter._travel(1.0)
        if self.role == "person":
            # Slow enough to be cancelled before.
            self.simulated.person.answers = {question: Answer(3.0) for question in Question}
        return self.wrap(getattr(self.simulated, self.role))

    def wishes(self) -> Wishes:
        return cast("Wishes", SPECIAL[self.role](self) if self.role in SPECIAL else {})

    def examine(self, **more: object) -> Examination:
        wishes = cast("Wishes", {"limit_s": 40.0, **self.wishes(), **more})
        return examine(self.make, role=self.role, run=self.run, **wishes)


def _hutch(bench: Bench) -> dict[str, object]:
    return {
        "open_hutch": lambda _: bench.simulated.interlock.open_door(),
        "search_hutch": lambda _: bench.simulated.interlock.search(),
    }


def _set_near(bench: Bench) -> None:
    bench.simulated.sample_changer.distance_mm = lambda: 100.0


#: What the kit is told beyond the device itself.
SPECIAL: dict[str, Callable[[Bench], dict[str, object]]] = {
    "detector": lambda bench: {
        "trigger": lambda _: bench.simulated.detector.trigger(),
    },
    "goniometer": lambda bench: {
        "fast_shutter": lambda _: bench.simulated.fast_shutter,
        "detector": lambda _: bench.simulated.detector,
    },
    "interlock": _hutch,
    "safety_shutter": _hutch,
    "ring": lambda bench: {
        "lose_beam": lambda _: bench.simulated.ring.lose_beam(),
        "restore_beam": lambda _: bench.simulated.ring.restore_beam(),
    },
    "sample_changer": lambda bench: {
        "bare_pins": [BARE],
        "bring_detector_near": lambda _: _set_near(bench),
    },
}
