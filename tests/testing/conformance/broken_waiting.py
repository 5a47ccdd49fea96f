"""Broken on purpose: cancelling, waiting, and what is of one role only. Each is caught by the names above it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import attrs
import trio

from fsmcollect.beamline import Acquisition, FillMode, FrameBlock, Question, Sweep
from fsmcollect.errors import DeviceError
from tests.testing.conformance.breaking import Wrapped, broken

# -- cancelling --------------------------------------------------------------------------------------------------------


@broken("fast_shutter", "open-lets-cancelled-through")
class SwallowsCancelled(Wrapped):
    async def open(self) -> None:
        with contextlib.suppress(trio.Cancelled):
            await self.device.open()


@broken("safety_shutter", "open-can-be-cancelled")
class ShieldsItself(Wrapped):
    async def open(self) -> None:
        with trio.CancelScope(shield=True):
            await self.device.open()


@broken("aperture", "select-cancelled-raises-nothing-else")
class RaisesInstead(Wrapped):
    async def select(self, size_um: float) -> None:
        try:
            await self.device.select(size_um)
        except trio.Cancelled:
            raise RuntimeError("interrupted") from None


@broken("detector_stage", "move-cancelled-can-be-repeated")
class StaysBusy(Wrapped):
    busy = False

    async def move(self, distance_mm: float) -> None:
        if self.busy:
            raise DeviceError("detector_stage", "is busy")
        self.busy = True
        try:
            await self.device.move(distance_mm)
        except DeviceError:
            self.busy = False
            raise
        self.busy = False


@broken("detector_cover", "open-cancelled-can-be-made-safe")
class CannotCloseAfterACancel(Wrapped):
    confused = False

    async def open(self) -> None:
        try:
            await self.device.open()
        except trio.Cancelled:
            self.confused = True
            raise

    async def close(self) -> None:
        if self.confused:
            raise DeviceError("detector_cover", "has lost its place")
        await self.device.close()


@broken("monochromator", "move-cancelled-leaves-no-task")
class LeavesATask(Wrapped):
    async def move(self, energy_ev: float) -> None:
        stop_polling = trio.CancelScope()

        async def poll() -> None:
            with stop_polling:
                await trio.sleep_forever()

        trio.lowlevel.spawn_system_task(poll)
        await self.device.move(energy_ev)
        stop_polling.cancel()


@broken("person", "ask-can-be-cancelled")
class MustBeAnswered(Wrapped):
    async def ask(self, question: Question) -> bool:
        says: list[bool] = []
        with trio.CancelScope(shield=True):
            says.append(await self.device.ask(question))
        return says[0]


# -- waiting -----------------------------------------------------------------------------------------------------------


@broken("ring", "wait-for-loss-waits")
class LossWithBeam(Wrapped):
    async def wait_for_loss(self) -> None:
        await trio.lowlevel.checkpoint()


@broken("ring", "wait-for-beam-returns-at-once")
class WaitsForTheNextBeam(Wrapped):
    async def wait_for_beam(self) -> None:
        has_beam = True
        while has_beam:
            await trio.sleep(0.1)
            has_beam = await self.device.read_fill_mode() is not FillMode.NO_BEAM
        await self.device.wait_for_beam()


@broken("ring", "wait-for-loss-notices")
class NeverHearsOfTheLoss(Wrapped):
    async def wait_for_loss(self) -> None:
        if self.device.has_beam():
            await trio.sleep_forever()


@broken("safety_shutter", "wait-while-open-notices")
class HearsOnlyItself(Wrapped):
    def __init__(self, device: Any) -> None:
        super().__init__(device)
        self.closed = trio.Event()

    async def open(self) -> None:
        self.closed = trio.Event()
        await self.device.open()

    async def close(self) -> None:
        self.closed.set()
        await self.device.close()

    async def wait_while_open(self) -> None:
        if not await self.device.is_closed():
            await self.closed.wait()


@broken("safety_shutter", "wait-while-open-waits")
class WaitsOnlyShortly(Wrapped):
    async def wait_while_open(self) -> None:
        with trio.move_on_after(0.1):
            await self.device.wait_while_open()


@broken("safety_shutter", "the-hutch-closes-it")
class DoesNotDrop(Wrapped):
    async def is_closed(self) -> bool:
        """What this adapter has told it: right until the interlock acts."""
        if self.device.interlock.searched:
            return await self.device.is_closed()
        return False

    async def close(self) -> None:
        await self.device.close()


# -- of one role -------------------------------------------------------------------------------------------------------


@broken("detector", "disarm-keeps-complete-frames")
class DisarmThrowsAway(Wrapped):
    async def disarm(self) -> None:
        await self.device.disarm()
        self.device._acquisition = None

    @property
    def frames_complete(self) -> int:
        return self.device.frames_complete


@broken("detector", "read-out-gives-what-was-asked")
class OneAngleTooFew(Wrapped):
    async def read_out(self, first: int, count: int, *, with_images: bool) -> FrameBlock:
        block: FrameBlock = await self.device.read_out(first, count, with_images=with_images)
        return attrs.evolve(block, omega_deg=block.omega_deg[1:])


@broken("detector", "read-out-ends-when-disarmed")
class WaitsForImagesForEver(Wrapped):
    async def read_out(self, first: int, count: int, *, with_images: bool) -> FrameBlock:
        try:
            return await self.device.read_out(first, count, with_images=with_images)
        except DeviceError as error:
            if "came" not in str(error):
                raise
        await trio.sleep_forever()
        raise AssertionError


@broken("detector", "frames-complete-counts")
class CountsAllEver(Wrapped):
    before = 0

    async def arm(self, acquisition: Acquisition) -> None:
        count = self.before + self.device.frames_complete
        await self.device.arm(acquisition)
        self.before = count

    @property
    def frames_complete(self) -> int:
        return self.before + self.device.frames_complete


@broken("detector", "frames-complete-never-waits")
class AsksForTheCount(Wrapped):
    @property
    def frames_complete(self) -> int:
        time.sleep(0.11)
        return self.device.frames_complete


@broken("goniometer", "stop-takes-the-gate-off")
class StopLeavesTheGate(Wrapped):
    async def stop(self) -> None:
        running = self.device.running_sweep
        if running is None or running.gate is None:
            await self.device.stop()
            return
        for axis in self.device.axes.values():
            if axis is not self.device.omega:
                axis.halt()
        self.device.kernel.at(running.open_us, self.device.fast_shutter.gate_open)
        await self.device.stop()


@broken("goniometer", "begin-sweep-returns-at-speed")
class BeginsTooLate(Wrapped):
    async def begin_sweep(self) -> None:
        await self.device.begin_sweep()
        await trio.sleep(1.0)


@broken("goniometer", "finish-sweep-returns-closed")
class FinishesTooEarly(Wrapped):
    async def finish_sweep(self) -> None:
        await trio.sleep(0.5)


@broken("goniometer", "refuses-prepare-of-too-fast-a-sweep")
class SlowsDown(Wrapped):
    async def prepare_sweep(self, sweep: Sweep) -> None:
        if abs(sweep.speed_deg_s) > self.device.max_omega_speed_deg_s:
            return
        await self.device.prepare_sweep(sweep)


@broken("fluorescence_detector", "measure-takes-its-time")
class GivesTheLastSpectrum(Wrapped):
    spectrum: list[int] | None = None

    async def measure(self, exposure_s: float) -> list[int]:
        if self.spectrum is None or not exposure_s > 0.0:
            self.spectrum = await self.device.measure(exposure_s)
        return self.spectrum


@broken("person", "ask-gives-the-answer")
class SaysYesInWords(Wrapped):
    async def ask(self, question: Question) -> str:
        return "yes" if await self.device.ask(question) else "no"
