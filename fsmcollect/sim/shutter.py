"""The fast shutter and the safety shutter: blades whose travel takes time.

Owns where a blade is at any instant, and how much beam it has let through since it was built (so that the dose can be
worked out without ticking). Owns no rule about when a shutter may be open: the interlock and the checkers do.
"""

from __future__ import annotations

import bisect
import enum
import math
from typing import ClassVar

import attrs
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.sim.interlock import Interlock
from fsmcollect.sim.kernel import Action, Kernel, to_us
from fsmcollect.sim.motion import Watch
from fsmcollect.sim.trace import Trace

#: mx-bluesky's default shutter_opening_time_s.
FAST_OPENING_S = 0.06
#: Assumed, no source found.
FAST_CLOSING_S = 0.02
#: Assumed: a heavy absorber driven by compressed air.
SAFETY_TRAVEL_S = 1.5
#: How long after it should have arrived a driver reports a blade that does not move. Assumed.
PATIENCE_S = 0.5


class Blade(enum.Enum):
    """What a blade does."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"


@attrs.define(eq=False)
class Shutter:
    """A blade that moves at constant speed between closed and open, and can be reversed on its way.

    Attributes
    ----------
    opening_s, closing_s : float
        For the whole travel.
    found_open : bool
        As whoever was here before has left it.
    """

    name: ClassVar[str] = "shutter"

    kernel: Kernel
    trace: Trace
    opening_s: float
    closing_s: float
    found_open: bool = attrs.field(kw_only=True, default=False)
    _jammed: bool = attrs.field(init=False, default=False)
    #: What it was last told.
    _told_open: bool = attrs.field(init=False, default=False)
    _told_us: int = attrs.field(init=False, default=0)
    #: The present travel: aperture `_from_frac` at `_from_us` to `_to_frac` at `_until_us`.
    _from_us: int = attrs.field(init=False, default=0)
    _until_us: int = attrs.field(init=False, default=0)
    _from_frac: float = attrs.field(init=False, default=0.0)
    _to_frac: float = attrs.field(init=False, default=0.0)
    #: Aperture integrated over time, up to `_from_us`.
    _let_through_us: float = attrs.field(init=False, default=0.0)
    #: When it was wholly open, each from and to; the present such time is not among them.
    _open_spans: list[tuple[int, int]] = attrs.field(init=False, factory=list[tuple[int, int]])
    _watch: Watch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watch = Watch(self.kernel, self.name)
        if self.found_open:
            self._told_open, self._from_frac, self._to_frac = True, 1.0, 1.0

    # -- what it is now -----------------------------------------------------------------------------------------------

    @property
    def blade(self) -> Blade:
        """What the blade really does; a jammed one does not travel."""
        if self._until_us > self.kernel.now_us:
            return Blade.OPENING if self._to_frac > self._from_frac else Blade.CLOSING
        # Jammed half-way it is neither closed nor wholly open: for safety, that is open.
        return Blade.CLOSED if self._to_frac == 0.0 else Blade.OPEN

    @property
    def closed(self) -> bool:
        """Wholly closed now."""
        return self._to_frac == 0.0 and self._until_us <= self.kernel.now_us

    @property
    def wholly_open(self) -> bool:
        return self._to_frac == 1.0 and self._until_us <= self.kernel.now_us

    def aperture_frac(self, at_us: int | None = None) -> float:
        """How far it is open, now or later: 0 is closed, 1 wholly open."""
        now_us = self.kernel.now_us if at_us is None else at_us
        if now_us >= self._until_us:
            return self._to_frac
        travelled = (now_us - self._from_us) / (self._until_us - self._from_us)
        return self._from_frac + travelled * (self._to_frac - self._from_frac)

    @property
    def travelling_since_us(self) -> int:
        """When the present travel began, or the last one if it stands."""
        return self._from_us

    @property
    def travelling_until_us(self) -> int:
        """When the present travel ends, or the last one has ended."""
        return self._until_us

    def let_through_us(self) -> float:
        """Aperture integrated over all time up to now: microseconds of full beam."""
        now_us = self.kernel.now_us
        ramp_end_us = min(now_us, self._until_us)
        ramp = 0.5 * (self._from_frac + self.aperture_frac(ramp_end_us)) * (ramp_end_us - self._from_us)
        return self._let_through_us + ramp + self._to_frac * (now_us - ramp_end_us)

    def open_spans(self, start_us: int, end_us: int) -> list[tuple[int, int]]:
        """When it was wholly open between two instants that lie after `forget_spans`, each from and to."""
        spans, now_us = self._open_spans, self.kernel.now_us
        within: list[tuple[int, int]] = []
        # The spans are in order and do not overlap: one that began before may reach into the time asked about.
        for index in range(max(0, bisect.bisect_left(spans, (start_us, start_us)) - 1), len(spans)):
            open_us, shut_us = spans[index]
            if open_us >= end_us:
                return within
            if shut_us > start_us:
                within.append((max(open_us, start_us), min(shut_us, end_us)))
        if self.wholly_open and self._until_us < end_us and now_us > start_us:
            within.append((max(self._until_us, start_us), min(now_us, end_us)))
        return within

    def forget_spans(self) -> None:
        """Keep no more of what is over: nobody will ask about frames of an earlier acquisition."""
        self._open_spans.clear()

    @property
    def jammed(self) -> bool:
        """The blade does not move, whatever it is told: a state of the device. Freed, it obeys its last command."""
        return self._jammed

    @jammed.setter
    def jammed(self, jammed: bool) -> None:
        self._jammed = jammed
        if jammed:
            self._travel(self.aperture_frac())
        else:
            self._travel(1.0 if self._told_open else 0.0)
        self._watch.changed()

    def reset(self) -> None:
        """Somebody power-cycles its drive: without current the spring closes it, unless it is jammed."""
        self._tell(False, "reset")

    # -- commands -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Returns once read-back says open."""
        self._tell(True, "open")
        await self._reach(1.0)

    async def close(self) -> None:
        """Returns once read-back says closed. Idempotent, commanded before the first checkpoint."""
        self._tell(False, "close")
        await self._reach(0.0)

    async def is_closed(self) -> bool:
        """Read-back: wholly closed."""
        return self.closed

    def _tell(self, to_open: bool, note: str) -> None:
        self.trace.note(self.name, note)
        changed = to_open is not self._told_open
        self._told_open = to_open
        if changed or self._jammed:
            self._told_us = self.kernel.now_us
        if changed and not self._jammed:
            self._travel(1.0 if to_open else 0.0)
        if changed:
            self._watch.changed()

    def _travel(self, to_frac: float) -> None:
        now_us = self.kernel.now_us
        frac = self.aperture_frac()
        self._let_through_us = self.let_through_us()
        if self.wholly_open:
            self._open_spans.append((self._until_us, now_us))
        full_s = self.opening_s if to_frac > frac else self.closing_s
        self._from_us, self._from_frac, self._to_frac = now_us, frac, to_frac
        self._until_us = now_us + math.ceil(to_us(full_s) * abs(to_frac - frac))

    async def _reach(self, frac: float) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        to_open = frac == 1.0
        while self._to_frac != frac or self.kernel.now_us < self._until_us:
            if self._told_open is not to_open:
                told, wanted = ("close", "open") if to_open else ("open", "closed")
                raise DeviceError(self.name, f"was told to {told} before it was {wanted}")
            await self._watch.until(self._until_us if self._to_frac == frac else self._give_up_us())

    def _give_up_us(self) -> int:
        """When the driver gives up on a jammed blade; raises once that is now."""
        travel_s = self.opening_s if self._told_open else self.closing_s
        when_us = self._told_us + to_us(travel_s + PATIENCE_S)
        if self.kernel.now_us >= when_us:
            told = "open" if self._told_open else "close"
            raise DeviceError(
                self.name,
                f"was told to {told} and stands {100 * self.aperture_frac():.0f} % open, "
                f"{PATIENCE_S:g} s after its travel time of {travel_s:g} s",
            )
        return when_us


def _nothing() -> None:
    """Where there is no gate, closing takes nothing off it."""


@attrs.define(eq=False)
class FastShutter(Shutter):
    """Milliseconds. Besides software, the goniometer's gate opens and closes it.

    Attributes
    ----------
    take_gate_off : callable
        Called by `close`: from then on the gate opens nothing. The assembly wires it.
    left_open : callable
        Its read-back line: called when it begins to leave wholly open, whoever closes it. The assembly wires it.
    """

    name: ClassVar[str] = "fast_shutter"

    opening_s: float = FAST_OPENING_S
    closing_s: float = FAST_CLOSING_S
    take_gate_off: Action = _nothing
    left_open: Action = _nothing

    async def close(self) -> None:
        """Returns once read-back says closed; takes the shutter off the gate."""
        self._tell(False, "close")
        self.take_gate_off()
        await self._reach(0.0)

    def _travel(self, to_frac: float) -> None:
        was_open = self.wholly_open
        super()._travel(to_frac)
        if was_open and to_frac < 1.0:
            self.left_open()

    def gate_open(self) -> None:
        """The gate's open command."""
        self._tell(True, "gate open")

    def gate_close(self) -> None:
        """The gate's close command."""
        self._tell(False, "gate close")


@attrs.define(eq=False)
class SafetyShutter(Shutter):
    """Seconds. Opens only while the hutch is searched, and drops by itself when that ends."""

    name: ClassVar[str] = "safety_shutter"

    opening_s: float = SAFETY_TRAVEL_S
    closing_s: float = SAFETY_TRAVEL_S
    interlock: Interlock | None = None

    def __attrs_post_init__(self) -> None:
        Shutter.__attrs_post_init__(self)
        if self.interlock is not None:
            self.interlock.broken.append(self._drop)

    async def open(self) -> None:
        """Returns once read-back says open. Refused (DeviceError) unless the hutch is searched."""
        if self.interlock is not None and not self.interlock.searched:
            self.trace.note(self.name, "open refused")
            raise DeviceError(self.name, "the interlock refuses to open it: the hutch is not searched")
        await Shutter.open(self)

    async def wait_while_open(self) -> None:
        """See the role."""
        while self.wholly_open:
            await self._watch.until(None)

    def _drop(self) -> None:
        if self._told_open or not self.closed:
            self._tell(False, "drop")
