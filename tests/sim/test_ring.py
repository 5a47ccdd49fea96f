"""The ring's current is a formula; its losses are data."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.beamline import FillMode, Range
from fsmcollect.beamline import Ring as Role
from fsmcollect.sim.kernel import Deadlock, Kernel, to_us
from fsmcollect.sim.ring import FILL_S, Ring
from fsmcollect.sim.trace import Trace


def new_ring(kernel: Kernel | None = None, *, fill_s: Range = FILL_S, age_s: float = 0.0) -> Ring:
    kernel = kernel or Kernel()
    return Ring(kernel, Trace(kernel), random.Random("test/ring"), fill_s=fill_s, age_s=age_s)


def test_the_current_decays_from_300_to_270_ma_in_600_s_and_is_filled_up() -> None:
    ring = new_ring(fill_s=Range(16.0, 16.0))
    at_s = {0: 300.0, 300: (300.0 * 270.0) ** 0.5, 600: 270.0, 608: 285.0, 616: 300.0, 916: (300.0 * 270.0) ** 0.5}
    for when_s, expected_ma in at_s.items():
        assert ring.current_ma(to_us(when_s)) == pytest.approx(expected_ma), when_s


def test_the_fill_mode_follows_the_cycle() -> None:
    ring = new_ring(fill_s=Range(16.0, 16.0))
    modes = [ring.fill_mode(to_us(when_s)) for when_s in (0, 599.9, 600, 615.9, 616)]
    assert modes == [FillMode.DECAY, FillMode.DECAY, FillMode.TOP_UP, FillMode.TOP_UP, FillMode.DECAY]


def test_it_may_be_in_the_middle_of_a_decay_at_first() -> None:
    ring = new_ring(age_s=590.0)
    assert ring.fill_mode(to_us(9.9)) is FillMode.DECAY
    assert ring.fill_mode(to_us(10)) is FillMode.TOP_UP


@given(st.lists(st.integers(0, to_us(100_000)), min_size=2, max_size=20))
def test_the_current_does_not_depend_on_when_and_in_which_order_it_is_asked(instants_us: list[int]) -> None:
    asked = new_ring()
    for when_us in instants_us:
        alone = new_ring().current_ma(when_us)
        assert asked.current_ma(when_us) == alone
        assert 270.0 <= alone <= 300.0


def test_a_ring_that_nobody_watches_hides_no_deadlock() -> None:
    kernel = Kernel()
    ring = new_ring(kernel)
    with pytest.raises(Deadlock) as caught:
        kernel.run(ring.wait_for_loss)
    assert kernel.now_us == 0
    assert "wait_for_loss" in str(caught.value)


def test_a_loss_takes_effect_at_its_instant() -> None:
    ring = new_ring()
    ring.lose_beam(to_us(50))
    ring.restore_beam(to_us(80))
    assert ring.current_ma(to_us(50) - 1) > 290.0
    assert ring.current_ma(to_us(50)) == 0.0
    assert ring.fill_mode(to_us(79)) is FillMode.NO_BEAM
    assert ring.current_ma(to_us(80)) == ring.nominal_ma


def test_losing_what_is_lost_and_restoring_what_is_there_changes_nothing() -> None:
    ring = new_ring()
    ring.restore_beam(to_us(100))
    assert ring.current_ma(to_us(200)) == new_ring().current_ma(to_us(200))
    ring.lose_beam(to_us(300))
    ring.lose_beam(to_us(310))
    ring.restore_beam(to_us(320))
    ring.restore_beam(to_us(330))
    assert ring.current_ma(to_us(340)) == new_ring().current_ma(to_us(20))


def test_everybody_who_waits_hears_of_loss_and_return_at_their_instants() -> None:
    kernel = Kernel()
    ring = new_ring(kernel)
    role: Role = ring
    heard: list[tuple[str, int]] = []

    async def watch(name: str) -> None:
        await role.wait_for_beam()
        assert kernel.now_us == 0
        await role.wait_for_loss()
        heard.append((f"{name} lost", kernel.now_us))
        assert await role.read_fill_mode() is FillMode.NO_BEAM
        assert await role.read_current_ma() == 0.0
        await role.wait_for_loss()
        await role.wait_for_beam()
        heard.append((f"{name} back", kernel.now_us))
        assert await role.read_fill_mode() is FillMode.DECAY

    async def body() -> None:
        ring.lose_beam(to_us(50))
        ring.restore_beam(to_us(80))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, "a")
            nursery.start_soon(watch, "b")

    kernel.run(body)
    assert set(heard) == {(f"{n} {what}", to_us(at)) for n in "ab" for what, at in (("lost", 50), ("back", 80))}


def test_a_loss_is_heard_before_anything_else_of_its_instant() -> None:
    kernel = Kernel()
    ring = new_ring(kernel)
    heard: list[str] = []

    async def watch() -> None:
        await ring.wait_for_loss()
        heard.append("loss")

    async def body() -> None:
        kernel.at(10, lambda: heard.append("other"), by="a")
        ring.lose_beam(10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await kernel.wait(11)

    kernel.run(body)
    assert heard == ["loss", "other"]


def test_beam_can_be_lost_and_restored_at_once() -> None:
    kernel = Kernel()
    ring = new_ring(kernel)

    async def body() -> None:
        ring.lose_beam()
        await ring.wait_for_loss()
        ring.restore_beam()
        await ring.wait_for_beam()
        assert ring.has_beam()

    kernel.run(body)


def test_a_leak_takes_current_away_evenly_and_never_more_than_there_is() -> None:
    ring, healthy = new_ring(), new_ring()

    async def body() -> None:
        await ring.kernel.wait(to_us(10))
        ring.leak_ma_s = 2.0
        for after_s in (0, 10, 50):
            at_us = to_us(10 + after_s)
            assert ring.current_ma(at_us) == pytest.approx(healthy.current_ma(at_us) - 2.0 * after_s)
        assert ring.current_ma(to_us(500)) == 0.0
        assert ring.has_beam(to_us(500))
        await ring.kernel.wait(to_us(50))
        ring.leak_ma_s = 0.0
        assert ring.leak_ma_s == 0.0
        assert ring.current_ma() == healthy.current_ma(to_us(60))

    ring.kernel.run(body)
