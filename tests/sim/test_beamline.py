"""The whole simulated beamline, driven by hand."""

from __future__ import annotations

import attrs
import pytest
import trio

from fsmcollect.beamline import Acquisition, Beamline, FrameBlock, Location, Question, Sweep
from fsmcollect.sim.beamline import ROLES, SimulatedBeamline
from fsmcollect.sim.person import Answer
from fsmcollect.sim.trace import Line
from fsmcollect.timing import to_sweep, trapezoidal_move_s


def make_sweep(simulated: SimulatedBeamline, start_deg: float, images: int) -> Sweep:
    timings = simulated.timings
    return Sweep(
        omega_start_deg=start_deg,
        width_deg=0.1 * images,
        duration_s=0.01 * images,
        run_up_deg=1.5 * timings.time_to_speed_s * 10.0,
        shutter_lead_s=timings.shutter_opening_s,
    )


async def take_wedge(beamline: Beamline, sweep: Sweep, images: int) -> list[FrameBlock]:
    goniometer, detector = beamline.goniometer, beamline.detector
    assert goniometer is not None
    assert detector is not None
    acquisition = Acquisition(images=images, images_per_trigger=images, frame_time_s=0.01, energy_ev=12_700.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(detector.arm, acquisition)
        nursery.start_soon(goniometer.prepare_sweep, sweep)
    await goniometer.begin_sweep()
    await goniometer.finish_sweep()
    blocks = [await detector.read_out(0, images, with_images=False)]
    await detector.disarm()
    return blocks


async def open_up(simulated: SimulatedBeamline) -> None:
    simulated.head.mount_by_hand()
    table_mm = simulated.head.centred_table_mm()
    assert table_mm is not None
    await simulated.goniometer.move(dict(zip(("x_mm", "y_mm", "z_mm"), table_mm, strict=True)))
    if simulated.beamline.detector_cover is not None:
        await simulated.detector_cover.open()
    if simulated.beamline.safety_shutter is not None:
        await simulated.safety_shutter.open()


async def close_down(simulated: SimulatedBeamline) -> None:
    await simulated.fast_shutter.close()
    await simulated.safety_shutter.close()
    await simulated.goniometer.stop()
    simulated.checkers.at_rest()


def run_inverse_beam(simulated: SimulatedBeamline) -> list[FrameBlock]:
    blocks: list[FrameBlock] = []

    async def body() -> None:
        await open_up(simulated)
        for start_deg in (0.0, 180.0, 5.0, 185.0):
            blocks.extend(await take_wedge(simulated.beamline, make_sweep(simulated, start_deg, 50), 50))
        await close_down(simulated)

    simulated.kernel.run(body)
    return blocks


def test_inverse_beam_by_hand_records_the_right_angles_and_dose_and_violates_nothing() -> None:
    simulated = SimulatedBeamline()
    blocks = run_inverse_beam(simulated)
    assert simulated.checkers.violations == []
    for block, start_deg in zip(blocks, (0.0, 180.0, 5.0, 185.0), strict=True):
        assert block.omega_deg == pytest.approx([start_deg + 0.1 * image for image in range(50)], abs=1e-9)
    # four wedges of 0.5 s, each with half of the shutter's two ramps
    assert simulated.dose.exposed_us == pytest.approx(4 * (500_000 + 30_000 + 10_000))
    assert 0.0 < simulated.dose.photons < 2.16e12


def test_the_same_seed_gives_the_same_trace_and_another_does_not() -> None:
    digests = []
    for seed in (1, 1, 2):
        simulated = SimulatedBeamline(seed=seed)
        run_inverse_beam(simulated)
        digests.append(simulated.trace.sha256())
    assert digests[0] == digests[1] != digests[2]


def test_the_trace_tells_the_gates_three_moments() -> None:
    simulated = SimulatedBeamline()
    lines: list[tuple[int, Line]] = []
    simulated.trace.listeners.append(lambda t_us, new: lines.extend((t_us, line) for line in new))

    async def body() -> None:
        await open_up(simulated)
        lines.clear()
        await take_wedge(simulated.beamline, make_sweep(simulated, 0.0, 50), 50)

    simulated.kernel.run(body)
    began_us = next(t_us for t_us, line in lines if line == ("goniometer", "sweep 0.000000"))
    gate = [(t_us - began_us, *line) for t_us, line in lines if line[1] in ("gate open", "trigger", "gate close")]
    # 0.1 s to speed, 0.1 s of the run-up at speed; the shutter needs the last 0.06 s of that
    assert gate == [
        (140_000, "fast_shutter", "gate open"),
        (200_000, "detector", "trigger"),
        (700_000, "fast_shutter", "gate close"),
    ]


@pytest.mark.parametrize("role", sorted(ROLES - {"goniometer", "detector", "fast_shutter"}))
def test_any_device_that_exposing_does_not_need_may_be_lacking(role: str) -> None:
    simulated = SimulatedBeamline(without={role})
    assert getattr(simulated.beamline, role) is None
    run_inverse_beam(simulated)
    assert simulated.checkers.violations == []


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="camra: no such role; there are aperture, attenuator"):
        SimulatedBeamline(without={"camra"})


def test_every_role_of_a_beamline_is_there() -> None:
    simulated = SimulatedBeamline()
    assert all(getattr(simulated.beamline, role) is getattr(simulated, role) for role in ROLES)


def test_the_robot_mounts_and_a_person_mounts_and_centres() -> None:
    simulated = SimulatedBeamline()
    simulated.person.answers = {question: Answer(1.0) for question in Question}

    async def body() -> None:
        await simulated.sample_changer.load(Location(1, 5))
        assert simulated.head.sample is not None
        assert await simulated.person.ask(Question.MOUNT_BY_HAND)
        assert simulated.sample_changer.on_goniometer is None
        assert not simulated.head.is_centred(1.0)
        assert await simulated.person.ask(Question.CENTRE_BY_HAND)
        assert simulated.head.is_centred(1.0)
        assert await simulated.interlock.is_searched()

    simulated.kernel.run(body)
    assert simulated.checkers.violations == []


def test_the_timings_foretell_a_wedge_with_its_slew() -> None:
    simulated = SimulatedBeamline()
    timings = simulated.timings

    async def body() -> None:
        await open_up(simulated)
        await simulated.goniometer.move({"omega_deg": -1.5})
        starts_us = []
        for start_deg in (0.0, 180.0):
            await take_wedge(simulated.beamline, make_sweep(simulated, start_deg, 50), 50)
            starts_us.append(simulated.detector.exposures[0].start_us)
        slew_s = timings.slew_s((180.0 - 1.5) - (5.0 + 0.5))
        foretold_s = 0.5 + timings.time_to_speed_s + max(slew_s, timings.arm_s) + 0.2
        assert (starts_us[1] - starts_us[0]) / 1e6 == pytest.approx(foretold_s, abs=1e-5)
        assert slew_s == trapezoidal_move_s(173.0, 120.0, 1200.0) + timings.settle_s

    simulated.kernel.run(body)


def test_the_sweeps_that_timing_makes_can_be_swept_as_fast_as_omega_turns() -> None:
    simulated = SimulatedBeamline()

    @attrs.frozen
    class FakeWedge:
        omega_start_deg: float = 10.0
        width_deg: float = 120.0
        images: int = 100
        exposure_s: float = 0.01

    async def body() -> None:
        sweep = to_sweep(FakeWedge(), 0.1, simulated.config.shutter_opening_s)  # type: ignore[arg-type]
        await open_up(simulated)
        await take_wedge(simulated.beamline, sweep, 100)

    simulated.kernel.run(body)
    assert simulated.checkers.violations == []
