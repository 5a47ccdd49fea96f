"""Checks that every role shares: what is read, what is done, what makes safe, what is refused, what happens at once.

Owns what is tried, in which order, and the verdict. Cancelling is in `cancelling`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from fsmcollect.errors import DeviceError
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp, said
from fsmcollect.testing.conformance.calling import Call, Operation
from fsmcollect.testing.conformance.structure import properties_of
from fsmcollect.testing.conformance.subjects import Act, Read, Refusal, Safe

#: Looks at a device while a call is under way. Assumed; fewer than five that could be made say nothing.
_LOOKS, _FEWEST_LOOKS = 20, 5
#: Part of a call's time, and times what an answer usually takes: an answer that takes longer has waited. Assumed.
_MOST, _MUCH_LONGER = 0.5, 10.0


# -- what is read ----------------------------------------------------------------------------------------------------


async def properties_are_sane(bench: Bench) -> None:
    """What the device says of itself."""
    for name in properties_of(bench.subject.role):
        try:
            getattr(bench.subject.device, name)
        except Exception as error:  # noqa: BLE001  (whatever an adapter raises is told)
            bench.breach(rules.SANE, f"it raised {said(error)}", name, done=f"read {name}")
            return
    for name, wrong in bench.subject.wrong_properties():
        bench.breach(rules.SANE, wrong, name, done=f"read {name}")


async def it_answers(bench: Bench, read: Read) -> None:
    """Asked twice: the second time something of the first may be in the way."""
    for _ in range(2):
        bench.did(f"{read.command}()")
        began_s = trio.current_time()
        await bench.read(read)
        bench.findings.answers_in_s[read.command] = trio.current_time() - began_s


# -- what it does ----------------------------------------------------------------------------------------------------


async def act_works(bench: Bench, act: Act) -> None:
    """It comes back, and read-back agrees at once."""
    call = await bench.act(act)
    await arrived_on_return(bench, act, call)
    if act.rival is not None:
        call = await bench.do(act.rival.command, act.rival.words, act.rival.call)
        await arrived_on_return(bench, act.rival, call)


async def arrived_on_return(bench: Bench, act: Act, call: Call) -> None:
    """A call that returned has read-back as it was told. Raises GiveUp."""
    if call.returned and (wrong := await bench.why_not_there(act)):
        bench.breach(rules.AFTER_READ_BACK, f"{act.words} had returned, and {wrong}", act.command)
        raise GiveUp


async def looked_at_while_it_works(bench: Bench, act: Act) -> None:
    """Whoever asks meanwhile is answered, and not with what is yet to come."""
    if act.prepare is not None:
        await act.prepare(bench)
    await _looked_at(bench, act, bench.usual(act.words).took_s)


async def looked_at_while_made_safe(bench: Bench, safe: Safe, act: Act) -> None:
    """The same for what makes safe."""

    async def arrived() -> str:
        return "" if await safe.is_safe() else safe.otherwise

    await bench.act(act)
    took_s = (await bench.make_safe(safe)).took_s
    await bench.act(act)
    words = f"{safe.command}()"
    late = safe.arrives_late
    making = Act(command=safe.command, words=words, call=safe.call, read=safe.read, arrived=arrived, arrives_late=late)
    await _looked_at(bench, making, took_s)


async def _looked_at(bench: Bench, act: Act, took_s: float) -> None:
    """Ask everything again and again while a call is under way that usually takes so long."""
    bench.did(f"{act.words}, asking meanwhile")
    call = bench.begin(act.command, act.words, act.call)
    await call.under_way.wait()
    there: list[bool] = []
    still: list[bool] = []
    read_back: set[str] = set()
    while took_s > 0.0 and not call.ended.is_set() and call.took_s < 2.0 * took_s:
        wrong = await bench.why_not_there(act) if act.arrives_late else "it cannot be known"
        if not call.ended.is_set():
            there.append(not wrong)
            read_back.add(wrong)
        for read in bench.subject.reads():
            asked_s = trio.current_time()
            answer = await bench.read(read, meanwhile=True)
            _did_not_wait_for(bench, read, call, trio.current_time() - asked_s)
            if read.command == "is_still" and not call.ended.is_set():
                still.append(answer is True)
        await trio.sleep(took_s / _LOOKS)
    bench.succeeded(await bench.finish(call), may_refuse=act.may_refuse)
    seen = f"{act.words} took {call.took_s:.3g} s, and all the time"
    if len(there) >= _FEWEST_LOOKS and all(there):
        bench.breach(rules.NO_MEMORY, f"{seen} {act.read} said that it was done", act.read)
    # A short motion within a long call may be missed; one that read-back shows is not.
    if act.moves and (act.steps or len(read_back) >= _FEWEST_LOOKS) and len(still) >= _FEWEST_LOOKS and all(still):
        bench.breach(rules.NO_MEMORY, f"{seen} is_still said that nothing moved", "is_still")


def _did_not_wait_for(bench: Bench, read: Read, call: Call, waited_s: float) -> None:
    """An answer that came only when a call had ended, after most of its time, twice, has waited for it."""
    usual_s = bench.findings.answers_in_s.get(read.command, 0.0)
    if call.ended.is_set() and waited_s > max(_MOST * call.took_s, _MUCH_LONGER * usual_s):
        doubt = f"{read.command}() answered when {call.words} had ended"
        if bench.findings.seen_before(doubt):
            bench.breach(rules.ANSWERS, f"{doubt}, after {waited_s:.3g} s", read.command)
        raise GiveUp


# -- what makes safe -------------------------------------------------------------------------------------------------


async def safe_leaves_at_once_after(bench: Bench, safe: Safe, act: Act) -> None:
    """Called in a scope that is cancelled already, on a device that stands."""
    await bench.act(act)
    await _leaves_at_once(bench, safe)


async def safe_leaves_at_once_during(bench: Bench, safe: Safe, act: Act) -> None:
    """Called in a scope that is cancelled already, while an act is under way."""
    call = await bench.under_way(act)
    stop = await _leaves_at_once(bench, safe)
    await bench.finish(call, rules.TELLS_WHEN_OVERTAKEN, safe.command)
    if _in_time(bench, act, call, stop) and not await bench.why_not_there(act):
        bench.breach(rules.LEAVES_AT_ONCE, f"{act.words} went on to its end", safe.command)


async def safe_at_once(bench: Bench, safe: Safe, act: Act) -> None:
    """Made safe as soon as an act is under way."""
    await _safe_while_acting(bench, safe, act, 0.0)


async def safe_half_way(bench: Bench, safe: Safe, act: Act) -> None:
    """Made safe after half of an act's time."""
    await _safe_while_acting(bench, safe, act, 0.5)


async def safe_is_idempotent(bench: Bench, safe: Safe, act: Act | None) -> None:
    """From a fresh device, or after an act: safe and verified, then once more."""
    if act is not None:
        await bench.act(act)
    await bench.make_safe(safe)
    await _verified(bench, safe, rules.AFTER_READ_BACK)
    bench.did(f"{safe.command}() once more")
    call = await bench.finish(bench.begin(safe.command, f"the second {safe.command}()", safe.call), rules.IDEMPOTENT)
    if call.error is not None:
        bench.breach(rules.IDEMPOTENT, f"{call.words} raised {said(call.error)}", safe.command)
        raise GiveUp
    await _verified(bench, safe, rules.IDEMPOTENT)


async def _leaves_at_once(bench: Bench, safe: Safe) -> Call:
    """The device becomes safe all the same."""
    bench.did(f"{safe.command}() in a scope that was cancelled already")
    call = bench.begin(safe.command, f"{safe.command}()", safe.call, strike_at=0)
    if not await bench.is_gone(call):
        seen = f"{call.words} was still there {bench.settings.prompt_s:g} s after it was cancelled"
        bench.breach(rules.CAN_BE_CANCELLED, seen, safe.command)
        raise GiveUp
    if call.error is not None:
        bench.breach(rules.CANCELLED_CLEANLY, f"{call.words} raised {said(call.error)}", safe.command)
    if not await bench.becomes_safe(safe):
        seen = f"{bench.settings.limit_s:g} s later {safe.otherwise}"
        bench.breach(rules.LEAVES_AT_ONCE, seen, safe.command)
        raise GiveUp
    return call


def _in_time(bench: Bench, act: Act, call: Call, stop: Call) -> bool:
    """Whether an act cannot have come to its end before it was made safe; a busy machine may have been late."""
    return act.stays_undone and stop.began_s - call.began_s < _MOST * bench.usual(act.words).took_s


async def _safe_while_acting(bench: Bench, safe: Safe, act: Act, part: float) -> None:
    """Made safe while an act is under way: the device is safe, and whoever waited for the act is told."""
    call = await bench.under_way(act, part)
    if call.ended.is_set():
        return
    bench.did(f"{safe.command}() {'at once' if part == 0.0 else f'after {part:.0%} of its time'}")
    stop = await bench.finish(bench.begin(safe.command, f"{safe.command}()", safe.call), rules.WHILE, act.command)
    bench.succeeded(stop, rule=rules.WHILE, other=act.command)
    await _verified(bench, safe, rules.WHILE, act.command)
    bench.remember(stop)
    await bench.finish(call, rules.TELLS_WHEN_OVERTAKEN, safe.command)
    await _verified(bench, safe, rules.WHILE, act.command)
    there = act.arrived is not None and not await bench.why_not_there(act)
    if part == 0.0 and there and _in_time(bench, act, call, stop):
        seen = f"{safe.command}() returned, and {act.words} went on to its end"
        bench.breach(rules.WHILE, seen, safe.command, act.command)
        raise GiveUp
    if isinstance(call.error, DeviceError):
        return
    bench.wrong_error(call)
    if call.returned and act.arrived is not None and not there:
        seen = f"{act.words} returned as if nothing had happened, and {await bench.why_not_there(act)}"
        bench.breach(rules.TELLS_WHEN_OVERTAKEN, seen, act.command, safe.command)


async def safe_may_be_joined(bench: Bench, safe: Safe, act: Act) -> None:
    """Two callers at once, after an act."""
    await bench.act(act)
    bench.did(f"{safe.command}() twice at the same time")
    calls = [bench.begin(safe.command, f"one of two {safe.command}()", safe.call) for _ in range(2)]
    for call in calls:
        await bench.finish(call, rules.MAY_BE_JOINED)
        if call.error is not None:
            bench.breach(rules.MAY_BE_JOINED, f"{call.words} raised {said(call.error)}", safe.command)
            raise GiveUp
    await _verified(bench, safe, rules.MAY_BE_JOINED)


async def _verified(bench: Bench, safe: Safe, rule: rules.Rule, other: str = "") -> None:
    if not await bench.is_safe(safe):
        bench.breach(rule, f"{safe.command}() had returned, and {safe.otherwise}", safe.command, other)
        raise GiveUp


# -- waiting ---------------------------------------------------------------------------------------------------------


async def waits_until(
    bench: Bench, command: str, operation: Operation, bring_about: Callable[[Bench], Awaitable[object]]
) -> None:
    """A call waits while nothing happens, and returns when it is brought about. Raises GiveUp."""
    bench.did(f"{command}()")
    call = bench.begin(command, f"{command}()", operation)
    if await bench.ends(call, bench.settings.watch_s):
        bench.succeeded(call)
        bench.breach(rules.WAITS, f"it returned after {call.took_s:.3g} s, and nothing had happened", command)
        raise GiveUp
    await bring_about(bench)
    bench.succeeded(await bench.finish(call, rules.NOTICES))


# -- two at once -----------------------------------------------------------------------------------------------------


async def second_act(bench: Bench, act: Act) -> None:
    """Another call of the same command while the first is under way: each ends, and returns only where it is."""
    rival = act.rival or act
    first = await bench.under_way(act)
    bench.did(f"{rival.words} meanwhile")
    second = bench.begin(rival.command, f"the second, {rival.words}", rival.call)
    told, usual_s = {first: act, second: rival}, bench.usual(act.words).took_s
    while told:
        await bench.one_ends(told)
        call = next((call for call in told if call.ended.is_set()), first if first in told else second)
        told_it = told.pop(call)
        # One after the other is allowed too: the device may have been there, and be on its way for the other.
        may_be_on = call.took_s >= _MOST * usual_s and not all(other.ended.is_set() for other in told)
        await _returned_where_it_is(bench, call, told_it, may_be_on=may_be_on)


async def _returned_where_it_is(bench: Bench, call: Call, act: Act, *, may_be_on: bool) -> None:
    await bench.finish(call, rules.SECOND)
    if not call.returned:
        if not isinstance(call.error, DeviceError):
            bench.wrong_error(call)
        return
    wrong = await bench.why_not_there(act)
    if wrong and not may_be_on:
        bench.breach(rules.SECOND, f"{call.words} had returned, and {wrong}", act.command)


# -- what it must refuse ---------------------------------------------------------------------------------------------


async def it_refuses(bench: Bench, refusal: Refusal) -> None:
    """What cannot be done is a DeviceError that names the role."""
    if refusal.prepare is not None:
        await refusal.prepare(bench)
    bench.did(refusal.words)
    call = await bench.finish(
        bench.begin(refusal.command, refusal.words, refusal.call), rules.REFUSES, command=refusal.name
    )
    if call.error is None:
        bench.breach(rules.REFUSES, f"{refusal.words} returned", refusal.name)
    elif not isinstance(call.error, DeviceError):
        bench.breach(rules.ONLY_DEVICE_ERRORS, f"{refusal.words} raised {said(call.error)}", refusal.command)
    elif call.error.device != bench.subject.role:
        seen = f"the error names {call.error.device!r}, the role is {bench.subject.role!r}"
        bench.breach(rules.ERRORS_NAME_THE_ROLE, seen, refusal.command)
