"""Checks of cancelling: at a checkpoint of a command, and what is possible afterwards.

Owns which checkpoints are struck. What counts as a checkpoint is in `calling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from fsmcollect.errors import DeviceError
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp, said
from fsmcollect.testing.conformance.calling import Call
from fsmcollect.testing.conformance.subjects import Act, Read, Safe


def points(checkpoints: int, strikes: int) -> Sequence[int]:
    """Which checkpoints are struck, counted from 1, and 0 for before the call: all, or so many evenly between."""
    if checkpoints <= strikes or strikes < 2:
        return range(min(checkpoints, strikes) + 1)
    return (0, *sorted({1 + round(index * (checkpoints - 1) / (strikes - 1)) for index in range(strikes)}))


async def act_cancelled(bench: Bench, act: Act, point: int) -> None:
    """An act is cancelled; then it is made safe, and told again."""
    if act.prepare is not None:
        await act.prepare(bench)
    safe, before = bench.subject.safe(), bench.tasks()
    call = await _struck(bench, Call(act.command, act.words, act.call, point), act.may_refuse)
    if call.struck_s is None:
        return
    if safe is not None:
        await _then_safe(bench, act, safe)
        await _leaves_no_task(bench, act, before)
    bench.did("once more")
    if act.prepare is not None:
        await act.prepare(bench)
    bench.did(act.words)
    again = await bench.finish(bench.begin(act.command, act.words, act.call), rules.CANCELLED_THEN_REPEATED)
    bench.succeeded(again, may_refuse=act.may_refuse, rule=rules.CANCELLED_THEN_REPEATED)
    if again.returned and (wrong := await bench.why_not_there(act)):
        bench.breach(rules.CANCELLED_THEN_REPEATED, f"{act.words} had returned, and {wrong}", act.command)
    if safe is None:
        await _leaves_no_task(bench, act, before)


async def safe_cancelled(bench: Bench, safe: Safe, act: Act, point: int) -> None:
    """Cancelled at any checkpoint, what makes safe makes safe; and it can be called again."""
    acting = await bench.under_way(act) if act.moves else await bench.act(act)
    call = await _struck(bench, Call(safe.command, f"{safe.command}()", safe.call, point))
    if call.struck_s is None:
        return
    if not await bench.becomes_safe(safe):
        bench.breach(rules.LEAVES_AT_ONCE, f"{bench.settings.limit_s:g} s later {safe.otherwise}", safe.command)
        raise GiveUp
    await bench.finish(acting, rules.TELLS_WHEN_OVERTAKEN, safe.command)
    again = await bench.finish(
        bench.begin(safe.command, f"{safe.command}() once more", safe.call), rules.CANCELLED_THEN_REPEATED
    )
    bench.succeeded(again, rule=rules.CANCELLED_THEN_REPEATED)


async def read_cancelled(bench: Bench, read: Read, point: int) -> None:
    """A question is cancelled; the next is answered."""
    call = await _struck(bench, Call(read.command, f"{read.command}()", read.call, point))
    if call.struck_s is not None:
        bench.did(f"{read.command}() once more")
        await bench.read(read)


async def wait_cancelled(bench: Bench, wait: Act, point: int | None) -> None:
    """What waits as long as it takes is cancelled: at a checkpoint, or (None) after it has waited a while."""
    if wait.prepare is not None:
        await wait.prepare(bench)
    before = bench.tasks()
    call = Call(wait.command, wait.words, wait.call, point)
    if point is None:
        bench.watcher.calls.append(call)
        bench.nursery.start_soon(call.run)
        await bench.ends(call, bench.settings.watch_s)
        if call.ended.is_set():
            return
        bench.did(f"{wait.words}, cancelled after {bench.settings.watch_s:g} s")
        call.cancel()
        await _judge(bench, call, wait.may_refuse)
    else:
        await _struck(bench, call, wait.may_refuse)
    if call.struck_s is not None:
        await _leaves_no_task(bench, wait, before)


# -- how -------------------------------------------------------------------------------------------------------------


async def _struck(bench: Bench, call: Call, may_refuse: bool = False) -> Call:
    """Make a call that strikes itself, and judge how it went."""
    bench.did(f"{call.words}, cancelled {_where(call.strike_at)}")
    bench.watcher.calls.append(call)
    bench.nursery.start_soon(call.run, name=call.words)
    with trio.move_on_after(bench.settings.limit_s):
        await call.struck.wait()
    if call.struck_s is None:
        bench.succeeded(await bench.finish(call), may_refuse=may_refuse)
        return call
    await _judge(bench, call, may_refuse)
    return call


async def _judge(bench: Bench, call: Call, may_refuse: bool) -> None:
    """How a call that was struck went away. Raises GiveUp where it does not."""
    if not await bench.is_gone(call):
        seen = f"it was still there {bench.settings.prompt_s:g} s later"
        if call.is_restless:
            seen = "it came to one checkpoint after the other, and did not go"
        bench.breach(rules.CAN_BE_CANCELLED, seen, call.command)
        await bench.ends(call, bench.settings.limit_s)
        raise GiveUp
    if call.error is not None and not (may_refuse and isinstance(call.error, DeviceError)):
        bench.breach(rules.CANCELLED_CLEANLY, f"it raised {said(call.error)}", call.command)
    elif call.returned and call.was_told:
        bench.breach(rules.LETS_CANCELLED_THROUGH, "trio.Cancelled was raised in it, and it returned", call.command)


async def _then_safe(bench: Bench, act: Act, safe: Safe) -> None:
    bench.did(f"{safe.command}()")
    made = await bench.finish(
        bench.begin(safe.command, f"{safe.command}()", safe.call),
        rules.CANCELLED_THEN_SAFE,
        safe.command,
        command=act.command,
    )
    if made.error is not None:
        seen = f"{made.words} raised {said(made.error)}"
    elif not await bench.is_safe(safe):
        seen = f"{made.words} had returned, and {safe.otherwise}"
    else:
        return
    bench.breach(rules.CANCELLED_THEN_SAFE, seen, act.command, safe.command)
    raise GiveUp


async def _leaves_no_task(bench: Bench, act: Act, before: Mapping[int, trio.lowlevel.Task]) -> None:
    """What runs now and did not before, beyond what an undisturbed call leaves, is to go."""
    usual = bench.usual(act.words).leaves
    names = await bench.new_tasks(before, usual)
    if len(names) > usual:
        seen = f"{bench.settings.prompt_s:g} s later there still ran {', '.join(names)}"
        bench.breach(rules.LEAVES_NO_TASK, seen, act.command)


def _where(point: int | None) -> str:
    if point == 0:
        return "before it began"
    endings = {1: "st", 2: "nd", 3: "rd"}
    number = point or 0
    ending = "th" if number % 100 in (11, 12, 13) else endings.get(number % 10, "th")
    return f"at its {number}{ending} checkpoint"
