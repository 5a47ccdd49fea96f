"""Shutters: travel, reversal, jamming, interlock, and how much beam they let through."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import DeviceError
from fsmcollect.sim.interlock import Interlock
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.shutter import Blade, FastShutter, SafetyShutter
from fsmcollect.sim.trace import Line, Trace


def make_fast() -> tuple[Kernel, FastShutter]:
    kernel = Kernel()
    return kernel, FastShutter(kernel, Trace(kernel), opening_s=0.06, closing_s=0.02)


def test_it_opens_and_closes_in_its_time() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        assert await shutter.is_closed()
        await shutter.open()
        assert (kernel.now_us, shutter.blade) == (60_000, Blade.OPEN)
        assert not await shutter.is_closed()
        await shutter.close()
        assert (kernel.now_us, shutter.blade) == (80_000, Blade.CLOSED)
        await shutter.close()
        assert kernel.now_us == 80_000

    kernel.run(body)


def test_half_open_it_turns_round_and_tells_who_waited() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def open_it() -> None:
                with pytest.raises(DeviceError, match="was told to close before it was open"):
                    await shutter.open()
                assert kernel.now_us == 30_000

            await kernel.wait(30_000)
            assert shutter.blade is Blade.OPENING
            assert shutter.aperture_frac() == 0.5
            await shutter.close()
        assert kernel.now_us == 40_000
        assert shutter.let_through_us() == pytest.approx(30_000 * 0.25 + 10_000 * 0.25)

    kernel.run(body)


def test_the_command_is_sent_before_the_first_checkpoint_even_when_cancelled() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        await shutter.open()
        with trio.CancelScope() as scope:
            scope.cancel()
            await shutter.close()
        assert shutter.blade is Blade.CLOSING
        await kernel.wait(20_000)
        assert shutter.closed

    kernel.run(body)


def test_jammed_open_it_says_so_and_freed_it_obeys() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        await shutter.open()
        shutter.jammed = True
        with pytest.raises(DeviceError, match="was told to close and stands 100 % open"):
            await shutter.close()
        assert not await shutter.is_closed()
        assert shutter.blade is Blade.OPEN
        with pytest.raises(DeviceError):
            await shutter.close()
        shutter.jammed = False
        await shutter.close()
        assert await shutter.is_closed()

    kernel.run(body)


def test_jammed_half_way_is_not_closed() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        shutter.gate_open()
        await kernel.wait(30_000)
        shutter.jammed = True
        await kernel.wait(1_000_000)
        assert not shutter.closed
        assert not shutter.wholly_open
        assert shutter.aperture_frac() == 0.5

    kernel.run(body)


def test_freed_while_somebody_waits_it_goes_where_it_was_told() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        await shutter.open()
        shutter.jammed = True
        kernel.after(100_000, lambda: setattr(shutter, "jammed", False))
        await shutter.close()
        assert kernel.now_us == 60_000 + 100_000 + 20_000

    kernel.run(body)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 150_000)), max_size=12))
def test_what_it_lets_through_is_the_integral_of_its_aperture(steps: list[tuple[bool, int]]) -> None:
    kernel, shutter = make_fast()
    step_us = 1_000

    async def body() -> None:
        summed_us = 0.0
        for to_open, wait_us in steps:
            (shutter.gate_open if to_open else shutter.gate_close)()
            for _ in range(wait_us // step_us):
                before = shutter.aperture_frac()
                await kernel.wait(step_us)
                summed_us += 0.5 * (before + shutter.aperture_frac()) * step_us
        # A ramp may end within a step of the sum.
        assert shutter.let_through_us() == pytest.approx(summed_us, abs=0.5 * step_us * (len(steps) + 1))

    kernel.run(body)


def test_it_remembers_when_it_was_wholly_open() -> None:
    kernel, shutter = make_fast()

    async def body() -> None:
        for _ in range(3):
            await shutter.open()
            await kernel.wait(20_000)
            await shutter.close()
        assert shutter.open_spans(0, 1_000_000) == [(60_000, 80_000), (160_000, 180_000), (260_000, 280_000)]
        assert shutter.open_spans(70_000, 170_000) == [(70_000, 80_000), (160_000, 170_000)]
        assert shutter.open_spans(90_000, 95_000) == []
        await shutter.open()
        await kernel.wait(5_000)
        assert shutter.open_spans(300_000, 1_000_000) == [(360_000, 365_000)]

    kernel.run(body)


def test_closing_by_software_takes_it_off_the_gate_and_the_gates_own_closing_does_not() -> None:
    kernel, shutter = make_fast()
    taken_off: list[int] = []
    shutter.take_gate_off = lambda: taken_off.append(kernel.now_us)

    async def body() -> None:
        shutter.gate_open()
        await kernel.wait(70_000)
        shutter.gate_close()
        assert taken_off == []
        await shutter.close()
        assert taken_off == [70_000]

    kernel.run(body)


def test_the_interlock_refuses_to_open_an_unsearched_hutch_and_drops_the_shutter() -> None:
    kernel = Kernel()
    trace = Trace(kernel)
    lines: list[tuple[int, Line]] = []
    trace.listeners.append(lambda t_us, new: lines.extend((t_us, line) for line in new))
    interlock = Interlock(trace)
    shutter = SafetyShutter(kernel, trace, interlock=interlock)

    async def body() -> None:
        await shutter.open()
        interlock.open_door()
        assert shutter.blade is Blade.CLOSING
        with pytest.raises(DeviceError, match="the hutch is not searched"):
            await shutter.open()
        await shutter.close()
        assert await shutter.is_closed()
        interlock.search()
        await shutter.open()
        assert not await shutter.is_closed()

    kernel.run(body)
    assert (1_500_000, ("safety_shutter", "drop")) in lines


def test_without_current_it_closes_by_itself_unless_it_is_jammed() -> None:
    for jammed in (False, True):
        kernel, shutter = make_fast()

        async def body(kernel: Kernel = kernel, shutter: FastShutter = shutter, jammed: bool = jammed) -> None:
            await shutter.open()
            shutter.jammed = jammed
            shutter.reset()
            await kernel.wait(20_000)
            assert shutter.closed is not jammed

        kernel.run(body)


def test_its_read_back_line_tells_whenever_it_begins_to_close() -> None:
    kernel, shutter = make_fast()
    told: list[int] = []
    shutter.left_open = lambda: told.append(kernel.now_us)

    async def body() -> None:
        await shutter.open()
        assert shutter.travelling_until_us == 60_000
        shutter.jammed = True
        shutter.jammed = False
        assert told == []
        await shutter.close()
        shutter.gate_open()
        await kernel.wait(30_000)
        shutter.gate_close()  # half open: it was never wholly open
        await kernel.wait(100_000)
        shutter.gate_open()
        await kernel.wait(100_000)
        shutter.reset()

    kernel.run(body)
    assert told == [60_000, 310_000]
