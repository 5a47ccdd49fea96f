"""The books of the light: what each opening and each run may have, to the microsecond."""

from __future__ import annotations

import attrs
import pytest

from fsmcollect.errors import DeviceError
from fsmcollect.request import Request
from fsmcollect.sim.beamline import CONFIG, SimulatedBeamline
from fsmcollect.sim.checkers import LightAsPlanned, Opening
from fsmcollect.sim.detector import Exposure
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.shutter import FastShutter
from fsmcollect.sim.trace import Trace
from tests.collecting.rehearsing import LONG_WEDGE, SHUTTERED, SHUTTERLESS, STILLS, Play, ask, simulate
from tests.sim.checkers.bench import do, expose, make_safe, make_sweep, open_up

#: 10 frames of 10 ms from 100 ms on.
EXPOSURE = Exposure(100_000, lambda at_us: 0.0, (10_000, 1), 10, 3)


def told(lit_us: float, shut_us: int, *, lead_s: float = 0.06, opening_s: float = 0.06, frames: int = 10) -> list[str]:
    kernel = Kernel()
    shutter = FastShutter(kernel, Trace(kernel), opening_s=opening_s, closing_s=0.02)
    said: list[str] = []
    exposure = attrs.evolve(EXPOSURE, frames=frames)
    LightAsPlanned(shutter, lead_s, said.append).judge(Opening(lit_us, 1.0, 1.0, shut_us, (exposure,), False))
    return said


def test_an_opening_may_have_its_frames_and_half_of_its_travels() -> None:
    assert told(100_000 + 30_000 + 10_000, 200_000) == []
    [said] = told(100_000 + 30_000 + 10_000 + 20, 200_000)
    assert said.startswith("the fast shutter let light through for 40.020 ms that belong to no complete image")
    assert said.endswith("its travel explains 40.000 ms")


def test_an_interrupted_opening_may_have_one_frame_more() -> None:
    assert told(50_000 + 40_000 + 10_000, 155_000) == []
    assert told(50_000 + 40_000 + 10_020, 155_000) != []


def test_a_lead_that_is_configured_longer_than_the_travel_is_allowed_for() -> None:
    assert told(100_000 + 50_000 + 10_000, 200_000, lead_s=0.08) == []
    assert told(100_000 + 50_000 + 10_020, 200_000, lead_s=0.08) != []


def test_a_shutter_slower_than_its_lead_lets_less_through_before_the_first_image() -> None:
    assert told(100_000 + 15_000 + 10_000, 200_000, opening_s=0.12) == []
    assert told(100_000 + 15_000 + 10_020, 200_000, opening_s=0.12) != []


@pytest.mark.parametrize("request_", [SHUTTERLESS, SHUTTERED, STILLS, LONG_WEDGE])
def test_the_light_of_a_whole_collection_is_images_times_exposure_and_the_travels(request_: Request) -> None:
    play = Play(request_).run()
    play.check("done")
    sweep, plan = play.request.sweep, play.collection.plan
    openings = len(plan.wedges) if plan.shutterless else plan.images * plan.passes
    exposed_us = plan.images * sweep.exposure_s * 1e6
    assert play.simulated.dose.lit_us == pytest.approx(exposed_us + openings * 40_000, abs=10)


def test_photons_are_compared_with_and_without_an_aperture_and_where_nothing_was_asked() -> None:
    for beam in ({"aperture_um": 20.0}, {"transmission_frac": None}, {"transmission_frac": 0.0}):
        Play(ask(beam=beam)).run().check("done")


@pytest.mark.parametrize("role", ["attenuator", "aperture", "ring", "monochromator", "backlight", "safety_shutter"])
def test_the_books_are_kept_without_what_a_beamline_may_lack(role: str) -> None:
    play = Play(ask(beam={"transmission_frac": None}), simulate(without={role}))
    play.run().check("done")


def test_the_light_counts_without_a_crystal_in_the_beam_too() -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        await open_up(simulated)
        await expose(simulated, make_sweep())
        assert simulated.dose.exposed_us == 0.0
        assert simulated.dose.photons == 0.0
        assert simulated.dose.lit_us == pytest.approx(140_000)
        _, photons, unattenuated = simulated.dose.at_sample
        assert photons == pytest.approx(unattenuated * simulated.aperture.through_frac)

    assert do(body).names == []


def test_a_configuration_that_lets_the_shutter_open_early_is_no_violation() -> None:
    simulated = SimulatedBeamline(config=attrs.evolve(CONFIG, shutter_opening_s=0.3))

    async def body(simulated: SimulatedBeamline) -> None:
        await open_up(simulated)
        await expose(simulated, make_sweep(lead_s=0.3))

    assert do(body, simulated).names == []


def test_a_detector_that_fails_under_the_beam_excuses_the_rest_of_the_sweep_and_no_more() -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        await open_up(simulated)
        simulated.kernel.after(360_000, lambda: simulated.detector.fail("it is too warm"))
        with pytest.raises(DeviceError, match="too warm"):
            await expose(simulated, make_sweep())
        await make_safe(simulated)

    assert do(body).names == []


def test_the_books_begin_anew_with_each_collection() -> None:
    simulated = simulate()
    for run_number in (1, 2):
        Play(ask(files={"run_number": run_number}), simulated).run().check("done")


def test_a_hold_and_a_lost_beam_cost_a_part_of_one_image_each() -> None:
    play = Play(LONG_WEDGE)
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=1_005_000)
    play.enters("HOLDING", play.collection.resume, after_us=1_000_000)
    ring = play.simulated.ring
    play.enters("wedge.EXPOSING", ring.lose_beam, after_us=1_005_000, count=2)
    play.enters("HOLDING_FOR_BEAM", ring.restore_beam, after_us=1_000_000)
    play.run().check("done")
    # Each interruption comes 5 ms into an image; without beam, closing lets nothing through.
    assert play.simulated.dose.lit_us == pytest.approx(250 * 20_000 + 2 * 5_000 + 3 * 40_000 - 10_000, abs=10)
