"""What only measures: cold stream, camera, fluorescence detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import cast

import attrs

from fsmcollect.beamline import Camera, CryoStream, FluorescenceDetector, Offset
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench
from fsmcollect.testing.conformance.roles.motors import is_number
from fsmcollect.testing.conformance.subjects import OwnCheck, Read, Refusal, Subject

#: Assumed: warmer than any gas over a sample; a temperature in degrees Celsius is below 0.
HOTTEST_K = 500.0
#: How much shorter than asked for an exposure may be seen to be: clocks differ. Assumed.
SHORTER_FRAC = 0.1


@attrs.frozen(eq=False)
class CryoStreamSubject(Subject[CryoStream]):
    """A temperature."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (Read(command="read_temperature_k", call=self.device.read_temperature_k, verdict=_temperature),)


@attrs.frozen(eq=False)
class CameraSubject(Subject[Camera]):
    """Where the crystal is, and a picture: whatever is there."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (
            Read(command="locate", call=self.device.locate, verdict=_offset),
            Read(command="snapshot", call=self.device.snapshot, verdict=_picture),
        )


@attrs.frozen(eq=False)
class FluorescenceSubject(Subject[FluorescenceDetector]):
    """A spectrum, counted for as long as it was asked for."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        exposure_s = self.settings.exposure_s
        return (Read(command="measure", call=lambda: self.device.measure(exposure_s), verdict=_spectrum),)

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        return tuple(
            Refusal(
                name=name,
                command="measure",
                words=f"measure({value:g})",
                call=partial(self.device.measure, value),
            )
            for name, value in (("an-exposure-below-0", -1.0), ("an-exposure-of-nan", math.nan))
        )

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        return (OwnCheck(title="it counts for its exposure", uses=frozenset({"measure"}), check=self._takes_its_time),)

    async def _takes_its_time(self, bench: Bench) -> None:
        exposure_s = 2.0 * self.settings.exposure_s
        measure = self.device.measure
        await bench.do("measure", f"measure({exposure_s:g})", lambda: measure(exposure_s))
        call = await bench.do("measure", f"measure({exposure_s:g})", lambda: measure(exposure_s))
        if call.took_s < exposure_s * (1.0 - SHORTER_FRAC):
            bench.breach(rules.TAKES_ITS_TIME, f"the second was there after {call.took_s:.3g} s", "measure")


def _temperature(value: object) -> str:
    if not is_number(value) or not 0.0 < cast("float", value) < HOTTEST_K:
        return f"it answered {value!r}: must be between 0 and {HOTTEST_K:g} K"
    return ""


def _offset(value: object) -> str:
    if value is None or (isinstance(value, Offset) and is_number(value.along_um) and is_number(value.across_um)):
        return ""
    return f"it answered {value!r}: must be an Offset of finite micrometres, or None"


def _picture(value: object) -> str:
    kind, dimensions = str(getattr(value, "dtype", "")), getattr(value, "ndim", 0)
    if kind == "uint8" and dimensions == 2:
        return ""
    found = f"an array of {kind} with {dimensions} dimensions" if kind else repr(value)
    return f"it answered {found}: must be an array of uint8 with 2 dimensions, rows and columns"


def _spectrum(value: object) -> str:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return f"it answered a {type(value).__name__}: must be a sequence of counts per channel"
    counts = cast("Sequence[object]", value)
    if not counts:
        return "it answered no channel at all"
    wrong = [count for count in counts if isinstance(count, bool) or not isinstance(count, int) or count < 0]
    return f"it answered {wrong[0]!r} in a channel: must be a whole number from 0 up" if wrong else ""
