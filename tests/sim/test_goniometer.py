"""The goniometer: moves of several axes, and the sweep with its gate."""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio
from hypothesis import assume, given
from hypothesis import strategies as st

from fsmcollect.beamline import Sweep
from fsmcollect.errors import DeviceError
from fsmcollect.sim.goniometer import Goniometer
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.shutter import Blade, FastShutter
from fsmcollect.sim.trace import Trace
from fsmcollect.timing import run_up_deg


@attrs.define(eq=False)
class Bench:
    """A goniometer with its gate on a shutter; notes what it saw at each trigger."""

    kernel: Kernel = attrs.field(factory=Kernel)
    goniometer: Goniometer = attrs.field(init=False)
    shutter: FastShutter = attrs.field(init=False)
    triggers: list[tuple[int, float, bool]] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        trace = Trace(self.kernel)
        self.shutter = FastShutter(self.kernel, trace)
        self.goniometer = Goniometer(self.kernel, trace, fast_shutter=self.shutter, trigger=self._trigger)
        self.shutter.take_gate_off = self.goniometer.take_gate_off

    def _trigger(self) -> None:
        self.triggers.append((self.kernel.now_us, self.goniometer.omega.position(), self.shutter.wholly_open))

    async def sweep(self, sweep: Sweep) -> None:
        await self.goniometer.prepare_sweep(sweep)
        await self.goniometer.begin_sweep()
        await self.goniometer.finish_sweep()


def make_sweep(start_deg: float = 0.0, width_deg: float = 10.0, duration_s: float = 1.0) -> Sweep:
    return Sweep(
        omega_start_deg=start_deg,
        width_deg=width_deg,
        duration_s=duration_s,
        run_up_deg=run_up_deg(width_deg / duration_s, 0.1, 0.06),
        shutter_lead_s=0.06,
    )


sweeps = st.builds(
    make_sweep, st.floats(-720.0, 720.0), st.floats(-360.0, 360.0, allow_subnormal=False), st.floats(0.001, 30.0)
)


@given(sweeps)
def test_at_the_trigger_the_shutter_is_wholly_open_and_omega_is_at_the_start(sweep: Sweep) -> None:
    assume(abs(sweep.speed_deg_s) <= 120.0)
    assume(sweep.is_still or abs(sweep.width_deg) > 1e-6)
    bench = Bench()
    bench.kernel.run(lambda: bench.sweep(sweep))
    ((when_us, omega_deg, wholly_open),) = bench.triggers
    assert wholly_open
    assert omega_deg == pytest.approx(sweep.omega_start_deg, abs=1e-6)
    running = bench.goniometer.running_sweep
    assert running is not None
    assert when_us == running.start_us
    # The shutter closes at the end, to the nearest microsecond, and was commanded open exactly its lead before.
    assert running.end_us - when_us == round(sweep.duration_s * 1e6)
    assert when_us - running.open_us == 60_000
    assert bench.kernel.now_us == running.end_us + 20_000


@given(sweeps, st.floats(0.0, 1.0))
def test_within_the_sweep_omega_is_where_time_says(sweep: Sweep, when_frac: float) -> None:
    assume(0.0 < abs(sweep.speed_deg_s) <= 120.0)
    assume(abs(sweep.width_deg) > 1e-6)
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(sweep)
        await bench.goniometer.begin_sweep()
        running = bench.goniometer.running_sweep
        assert running is not None
        assert bench.kernel.now_us <= running.open_us
        since_start_us = when_frac * sweep.duration_s * 1e6
        omega_deg = bench.goniometer.omega.position(round(running.start_us + since_start_us))
        nominal_deg = sweep.omega_start_deg + sweep.speed_deg_s * since_start_us / 1e6
        assert omega_deg == pytest.approx(nominal_deg, abs=1e-6 * abs(sweep.speed_deg_s) + 1e-9)
        await bench.goniometer.finish_sweep()

    bench.kernel.run(body)


def test_omega_moves_without_a_jump_from_run_up_to_run_down() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        await bench.goniometer.begin_sweep()
        trajectory = bench.goniometer.omega.trajectory
        for before, after in itertools.pairwise(trajectory.segments):
            assert before.position_at(after.start_us) == pytest.approx(after.position, abs=1e-9)
            assert before.velocity_at(after.start_us) == pytest.approx(after.velocity, abs=1e-9)
        await bench.goniometer.finish_sweep()
        await bench.goniometer.omega.stand()
        assert bench.goniometer.omega.position() == pytest.approx(10.5)

    bench.kernel.run(body)


def test_the_next_sweep_waits_for_omega_to_run_down() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.sweep(make_sweep())
        assert bench.goniometer.omega.is_moving
        await bench.sweep(make_sweep(180.0))
        assert [round(omega_deg, 9) for _, omega_deg, _ in bench.triggers] == [0.0, 180.0]

    bench.kernel.run(body)


def test_a_still_counts_time_and_leaves_omega_standing() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep(30.0, 0.0, 0.5))
        prepared_us = bench.kernel.now_us
        await bench.goniometer.begin_sweep()
        assert bench.shutter.closed
        await bench.goniometer.finish_sweep()
        assert bench.goniometer.omega.position() == 30.0
        assert bench.triggers == [(prepared_us + 61_000, 30.0, True)]
        assert bench.kernel.now_us == prepared_us + 61_000 + 500_000 + 20_000

    bench.kernel.run(body)


@pytest.mark.parametrize("after_us", [0, 50_000, 200_000, 240_000, 255_000, 700_000])
def test_closing_the_shutter_takes_the_gate_off_at_any_time(after_us: int) -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sweep() -> None:
                with pytest.raises(DeviceError, match="the sweep was stopped"):
                    await bench.goniometer.begin_sweep()
                    await bench.goniometer.finish_sweep()

            await bench.kernel.wait(after_us + 1)
            await bench.shutter.close()
        triggers = len(bench.triggers)
        await bench.kernel.wait(10_000_000)
        assert bench.shutter.closed
        assert len(bench.triggers) == triggers

    bench.kernel.run(body)


@pytest.mark.parametrize("after_us", [0, 50_000, 220_000, 255_000, 700_000])
def test_stopped_at_any_time_it_stands_and_can_sweep_again(after_us: int) -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        with trio.move_on_after((after_us + 1) / 1e6):
            await bench.goniometer.begin_sweep()
            await bench.goniometer.finish_sweep()
        with trio.CancelScope(shield=True):
            await bench.shutter.close()
            await bench.goniometer.stop()
        assert await bench.goniometer.is_still()
        bench.triggers.clear()
        await bench.sweep(make_sweep(20.0))
        assert len(bench.triggers) == 1

    bench.kernel.run(body)


def test_begin_needs_a_prepared_sweep_and_stop_takes_it_back() -> None:
    bench = Bench()

    async def body() -> None:
        with pytest.raises(DeviceError, match="no sweep is prepared"):
            await bench.goniometer.begin_sweep()
        await bench.goniometer.prepare_sweep(make_sweep())
        await bench.goniometer.stop()
        with pytest.raises(DeviceError, match="no sweep is prepared"):
            await bench.goniometer.begin_sweep()

    bench.kernel.run(body)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (make_sweep(0.0, 10.0, 0.08), "omega speed = 125: must be at most 120 deg/s"),
        (attrs.evolve(make_sweep(), run_up_deg=1.0), "run-up = 1: must be at least 1.1 deg"),
        (make_sweep(9_995.0), "omega_deg = 10006.5: must be from -10000 to 10000 deg"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_moves(sweep: Sweep, message: str) -> None:
    bench = Bench()

    async def body() -> None:
        with pytest.raises(DeviceError, match=message):
            await bench.goniometer.prepare_sweep(sweep)
        assert bench.kernel.now_us == 0

    bench.kernel.run(body)


def test_while_it_sweeps_no_other_motion_of_omega_is_taken() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        await bench.goniometer.begin_sweep()
        for refused in (bench.goniometer.move({"omega_deg": 0.0}), bench.goniometer.prepare_sweep(make_sweep())):
            with pytest.raises(DeviceError, match="a sweep is under way"):
                await refused
        await bench.goniometer.finish_sweep()
        await bench.goniometer.move({"omega_deg": 0.0})

    bench.kernel.run(body)


def test_axes_move_together_and_all_targets_are_checked_first() -> None:
    bench = Bench()

    async def body() -> None:
        with pytest.raises(DeviceError, match=r"kappa_deg = 300: must be from -5 to 245 deg"):
            await bench.goniometer.move({"x_mm": 1.0, "kappa_deg": 300.0})
        with pytest.raises(DeviceError, match="there is no axis chi_deg"):
            await bench.goniometer.move({"x_mm": 1.0, "chi_deg": 3.0})
        assert await bench.goniometer.is_still()
        await bench.goniometer.move({"x_mm": 1.0, "y_mm": 1.0, "omega_deg": 1.0})
        assert bench.kernel.now_us == 570_000  # the slowest of them: 0.5 s + a ramp + settling
        positions = await bench.goniometer.read_positions()
        assert (positions["x_mm"], positions["y_mm"], positions["omega_deg"]) == (1.0, 1.0, 1.0)

    bench.kernel.run(body)


def test_a_shutter_that_stays_shut_is_told_after_the_sweep() -> None:
    bench = Bench()
    bench.shutter.jammed = True

    async def body() -> None:
        with pytest.raises(DeviceError, match="fast_shutter: was not wholly open at the start"):
            await bench.sweep(make_sweep())

    bench.kernel.run(body)


def test_a_shutter_that_stays_open_is_told_after_the_sweep() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        await bench.goniometer.begin_sweep()
        bench.kernel.after(700_000, lambda: setattr(bench.shutter, "jammed", True))
        with pytest.raises(DeviceError, match="fast_shutter: did not close"):
            await bench.goniometer.finish_sweep()
        assert bench.shutter.blade is Blade.OPEN

    bench.kernel.run(body)


@pytest.mark.parametrize("after_us", [1, 150_000, 700_000])
def test_an_omega_that_sticks_is_told_and_the_shutter_does_not_stay_open(after_us: int) -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        bench.kernel.after(after_us, lambda: setattr(bench.goniometer.omega, "stuck", True))
        with pytest.raises(DeviceError, match="goniometer: omega does not follow"):
            await bench.goniometer.begin_sweep()
            await bench.goniometer.finish_sweep()
        await bench.kernel.wait(5_000_000)
        assert bench.shutter.closed

    bench.kernel.run(body)


@pytest.mark.parametrize("after_us, is_open", [(20_000, False), (120_000, False), (500_000, True), (1_100_000, True)])
def test_a_controller_that_starts_afresh_ends_the_sweep_and_its_gate_line_closes_the_shutter(
    after_us: int, is_open: bool
) -> None:
    bench = Bench()

    async def body() -> None:
        await bench.goniometer.prepare_sweep(make_sweep())
        begun_us = bench.kernel.now_us
        bench.kernel.after(after_us, lambda: opened.append(bench.shutter.wholly_open), by="a", priority=-1)
        bench.kernel.after(after_us, bench.goniometer.reset)
        with pytest.raises(DeviceError, match="the sweep was stopped"):
            await bench.goniometer.begin_sweep()
            await bench.goniometer.finish_sweep()
        assert bench.kernel.now_us == begun_us + after_us
        await bench.goniometer.stop()
        await bench.kernel.wait(20_000)
        assert bench.shutter.closed
        with pytest.raises(DeviceError, match="no sweep is prepared"):
            await bench.goniometer.begin_sweep()
        await bench.sweep(make_sweep())

    opened: list[bool] = []
    bench.kernel.run(body)
    assert opened == [is_open]


def test_a_shutter_that_closes_within_the_sweep_is_told_at_once() -> None:
    bench = Bench()
    bench.shutter.left_open = bench.goniometer.shutter_left_open

    async def body() -> None:
        await bench.sweep(make_sweep())  # the gate's own closing is none of that
        await bench.goniometer.prepare_sweep(make_sweep())
        await bench.goniometer.begin_sweep()
        bench.kernel.after(500_000, bench.shutter.reset)
        before_us = bench.kernel.now_us
        with pytest.raises(DeviceError, match="fast_shutter: closed before the end of the sweep"):
            await bench.goniometer.finish_sweep()
        assert bench.kernel.now_us == before_us + 500_000

    bench.kernel.run(body)
