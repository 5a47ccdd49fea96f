"""Dose: photons and light per frame, from what lies between the instants."""

from __future__ import annotations

import attrs
import pytest

from fsmcollect.beamline import Range
from fsmcollect.sim.dose import BeamPath, Dose
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.motion import Axis
from fsmcollect.sim.shutter import FastShutter, SafetyShutter
from fsmcollect.sim.trace import Trace

FLUX_PH_S = 1e12


@attrs.define
class FakeRing:
    """A current that is a straight line of time."""

    nominal_ma: float = 300.0
    loss_ma_s: float = 0.0
    beam: bool = True

    def current_ma(self, at_us: int | None = None) -> float:
        assert at_us is not None
        return self.nominal_ma - self.loss_ma_s * at_us / 1e6 if self.beam else 0.0

    def has_beam(self, at_us: int | None = None) -> bool:
        return self.beam


@attrs.define(eq=False)
class Bench:
    """Shutters, a ring, one absorber and a crystal."""

    speed: float | None = None
    kernel: Kernel = attrs.field(default=attrs.Factory(lambda self: Kernel(speed=self.speed), takes_self=True))
    ring: FakeRing = attrs.field(factory=FakeRing)
    transmission_frac: float = 1.0
    crystal: bool = True
    fast: FastShutter = attrs.field(init=False)
    safety: SafetyShutter = attrs.field(init=False)
    dose: Dose = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        trace = Trace(self.kernel)
        self.fast = FastShutter(self.kernel, trace, opening_s=0.06, closing_s=0.02)
        self.safety = SafetyShutter(self.kernel, trace)
        path = BeamPath(
            full_flux_ph_s=FLUX_PH_S,
            omega=Axis(self.kernel, trace, "omega_deg", Range(-1.0, 1.0), max_speed=1.0, time_to_speed_s=0.1),
            fast_shutter=self.fast,
            safety_shutter=self.safety,
            ring=self.ring,
            fractions=(lambda: self.transmission_frac,),
            in_beam=lambda: self.crystal,
        )
        self.dose = Dose(self.kernel, path)

    async def expose(self, open_us: int) -> None:
        await self.fast.open()
        await self.kernel.wait(open_us)
        await self.fast.close()


@pytest.mark.parametrize("speed", [None, 100.0])
def test_photons_are_flux_times_time_with_half_of_each_ramp(speed: float | None) -> None:
    bench = Bench(speed=speed)

    async def body() -> None:
        await bench.safety.open()
        assert bench.dose.flux_ph_s == 0.0
        assert not bench.dose.crystal_hit
        await bench.expose(1_000_000)
        await bench.kernel.wait(1_000_000)
        # Paced, the wait between opening and closing begins when the program gets there, which may be a little later.
        assert bench.dose.exposed_us == pytest.approx(1_000_000 + 30_000 + 10_000, rel=0.05)
        assert bench.dose.exposed_us == pytest.approx(bench.fast.let_through_us())
        assert bench.dose.photons == pytest.approx(FLUX_PH_S * bench.dose.exposed_us / 1e6)

    bench.kernel.run(body)


def test_it_can_be_asked_at_any_instant() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.safety.open()
        await bench.fast.open()
        for milliseconds in range(5):
            assert bench.dose.exposed_us == pytest.approx(30_000 + milliseconds * 1_000)
            assert bench.dose.crystal_hit
            assert bench.dose.flux_ph_s == pytest.approx(FLUX_PH_S)
            await bench.kernel.wait(1_000)

    bench.kernel.run(body)


def test_absorbers_count_for_photons_and_not_for_time() -> None:
    bench = Bench(transmission_frac=0.25)

    async def body() -> None:
        await bench.safety.open()
        bench.kernel.after(560_000, lambda: setattr(bench, "transmission_frac", 0.5))
        await bench.expose(1_000_000)
        assert bench.dose.exposed_us == pytest.approx(1_040_000)
        # a quarter until 0.5 s after it was wholly open, half from then on
        assert bench.dose.photons == pytest.approx(FLUX_PH_S * (0.25 * 0.53 + 0.5 * 0.51))

    bench.kernel.run(body)


def test_without_a_crystal_nothing_is_hit() -> None:
    bench = Bench(crystal=False)

    async def body() -> None:
        await bench.safety.open()
        await bench.expose(1_000_000)
        assert (bench.dose.photons, bench.dose.exposed_us) == (0.0, 0.0)
        await bench.kernel.wait(1)
        bench.crystal = True
        await bench.expose(1_000_000)
        assert bench.dose.exposed_us == pytest.approx(1_040_000)

    bench.kernel.run(body)


def test_behind_a_closed_safety_shutter_nothing_is_hit() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.expose(1_000_000)
        assert (bench.dose.photons, bench.dose.exposed_us) == (0.0, 0.0)

    bench.kernel.run(body)


def test_a_decaying_ring_gives_the_mean_of_its_current() -> None:
    bench = Bench(ring=FakeRing(loss_ma_s=0.1))

    async def body() -> None:
        await bench.safety.open()
        await bench.expose(1_000_000_000)
        middle_us = 1_500_000 + 60_000 + 500_000_000
        mean = bench.ring.current_ma(middle_us) / 300.0
        assert bench.dose.photons == pytest.approx(FLUX_PH_S * 1_000.04 * mean, rel=1e-5)

    bench.kernel.run(body)


def test_a_frame_is_lit_while_the_shutter_is_wholly_open_and_there_is_beam() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.safety.open()
        start_us = bench.kernel.now_us
        bench.kernel.after(560_000, lambda: setattr(bench.ring, "beam", False))
        bench.kernel.after(660_000, lambda: setattr(bench.ring, "beam", True))
        await bench.expose(1_000_000)
        # wholly open from 60 ms to 1060 ms, without beam from 560 ms to 660 ms
        for begin_ms, end_ms, lit in [
            (60, 160, 1.0),
            (0, 60, 0.0),
            (10, 110, 0.5),
            (560, 660, 0.0),
            (540, 580, 0.5),
            (500, 700, 0.5),
            (1_050, 1_070, 0.5),
        ]:
            frac = bench.dose.lit_frac(start_us + begin_ms * 1_000, start_us + end_ms * 1_000)
            assert frac == pytest.approx(lit), (begin_ms, end_ms)
        bench.dose.forget()
        assert bench.dose.lit_frac(start_us + 60_000, start_us + 160_000) == 0.0

    bench.kernel.run(body)


def test_a_closed_shutter_costs_no_question() -> None:
    bench = Bench()
    asked: list[int] = []

    async def body() -> None:
        for _ in range(10):
            await bench.kernel.wait(1_000)

    object.__setattr__(bench.dose.path, "in_beam", lambda: asked.append(0))
    bench.kernel.run(body)
    assert asked == []
