"""Formulas of motion, and how long a collection takes."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.request import Files, InverseBeam, Request, SweepRequest
from fsmcollect.timing import (
    AT_SPEED_MARGIN_S,
    Timings,
    friedel_delay_s,
    predicted_duration_s,
    run_up_deg,
    to_sweep,
    trapezoidal_move_s,
)
from fsmcollect.wedges import ImageRanges, Plan, make_plan, missing

QUICK = Timings(time_to_speed_s=0.0, max_omega_speed_deg_s=120.0)
REAL = Timings(
    time_to_speed_s=0.1,
    max_omega_speed_deg_s=120.0,
    settle_s=0.02,
    arm_s=0.3,
    readout_s=0.05,
    shutter_opening_s=0.06,
    shutter_closing_s=0.02,
)


def plan_of(
    *,
    width: float = 0.1,
    images: int = 100,
    exposure_s: float = 0.01,
    inverse: int | None = None,
    size: int | None = None,
    overlap: int = 0,
    passes: int = 1,
    shutterless: bool = True,
) -> Plan:
    sweep = SweepRequest(
        image_width_deg=width,
        images=images,
        exposure_s=exposure_s,
        wedge_images=size,
        overlap_deg=overlap,
        passes=passes,
        shutterless=shutterless,
    )
    inverse_beam = None if inverse is None else InverseBeam(wedge_images=inverse)
    return make_plan(Request(files=Files(directory="d", prefix="p"), sweep=sweep, inverse_beam=inverse_beam))


def test_a_long_move_is_a_trapezium_and_a_short_one_a_triangle() -> None:
    assert trapezoidal_move_s(100, 10, 5) == pytest.approx(12)
    assert trapezoidal_move_s(-20, 10, 5) == pytest.approx(4)  # just reaches its top speed
    assert trapezoidal_move_s(5, 10, 5) == pytest.approx(2)
    assert trapezoidal_move_s(0, 10, 5) == 0


@given(st.floats(0.001, 1e4), st.floats(0.001, 1e4), st.floats(0.01, 1e3), st.floats(0.01, 1e3))
def test_a_longer_move_never_takes_less_time(near: float, more: float, speed: float, acceleration: float) -> None:
    short, long = (trapezoidal_move_s(d, speed, acceleration) for d in (near, near + more))
    assert short <= long * (1 + 1e-12)
    assert short >= near / speed * (1 - 1e-12)


def test_the_run_up_is_one_and_a_half_times_speed_times_time_to_speed() -> None:
    assert run_up_deg(10, 0.1) == pytest.approx(1.5)
    assert run_up_deg(-10, 0.1, 0.06) == pytest.approx(1.5)
    assert run_up_deg(0, 0.1, 0.06) == 0


@given(st.floats(0.01, 200), st.just(0.0) | st.floats(1e-6, 2), st.floats(0, 2))
def test_omega_has_its_speed_before_the_shutter_begins_to_open(speed: float, to_speed: float, opening: float) -> None:
    at_speed_s = run_up_deg(speed, to_speed, opening) / speed - 0.5 * to_speed
    assert at_speed_s >= opening * (1 - 1e-9)
    assert at_speed_s >= to_speed * (1 - 1e-9)


def test_a_wedge_becomes_one_sweep_with_one_float_for_its_start() -> None:
    wedge = plan_of(width=-0.1, images=1_000_000, size=30).wedges[-1]
    sweep = to_sweep(wedge, 0.1, 0.06)
    assert sweep.omega_start_deg == float(Fraction(-999_990, 10))
    assert sweep.width_deg == -1.0
    assert sweep.duration_s == pytest.approx(0.1)
    assert sweep.run_up_deg == pytest.approx(1.5)
    assert sweep.shutter_lead_s == 0.06


def test_a_still_needs_no_run_up_and_its_shutter_all_its_time() -> None:
    sweep = to_sweep(plan_of(width=0, images=5).wedges[0], 0.1, 0.06)
    assert sweep.is_still
    assert (sweep.run_up_deg, sweep.shutter_lead_s, sweep.duration_s) == (0.0, 0.06, 0.05)


def test_passes_share_the_exposure_and_each_turns_through_the_whole_image() -> None:
    plan = plan_of(width=1, images=2, exposure_s=1.0, passes=4, shutterless=False)
    sweep = to_sweep(plan.wedges[0].part(2, 1), 0.1, 0.0, passes=plan.passes)
    assert (sweep.omega_start_deg, sweep.width_deg, sweep.duration_s) == (1.0, 1.0, 0.25)


def test_one_shutterless_wedge_takes_arming_run_up_exposure_and_read_out() -> None:
    # run-up 1.5 x 0.1 s x 10 deg/s = 1.5 deg: 0.1 s to gain speed, 0.1 s at speed; as long again to stop.
    expected = 0.3 + 0.2 + 1.0 + 0.1 + 0.05
    assert predicted_duration_s(plan_of(), REAL) == pytest.approx(expected)


def test_ideal_devices_take_the_exposure_alone() -> None:
    assert predicted_duration_s(plan_of(images=900), QUICK) == pytest.approx(9.0)


def test_arming_and_slewing_go_on_together() -> None:
    plan = plan_of(width=1, images=2, exposure_s=0.1, inverse=1)
    slew_s = (180 - 1) / 120
    for arm_s in (0.0, slew_s / 2, slew_s, slew_s + 1):
        timings = Timings(time_to_speed_s=0.0, max_omega_speed_deg_s=120.0, arm_s=arm_s)
        # The first arming, two slews on by 179 degrees and one back by 180.
        expected = arm_s + 2 * max(arm_s, slew_s) + max(arm_s, 180 / 120) + 4 * 0.1
        assert predicted_duration_s(plan, timings) == pytest.approx(expected)


def test_friedel_mates_of_a_short_wedge_wait_mostly_for_the_slew() -> None:
    # 5 degrees at 10 deg/s with a slew of 120 deg/s: 0.5 s and 1.5 to 2 s (facts/mx-collection.md).
    plan = plan_of(width=0.1, images=100, exposure_s=0.01, inverse=50)
    delay_s = friedel_delay_s(plan, Timings(time_to_speed_s=0.1, max_omega_speed_deg_s=120.0))
    assert delay_s is not None
    assert 2.0 <= delay_s <= 2.5
    assert friedel_delay_s(plan, QUICK) == pytest.approx(0.5 + 175 / 120)
    one_each_way = plan_of(width=0.1, images=50, exposure_s=0.01, inverse=50)
    assert friedel_delay_s(one_each_way, QUICK) == pytest.approx(0.5 + 175 / 120)


def test_there_is_no_friedel_delay_without_inverse_beam() -> None:
    assert friedel_delay_s(plan_of(), REAL) is None
    assert friedel_delay_s(plan_of(size=10), REAL) is None


def test_shuttered_images_each_run_up_and_every_pass_turns_back() -> None:
    shuttered = plan_of(width=1, images=3, exposure_s=0.2, shutterless=False)
    assert predicted_duration_s(shuttered, QUICK) == pytest.approx(0.6)
    passes = plan_of(width=1, images=3, exposure_s=0.2, shutterless=False, passes=2)
    assert predicted_duration_s(passes, QUICK) == pytest.approx(0.6 + 3 * 1 / 120)
    assert predicted_duration_s(shuttered, REAL) > predicted_duration_s(
        plan_of(width=1, images=3, exposure_s=0.2), REAL
    )


def test_a_slow_shutter_lengthens_the_run_up_and_the_slew_back_to_it() -> None:
    """By hand: 10 deg/s are reached in 0.1 s and 0.5 deg, and the shutter needs 0.4 s more of even running."""
    timings = Timings(
        time_to_speed_s=0.1, max_omega_speed_deg_s=120.0, omega_acceleration_deg_s2=math.inf, shutter_opening_s=0.4
    )
    run_up = 0.5 + 10 * (0.4 + AT_SPEED_MARGIN_S)
    before_s, after_s = 0.1 + 0.4 + AT_SPEED_MARGIN_S, 0.1
    two_wedges = plan_of(width=0.1, images=100, exposure_s=0.01, size=50)
    # It overruns by 0.5 deg and turns back by that and by the run-up.
    slew_s = (0.5 + run_up) / 120
    assert predicted_duration_s(two_wedges, timings) == pytest.approx(2 * (before_s + 0.5 + after_s) + slew_s)
    two_passes = plan_of(width=1, images=1, exposure_s=0.2, shutterless=False, passes=2)
    back_s = (1 + 0.5 + run_up) / 120  # also by the width of the image, which is taken again
    assert predicted_duration_s(two_passes, timings) == pytest.approx(2 * (before_s + 0.1 + after_s) + back_s)


def test_stills_take_their_shutter_and_their_time() -> None:
    plan = plan_of(width=0, images=10, exposure_s=0.1, size=5)
    assert predicted_duration_s(plan, REAL) == pytest.approx(2 * (0.3 + 0.06 + 0.5 + 0.02 + 0.05))


@given(
    st.sampled_from([-1.0, -0.1, 0.0, 0.1, 2.5]),
    st.integers(1, 60),
    st.integers(1, 25),
    st.booleans(),
    st.booleans(),
    st.integers(-30, 0),
)
def test_the_short_cut_over_equal_wedges_gives_what_adding_them_up_one_by_one_gives(
    width: float, images: int, size: int, inverse: bool, shutterless: bool, overlap: int
) -> None:
    plan = plan_of(
        width=width,
        images=images,
        inverse=size if inverse else None,
        size=None if inverse else size,
        overlap=overlap,
        shutterless=shutterless,
    )
    total, before = 0.0, 0
    for count in range(1, len(plan.wedges) + 1):
        # Each pair of wedges by itself, with nothing remembered of others.
        alone = predicted_duration_s(plan, REAL, plan.wedges[count - 1 : count])
        pair = predicted_duration_s(plan, REAL, plan.wedges[max(0, count - 2) : count])
        total += alone if count == 1 else pair - predicted_duration_s(plan, REAL, plan.wedges[count - 2 : count - 1])
        before = count
    assert before == len(plan.wedges)
    assert predicted_duration_s(plan, REAL) == pytest.approx(total)
    assert math.isfinite(total)


def test_what_is_left_of_a_plan_takes_less_than_the_plan() -> None:
    plan = plan_of(images=100, inverse=25)
    left = missing(plan, {"p_1": ImageRanges(((1, 51),)), "p_1_inverse": ImageRanges(((1, 40),))})
    assert 0 < predicted_duration_s(plan, REAL, left) < predicted_duration_s(plan, REAL)
    assert predicted_duration_s(plan, REAL, ()) == 0


def test_a_given_acceleration_of_slews_is_used() -> None:
    slow = Timings(time_to_speed_s=0.1, max_omega_speed_deg_s=120.0, omega_acceleration_deg_s2=10.0)
    assert slow.slew_s(180) == pytest.approx(2 * math.sqrt(18))
    assert REAL.slew_s(180) == pytest.approx(180 / 120 + 0.1 + 0.02)
    assert REAL.slew_s(0) == 0
