"""What goes from one setting to another in a fixed time: the last command wins, and a jam is noticed."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import DeviceError
from fsmcollect.sim.actuator import Actuator
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.trace import Trace


def new_actuator(kernel: Kernel, travel_s: float = 2.0) -> Actuator[str]:
    return Actuator(kernel, Trace(kernel), "flap", "up", travel_s)


def test_it_arrives_after_its_travel_and_is_nowhere_on_the_way() -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        flap.command("down")
        assert (flap.setting, flap.is_moving) == (None, True)
        await flap.go("down")
        assert (flap.setting, flap.is_moving, kernel.now_us) == ("down", False, to_us(2))

    kernel.run(body)


def test_being_where_it_is_wanted_takes_no_time() -> None:
    kernel = Kernel()
    kernel.run(lambda: new_actuator(kernel).go("up"))
    assert kernel.now_us == 0


def test_a_cancelled_waiter_does_not_stop_it() -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        with trio.move_on_after(1):
            await flap.go("down")
        await kernel.wait(to_us(1.5))
        assert flap.setting == "down"

    kernel.run(body)


def test_a_jam_half_way_leaves_it_between_and_the_next_command_frees_it_once_mended() -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        kernel.after(to_us(1), lambda: setattr(flap, "jammed", True))
        with pytest.raises(DeviceError, match="flap: did not reach down within 30 s"):
            await flap.go("down")
        assert (flap.setting, flap.is_moving, kernel.now_us) == (None, False, to_us(30))
        flap.jammed = False
        await flap.go("up")
        assert flap.setting == "up"

    kernel.run(body)


def test_a_travel_longer_than_its_time_limit_is_not_cut_short() -> None:
    kernel = Kernel()
    kernel.run(lambda: new_actuator(kernel, travel_s=40.0).go("down"))
    assert kernel.now_us == to_us(40)


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.sampled_from(["up", "down", "middle"])), min_size=1))
def test_the_last_command_wins_whatever_came_before(commands: list[tuple[int, str]]) -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        for delay_us, target in commands:
            await kernel.wait(delay_us, by="later")
            flap.command(target)
        await flap.go(commands[-1][1])
        assert flap.setting == commands[-1][1]

    kernel.run(body)


def test_one_whose_controller_starts_afresh_is_nowhere_until_it_is_told_again() -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        flap.reset()
        assert (flap.setting, flap.arrives_us) == ("up", None)
        kernel.after(to_us(1), flap.reset)
        with pytest.raises(DeviceError, match="started afresh on its way to down"):
            await flap.go("down")
        assert (flap.setting, flap.is_moving, kernel.now_us) == (None, False, to_us(1))
        flap.command("down")
        assert flap.arrives_us == to_us(3)
        await flap.go("down")
        assert (flap.setting, flap.stands_since_us) == ("down", to_us(3))

    kernel.run(body)


def test_one_that_was_jammed_and_is_free_again_goes_when_it_is_told_once_more() -> None:
    kernel = Kernel()
    flap = new_actuator(kernel)

    async def body() -> None:
        flap.command("down")
        await kernel.wait(to_us(0.5), by="half-way")
        flap.jammed = True
        await kernel.wait(to_us(5), by="later")
        flap.command("down")
        assert flap.setting is None
        flap.jammed = False
        flap.command("down")
        assert flap.arrives_us is not None
        took_us = flap.arrives_us - kernel.now_us
        await flap.go("down")
        assert (flap.setting, took_us) == ("down", to_us(flap.travel_s))

    kernel.run(body)
