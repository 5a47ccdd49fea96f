"""The storage ring, read-only for the beamline: a current that decays, is topped up, and may be lost.

Owns the current at any instant, past or future, as a formula: nothing ticks, so a ring that nobody watches costs
nothing and cannot hide a deadlock. Beam loss and return are data, given beforehand or at once. Owns no flux.

After the beam came (at 0 s, and again at each return) the current runs through equal cycles: an exponential decay from
`nominal_ma` to `low_ma` in `decay_s`, then a straight fill back up, of a length drawn for each cycle.
"""

from __future__ import annotations

import bisect
import random

import attrs
import trio

from fsmcollect.beamline import FillMode, Range
from fsmcollect.sim.kernel import US_PER_S, Kernel, to_us
from fsmcollect.sim.trace import Trace

#: A public simulator's default (facts/mx-collection.md).
FILL_S = Range(15.0, 20.0)


@attrs.frozen(order=True)
class _Switch:
    """From `when_us` on there is beam, or none. Of one instant the later call counts."""

    when_us: int
    call: int
    beam: bool = attrs.field(order=False)


@attrs.define(eq=False)
class Ring:
    """A storage ring in top-up operation.

    Attributes
    ----------
    nominal_ma, low_ma, decay_s, fill_s : float, float, float, Range
        300 to 270 mA over 600 s, filled in 15-20 s: the defaults of a public simulator (facts/mx-collection.md).
    age_s : float
        How long before 0 s the last fill ended; within the first decay.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    nominal_ma: float = 300.0
    low_ma: float = 270.0
    decay_s: float = 600.0
    fill_s: Range = FILL_S
    age_s: float = 0.0
    name: str = "ring"
    #: Sorted; the first one begins before everything.
    _switches: list[_Switch] = attrs.field(init=False)
    #: End of each cycle's fill since its beam came; drawn in order, as far as anybody asked.
    _fill_ends_us: list[int] = attrs.field(init=False, factory=list[int])
    #: Replaced each time they are set.
    _lost: trio.Event = attrs.field(init=False, factory=trio.Event)
    _came: trio.Event = attrs.field(init=False, factory=trio.Event)
    _leak_ma_s: float = attrs.field(init=False, default=0.0)
    _leak_since_us: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._switches = [_Switch(self.kernel.now_us - to_us(self.age_s), 0, True)]

    # -- the formula --------------------------------------------------------------------------------------------------

    def has_beam(self, at_us: int | None = None) -> bool:
        return self._switch(at_us).beam

    def current_ma(self, at_us: int | None = None) -> float:
        """Stored current at an instant (now, unless told), of the past or of the future as far as it is known."""
        when_us = self._at(at_us)
        switch = self._switch(when_us)
        if not switch.beam:
            return 0.0
        leaked_ma = self._leak_ma_s * max(0, when_us - self._leak_since_us) / US_PER_S
        return max(0.0, self._stored_ma(when_us - switch.when_us) - leaked_ma)

    def _stored_ma(self, since_beam_us: int) -> float:
        in_cycle_us, decay_us, cycle_us = self._phase(since_beam_us)
        if in_cycle_us < decay_us:
            return float(self.nominal_ma * (self.low_ma / self.nominal_ma) ** (in_cycle_us / decay_us))
        filled_frac = (in_cycle_us - decay_us) / (cycle_us - decay_us)
        return self.low_ma + (self.nominal_ma - self.low_ma) * filled_frac

    def fill_mode(self, at_us: int | None = None) -> FillMode:
        when_us = self._at(at_us)
        switch = self._switch(when_us)
        if not switch.beam:
            return FillMode.NO_BEAM
        in_cycle_us, decay_us, _ = self._phase(when_us - switch.when_us)
        return FillMode.DECAY if in_cycle_us < decay_us else FillMode.TOP_UP

    def _at(self, at_us: int | None) -> int:
        return self.kernel.now_us if at_us is None else at_us

    def _switch(self, at_us: int | None) -> _Switch:
        """The last one that changed anything; before the first there was beam too."""
        switches = self._switches
        index = max(0, bisect.bisect_right(switches, self._at(at_us), key=_when_us) - 1)
        while index and switches[index - 1].beam == switches[index].beam:
            index -= 1
        return switches[index]

    def _phase(self, since_beam_us: int) -> tuple[int, int, int]:
        """Time into the present cycle, and where in it the decay and the cycle end."""
        decay_us = to_us(self.decay_s)
        ends = self._fill_ends_us
        while not ends or ends[-1] <= since_beam_us:
            fill_us = to_us(self.rng.uniform(self.fill_s.low, self.fill_s.high))
            ends.append((ends[-1] if ends else 0) + decay_us + fill_us)
        index = bisect.bisect_right(ends, since_beam_us)
        began_us = ends[index - 1] if index else 0
        return since_beam_us - began_us, decay_us, ends[index] - began_us

    @property
    def leak_ma_s(self) -> float:
        """Current that goes missing besides, as with a poor vacuum: a state of the ring. At 0 it is made good at once.

        The beam counts as there however little is left: only an operator calls it lost.
        """
        return self._leak_ma_s

    @leak_ma_s.setter
    def leak_ma_s(self, leak_ma_s: float) -> None:
        self._leak_ma_s, self._leak_since_us = leak_ma_s, self.kernel.now_us

    # -- what happens to it -------------------------------------------------------------------------------------------

    def lose_beam(self, at_us: int | None = None) -> None:
        """The beam is lost at an instant to come, or now."""
        self._switch_at(at_us, False)

    def restore_beam(self, at_us: int | None = None) -> None:
        """The beam is back, at an instant to come, or now; at the nominal current, assumed."""
        self._switch_at(at_us, True)

    def _switch_at(self, at_us: int | None, beam: bool) -> None:
        now_us = self.kernel.now_us
        when_us = max(now_us, self._at(at_us))
        if when_us == now_us and self.has_beam() == beam:
            return
        bisect.insort(self._switches, _Switch(when_us, len(self._switches), beam))
        if when_us == now_us:
            self._announce()
        else:
            # Before any other device's callback of that instant: what is read then already sees the change.
            self.kernel.at(when_us, self._announce, by=self.name, priority=-1)

    def _announce(self) -> None:
        if self.has_beam():
            self.trace.note(self.name, "beam")
            self._came.set()
            self._came = trio.Event()
        else:
            self.trace.note(self.name, "no beam")
            self._lost.set()
            self._lost = trio.Event()

    # -- the role -----------------------------------------------------------------------------------------------------

    async def read_current_ma(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.current_ma()

    async def read_fill_mode(self) -> FillMode:
        await trio.lowlevel.checkpoint()
        return self.fill_mode()

    async def wait_for_loss(self) -> None:
        """Returns at once without beam, else when the beam is lost."""
        if not self.has_beam():
            await trio.lowlevel.checkpoint()
            return
        await self._lost.wait()

    async def wait_for_beam(self) -> None:
        """Returns at once with beam, else when it is back."""
        if self.has_beam():
            await trio.lowlevel.checkpoint()
            return
        await self._came.wait()


def _when_us(switch: _Switch) -> int:
    return switch.when_us
