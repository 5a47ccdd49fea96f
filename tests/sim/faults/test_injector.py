"""When a fault begins, what it befalls, when it is over, and what is told of that."""

from __future__ import annotations

import contextlib

import pytest
import trio

from fsmcollect.beamline import Location
from fsmcollect.errors import DeviceError
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.injector import Call
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from tests.sim.faults.faulting import Bench, at_call, of_device

LOADED = Location(5, 16)


def lie(moment: Moment, lasts_s: float = ONCE_S) -> Fault:
    """The robot says that it has something loaded: told at once, and easy to tell."""
    return Fault(
        device="sample_changer",
        command="read_loaded",
        effect=Effect.WRONG_READ_BACK,
        moment=moment,
        lasts_s=lasts_s,
    )


async def lies(bench: Bench) -> bool:
    return await bench.call("sample_changer", "read_loaded") == LOADED


async def lies_at(bench: Bench, *seconds: float) -> list[bool]:
    """Whether it lies at these times."""
    said: list[bool] = []
    for at_s in seconds:
        await trio.sleep_until(at_s)
        said.append(await lies(bench))
    return said


@pytest.mark.parametrize(
    "call, lasts_s, expected",
    [
        (1, ONCE_S, [True, False, False, False, False]),
        (3, ONCE_S, [False, False, True, False, False]),
        (2, 2.5, [False, True, True, True, False]),
        (2, FOR_EVER_S, [False, True, True, True, True]),
        (6, FOR_EVER_S, [False, False, False, False, False]),
    ],
)
def test_from_a_call_on_it_lasts_once_a_while_or_for_ever(call: int, lasts_s: float, expected: list[bool]) -> None:
    fault = at_call("sample_changer", "read_loaded", Effect.WRONG_READ_BACK, call, lasts_s)
    bench = Bench((fault,))

    async def body() -> None:
        assert await lies_at(bench, 1, 2, 3, 4, 5) == expected

    bench.run(body)
    assert bench.injector.struck == [(i * 1_000_000, fault) for i, lied in enumerate(expected, start=1) if lied]


@pytest.mark.parametrize(
    "lasts_s, expected",
    [
        (ONCE_S, [False, False, True, False, False]),
        (1.5, [False, False, True, True, False]),
        (FOR_EVER_S, [False, False, True, True, True]),
    ],
)
def test_from_a_time_on_it_befalls_the_next_calls(lasts_s: float, expected: list[bool]) -> None:
    bench = Bench((lie(Moment(at_s=2.75), lasts_s),))

    async def body() -> None:
        assert await lies_at(bench, 1, 2, 3, 4, 5) == expected

    bench.run(body)


def test_from_an_event_on_it_is_so_many_of_them_and_so_much_later() -> None:
    bench = Bench((lie(Moment(event="wedge.EXPOSING", count=2, after_s=1.0), FOR_EVER_S),))

    async def body() -> None:
        bench.enters("wedge.EXPOSING")
        assert await lies_at(bench, 2) == [False]
        bench.enters("wedge.ARMING")
        bench.enters("wedge.EXPOSING")
        assert await lies_at(bench, 2.9, 3.1) == [False, True]

    bench.run(body)


def test_at_an_event_it_begins_within_it() -> None:
    bench = Bench((lie(Moment(event="CENTRING")),))

    async def body() -> None:
        bench.enters("CENTRING")
        assert await lies(bench)
        assert not await lies(bench)
        bench.enters("CENTRING")
        assert not await lies(bench)

    bench.run(body)


def test_in_force_is_what_has_begun_and_is_not_over() -> None:
    hangs = at_call("ring", "read_current_ma", Effect.HANGS)
    while_away = lie(Moment(at_s=1.0), 2.0)
    drifts = of_device("detector_stage", Effect.DRIFTS, at_s=1.5)
    bench = Bench((hangs, while_away, drifts))
    seen: dict[float, tuple[Fault, ...]] = {}

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.answers_within, 2.0, "ring", "read_current_ma")
            for at_s in (0.5, 1.2, 1.7, 2.5, 3.5):
                await trio.sleep_until(at_s)
                seen[at_s] = bench.injector.in_force()
        await bench.call("detector_stage", "stop")
        seen[4.0] = bench.injector.in_force()

    bench.run(body)
    assert seen == {
        0.5: (hangs,),
        1.2: (hangs, while_away),
        1.7: (hangs, while_away, drifts),
        2.5: (while_away, drifts),
        3.5: (drifts,),
        4.0: (),
    }
    assert bench.injector.never_struck == (while_away,)  # nobody asked the robot meanwhile


def test_what_never_began_or_befell_nothing_never_struck() -> None:
    struck = at_call("ring", "read_current_ma", Effect.HANGS)
    never = (
        at_call("ring", "read_current_ma", Effect.HANGS, call=2),
        lie(Moment(at_s=1e6)),
        lie(Moment(event="FAULT")),
        lie(Moment(at_s=0.5)),
        at_call("diodes", "read_gains", Effect.REFUSES),
        of_device("attenuator", Effect.DRIFTS, at_s=0.0),
        at_call("person", "ask", Effect.REFUSES),
    )
    simulated = SimulatedBeamline(without={"attenuator", "person"})
    bench = Bench((struck, *never), simulated=simulated)

    async def body() -> None:
        assert not await bench.answers_within(2.0, "ring", "read_current_ma")

    bench.run(body)
    assert bench.injector.never_struck == never
    assert bench.injector.struck == [(0, struck)]


@pytest.mark.parametrize(
    "fault, over_s",
    [
        (at_call("ring", "read_current_ma", Effect.HANGS), 2.0),
        (at_call("ring", "read_current_ma", Effect.HANGS, lasts_s=1.5), 1.5),
        (at_call("ring", "read_current_ma", Effect.HANGS, lasts_s=FOR_EVER_S), 0.0),
        (at_call("ring", "read_current_ma", Effect.HANGS, lasts_s=60.0), 5.0),
        (at_call("ring", "read_current_ma", Effect.REFUSES), 0.001),
        (lie(Moment(at_s=3.0), 1.0), 4.0),
        (lie(Moment(at_s=3.0), FOR_EVER_S), 3.0),
        (lie(Moment(at_s=3.0)), 0.0),
        (of_device("goniometer", Effect.RESETS, at_s=3.0), 3.0),
        # Not commanded again, it drifts on: nothing new comes of it.
        (of_device("goniometer", Effect.DRIFTS, at_s=3.0), 3.0),
        (of_device("goniometer", Effect.DRIFTS, at_s=30.0), 0.0),
    ],
    ids=str,
)
def test_when_the_last_one_was_over(fault: Fault, over_s: float) -> None:
    bench = Bench((fault,))

    async def body() -> None:
        with trio.move_on_after(2.0):
            await bench.call("ring", "read_current_ma")
            await trio.sleep_forever()

    async def whole() -> None:
        with contextlib.suppress(DeviceError):
            await body()
        await trio.sleep_until(5.0)
        assert bench.injector.last_over_us == over_s * 1e6

    bench.run(whole)


def test_without_faults_nothing_is_ever_in_force() -> None:
    bench = Bench(())
    assert bench.injector.in_force() == bench.injector.never_struck == ()
    assert bench.injector.last_over_us == 0


def test_each_strike_is_told_at_once_and_in_the_trace() -> None:
    fault = at_call("fast_shutter", "close", Effect.REFUSES, call=2, lasts_s=FOR_EVER_S)
    bench = Bench((fault,))
    told: list[tuple[int, Fault]] = []
    bench.injector.on_struck.append(lambda fault: told.append((bench.now_us, fault)))

    async def body() -> None:
        await bench.call("fast_shutter", "close")
        for at_s in (1.0, 2.0):
            await trio.sleep_until(at_s)
            with pytest.raises(DeviceError):
                await bench.call("fast_shutter", "close")

    bench.run(body)
    assert told == bench.injector.struck == [(1_000_000, fault), (2_000_000, fault)]
    assert [line for line in bench.lines if line[1].startswith("fault")] == [
        (t_us, "fault/fast_shutter.close", "fast_shutter.close refuses (call 2, for ever)")
        for t_us in (1_000_000, 2_000_000)
    ]


def test_every_call_is_recorded_with_its_number_and_the_state() -> None:
    bench = Bench((), record=True)

    async def body() -> None:
        bench.state = "MOUNTING"
        await bench.call("fast_shutter", "close")
        await bench.call("ring", "read_current_ma")
        bench.state = "wedge.EXPOSING"
        await bench.call("fast_shutter", "close")

    bench.run(body)
    assert bench.injector.calls == [
        Call("fast_shutter", "close", 1, "MOUNTING"),
        Call("ring", "read_current_ma", 1, "MOUNTING"),
        Call("fast_shutter", "close", 2, "wedge.EXPOSING"),
    ]


def test_what_is_not_asked_for_is_not_recorded() -> None:
    bench = Bench((at_call("fast_shutter", "close", Effect.HANGS, call=9),))
    bench.run(lambda: bench.call("fast_shutter", "close"))
    assert bench.injector.calls == []
