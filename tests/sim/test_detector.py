"""The detector: its states, its frames' boundaries, and that no image is lost in silence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fractions import Fraction

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.beamline import Acquisition, FrameBlock
from fsmcollect.errors import DeviceError
from fsmcollect.sim.detector import Detector, Exposure, State
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.trace import Trace


def make_detector() -> Detector:
    kernel = Kernel()
    return Detector(kernel, Trace(kernel), follow_omega=lambda: lambda at_us: at_us / 1e6)


def for_images(
    images: int, *, frame_time_s: float = 0.01, images_per_trigger: int | None = None, triggers_per_image: int = 1
) -> Acquisition:
    return Acquisition(
        images=images,
        images_per_trigger=images if images_per_trigger is None else images_per_trigger,
        frame_time_s=frame_time_s,
        energy_ev=12_700.0,
        triggers_per_image=triggers_per_image,
    )


def run(detector: Detector, body: Callable[[], Awaitable[None]]) -> None:
    detector.kernel.run(body)


async def read(detector: Detector, count: int, first: int = 0, with_images: bool = False) -> FrameBlock:
    return await detector.read_out(first, count, with_images=with_images)


def test_it_goes_through_its_states() -> None:
    detector = make_detector()

    states: list[State] = []

    async def body() -> None:
        states.append(detector.state)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(detector.arm, for_images(5))
            await detector.kernel.wait(50_000)
            states.append(detector.state)
        states.append(detector.state)
        assert not await detector.is_idle()
        detector.trigger()
        states.append(detector.state)
        await detector.kernel.wait(49_997)
        states.append(detector.state)
        await detector.disarm()
        states.append(detector.state)
        assert await detector.is_idle()

    run(detector, body)
    assert states == [State.IDLE, State.ARMING, State.ARMED, State.ACQUIRING, State.ARMED, State.IDLE]


def test_it_refuses_what_its_state_forbids() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(5))
        with pytest.raises(DeviceError, match="cannot arm while armed"):
            await detector.arm(for_images(5))
        with pytest.raises(DeviceError, match="cannot take a dark image while armed"):
            await detector.take_dark(0.1)
        await detector.disarm()
        with pytest.raises(DeviceError, match=r"frame time = 1e-05: must be at least 0.000333333 s"):
            await detector.arm(for_images(5, frame_time_s=1e-5))
        with pytest.raises(DeviceError, match="images = 5: must be a multiple of the 2 per trigger"):
            await detector.arm(for_images(5, images_per_trigger=2))
        assert await detector.is_idle()
        await detector.take_dark(0.1)
        assert await detector.is_idle()

    run(detector, body)


def test_a_trigger_that_it_cannot_answer_is_lost_and_counted() -> None:
    detector = make_detector()

    async def body() -> None:
        detector.trigger()
        assert detector.lost_triggers == 1
        await detector.arm(for_images(2))
        detector.trigger()
        detector.trigger()
        assert detector.lost_triggers == 2
        await detector.kernel.wait(1_000_000)
        detector.trigger()  # all images have been taken
        assert detector.lost_triggers == 3
        assert detector.frames_complete == 2

    run(detector, body)


@given(
    st.integers(1, 3000),
    st.fractions(Fraction(1, 9000), Fraction(2), max_denominator=10_000),
    st.integers(0, 10**9),
)
def test_frames_neither_drift_nor_overlap_and_are_counted_when_they_end(
    frames: int, frame_time: Fraction, start_us: int
) -> None:
    period_us = frame_time * 1_000_000
    exposure = Exposure(start_us, lambda at_us: 0.0, period_us.as_integer_ratio(), frames, 3)
    last = frames - 1
    assert abs(exposure.frame_start_us(last) - (start_us + last * period_us)) <= Fraction(1, 2)
    for frame in {0, frames // 2, last}:
        assert exposure.frame_end_us(frame) == exposure.frame_start_us(frame + 1) - 3
        assert exposure.complete(exposure.frame_end_us(frame)) == frame + 1
        assert exposure.complete(exposure.frame_end_us(frame) - 1) == frame
    assert exposure.complete(exposure.end_us + 10**12) == frames
    assert exposure.complete(start_us - 1) == 0


def test_a_third_of_a_second_does_not_drift_over_many_frames() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(300_000, frame_time_s=1 / 3))
        detector.trigger()
        exposure = detector.exposures[0]
        assert exposure.frame_start_us(300_000) == exposure.start_us + 100_000_000_000

    run(detector, body)


def test_images_are_handed_out_as_soon_as_the_last_of_them_is_complete() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(250))
        detector.trigger()
        start_us = detector.kernel.now_us
        came = []
        for first, count in ((0, 100), (100, 100), (200, 50)):
            block = await read(detector, count, first=first)
            came.append((block.first, len(block.omega_deg), detector.kernel.now_us - start_us))
        # 100 frames of 10 ms, less the dead time, and 5 ms to read them
        assert came == [(0, 100, 1_004_997), (100, 100, 2_004_997), (200, 50, 2_504_997)]

    run(detector, body)


def test_reading_can_begin_before_the_trigger_and_anywhere() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(10))
        detector.kernel.after(500_000, detector.trigger)
        block = await read(detector, 4, first=6)
        assert block.first == 6
        # recorded at the start of each frame: this detector's omega is the time
        assert block.omega_deg == pytest.approx([0.66, 0.67, 0.68, 0.69])

    run(detector, body)


def test_images_come_from_the_source_that_was_given() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(3))
        with pytest.raises(DeviceError, match="no source of images"):
            await read(detector, 3, with_images=True)
        detector.frame_source = lambda index: b"%d" % index
        detector.trigger()
        block = await read(detector, 3, with_images=True)
        assert list(block.chunks) == [b"0", b"1", b"2"]

    run(detector, body)


def test_disarmed_in_between_it_keeps_what_was_complete_and_denies_the_rest() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(100))
        detector.trigger()
        await detector.kernel.wait(255_000)
        assert detector.frames_complete == 25
        await detector.disarm()
        await detector.kernel.wait(10_000_000)
        assert detector.frames_complete == 25
        assert len((await read(detector, 25)).omega_deg) == 25
        with pytest.raises(DeviceError, match="only 25 of 100 images came: it was disarmed"):
            await read(detector, 26)

    run(detector, body)


def test_who_waits_for_an_image_is_told_that_it_will_never_come() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(100))
        detector.trigger()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait_for_all() -> None:
                with pytest.raises(DeviceError, match="only 25 of 100"):
                    await read(detector, 100)

            await detector.kernel.wait(255_000)
            await detector.disarm()

    run(detector, body)


def test_disarming_while_it_arms_or_takes_a_dark_image_ends_that() -> None:
    detector = make_detector()

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def arm() -> None:
                with pytest.raises(DeviceError, match="could not arm: it was disarmed"):
                    await detector.arm(for_images(1))

            await detector.kernel.wait(10_000)
            await detector.disarm()
        assert await detector.is_idle()

    run(detector, body)


def test_several_passes_are_summed_into_each_image() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(2, images_per_trigger=1, triggers_per_image=3))
        complete = []
        for _ in range(6):
            detector.trigger()
            await detector.kernel.wait(20_000)
            complete.append(detector.frames_complete)
        assert complete == [0, 0, 1, 1, 1, 2]
        block = await read(detector, 2)
        assert block.omega_deg == pytest.approx([0.1, 0.16])  # where the first pass of each began

    run(detector, body)


def test_an_image_has_a_trigger_of_its_own_in_shuttered_mode() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(3, images_per_trigger=1))
        for _ in range(3):
            detector.trigger()
            await detector.kernel.wait(100_000)
        block = await read(detector, 3)
        assert block.omega_deg == pytest.approx([0.1, 0.2, 0.3])
        await detector.disarm()
        await detector.arm(for_images(3))
        assert detector.frames_complete == 0

    run(detector, body)


def test_in_error_it_keeps_what_was_complete_and_wants_to_be_initialised() -> None:
    detector = make_detector()

    async def body() -> None:
        await detector.arm(for_images(100))
        detector.trigger()
        await detector.kernel.wait(255_000)
        detector.fail("link down")
        assert detector.frames_complete == 25
        with pytest.raises(DeviceError, match="only 25 of 100 images came: link down"):
            await read(detector, 100)
        await detector.disarm()
        with pytest.raises(DeviceError, match=r"in error \(link down\)"):
            await detector.arm(for_images(1))
        detector.initialise()
        await detector.arm(for_images(1))

    run(detector, body)


def test_one_that_starts_afresh_is_idle_and_what_was_not_read_out_is_lost() -> None:
    detector = make_detector()

    async def body() -> None:
        assert detector.ends_us is None
        detector.kernel.after(50_000, detector.reset)
        with pytest.raises(DeviceError, match="could not arm: it started afresh"):
            await detector.arm(for_images(10))
        await detector.arm(for_images(10))
        detector.trigger()
        assert detector.ends_us is not None
        detector.kernel.after(55_000, detector.reset)
        with pytest.raises(DeviceError, match="started afresh: what was not read out is lost"):
            await read(detector, 10)
        assert (detector.state, detector.frames_complete, detector.acquisition) == (State.IDLE, 0, None)
        with pytest.raises(DeviceError, match="of 0 cannot be read"):
            await read(detector, 1)
        await detector.arm(for_images(10))
        detector.trigger()
        assert len((await read(detector, 10)).omega_deg) == 10

    run(detector, body)


def test_a_dark_image_that_a_fresh_start_cut_short_is_none() -> None:
    detector = make_detector()

    async def body() -> None:
        detector.kernel.after(500_000, detector.reset)
        with pytest.raises(DeviceError, match="could not take a dark image: it started afresh"):
            await detector.take_dark(1.0)

    run(detector, body)
