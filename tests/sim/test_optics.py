"""Attenuator, monochromator, aperture, detector stage and diodes."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect import beamline as roles
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.optics import Aperture, Attenuator, DetectorStage, Diodes, Monochromator
from fsmcollect.sim.trace import Trace


@attrs.define
class Bench:
    """A kernel and a trace to build devices on."""

    kernel: Kernel = attrs.field(factory=Kernel)
    trace: Trace = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.trace = Trace(self.kernel)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_transmission_takes_time_and_ends_as_asked(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)
    role: roles.Attenuator = attenuator

    async def body() -> None:
        assert await role.read_transmission_frac() == 1.0
        await role.set_transmission(0.2)
        assert await role.read_transmission_frac() == 0.2

    bench.kernel.run(body)
    assert bench.kernel.now_us == to_us(attenuator.move_s)


def test_a_transmission_of_nothing_is_a_value(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)
    bench.kernel.run(lambda: attenuator.set_transmission(0))
    assert attenuator.transmission_frac == 0.0


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan, math.inf])
def test_a_transmission_that_cannot_be_is_refused(bench: Bench, wrong: float) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)
    with pytest.raises(DeviceError, match="must be from 0 to 1"):
        bench.kernel.run(lambda: attenuator.set_transmission(wrong))


@pytest.mark.parametrize("before, after", [(1.0, 0.2), (0.2, 1.0)])
def test_while_the_absorbers_move_the_beam_is_as_weak_as_the_weaker_setting(
    bench: Bench, before: float, after: float
) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace, start_transmission_frac=before)

    async def body() -> None:
        with trio.move_on_after(0.5):
            await attenuator.set_transmission(after)
        assert attenuator.transmission_frac == 0.2
        await bench.kernel.wait(to_us(1))
        assert attenuator.transmission_frac == after

    bench.kernel.run(body)


def test_the_last_transmission_wins_and_the_first_asker_is_told(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)

    async def first() -> None:
        with pytest.raises(DeviceError, match=r"was sent to 0.5 on its way to 0.1"):
            await attenuator.set_transmission(0.1)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await bench.kernel.wait(to_us(0.3))
            await attenuator.set_transmission(0.5)

    bench.kernel.run(body)
    assert attenuator.transmission_frac == 0.5


def test_a_jammed_attenuator_stays_and_is_reported_after_its_time_limit(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)
    attenuator.actuator.jammed = True

    async def body() -> None:
        with pytest.raises(DeviceError, match=r"attenuator: did not reach 0.5 within 30 s"):
            await attenuator.set_transmission(0.5)
        assert attenuator.transmission_frac == 1.0
        attenuator.actuator.jammed = False
        await attenuator.set_transmission(0.5)

    bench.kernel.run(body)
    assert attenuator.transmission_frac == 0.5
    assert bench.kernel.now_us == to_us(31)


def test_an_actuator_that_jams_half_way_and_comes_free_arrives_late(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)

    async def body() -> None:
        bench.kernel.after(to_us(0.5), lambda: setattr(attenuator.actuator, "jammed", True))
        bench.kernel.after(to_us(9), lambda: setattr(attenuator.actuator, "jammed", False))
        await attenuator.set_transmission(0.5)

    bench.kernel.run(body)
    assert attenuator.transmission_frac == 0.5


def test_the_monochromator_moves_for_seconds_within_its_limits(bench: Bench) -> None:
    monochromator = Monochromator(bench.kernel, bench.trace)
    role: roles.Monochromator = monochromator

    async def body() -> None:
        await role.move(12000.0)
        assert await role.read_energy_ev() == 12000.0
        assert await role.is_still()
        with pytest.raises(DeviceError, match=r"must be from 6000 to 20000 ev"):
            await role.move(25000.0)

    bench.kernel.run(body)
    assert 1.0 < bench.kernel.now_us / 1e6 < 10.0


@pytest.mark.parametrize("device", ["stage", "monochromator"])
def test_a_stop_on_the_way_leaves_it_between(bench: Bench, device: str) -> None:
    moving: DetectorStage | Monochromator
    if device == "stage":
        moving, target = DetectorStage(bench.kernel, bench.trace), 150.0
    else:
        moving, target = Monochromator(bench.kernel, bench.trace), 7000.0

    async def body() -> None:
        with trio.move_on_after(1.5):
            await moving.move(target)
        assert not await moving.is_still()
        await moving.stop()
        await moving.stop()
        assert await moving.is_still()

    bench.kernel.run(body)
    between = moving.distance_mm if isinstance(moving, DetectorStage) else moving.energy_ev
    assert between > target


def test_the_detector_stage_moves_within_its_limits(bench: Bench) -> None:
    stage = DetectorStage(bench.kernel, bench.trace)
    role: roles.DetectorStage = stage

    async def body() -> None:
        await role.move(200.0)
        assert await role.read_distance_mm() == 200.0
        with pytest.raises(DeviceError, match="must be from 60 to 1000 mm"):
            await role.move(59.0)

    bench.kernel.run(body)


def test_the_aperture_blocks_the_beam_between_two_sizes(bench: Bench) -> None:
    aperture = Aperture(bench.kernel, bench.trace)
    role: roles.Aperture = aperture

    async def body() -> None:
        assert list(role.sizes_um) == [10.0, 20.0, 50.0, 100.0]
        assert aperture.through_frac == pytest.approx(0.5)
        with trio.move_on_after(0.1):
            await role.select(20.0)
        assert aperture.through_frac == 0.0
        with pytest.raises(DeviceError, match="between two apertures"):
            await role.read_size_um()
        await role.select(20.0)
        assert await role.read_size_um() == 20.0
        with pytest.raises(DeviceError, match="there are 10, 20, 50, 100 um"):
            await role.select(30.0)

    bench.kernel.run(body)


@attrs.define
class Beam:
    """What the diodes stand in."""

    flux_ph_s: float = 1e12
    safety_open: bool = True
    at_sample: bool = True


def new_diodes(bench: Bench, beam: Beam) -> Diodes:
    return Diodes(
        bench.kernel,
        bench.trace,
        flux_ph_s=lambda: beam.flux_ph_s,
        safety_shutter_open=lambda: beam.safety_open,
        at_sample=lambda: beam.at_sample,
    )


@given(st.floats(7.0, 14.0))
def test_adjusted_diodes_use_their_top_decade_and_do_not_saturate(flux_exponent: float) -> None:
    bench, beam = Bench(), Beam(flux_ph_s=10.0**flux_exponent)
    diodes = new_diodes(bench, beam)
    role: roles.Diodes = diodes
    full_scale = diodes.full_scale_v * diodes.counts_per_v

    async def body() -> None:
        await role.adjust_gains()
        for counts, gain in zip(await role.read_counts(), await role.read_gains(), strict=True):
            assert counts <= full_scale
            assert counts > 0.099 * full_scale or gain == 11

    bench.kernel.run(body)


def test_counts_are_proportional_to_the_flux_until_they_saturate(bench: Bench) -> None:
    beam = Beam(flux_ph_s=1e11)
    diodes = new_diodes(bench, beam)

    async def body() -> None:
        await diodes.adjust_gains()
        before = await diodes.read_counts()
        beam.flux_ph_s = 0.5e11
        assert await diodes.read_counts() == pytest.approx([0.5 * counts for counts in before])
        beam.flux_ph_s = 1e15
        assert await diodes.read_counts() == (1e6, 1e6)

    bench.kernel.run(body)


def test_without_beam_the_diodes_see_nothing_and_their_gains_are_not_adjusted(bench: Bench) -> None:
    beam = Beam(safety_open=False)
    diodes = new_diodes(bench, beam)

    async def body() -> None:
        assert await diodes.read_counts() == (0.0, 0.0)
        with pytest.raises(DeviceError, match="the safety shutter is not open"):
            await diodes.adjust_gains()
        beam.safety_open, beam.at_sample = True, False
        i0, i1 = await diodes.read_counts()
        assert i0 > 0.0
        assert i1 == 0.0
        beam.flux_ph_s = 0.0
        await diodes.adjust_gains()
        assert await diodes.read_gains() == (11, 11)

    bench.kernel.run(body)


def test_the_safety_shutter_may_close_while_the_gains_are_adjusted(bench: Bench) -> None:
    beam = Beam()
    diodes = new_diodes(bench, beam)

    async def body() -> None:
        bench.kernel.after(1, lambda: setattr(beam, "safety_open", False))
        with pytest.raises(DeviceError, match="not open"):
            await diodes.adjust_gains()

    bench.kernel.run(body)


def test_gains_can_be_put_back_within_their_range(bench: Bench) -> None:
    diodes = new_diodes(bench, Beam())

    async def body() -> None:
        await diodes.set_gains(5, 7)
        assert await diodes.read_gains() == (5, 7)
        with pytest.raises(DeviceError, match=r"gain of i1 = 12: must be from 3 to 11"):
            await diodes.set_gains(5, 12)

    bench.kernel.run(body)


def test_absorbers_that_slip_let_more_and_more_through_until_they_are_set_again(bench: Bench) -> None:
    attenuator = Attenuator(bench.kernel, bench.trace)

    async def body() -> None:
        await attenuator.set_transmission(0.2)
        attenuator.slip_frac_s = 0.01
        await bench.kernel.wait(to_us(10))
        assert attenuator.transmission_frac == pytest.approx(0.3)
        attenuator.slip_frac_s = 0.0
        await bench.kernel.wait(to_us(10))
        assert attenuator.transmission_frac == pytest.approx(0.3)
        attenuator.slip_frac_s = 0.01
        await attenuator.set_transmission(0.5)
        assert attenuator.transmission_frac == 0.5
        await bench.kernel.wait(to_us(10))
        assert attenuator.transmission_frac == pytest.approx(0.6)
        await attenuator.set_transmission(0.5)  # they stand there already, as far as they know
        assert attenuator.transmission_frac == 0.5
        await bench.kernel.wait(to_us(1000))
        assert attenuator.transmission_frac == 1.0

    bench.kernel.run(body)


def test_amplifiers_that_start_afresh_have_forgotten_their_gains(bench: Bench) -> None:
    diodes = Diodes(bench.kernel, bench.trace, flux_ph_s=lambda: 1e12)

    async def body() -> None:
        first = await diodes.read_gains()
        await diodes.set_gains(8, 8)
        diodes.reset()
        assert await diodes.read_gains() == first

    bench.kernel.run(body)
