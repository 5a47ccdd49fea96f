"""Rules of images."""

from __future__ import annotations

import attrs

from fsmcollect.sim.beamline import SimulatedBeamline
from tests.sim.checkers.bench import expose, make_safe, make_sweep, open_up


def test_frames_that_are_handed_out_though_the_beam_was_lost_under_them() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        # The sweep begins 0.1 s (arming) + 0.2 s (run-up) + 0.025 s later; the beam fails within its 10 images.
        simulated.ring.lose_beam(simulated.kernel.now_us + 460_000)
        await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert simulated.checkers.violations
    assert all("was handed out and was in the beam for" in line for line in simulated.checkers.violations)


def test_frames_taken_at_other_angles_than_the_sweep_has() -> None:
    simulated = SimulatedBeamline()
    simulated.detector.follow_omega = lambda: lambda at_us: 77.0

    async def body() -> None:
        await open_up(simulated)
        await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert "image 0 was taken at 77.0000 deg instead of 0.0000 deg" in simulated.checkers.violations[0]


def test_a_sweep_shorter_than_its_images_is_found_out() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        await expose(simulated, attrs.evolve(make_sweep(), duration_s=0.08, width_deg=0.8))
        await make_safe(simulated)

    simulated.kernel.run(body)
    told = "\n".join(simulated.checkers.violations)
    assert "image 9 was handed out and was in the beam for 0.00 %" in told
