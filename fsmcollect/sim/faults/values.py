"""Faults as data: what goes wrong with a device, when, and for how long.

Owns the values and which of them contradict themselves. Owns no behaviour: `line` and `hardware` apply them, and which
of them must be survived, and how, is declared in `survival`. A fault is applied between the sequencer and a device, or
to the state of a device by the kernel; devices know nothing of it.
"""

from __future__ import annotations

import enum
import math

import attrs

from fsmcollect.sim.moments import Moment

#: `Fault.lasts_s` of a fault that befalls one call only, and of one that is never over.
ONCE_S = 0.0
FOR_EVER_S = math.inf


class Effect(enum.Enum):
    """What a fault does; `MEANINGS` says it in words."""

    REFUSES = "refuses"
    RAISES = "raises"
    HANGS = "hangs"
    DELAYED = "delayed"
    WRONG_READ_BACK = "wrong read-back"
    DRIFTS = "drifts"
    ANSWER_LOST = "answer lost"
    NO_ACTION = "no action"
    RESETS = "resets"
    STOPS_HALF_WAY = "stops half-way"

    __hash__ = object.__hash__


MEANINGS: dict[Effect, str] = {
    Effect.REFUSES: "the device says no (DeviceError) and does nothing",
    Effect.RAISES: "the adapter has a bug: another exception than DeviceError, and nothing is done",
    Effect.HANGS: "the command does not reach the device, and no answer comes while the fault lasts",
    Effect.DELAYED: "the command reaches the device `delay_s` late",
    Effect.WRONG_READ_BACK: "what is read back is not so",
    Effect.DRIFTS: "the device slowly leaves where it was put, until it is commanded again",
    Effect.ANSWER_LOST: "the device does what it was told, and no answer comes while the fault lasts",
    Effect.NO_ACTION: "the device answers as if it had done what it was told, and has done nothing",
    Effect.RESETS: "the controller starts afresh: what it was doing stops, what was prepared is forgotten",
    Effect.STOPS_HALF_WAY: "the device begins what it was told, stops in the middle and stays there while that lasts",
}


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong.

    It begins at a moment of the run or at the `call`-th call of the device's command, counted over the whole run from
    1, and is over after `lasts_s`.

    Attributes
    ----------
    device : str
        The role, as it is named on `Beamline`: ``fast_shutter``.
    effect : Effect
    command : str
        The role's method that it befalls. Empty for what befalls a device as a whole: RESETS, DRIFTS.
    call : int or None
        Which call of `command` it begins at. Exactly one of `call` and `moment` is given.
    moment : Moment or None
        When it begins. What befalls a command then befalls its next call.
    lasts_s : float
        `ONCE_S`: one call only (a device as a whole is itself again at the next command). `FOR_EVER_S`: never over.
    delay_s : float
        DELAYED only: how late.
    where : str
        File and line, for refusals; no part of what the fault is.
    """

    device: str
    effect: Effect
    command: str = ""
    call: int | None = None
    moment: Moment | None = None
    lasts_s: float = ONCE_S
    delay_s: float = 3.0
    where: str = attrs.field(default="", eq=False, repr=False)

    def __str__(self) -> str:
        what = f"{self.device}.{self.command}" if self.command else self.device
        when = f"call {self.call}" if self.call is not None else str(self.moment)
        lasts = {ONCE_S: "once", FOR_EVER_S: "for ever"}.get(self.lasts_s, f"for {self.lasts_s:g} s")
        return f"{what} {self.effect.value} ({when}, {lasts})"
