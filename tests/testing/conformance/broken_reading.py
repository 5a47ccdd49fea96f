"""Broken on purpose: what is there, what it says of itself, what is read. Each is caught by the names above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from fsmcollect.beamline import DetectorInfo, Location, Range
from tests.testing.conformance.breaking import Wrapped, broken

# -- what is there -----------------------------------------------------------------------------------------------------


@broken("fast_shutter", "has-all-commands")
class WithoutClose(Wrapped):
    def __getattr__(self, name: str) -> Any:
        if name == "close":
            raise AttributeError(name)
        return getattr(self.device, name)


@broken("fast_shutter", "commands-are-async")
class OpensSynchronously(Wrapped):
    def open(self) -> None:
        self.device.gate_open()


@broken("detector_stage", "commands-take-their-arguments")
class MovesWithAUnit(Wrapped):
    async def move(self, distance_mm: float, unit: str) -> None:
        await self.device.move(distance_mm)


@broken("detector_stage", "has-all-properties")
class LimitsAreAMethod(Wrapped):
    def limits_mm(self) -> Range:
        return self.device.limits_mm


# -- what it says of itself, and what is read --------------------------------------------------------------------------


@broken("goniometer", "limits-name-every-axis")
class LimitsLackAnAxis(Wrapped):
    @property
    def limits(self) -> Mapping[str, Range]:
        return {name: limits for name, limits in self.device.limits.items() if name != "kappa_deg"}


@broken("monochromator", "sane-limits-ev")
class LimitsUpsideDown(Wrapped):
    limits_ev = Range(20_000.0, 6_000.0)


@broken("detector", "sane-info")
class PixelsOfNoSize(Wrapped):
    @property
    def info(self) -> DetectorInfo:
        return attrs.evolve(self.device.info, pixel_size_m=0.0)


@broken("detector", "sane-info")
class InfoFails(Wrapped):
    @property
    def info(self) -> DetectorInfo:
        raise OSError("no route to host")


@broken("aperture", "sane-sizes-um")
class NoSizes(Wrapped):
    sizes_um = ()


@broken("sample_changer", "sane-places")
class PlacesTwice(Wrapped):
    places = (Location(1, 1), Location(1, 1))


@broken("fast_shutter", "sane-is-closed")
class AnswersAString(Wrapped):
    async def is_closed(self) -> str:
        return "closed" if await self.device.is_closed() else "open"


@broken("attenuator", "sane-read-transmission-frac")
class ReadsPercent(Wrapped):
    async def read_transmission_frac(self) -> float:
        return 100.0 * await self.device.read_transmission_frac()


@broken("cryo_stream", "sane-read-temperature-k")
class ReadsCelsius(Wrapped):
    async def read_temperature_k(self) -> float:
        return await self.device.read_temperature_k() - 273.15


@broken("camera", "sane-snapshot")
class ColourPicture(Wrapped):
    async def snapshot(self) -> object:
        picture = await self.device.snapshot()
        return picture[..., None].repeat(3, axis=2)


@broken("diodes", "sane-read-gains")
class GainsInAList(Wrapped):
    async def read_gains(self) -> list[int]:
        return list(await self.device.read_gains())


@broken("ring", "sane-read-fill-mode")
class FillModeAsAString(Wrapped):
    async def read_fill_mode(self) -> str:
        return (await self.device.read_fill_mode()).value


@broken("interlock", "is-searched-raises-only-device-errors")
class InterlockKeyError(Wrapped):
    async def is_searched(self) -> bool:
        raise KeyError("PSS:SEARCHED")


@broken("ring", "read-current-ma-answers")
class NeverAnswers(Wrapped):
    async def read_current_ma(self) -> float:
        await trio.sleep_forever()
        return 0.0


@broken("fast_shutter", "is-closed-is-no-memory")
class ClosedFromMemory(Wrapped):
    told_closed = True

    async def open(self) -> None:
        self.told_closed = False
        await self.device.open()

    async def close(self) -> None:
        self.told_closed = True
        await self.device.close()

    async def is_closed(self) -> bool:
        return self.told_closed


@broken("detector_stage", "read-distance-mm-is-no-memory")
class ReadsTheSetPoint(Wrapped):
    set_point: float | None = None

    async def move(self, distance_mm: float) -> None:
        self.set_point = distance_mm
        await self.device.move(distance_mm)

    async def read_distance_mm(self) -> float:
        return await self.device.read_distance_mm() if self.set_point is None else self.set_point


@broken("monochromator", "is-still-is-no-memory")
class AlwaysStill(Wrapped):
    async def is_still(self) -> bool:
        return True


@broken("interlock", "is-searched-is-no-memory")
class InterlockFromMemory(Wrapped):
    async def is_searched(self) -> bool:
        return True


@broken("fast_shutter", "is-closed-answers")
class AskingWaitsForMoving(Wrapped):
    def __init__(self, device: Any) -> None:
        super().__init__(device)
        self.lock = trio.Lock()

    async def open(self) -> None:
        async with self.lock:
            await self.device.open()

    async def is_closed(self) -> bool:
        async with self.lock:
            return await self.device.is_closed()
