"""Cold stream, detector cover, fluorescence detector."""

from __future__ import annotations

import math
import random

import attrs
import numpy as np
import pytest
import trio

from fsmcollect import beamline as roles
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.surroundings import CryoStream, DetectorCover, FluorescenceDetector
from fsmcollect.sim.trace import Trace


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def rng() -> random.Random:
    return random.Random("test/surroundings")


def test_the_stream_is_cold_and_its_reading_noisy(kernel: Kernel, rng: random.Random) -> None:
    stream = CryoStream(kernel, Trace(kernel), rng)
    role: roles.CryoStream = stream

    async def body() -> list[float]:
        return [await role.read_temperature_k() for _ in range(100)]

    readings = kernel.run(body)
    assert float(np.mean(readings)) == pytest.approx(100.0, abs=0.1)
    assert 0.05 < float(np.std(readings)) < 0.2


def test_a_stream_that_fails_is_read_warm(kernel: Kernel, rng: random.Random) -> None:
    stream = CryoStream(kernel, Trace(kernel), rng)
    stream.temperature_k = 250.0
    assert kernel.run(stream.read_temperature_k) > 240.0


def test_the_cover_takes_seconds_and_is_closed_at_first(kernel: Kernel) -> None:
    cover = DetectorCover(kernel, Trace(kernel))
    role: roles.DetectorCover = cover

    async def body() -> None:
        assert await role.is_closed()
        await role.open()
        assert cover.is_open_now
        assert kernel.now_us == to_us(3)
        await role.open()
        assert kernel.now_us == to_us(3)
        assert not await role.is_closed()
        await role.close()
        assert await role.is_closed()

    kernel.run(body)


def test_closing_the_cover_overtakes_opening_it(kernel: Kernel) -> None:
    cover = DetectorCover(kernel, Trace(kernel))

    async def opening() -> None:
        with pytest.raises(DeviceError, match="was sent to closed on its way to open"):
            await cover.open()

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opening)
            await kernel.wait(to_us(1))
            with trio.CancelScope() as scope:
                scope.cancel()
                await cover.close()
            # Cancelled, it was commanded all the same; a second caller joins and does not start anew.
            await kernel.wait(to_us(2))
            await cover.close()
        assert kernel.now_us == to_us(4)
        assert await cover.is_closed()

    kernel.run(body)


def test_a_jammed_cover_is_neither_closed_nor_silent(kernel: Kernel) -> None:
    cover = DetectorCover(kernel, Trace(kernel), starts_closed=False)
    cover.actuator.jammed = True

    async def body() -> None:
        with pytest.raises(DeviceError, match="detector_cover: did not reach closed within 30 s"):
            await cover.close()
        assert not await cover.is_closed()
        cover.actuator.jammed = False
        await cover.close()
        assert await cover.is_closed()

    kernel.run(body)


@attrs.define
class Beam:
    energy_ev: float = 12700.0
    flux_ph_s: float = 1e12


def peak_ev(spectrum: object, low_ev: float, high_ev: float) -> float:
    """Centre of the highest channel in a range."""
    counts = np.asarray(spectrum)
    centres = (np.arange(counts.size) + 0.5) * 20.0
    inside = (centres > low_ev) & (centres < high_ev)
    return float(centres[inside][counts[inside].argmax()])


def new_fluorescence(kernel: Kernel, rng: random.Random, beam: Beam) -> FluorescenceDetector:
    return FluorescenceDetector(
        kernel, Trace(kernel), rng, energy_ev=lambda: beam.energy_ev, flux_ph_s=lambda: beam.flux_ph_s
    )


def test_a_spectrum_shows_a_line_above_its_edge_and_none_below(kernel: Kernel, rng: random.Random) -> None:
    beam = Beam()
    detector = new_fluorescence(kernel, rng, beam)
    role: roles.FluorescenceDetector = detector
    above = kernel.run(lambda: role.measure(1.0))
    assert len(above) == 1024
    assert {type(counts) for counts in above} == {int}
    assert peak_ev(above, 10_000, 12_000) == pytest.approx(11222, abs=40)
    assert peak_ev(above, 12_000, 14_000) == pytest.approx(12700, abs=40)
    assert kernel.now_us == to_us(1.1)
    beam.energy_ev = 12600.0
    below = kernel.run(lambda: role.measure(1.0))
    assert sum(below[540:580]) < 0.05 * sum(above[540:580])


def test_without_beam_there_is_background_only(kernel: Kernel, rng: random.Random) -> None:
    spectrum = kernel.run(lambda: new_fluorescence(kernel, rng, Beam(flux_ph_s=0.0)).measure(1.0))
    assert max(spectrum) < 10


@pytest.mark.parametrize("exposure_s", [0.0, -1.0, math.nan, math.inf])
def test_an_exposure_that_cannot_be_is_refused(kernel: Kernel, rng: random.Random, exposure_s: float) -> None:
    with pytest.raises(DeviceError, match="must be greater than 0 s"):
        kernel.run(lambda: new_fluorescence(kernel, rng, Beam()).measure(exposure_s))


def test_a_stream_without_nitrogen_warms_evenly_until_there_is_some(kernel: Kernel, rng: random.Random) -> None:
    stream = CryoStream(kernel, Trace(kernel), rng, noise_k=0.0)

    async def body() -> None:
        await kernel.wait(to_us(5))
        stream.warming_k_s = 2.0
        assert await stream.read_temperature_k() == 100.0
        await kernel.wait(to_us(5))
        assert (stream.warming_k_s, await stream.read_temperature_k()) == (2.0, 110.0)
        stream.warming_k_s = 0.0
        assert await stream.read_temperature_k() == 100.0

    kernel.run(body)
