"""One axis: where it is at any instant, and what its waiters are told."""

from __future__ import annotations

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.beamline import Range
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.motion import Axis, Segment, trapezoid
from fsmcollect.sim.trace import Trace

positions = st.floats(-500.0, 500.0)
speeds = st.floats(0.1, 200.0)
times_to_speed_s = st.floats(0.001, 2.0)


def make_axis(*, max_speed: float = 10.0, time_to_speed_s: float = 0.1, settle_s: float = 0.0) -> Axis:
    kernel = Kernel()
    return Axis(
        kernel,
        Trace(kernel),
        "omega_deg",
        Range(-1000.0, 1000.0),
        max_speed=max_speed,
        time_to_speed_s=time_to_speed_s,
        settle_s=settle_s,
        device="goniometer",
    )


def at(segments: tuple[Segment, ...], at_us: float) -> Segment:
    return [segment for segment in segments if segment.start_us <= at_us][-1]


@given(positions, positions, speeds, times_to_speed_s)
def test_a_profile_is_continuous_keeps_both_limits_and_ends_exactly_at_the_target(
    origin: float, target: float, speed: float, time_to_speed_s: float
) -> None:
    segments = trapezoid(7, origin, target, speed, speed / time_to_speed_s)
    assert segments[0].position == origin
    assert (segments[-1].position, segments[-1].velocity, segments[-1].acceleration) == (target, 0.0, 0.0)
    for before, after in itertools.pairwise(segments):
        assert before.position_at(after.start_us) == pytest.approx(after.position, abs=1e-9)
        assert before.velocity_at(after.start_us) == pytest.approx(after.velocity, abs=1e-9)
    for segment in segments:
        assert float(segment.start_us).is_integer()
        assert abs(segment.velocity) <= speed * (1 + 1e-12)
        assert abs(segment.acceleration) <= speed / time_to_speed_s * (1 + 1e-12)


@given(positions, positions, speeds, times_to_speed_s, st.floats(0.0, 1.0))
def test_it_never_leaves_the_way_between_origin_and_target(
    origin: float, target: float, speed: float, time_to_speed_s: float, when_frac: float
) -> None:
    segments = trapezoid(0, origin, target, speed, speed / time_to_speed_s)
    at_us = when_frac * segments[-1].start_us
    position = at(segments, at_us).position_at(at_us)
    assert min(origin, target) - 1e-9 <= position <= max(origin, target) + 1e-9


@given(positions, speeds, times_to_speed_s, st.integers(0, 20_000_000))
def test_stopped_anywhere_it_decelerates_from_where_it_was_and_stands(
    target: float, speed: float, time_to_speed_s: float, when_us: int
) -> None:
    axis = make_axis(max_speed=speed, time_to_speed_s=time_to_speed_s)

    async def body() -> None:
        axis.start(target)
        await axis.kernel.wait(when_us)
        position, velocity = axis.position(), axis.velocity()
        await axis.stop()
        assert axis.velocity() == 0.0
        assert not axis.is_moving
        braking = 0.5 * velocity**2 / axis.acceleration
        # The braking time is rounded up to a whole microsecond.
        assert abs(axis.position() - position) == pytest.approx(braking, abs=1e-6 * speed + 1e-9)
        stands = axis.position()
        await axis.stop()
        await axis.kernel.wait(1_000_000)
        assert axis.position() == stands

    axis.kernel.run(body)


def test_move_returns_when_arrived_and_settled() -> None:
    axis = make_axis(max_speed=10.0, time_to_speed_s=0.1, settle_s=0.05)

    async def body() -> None:
        await axis.move(10.0)  # 1 s at 10 deg/s, and 0.1 s for both ramps together
        assert axis.kernel.now_us == 1_150_000
        assert axis.position() == 10.0
        await axis.move(10.0)
        assert axis.kernel.now_us == 1_150_000

    axis.kernel.run(body)


def test_a_slower_speed_can_be_asked_for() -> None:
    axis = make_axis(max_speed=10.0, time_to_speed_s=0.1)

    async def body() -> None:
        await axis.move(1.0, speed=1.0)
        assert axis.kernel.now_us == 1_010_000

    axis.kernel.run(body)


def test_beyond_its_limits_it_refuses_naming_axis_value_limits_and_unit() -> None:
    axis = make_axis()

    async def body() -> None:
        with pytest.raises(DeviceError, match=r"goniometer: omega_deg = 1000.5: must be from -1000 to 1000 deg"):
            await axis.move(1000.5)
        assert axis.kernel.now_us == 0

    axis.kernel.run(body)


def test_cancelling_a_move_leaves_it_moving() -> None:
    axis = make_axis()

    async def body() -> None:
        with trio.move_on_after(0.5):
            await axis.move(10.0)
        assert axis.is_moving
        await axis.stand()
        assert axis.position() == 10.0

    axis.kernel.run(body)


def test_stopping_tells_whoever_waits_for_the_target_at_once() -> None:
    axis = make_axis()

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def move() -> None:
                with pytest.raises(DeviceError, match="omega_deg was stopped on its way to 10 deg"):
                    await axis.move(10.0)
                assert axis.kernel.now_us == 500_000

            await axis.kernel.wait(500_000)
            await axis.stop()
            assert axis.kernel.now_us == 600_000

    axis.kernel.run(body)


def test_of_two_moves_the_later_wins_and_both_waiters_get_the_right_answer() -> None:
    axis = make_axis()

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                with pytest.raises(DeviceError, match="was sent to -5 deg on its way to 10 deg"):
                    await axis.move(10.0)

            await axis.kernel.wait(500_000)
            before = axis.position(), axis.velocity()
            axis.start(-5.0)
            assert (axis.position(), axis.velocity()) == before
            await axis.arrive(-5.0)
        assert axis.position() == -5.0

    axis.kernel.run(body)


def test_a_stuck_axis_stays_where_it_is_and_says_so() -> None:
    axis = make_axis()

    async def body() -> None:
        axis.kernel.after(500_000, lambda: setattr(axis, "stuck", True))
        with pytest.raises(DeviceError, match=r"omega_deg stands at 4.5 deg and not at 10 deg"):
            await axis.move(10.0)
        assert not axis.is_moving
        await axis.stop()
        axis.stuck = False
        await axis.move(0.0)
        assert axis.position() == 0.0

    axis.kernel.run(body)


def test_a_trajectory_that_was_held_on_to_knows_what_was_commanded_later() -> None:
    axis = make_axis()

    async def body() -> None:
        axis.start(10.0)
        trajectory = axis.trajectory
        seen = []
        for _ in range(40):
            await axis.kernel.wait(50_000)
            seen.append((axis.kernel.now_us, axis.position()))
            if len(seen) == 10:
                axis.halt()
            if len(seen) == 20:
                axis.start(2.0)
        assert [(at_us, trajectory.position_at(at_us)) for at_us, _ in seen] == seen

    axis.kernel.run(body)


def test_an_axis_that_creeps_arrives_and_leaves_evenly_from_there() -> None:
    axis = make_axis(settle_s=0.5)
    axis.creep = 0.5

    async def body() -> None:
        await axis.kernel.wait(2_000_000)
        assert axis.position() == 1.0
        await axis.move(10.0)
        assert (axis.position(), axis.is_moving) == (10.0, False)
        await axis.kernel.wait(4_000_000)
        assert (axis.position(), axis.velocity(), axis.is_moving) == (12.0, 0.5, False)
        axis.creep = 0.0
        await axis.kernel.wait(4_000_000)
        assert (axis.position(), axis.velocity()) == (12.0, 0.0)

    axis.kernel.run(body)


@pytest.mark.parametrize("begins_us", [0, 300_000, 700_000])
def test_a_creep_that_begins_on_the_way_does_not_keep_it_from_arriving(begins_us: int) -> None:
    axis = make_axis(settle_s=0.5)

    async def body() -> None:
        axis.kernel.after(begins_us, lambda: setattr(axis, "creep", 0.5))
        await axis.move(10.0)
        assert axis.position() == 10.0
        await axis.kernel.wait(2_000_000)
        assert axis.position() == 11.0

    axis.kernel.run(body)


def test_a_sweep_that_is_followed_creeps_from_its_begin_or_from_within() -> None:
    for begins_us in (0, 1_000_000):
        axis = make_axis()

        async def body(axis: Axis = axis, begins_us: int = begins_us) -> None:
            axis.kernel.after(begins_us, lambda: setattr(axis, "creep", 0.5))
            axis.kernel.after(0, lambda: None)
            await axis.kernel.wait(0)
            axis.follow((Segment(0, 0.0, 1.0), Segment(2_000_000, 2.0, 2.0), Segment(4_000_000, 6.0)), 4_000_000)
            await axis.kernel.wait(3_000_000)
            crept = 0.5 * (3_000_000 - begins_us) / 1e6
            assert axis.position() == pytest.approx(4.0 + crept)
            assert axis.velocity() == 2.5

        axis.kernel.run(body)


def test_a_stuck_axis_does_not_creep() -> None:
    axis = make_axis()

    async def body() -> None:
        axis.stuck = True
        axis.creep = 0.5
        await axis.kernel.wait(1_000_000)
        assert axis.position() == 0.0

    axis.kernel.run(body)


def test_one_whose_controller_starts_afresh_comes_to_a_stand_and_says_so() -> None:
    axis = make_axis()

    async def body() -> None:
        axis.kernel.after(500_000, axis.reset)
        with pytest.raises(DeviceError, match="was stopped on its way to 10 deg"):
            await axis.move(10.0)
        await axis.stand()
        assert 4.5 < axis.position() < 6.0
        await axis.move(10.0)

    axis.kernel.run(body)
