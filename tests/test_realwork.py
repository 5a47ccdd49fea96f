"""Real work in a thread: simulated time stands still, and an abort does not wait for it."""

from __future__ import annotations

import threading

import pytest
import trio

from fsmcollect.realwork import in_thread
from fsmcollect.sim.kernel import Kernel


async def test_it_returns_what_the_work_returns_and_raises_what_it_raises() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_it_is_done_in_another_thread() -> None:
    assert await in_thread(threading.get_ident) != threading.get_ident()


def test_simulated_time_stands_still_until_the_work_is_done() -> None:
    kernel = Kernel()
    order: list[str] = []

    async def body() -> None:
        kernel.after(1, lambda: order.append("due"))
        gate = threading.Event()

        def work() -> None:
            gate.wait(0.05)  # real time: what is due has every opportunity
            order.append("worked")

        await in_thread(work)
        assert kernel.now_us == 0
        await kernel.wait(2)

    kernel.run(body)
    assert order == ["worked", "due"]


def test_two_at_once_hold_the_time_until_both_are_done() -> None:
    kernel = Kernel()
    gates = [threading.Event(), threading.Event()]
    ended: list[int] = []

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            async def wait_for(index: int) -> None:
                await in_thread(gates[index].wait, 10)
                ended.append(kernel.now_us)
                gates[1].set()

            nursery.start_soon(wait_for, 0)
            nursery.start_soon(wait_for, 1)
            kernel.after(5, lambda: None)
            gates[0].set()

    kernel.run(body)
    assert ended == [0, 0]


def test_cancelling_does_not_wait_for_the_thread_and_lets_time_go_on() -> None:
    kernel = Kernel()
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.set()

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, work)
            await in_thread(begun.wait, 10)
            nursery.cancel_scope.cancel()
        assert not ended.is_set()
        await kernel.wait(10)
        assert kernel.now_us == 10

    kernel.run(body)
    go_on.set()
    assert ended.wait(10)


async def test_on_a_real_clock_nothing_is_held() -> None:
    assert await in_thread(lambda: 1) == 1
