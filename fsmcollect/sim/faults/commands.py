"""Every command of every role, what kind of command it is, and which faults can befall it.

Owns that table and the enumeration of all faults of a run. Owns no behaviour of a fault (`line`, `hardware`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping

import attrs

from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import EVENTS, Moment


class Kind(enum.Enum):
    """What a command does, as far as faults go."""

    #: Asks the device; changes nothing.
    READ = "read"
    #: Changes something.
    ACT = "act"
    #: Changes something and is part of making safe.
    MAKE_SAFE = "make safe"
    #: Waits for what the device, or something beyond it, does by itself.
    WATCH = "watch"
    #: Asks a person.
    ASK = "ask"

    __hash__ = object.__hash__


_READ, _ACT, _SAFE, _WATCH, _ASK = Kind.READ, Kind.ACT, Kind.MAKE_SAFE, Kind.WATCH, Kind.ASK

#: By role and method. A test holds it complete against `fsmcollect.beamline.roles`.
COMMANDS: Mapping[str, Mapping[str, Kind]] = {
    "goniometer": {
        "read_positions": _READ,
        "move": _ACT,
        "prepare_sweep": _ACT,
        "begin_sweep": _ACT,
        "finish_sweep": _WATCH,
        "stop": _SAFE,
        "is_still": _READ,
    },
    "detector": {"arm": _ACT, "take_dark": _ACT, "read_out": _READ, "disarm": _SAFE, "is_idle": _READ},
    "fast_shutter": {"open": _ACT, "close": _SAFE, "is_closed": _READ},
    "safety_shutter": {"open": _ACT, "close": _SAFE, "is_closed": _READ, "wait_while_open": _WATCH},
    "interlock": {"is_searched": _READ},
    "detector_cover": {"open": _ACT, "close": _SAFE, "is_closed": _READ},
    "detector_stage": {"read_distance_mm": _READ, "move": _ACT, "stop": _SAFE, "is_still": _READ},
    "attenuator": {"read_transmission_frac": _READ, "set_transmission": _ACT},
    "monochromator": {"read_energy_ev": _READ, "move": _ACT, "stop": _SAFE, "is_still": _READ},
    "aperture": {"select": _ACT, "read_size_um": _READ},
    "cryo_stream": {"read_temperature_k": _READ},
    "backlight": {"move_in": _ACT, "move_out": _SAFE, "is_in": _READ},
    "camera": {"locate": _READ, "snapshot": _READ},
    "fluorescence_detector": {"measure": _READ},
    "diodes": {"adjust_gains": _ACT, "read_gains": _READ, "set_gains": _ACT, "read_counts": _READ},
    "ring": {"read_current_ma": _READ, "read_fill_mode": _READ, "wait_for_loss": _WATCH, "wait_for_beam": _WATCH},
    "sample_changer": {"read_loaded": _READ, "load": _ACT, "unload": _ACT, "stop": _SAFE, "is_still": _READ},
    "person": {"ask": _ASK},
}

#: What befalls a device as a whole: its fault names no command.
DEVICE_WIDE = frozenset({Effect.RESETS, Effect.DRIFTS})
#: Devices with a controller of their own that can start afresh.
_RESETS = frozenset(
    {
        "goniometer",
        "detector",
        "fast_shutter",
        "safety_shutter",
        "detector_stage",
        "monochromator",
        "attenuator",
        "aperture",
        "detector_cover",
        "backlight",
        "sample_changer",
        "diodes",
    }
)
#: Devices of which something physical can slowly go away.
_DRIFTS = frozenset({"goniometer", "detector_stage", "monochromator", "attenuator", "cryo_stream", "ring"})
#: Commands under which something moves, or goes on for a time, that may stop in the middle.
_STOPS_HALF_WAY: Mapping[str, frozenset[str]] = {
    "goniometer": frozenset({"move", "prepare_sweep", "begin_sweep"}),
    "detector": frozenset({"arm", "take_dark"}),
    "fast_shutter": frozenset({"open", "close"}),
    "safety_shutter": frozenset({"open", "close"}),
    "detector_cover": frozenset({"open", "close"}),
    "detector_stage": frozenset({"move"}),
    "attenuator": frozenset({"set_transmission"}),
    "monochromator": frozenset({"move"}),
    "aperture": frozenset({"select"}),
    "backlight": frozenset({"move_in", "move_out"}),
    "sample_changer": frozenset({"load", "unload"}),
}
#: Effects that are a matter of the command's kind.
_OF_KIND: Mapping[Effect, frozenset[Kind]] = {
    Effect.REFUSES: frozenset(Kind),
    Effect.RAISES: frozenset(Kind),
    Effect.HANGS: frozenset(Kind),
    Effect.DELAYED: frozenset(Kind),
    Effect.WRONG_READ_BACK: frozenset({_READ}),
    Effect.ANSWER_LOST: frozenset({_ACT, _SAFE, _ASK}),
    Effect.NO_ACTION: frozenset({_ACT, _SAFE}),
}


@attrs.frozen
class Call:
    """One call of a device's command, as recorded.

    Attributes
    ----------
    device, command : str
    number : int
        From 1, of this command over the run.
    state : str
        The collection's, or ``wedge.EXPOSING`` while a wedge runs.
    """

    device: str
    command: str
    number: int
    state: str


def kind_of(device: str, command: str) -> Kind | None:
    """None where there is no such device or command."""
    return COMMANDS.get(device, {}).get(command)


def applies(device: str, command: str, effect: Effect) -> bool:
    """Whether a fault may be that; `command` is empty for what befalls a device as a whole."""
    if effect in DEVICE_WIDE or not command:
        devices = {Effect.RESETS: _RESETS, Effect.DRIFTS: _DRIFTS}.get(effect, frozenset[str]())
        return not command and device in devices
    kind = kind_of(device, command)
    if effect is Effect.STOPS_HALF_WAY:
        return command in _STOPS_HALF_WAY.get(device, ())
    # A sweep that is said to be over when it has only begun: nothing else that waits is ever answered so.
    if effect is Effect.NO_ACTION and (device, command) == ("goniometer", "finish_sweep"):
        return True
    return kind is not None and kind in _OF_KIND[effect]


def effects_of(device: str, command: str) -> tuple[Effect, ...]:
    """Every effect that can befall a command, or (empty) a device as a whole."""
    return tuple(effect for effect in Effect if applies(device, command, effect))


def every_fault_at(calls: Iterable[Call]) -> Iterator[Fault]:
    """Every single fault that a run with these calls can meet, each lasting once and for ever.

    At every call every effect that can befall its command; at the first time that each state was entered every effect
    that can befall a device as a whole, of each device that was called at all.
    """
    devices: dict[str, None] = {}
    states: dict[str, None] = {}
    seen: set[Call] = set()
    for call in calls:
        devices.setdefault(call.device)
        states.setdefault(call.state)
        if call in seen:
            continue
        seen.add(call)
        for effect in effects_of(call.device, call.command):
            for lasts_s in (ONCE_S, FOR_EVER_S):
                yield Fault(device=call.device, command=call.command, effect=effect, call=call.number, lasts_s=lasts_s)
    for state in states:
        # IDLE is entered at the run's end only.
        if state not in EVENTS or state == "IDLE":
            continue
        for device in devices:
            for effect in effects_of(device, ""):
                for lasts_s in (ONCE_S, FOR_EVER_S):
                    yield Fault(device=device, effect=effect, moment=Moment(event=state), lasts_s=lasts_s)
