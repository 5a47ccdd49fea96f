"""The table of commands is complete, and says what can befall what."""

from __future__ import annotations

import inspect
import typing

import attrs
import pytest

from fsmcollect.beamline import Beamline
from fsmcollect.sim.faults.commands import COMMANDS, Call, Kind, applies, effects_of, every_fault_at, kind_of
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect
from tests.sim.faults.faulting import EVERY_COMMAND

ROLES = {
    name: role
    for name, hint in typing.get_type_hints(Beamline).items()
    for role in typing.get_args(hint)
    if inspect.isclass(role) and role.__module__ == "fsmcollect.beamline.roles"
}
EVERYWHERE = {Effect.REFUSES, Effect.RAISES, Effect.HANGS, Effect.DELAYED}
#: What befalls a command by its kind, but for what stops half-way.
BY_KIND = {
    Kind.READ: EVERYWHERE | {Effect.WRONG_READ_BACK},
    Kind.ACT: EVERYWHERE | {Effect.ANSWER_LOST, Effect.NO_ACTION},
    Kind.MAKE_SAFE: EVERYWHERE | {Effect.ANSWER_LOST, Effect.NO_ACTION},
    Kind.WATCH: EVERYWHERE,
    Kind.ASK: EVERYWHERE | {Effect.ANSWER_LOST},
}
NOTHING_MOVES = {
    ("goniometer", "stop"),
    ("detector", "disarm"),
    ("detector_stage", "stop"),
    ("monochromator", "stop"),
    ("sample_changer", "stop"),
    ("diodes", "adjust_gains"),
    ("diodes", "set_gains"),
}


def test_every_role_is_known() -> None:
    assert set(COMMANDS) == set(ROLES) == {a.name for a in attrs.fields(Beamline)} - {"config", "fault", "_owner"}


@pytest.mark.parametrize("role", ROLES)
def test_every_command_of_a_role_is_known_and_nothing_else(role: str) -> None:
    methods = {name for name, _ in inspect.getmembers(ROLES[role], inspect.iscoroutinefunction)}
    assert set(COMMANDS[role]) == methods


@pytest.mark.parametrize("device, command", EVERY_COMMAND)
def test_a_kind_is_what_the_contract_says(device: str, command: str) -> None:
    kind = kind_of(device, command)
    doc = getattr(ROLES[device], command).__doc__ or ""
    assert (kind is Kind.MAKE_SAFE) == ("Makes safe" in doc)
    if command.startswith(("is_", "read_")):
        assert kind is Kind.READ
    if command.startswith("wait_"):
        assert kind is Kind.WATCH


@pytest.mark.parametrize("device, command", EVERY_COMMAND)
def test_what_befalls_a_command_follows_from_its_kind(device: str, command: str) -> None:
    kind = kind_of(device, command)
    assert kind is not None
    expected = set(BY_KIND[kind])
    if kind in (Kind.ACT, Kind.MAKE_SAFE) and (device, command) not in NOTHING_MOVES:
        expected.add(Effect.STOPS_HALF_WAY)
    if command == "finish_sweep":
        expected.add(Effect.NO_ACTION)
    assert set(effects_of(device, command)) == expected


def test_only_devices_with_a_controller_start_afresh_and_only_physical_things_drift() -> None:
    assert {device for device in COMMANDS if applies(device, "", Effect.RESETS)} == set(COMMANDS) - {
        "interlock",
        "cryo_stream",
        "camera",
        "fluorescence_detector",
        "ring",
        "person",
    }
    assert {device for device in COMMANDS if applies(device, "", Effect.DRIFTS)} == {
        "goniometer",
        "detector_stage",
        "monochromator",
        "attenuator",
        "cryo_stream",
        "ring",
    }


def test_nothing_befalls_what_does_not_exist() -> None:
    for effect in Effect:
        assert not applies("coffee_machine", "brew", effect)
        assert not applies("coffee_machine", "", effect)
        assert not applies("goniometer", "brew", effect)
    assert not applies("goniometer", "move", Effect.RESETS)
    assert not applies("goniometer", "", Effect.REFUSES)


def test_every_fault_is_at_every_call_once_and_for_ever_and_of_devices_at_every_state() -> None:
    calls = [
        Call("fast_shutter", "close", 1, "MOUNTING"),
        Call("fast_shutter", "is_closed", 1, "MOUNTING"),
        Call("ring", "wait_for_loss", 1, "wedge.EXPOSING"),
        Call("fast_shutter", "close", 2, "IDLE"),
        Call("fast_shutter", "close", 2, "IDLE"),
        Call("ring", "read_fill_mode", 1, ""),
    ]
    faults = list(every_fault_at(calls))
    assert len(faults) == len(set(faults))
    assert all(applies(fault.device, fault.command, fault.effect) for fault in faults)
    of_commands = {(f.device, f.command, f.call, f.effect, f.lasts_s) for f in faults if f.command}
    assert of_commands == {
        (call.device, call.command, call.number, effect, lasts_s)
        for call in calls
        for effect in effects_of(call.device, call.command)
        for lasts_s in (ONCE_S, FOR_EVER_S)
    }
    as_a_whole = {(f.device, f.effect, f.moment and f.moment.event, f.lasts_s) for f in faults if not f.command}
    assert as_a_whole == {
        (device, effect, state, lasts_s)
        for device, effect in (("fast_shutter", Effect.RESETS), ("ring", Effect.DRIFTS))
        for state in ("MOUNTING", "wedge.EXPOSING")
        for lasts_s in (ONCE_S, FOR_EVER_S)
    }
