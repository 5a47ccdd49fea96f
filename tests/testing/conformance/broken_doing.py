"""Broken on purpose: what it does, what makes safe, what must be refused. Each is caught by the names above it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import trio

from fsmcollect.beamline import Acquisition, Location
from fsmcollect.errors import DeviceError
from tests.testing.conformance.breaking import Wrapped, broken

# -- what it does ------------------------------------------------------------------------------------------------------


@broken("safety_shutter", "open-works")
class OpenHangs(Wrapped):
    async def open(self) -> None:
        await trio.sleep_forever()


@broken("fast_shutter", "open-works")
class HangsAndShieldsItself(Wrapped):
    async def open(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


@broken("detector_stage", "move-returns-after-read-back")
class ReturnsWhenAccepted(Wrapped):
    async def move(self, distance_mm: float) -> None:
        self.device.axis.start(distance_mm)


@broken("fast_shutter", "close-returns-after-read-back")
class CloseReturnsWhenAccepted(Wrapped):
    async def close(self) -> None:
        self.device.gate_close()


@broken("goniometer", "move-returns-after-read-back")
class ReturnsWithTheFirstAxis(Wrapped):
    async def move(self, targets: Mapping[str, float]) -> None:
        for name, target in targets.items():
            self.device.axes[name].check(target) if name in self.device.axes else await self.device.move(targets)
        async with trio.open_nursery() as nursery:
            for name, target in targets.items():
                nursery.start_soon(self._one, name, target, nursery.cancel_scope)

    async def _one(self, name: str, target: float, scope: trio.CancelScope) -> None:
        try:
            await self.device.move({name: target})
        except DeviceError:
            return
        scope.cancel()


@broken("monochromator", "move-raises-only-device-errors")
class TimesOut(Wrapped):
    async def move(self, energy_ev: float) -> None:
        with trio.fail_after(0.1):
            await self.device.move(energy_ev)


@broken("backlight", "move-in-raises-only-device-errors")
class RaisesAGroup(Wrapped):
    async def move_in(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.device.move_in)
            raise DeviceError("backlight", "is stiff")


@broken("ring", "read-current-ma-blocks-nobody", block_s=0.2)
class Sleeps(Wrapped):
    async def read_current_ma(self) -> float:
        time.sleep(0.25)  # noqa: ASYNC251
        return await self.device.read_current_ma()


@broken("fast_shutter", "open-blocks-nobody", limit_s=0.2)
class BlocksForEver(Wrapped):
    async def open(self) -> None:
        threading.Event().wait()


# -- what makes safe ---------------------------------------------------------------------------------------------------


@broken("fast_shutter", "close-is-idempotent")
class CloseOnlyOnce(Wrapped):
    async def close(self) -> None:
        if await self.device.is_closed():
            raise DeviceError("fast_shutter", "is closed already")
        await self.device.close()


@broken("detector", "disarm-is-idempotent")
class DisarmOnlyOnce(Wrapped):
    async def disarm(self) -> None:
        if await self.device.is_idle():
            raise RuntimeError("409: not armed")
        await self.device.disarm()


@broken("detector_cover", "close-leaves-at-once")
class CloseAfterACheckpoint(Wrapped):
    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        await self.device.close()


@broken("detector_stage", "stop-while-move", "stop-leaves-at-once")
class StopWaitsForTheMove(Wrapped):
    def __init__(self, device: Any) -> None:
        super().__init__(device)
        self.lock = trio.Lock()

    async def move(self, distance_mm: float) -> None:
        async with self.lock:
            await self.device.move(distance_mm)

    async def stop(self) -> None:
        async with self.lock:
            await self.device.stop()


@broken("detector_stage", "stop-while-move", "stop-leaves-at-once")
class StopWaitsUntilItStands(Wrapped):
    async def stop(self) -> None:
        await self.device.axis.stand()


@broken("sample_changer", "load-tells-when-overtaken", "second-load")
class LoadNeverSaysThatItWasStopped(Wrapped):
    async def load(self, location: Location) -> None:
        try:
            await self.device.load(location)
        except DeviceError as error:
            if "stopped" not in str(error) and "at work" not in str(error):
                raise


@broken("safety_shutter", "close-may-be-joined")
class OneCallerAtATime(Wrapped):
    closing = False

    async def close(self) -> None:
        if self.closing:
            raise DeviceError("safety_shutter", "is closing already")
        self.closing = True
        try:
            await self.device.close()
        finally:
            self.closing = False


@broken("monochromator", "move-tells-when-overtaken", "second-move")
class SaysNothingWhenStopped(Wrapped):
    async def move(self, energy_ev: float) -> None:
        try:
            await self.device.move(energy_ev)
        except DeviceError as error:
            if "on its way" not in str(error):
                raise


# -- what must be refused ----------------------------------------------------------------------------------------------


@broken("detector_stage", "move-raises-only-device-errors")
class ValueErrorBeyondLimits(Wrapped):
    async def move(self, distance_mm: float) -> None:
        if distance_mm not in self.device.limits_mm:
            raise ValueError(distance_mm)
        await self.device.move(distance_mm)


@broken("monochromator", "refuses-move-beyond-limits", "refuses-move-below-limits", "refuses-move-to-nan")
class MovesAsFarAsItCan(Wrapped):
    async def move(self, energy_ev: float) -> None:
        limits = self.device.limits_ev
        await self.device.move(min(max(limits.low, energy_ev), limits.high))


@broken("aperture", "errors-name-the-role")
class NamesItsMotor(Wrapped):
    async def select(self, size_um: float) -> None:
        try:
            await self.device.select(size_um)
        except DeviceError as error:
            raise DeviceError("motor 7", str(error)) from error


@broken("sample_changer", "refuses-load-of-an-empty-pin")
class LoadsEmptyPins(Wrapped):
    async def load(self, location: Location) -> None:
        try:
            await self.device.load(location)
        except DeviceError as error:
            if "holds no sample" not in str(error):
                raise


@broken("goniometer", "refuses-begin-sweep-without-a-prepared-one")
class BeginsAnyhow(Wrapped):
    async def begin_sweep(self) -> None:
        try:
            await self.device.begin_sweep()
        except DeviceError as error:
            if "no sweep is prepared" not in str(error):
                raise


@broken("detector", "refuses-arm-while-armed")
class ArmsAnyTime(Wrapped):
    async def arm(self, acquisition: Acquisition) -> None:
        if not await self.device.is_idle():
            return
        await self.device.arm(acquisition)
