"""What befalls a run: faults, deeds of the operator, happenings, a sweep's strike, and what is expected of it all.

Owns the keys of these tables and what one of them contradicts by itself. What they contradict together is in `judging`.
"""

from __future__ import annotations

import attrs

from fsmcollect.beamline import Beamline
from fsmcollect.machines.collection import State
from fsmcollect.machines.table import Outcome
from fsmcollect.request.fields import integer
from fsmcollect.sim.faults.commands import COMMANDS, applies
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import EVENTS, Moment
from fsmcollect.sim.scenario.tables import MANY, Table, length_s, member, sentence, time_s, word, words
from fsmcollect.sim.scenario.values import Deed, Does, Expectation, Happening, Strike, What

#: Every role that a beamline may have.
DEVICES = tuple(field.name for field in attrs.fields(Beamline) if field.init and field.name != "config")
ENDS = (State.IDLE.name, State.FAULT.name)
_LASTS = {"once": ONCE_S, "for ever": FOR_EVER_S}
_MOMENT_KEYS = ("at_s", "event", "count", "after_s")
_FAULT_KEYS = ("device", "command", "effect", "call", *_MOMENT_KEYS, "lasts", "lasts_s", "delay_s")
_count = integer(low=1, high=MANY)


# ---------------------------------------------------------------------------------------------------------------------
# When
# ---------------------------------------------------------------------------------------------------------------------


def _moment(table: Table) -> Moment | None:
    """The moment that a table's keys say; None where they say none, or what they say is refused."""
    at_s, event = table.get("at_s", time_s), table.get("event", word(EVENTS, "event or state"))
    count, after_s = table.get("count", _count), table.get("after_s", time_s)
    if not table.has("event"):
        for key in ("count", "after_s"):
            if table.has(key):
                table.refuse(key, "says nothing without an event: give event too")
    if at_s is not None:
        return Moment(at_s=at_s)
    return None if event is None else Moment(event=event, count=count or 1, after_s=after_s or 0.0)


def _when(table: Table, others: tuple[str, ...] = ()) -> Moment | None:
    """As `_moment`; exactly one of at_s, event and `others` must be given."""
    ways = (*others, "at_s", "event")
    given = [key for key in ways if table.has(key)]
    if not given:
        table.report.refuse(table.field, f"never begins: give one of {', '.join(ways)}")
    for key in given[1:]:
        table.refuse(key, f"cannot be asked together with {given[0]}: give one of {', '.join(ways)}")
    return _moment(table)


# ---------------------------------------------------------------------------------------------------------------------
# What
# ---------------------------------------------------------------------------------------------------------------------


def faults(whole: Table) -> tuple[Fault, ...]:
    """What ``[[faults]]`` says."""
    return tuple(fault for table in whole.tables("faults") if (fault := _fault(table)) is not None)


def _fault(table: Table) -> Fault | None:
    table.refuse_unknown(_FAULT_KEYS)
    device = table.need("device", word(DEVICES, "device"), "which device fails")
    effect = table.need("effect", member(Effect, "effect"), "what it does")
    call, moment = table.get("call", _count), _when(table, ("call",))
    command = _command(table, device, effect)
    lasts_s = _lasts_s(table)
    delay_s = table.get("delay_s", length_s)
    if effect is not None and effect is not Effect.DELAYED and table.has("delay_s"):
        table.refuse("delay_s", f'is for effect = "{Effect.DELAYED.value}" only')
    if device is None or effect is None or command is None:
        return None
    fault = Fault(
        device=device, effect=effect, command=command, call=call, moment=moment, lasts_s=lasts_s, where=table.place
    )
    return fault if delay_s is None else attrs.evolve(fault, delay_s=delay_s)


def _command(table: Table, device: str | None, effect: Effect | None) -> str | None:
    """The command that the effect befalls; empty where it befalls the device as a whole, None where it is refused."""
    if device is None:
        return None
    command = table.get("command", word(COMMANDS[device], f"command of {device}")) if table.has("command") else ""
    if command is None or effect is None:
        return None
    if not applies(device, command, effect):
        befallen = [name for name in ("", *COMMANDS[device]) if applies(device, name, effect)]
        table.refuse("effect", _where_it_applies(device, command, effect, befallen))
        return None
    if not command and table.has("call"):
        table.refuse("call", f'needs a command; "{effect.value}" befalls the {device} as a whole: give at_s or event')
    return command


def _where_it_applies(device: str, command: str, effect: Effect, befallen: list[str]) -> str:
    if not befallen:
        return f"cannot befall the {device}, nor any of its commands"
    commands = [name for name in befallen if name]
    if not commands:
        return f"befalls the {device} as a whole: leave command out"
    if not command:
        return f"befalls a command of {device}: give command, one of {', '.join(commands)}"
    as_a_whole = "" if all(befallen) else ", or the device as a whole (no command)"
    return f"cannot befall {device}.{command}; it befalls {', '.join(commands)}{as_a_whole}"


def _lasts_s(table: Table) -> float:
    lasts, lasts_s = table.get("lasts", word(_LASTS, "duration")), table.get("lasts_s", length_s)
    if table.has("lasts") and table.has("lasts_s"):
        table.refuse("lasts_s", "cannot be asked together with lasts: give one of the two")
    return _LASTS[lasts] if lasts is not None else lasts_s if lasts_s is not None else ONCE_S


def operator(whole: Table) -> tuple[Deed, ...]:
    """What ``[[operator]]`` says."""
    deeds: list[Deed] = []
    for table in whole.tables("operator"):
        table.refuse_unknown(("does", *_MOMENT_KEYS))
        does = table.need("does", member(Does, "deed"), "what the operator does")
        moment = _when(table)
        if does is not None and moment is not None:
            deeds.append(Deed(does=does, moment=moment, where=table.place))
    return tuple(deeds)


def happenings(whole: Table) -> tuple[Happening, ...]:
    """What ``[[happens]]`` says."""
    found: list[Happening] = []
    for table in whole.tables("happens"):
        table.refuse_unknown(("what", *_MOMENT_KEYS))
        what = table.need("what", member(What, "happening"), "what happens")
        moment = _when(table)
        if what is not None and moment is not None:
            found.append(Happening(what=what, moment=moment, where=table.place))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------------------
# What a sweep adds, and what must come of it
# ---------------------------------------------------------------------------------------------------------------------


def strike(whole: Table) -> Strike:
    """What ``[strike]`` says."""
    table = whole.table("strike")
    table.refuse_unknown(("cancel_at", "abort_at", "schedule"))
    return Strike(
        cancel_at=table.get("cancel_at", _count),
        abort_at=table.get("abort_at", _count),
        schedule=table.get("schedule", integer(low=0, high=2**63 - 1)),
        places=table.places(),
    )


def undisturbed(whole: Table) -> Expectation:
    """What ``[undisturbed]`` says."""
    table = whole.table("undisturbed")
    table.refuse_unknown(("outcome", "ends_in"))
    return _ending(table)


def _ending(table: Table) -> Expectation:
    return Expectation(
        outcome=table.get("outcome", word(map(str, Outcome), "outcome")),
        ends_in=table.get("ends_in", word(ENDS, "state that a run ends in")),
        places=table.places(),
    )


def expectation(whole: Table) -> Expectation:
    """What ``[expect]`` says."""
    table = whole.table("expect")
    table.refuse_unknown(("outcome", "ends_in", "images", "failure", "visits"))
    return attrs.evolve(
        _ending(table),
        images=table.get("images", integer(low=0, high=MANY)),
        failure=table.get("failure", sentence),
        visits=table.get("visits", words(word([state.name for state in State], "state of a collection"))) or (),
    )
