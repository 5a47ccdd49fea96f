"""The kernel owns time: order, jumps, deadlines, holds, pace, deadlocks."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.sim.kernel import Deadlock, Kernel, to_us


async def nothing() -> None:
    """A body that ends at once."""


# -- order ------------------------------------------------------------------------------------------------------------


def test_callbacks_of_one_instant_fire_by_priority_then_name_then_sequence() -> None:
    kernel = Kernel()
    fired: list[str] = []

    async def body() -> None:
        for label, by, priority in [
            ("third", "b", 0), ("second", "a", 0), ("fourth", "b", 0), ("first", "z", -1), ("last", "a", 1),
        ]:  # fmt: skip
            kernel.at(5, lambda label=label: fired.append(label), by=by, priority=priority)  # type: ignore[misc]
        await kernel.wait(6)

    kernel.run(body)
    assert fired == ["first", "second", "third", "fourth", "last"]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-2, 2), st.sampled_from("abc")), max_size=30))
def test_callbacks_fire_in_the_order_of_time_priority_name_and_sequence(due: list[tuple[int, int, str]]) -> None:
    kernel = Kernel()
    fired: list[tuple[int, int, str, int]] = []

    async def body() -> None:
        for sequence, (when_us, priority, by) in enumerate(due):
            key = (when_us, priority, by, sequence)
            kernel.at(when_us, lambda key=key: fired.append(key), by=by, priority=priority)  # type: ignore[misc]
        await kernel.wait(21)

    kernel.run(body)
    assert fired == sorted(fired)
    assert len(fired) == len(due)


def test_time_stands_still_once_the_program_has_ended() -> None:
    kernel = Kernel()
    fired: list[int] = []
    kernel.at(2_000_000, lambda: fired.append(kernel.now_us))
    kernel.run(lambda: kernel.wait(1_000_000))
    assert (kernel.now_us, fired) == (1_000_000, [])
    kernel.run(lambda: kernel.wait(2_000_000))
    assert (kernel.now_us, fired) == (3_000_000, [2_000_000])


def test_the_program_comes_to_rest_between_two_callbacks_of_one_instant() -> None:
    kernel = Kernel()
    heard: list[str] = []
    first, relayed = trio.Event(), trio.Event()

    async def relay() -> None:
        await first.wait()
        await trio.lowlevel.checkpoint()
        relayed.set()

    async def listen() -> None:
        await relayed.wait()
        heard.append("relayed")

    async def body() -> None:
        kernel.at(3, first.set, by="a")
        kernel.at(3, lambda: heard.append("second"), by="b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay)
            nursery.start_soon(listen)
            await kernel.wait(4)

    kernel.run(body)
    assert heard == ["relayed", "second"]


@pytest.mark.parametrize("run", range(20))
def test_tasks_that_wait_for_one_instant_wake_in_the_order_of_their_devices_names(run: int) -> None:
    kernel = Kernel()
    woken: list[str] = []

    async def wait(name: str) -> None:
        await kernel.wait(10 - kernel.now_us, by=name)
        woken.append(name)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            for name in "dacb":
                nursery.start_soon(wait, name)

    kernel.run(body)
    assert woken == list("abcd"), run


def test_a_callback_may_schedule_another_one_for_the_same_instant() -> None:
    kernel = Kernel()
    fired: list[int] = []

    def again() -> None:
        kernel.after(0, lambda: fired.append(kernel.now_us))

    async def body() -> None:
        kernel.at(2, again)
        await kernel.wait(3)

    kernel.run(body)
    assert fired == [2]


def test_what_is_due_in_the_past_happens_now() -> None:
    kernel = Kernel()
    fired: list[int] = []

    async def body() -> None:
        await kernel.wait(10)
        kernel.at(3, lambda: fired.append(kernel.now_us))
        await kernel.wait(1)

    kernel.run(body)
    assert fired == [10]


def test_a_cancelled_callback_does_not_fire_and_does_not_take_time() -> None:
    kernel = Kernel()
    fired: list[str] = []

    async def body() -> None:
        kernel.after(50, lambda: fired.append("cancelled")).cancel()
        await kernel.wait(10)

    kernel.run(body)
    assert (fired, kernel.now_us) == ([], 10)


# -- jumps and trio's deadlines ---------------------------------------------------------------------------------------


def test_time_jumps_over_a_year_at_once() -> None:
    kernel = Kernel()
    year_us = to_us(365 * 86_400.0)
    began = time.perf_counter()
    kernel.run(lambda: kernel.wait(year_us))
    assert kernel.now_us == year_us
    assert time.perf_counter() - began < 1.0


def test_a_wait_of_no_time_lets_others_run_and_takes_no_time() -> None:
    kernel = Kernel()
    kernel.run(lambda: kernel.wait(0))
    assert kernel.now_us == 0


def test_trios_deadlines_are_in_simulated_time() -> None:
    kernel = Kernel()

    async def body() -> bool:
        with trio.move_on_after(120) as scope:
            await kernel.wait(to_us(3600))
        return scope.cancelled_caught

    assert kernel.run(body)
    assert kernel.now_us == to_us(120)


def test_trio_sleep_without_any_callback_is_simulated_too() -> None:
    kernel = Kernel()

    async def body() -> None:
        await trio.sleep(7.5)

    kernel.run(body)
    assert kernel.now_us == 7_500_000


def test_what_is_due_in_the_instant_of_a_deadline_beats_it() -> None:
    kernel = Kernel()

    async def body() -> bool:
        with trio.move_on_after(0.3) as scope:
            await kernel.wait(300_000)
        return scope.cancelled_caught

    assert not kernel.run(body)


@given(st.integers(0, 10**12), st.integers(1, 10**7))
def test_a_deadline_never_comes_before_its_time_nor_more_than_a_microsecond_late(start_us: int, after_us: int) -> None:
    kernel = Kernel()

    async def body() -> None:
        await kernel.wait(start_us)
        with trio.move_on_after(after_us / 1e6):
            await trio.sleep_forever()

    kernel.run(body)
    assert 0 <= kernel.now_us - start_us - after_us <= 1


def test_cancelling_a_wait_takes_its_callback_back() -> None:
    kernel = Kernel()

    async def body() -> None:
        with trio.move_on_after(1):
            await kernel.wait(to_us(100))
        assert kernel.now_us == to_us(1)
        await kernel.wait(to_us(1))

    kernel.run(body)
    assert kernel.now_us == to_us(2)


def test_a_wait_in_a_cancelled_scope_is_cancelled_at_once() -> None:
    kernel = Kernel()

    async def body() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await kernel.wait(to_us(100))

    kernel.run(body)
    assert kernel.now_us == 0


def test_checks_are_made_once_at_the_end_of_each_instant() -> None:
    kernel = Kernel()
    checked: list[int] = []
    kernel.settled.append(lambda: checked.append(kernel.now_us))

    async def body() -> None:
        for when_us in (5, 5, 9):
            kernel.at(when_us, lambda: None)
        await kernel.wait(9)

    kernel.run(body)
    assert checked == [0, 5, 9]


# -- results and failures ---------------------------------------------------------------------------------------------


def test_run_returns_what_the_body_returns() -> None:
    async def body() -> str:
        return "done"

    assert Kernel().run(body) == "done"


def test_an_error_of_the_body_comes_out_bare() -> None:
    async def body() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        Kernel().run(body)


def test_an_error_in_a_callback_comes_out_bare_and_the_body_leaves_through_its_clean_up() -> None:
    kernel = Kernel()
    cleaned: list[int] = []

    def fail() -> None:
        raise KeyError("bug of a device")

    async def body() -> None:
        kernel.after(5, fail)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await kernel.wait(10)
            cleaned.append(kernel.now_us)

    with pytest.raises(KeyError, match="bug of a device"):
        kernel.run(body)
    assert cleaned == [15]


def test_an_error_in_a_check_comes_out_bare() -> None:
    kernel = Kernel()

    def check() -> None:
        if kernel.now_us == 5:
            raise ValueError("invariant")

    kernel.settled.append(check)
    kernel.at(5, lambda: None)
    with pytest.raises(ValueError, match="invariant"):
        kernel.run(lambda: kernel.wait(10))


def test_a_kernel_that_has_run_can_run_again_and_its_time_goes_on() -> None:
    kernel = Kernel()
    kernel.run(lambda: kernel.wait(5))
    kernel.run(lambda: kernel.wait(5))
    assert kernel.now_us == 10


# -- deadlock ---------------------------------------------------------------------------------------------------------


def test_a_deadlock_names_what_each_task_waits_for() -> None:
    kernel = Kernel()

    async def wait_for_a_bus() -> None:
        await trio.Event().wait()

    async def wait_for_a_train() -> None:
        await trio.sleep_forever()

    async def body() -> None:
        await kernel.wait(to_us(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_a_bus)
            nursery.start_soon(wait_for_a_train, name="commuter")

    with pytest.raises(Deadlock, match=r"deadlock at 2\.000000 s") as caught:
        kernel.run(body)
    waiting = "\n".join(caught.value.waiting)
    assert len(caught.value.waiting) == 2, waiting
    assert "wait_for_a_bus" in waiting
    assert "commuter: " in waiting
    assert "wait_for_a_train:" in waiting


def test_a_deadlocked_body_leaves_through_its_clean_up_which_still_has_time() -> None:
    kernel = Kernel()

    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await kernel.wait(to_us(3))

    with pytest.raises(Deadlock):
        kernel.run(body)
    assert kernel.now_us == to_us(3)


def test_a_deadlock_is_reported_even_where_the_body_swallows_the_cancellation() -> None:
    async def body() -> str:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        return "fine"

    with pytest.raises(Deadlock):
        Kernel().run(body)


def test_a_cancelled_callback_does_not_hide_a_deadlock() -> None:
    kernel = Kernel()

    async def body() -> None:
        kernel.after(10, lambda: None).cancel()
        await trio.sleep_forever()

    with pytest.raises(Deadlock):
        kernel.run(body)
    assert kernel.now_us == 0


def test_a_deadline_is_no_deadlock() -> None:
    async def body() -> str:
        with trio.move_on_after(10):
            await trio.Event().wait()
        return "late"

    assert Kernel().run(body) == "late"


def test_ctrl_c_ends_the_body_and_leaves_the_time_to_its_clean_up() -> None:
    kernel = Kernel()

    async def body() -> None:
        kernel.after(5, lambda: signal.raise_signal(signal.SIGINT))
        try:
            await kernel.wait(10)
        finally:
            with trio.CancelScope(shield=True):
                await kernel.wait(20)

    with pytest.raises(KeyboardInterrupt):
        kernel.run(body)
    assert kernel.now_us == 25


# -- real work holds the clock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [None, 10.0], ids=["max", "10x"])
def test_time_stands_still_while_a_thread_works(speed: float | None) -> None:
    kernel = Kernel(speed=speed)

    async def work() -> tuple[int, int]:
        with kernel.clock.hold():
            before_us = kernel.now_us
            await trio.to_thread.run_sync(time.sleep, 0.05)
            return before_us, kernel.now_us

    async def body() -> tuple[int, int]:
        kernel.after(1000, lambda: None)
        with trio.fail_after(0.2):  # simulated: at 10x the thread alone would take 0.5 s
            return await work()

    before_us, after_us = kernel.run(body)
    assert before_us == after_us


def test_what_is_due_waits_for_the_thread() -> None:
    kernel = Kernel()
    order: list[str] = []

    async def body() -> None:
        kernel.after(1000, lambda: order.append("due"))
        with kernel.clock.hold():
            await trio.to_thread.run_sync(time.sleep, 0.02)
            order.append("thread")
        await kernel.wait(2000)

    kernel.run(body)
    assert order == ["thread", "due"]
    assert kernel.now_us == 2000


def test_holds_are_counted() -> None:
    kernel = Kernel()

    async def work(duration_s: float) -> None:
        with kernel.clock.hold():
            await trio.to_thread.run_sync(time.sleep, duration_s)
            assert kernel.now_us == 0

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, 0.01)
            nursery.start_soon(work, 0.04)
            with trio.move_on_after(5):
                await trio.sleep_forever()

    kernel.run(body)
    assert kernel.now_us == to_us(5)


def test_a_hold_is_no_deadlock() -> None:
    kernel = Kernel()

    async def body() -> None:
        with kernel.clock.hold():
            await trio.to_thread.run_sync(time.sleep, 0.02)

    kernel.run(body)


# -- pace -------------------------------------------------------------------------------------------------------------


def test_paced_a_simulated_second_takes_its_share_of_a_real_one() -> None:
    kernel = Kernel(speed=10.0)
    began = time.perf_counter()
    kernel.run(lambda: kernel.wait(to_us(1)))
    assert 0.1 <= time.perf_counter() - began < 1.0
    assert kernel.now_us >= to_us(1)


def test_paced_the_order_is_the_same() -> None:
    kernel = Kernel(speed=100.0)
    fired: list[tuple[int, str]] = []

    async def body() -> None:
        for when_us, by in ((20_000, "b"), (20_000, "a"), (10_000, "c")):
            kernel.at(when_us, lambda by=by: fired.append((kernel.now_us, by)), by=by)  # type: ignore[misc]
        await kernel.wait(30_000, by="z")

    kernel.run(body)
    assert fired == [(10_000, "c"), (20_000, "a"), (20_000, "b")]


def test_paced_a_slow_program_sees_the_instants_it_would_see_otherwise() -> None:
    kernel = Kernel(speed=1000.0)
    seen: list[int] = []

    async def body() -> None:
        kernel.after(1000, lambda: seen.append(kernel.now_us))
        time.sleep(0.01)  # noqa: ASYNC251  a slow program: ten simulated seconds
        seen.append(kernel.now_us)
        await kernel.wait(to_us(1))

    kernel.run(body)
    assert seen == [0, 1000]


@pytest.mark.parametrize("speed", [None, 20.0, 200.0])
def test_instants_are_the_same_at_every_speed(speed: float | None) -> None:
    kernel = Kernel(speed=speed)
    seen: list[tuple[str, int]] = []

    async def step(name: str, delays_us: tuple[int, ...]) -> None:
        for delay_us in delays_us:
            await kernel.wait(delay_us, by=name)
            time.sleep(0.001)  # noqa: ASYNC251  a slow program
            seen.append((name, kernel.now_us))

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step, "a", (1_000, 200_000, 7_003))
            nursery.start_soon(step, "b", (1_000, 200_001))
            with trio.move_on_after(0.150):
                await trio.sleep_forever()
            seen.append(("deadline", kernel.now_us))

    kernel.run(body)
    assert seen == [
        ("a", 1_000), ("b", 1_000), ("deadline", 150_000), ("a", 201_000), ("b", 201_001), ("a", 208_003),
    ]  # fmt: skip


def test_paced_a_new_callback_wakes_the_kernel_early() -> None:
    kernel = Kernel(speed=10.0)
    fired: list[int] = []

    async def body() -> None:
        kernel.after(to_us(100), lambda: None)
        await trio.sleep(0.1)
        due_us = kernel.now_us + 1000
        kernel.at(due_us, lambda: fired.append(kernel.now_us - due_us))
        await kernel.wait(to_us(0.1))

    began = time.perf_counter()
    kernel.run(body)
    assert fired == [0]
    assert time.perf_counter() - began < 2.0


def test_paced_a_deadline_is_in_simulated_time() -> None:
    kernel = Kernel(speed=50.0)

    async def body() -> None:
        with trio.move_on_after(2):
            await kernel.wait(to_us(100))

    began = time.perf_counter()
    kernel.run(body)
    assert kernel.now_us >= to_us(2)
    assert time.perf_counter() - began < 1.5
