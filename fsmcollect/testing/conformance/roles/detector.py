"""The detector: armed and disarmed; with `trigger`, frames."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

import attrs
import trio

from fsmcollect.beamline import Detector, DetectorInfo, FrameBlock
from fsmcollect.errors import DeviceError
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp
from fsmcollect.testing.conformance.calling import Call, Operation
from fsmcollect.testing.conformance.roles.motors import is_number
from fsmcollect.testing.conformance.settings import through
from fsmcollect.testing.conformance.subjects import Act, OwnCheck, Read, Refusal, Safe, Subject, plain_bool

#: A property that takes longer, in real time, waits for something. Assumed: a call through a network takes some 1 ms.
AT_ONCE_S = 0.1
#: Fields of `DetectorInfo` that are greater than 0; the rest may be 0.
_ABOVE_0 = (
    "pixels_fast",
    "pixels_slow",
    "pixel_size_m",
    "sensor_thickness_m",
    "saturation_value",
    "bit_depth",
    "min_frame_time_s",
)
_ARMS = frozenset({"arm", "disarm", "is_idle"})
_READS_OUT = _ARMS | {"read_out", "frames_complete"}


@attrs.frozen(eq=False)
class DetectorSubject(Subject[Detector]):
    """Arms, takes darks, reads out; disarming makes safe."""

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """See `Subject`."""
        wrong: list[tuple[str, str]] = []
        frames = cast("object", self.device.frames_complete)
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 0:
            wrong.append(("frames_complete", f"frames_complete is {frames!r}: must be a whole number from 0 up"))
        info = cast("object", self.device.info)
        if not isinstance(info, DetectorInfo):
            return [*wrong, ("info", f"info is {info!r}: must be a DetectorInfo")]
        given = cast("dict[str, object]", attrs.asdict(info))
        below = [name for name in _ABOVE_0 if not is_number(given[name]) or cast("float", given[name]) <= 0.0]
        wrong += [("info", f"{name} is {given[name]!r}: must be greater than 0") for name in below]
        if not is_number(info.dead_time_s) or info.dead_time_s < 0.0:
            wrong.append(("info", f"dead_time_s is {info.dead_time_s!r}: must be from 0 s up"))
        if not all(map(is_number, info.beam_centre_px)):
            wrong.append(("info", f"beam_centre_px is {info.beam_centre_px!r}: must be two finite numbers"))
        return wrong

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (Read(command="is_idle", call=self.device.is_idle, verdict=plain_bool),)

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""

        async def is_idle() -> str:
            return "" if await self.device.is_idle() else "is_idle says not idle"

        exposure_s = self.settings.exposure_s
        dark = Act(
            command="take_dark",
            words=f"take_dark({exposure_s:g})",
            call=lambda: self.device.take_dark(exposure_s),
            read="is_idle",
            arrived=is_idle,
            prepare=self._idle,
            arrives_late=True,
            uses=frozenset({"disarm"}),
        )
        return self._arming(), dark

    def safe(self) -> Safe:
        """See `Subject`."""
        return Safe(
            command="disarm",
            call=self.device.disarm,
            read="is_idle",
            is_safe=self.device.is_idle,
            otherwise="is_idle says not idle",
        )

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        device, acquisition, images = self.device, self.settings.acquisition, self.settings.acquisition.images
        too_fast = attrs.evolve(acquisition, frame_time_s=device.info.min_frame_time_s / 2)
        of_nan = attrs.evolve(acquisition, frame_time_s=math.nan)
        arm, take_dark, read_out = device.arm, device.take_dark, partial(device.read_out, with_images=False)
        refused: tuple[tuple[str, str, str, Operation, Callable[[Bench], Awaitable[None]]], ...] = (
            ("arm-while-armed", "arm", "arm(...)", partial(arm, acquisition), self._armed),
            ("arm-for-too-short-a-frame", "arm", f"arm({too_fast})", partial(arm, too_fast), self._idle),
            ("arm-for-a-frame-of-nan", "arm", f"arm({of_nan})", partial(arm, of_nan), self._idle),
            ("take-dark-while-armed", "take_dark", "take_dark(...)", partial(take_dark, 0.1), self._armed),
            ("take-dark-below-0", "take_dark", "take_dark(-1)", partial(take_dark, -1.0), self._idle),
            ("take-dark-of-nan", "take_dark", "take_dark(nan)", partial(take_dark, math.nan), self._idle),
            (
                "read-out-of-images-that-are-not-there",
                "read_out",
                f"read_out({images}, 1, with_images=False)",
                partial(read_out, images, 1),
                self._armed,
            ),
        )
        return tuple(
            Refusal(name=name, command=command, words=words, call=call, prepare=prepare, uses=_ARMS)
            for name, command, words, call, prepare in refused
        )

    def waits(self) -> Sequence[Act]:
        """See `Subject`. Without a trigger no image comes."""
        read_out = self.device.read_out
        return (
            Act(
                command="read_out",
                words="read_out(0, 1, with_images=False)",
                call=lambda: read_out(0, 1, with_images=False),
                prepare=self._armed,
                uses=_ARMS,
            ),
        )

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        checks = [
            OwnCheck(title="frames_complete, armed", uses=_ARMS, check=self._counts_at_once),
            OwnCheck(title="read_out() while it is disarmed", uses=_READS_OUT, check=self._ends_when_disarmed),
        ]
        if self.settings.trigger is not None:
            checks += [
                OwnCheck(title="all images", uses=_READS_OUT, check=self._all_images),
                OwnCheck(title="disarmed after one image", uses=_READS_OUT, check=self._one_image),
            ]
        return checks

    async def put_back(self, bench: Bench) -> None:
        """Disarmed."""
        await self._idle(bench)

    # -- how ----------------------------------------------------------------------------------------------------------

    async def _idle(self, bench: Bench) -> None:
        await bench.make_safe(self.safe())

    async def _armed(self, bench: Bench) -> None:
        await self._idle(bench)
        acquisition = self.settings.acquisition
        await bench.do("arm", "arm(...)", lambda: self.device.arm(acquisition))

    def _arming(self) -> Act:
        async def is_armed() -> str:
            return "is_idle says idle" if await self.device.is_idle() else ""

        acquisition = self.settings.acquisition
        return Act(
            command="arm",
            words="arm(...)",
            call=lambda: self.device.arm(acquisition),
            read="is_idle",
            arrived=is_armed,
            prepare=self._idle,
            uses=frozenset({"disarm"}),
        )

    async def _counts_at_once(self, bench: Bench) -> None:
        await self._armed(bench)
        took_s = min(self._time_to_count_s() for _ in range(3))  # once may be the machine's fault
        frames = self.device.frames_complete
        if took_s > AT_ONCE_S:
            bench.breach(rules.NEVER_WAITS, f"it took {took_s:.2g} s of real time", "frames_complete")
        if frames != 0:
            bench.breach(rules.FRAMES_COUNT, f"frames_complete is {frames!r}", "frames_complete")

    def _time_to_count_s(self) -> float:
        began_s = time.perf_counter()
        _ = self.device.frames_complete
        return time.perf_counter() - began_s

    async def _ends_when_disarmed(self, bench: Bench) -> None:
        await self._armed(bench)
        words = "read_out(0, 1, with_images=False)"
        bench.did(words)
        call = bench.begin("read_out", words, lambda: self.device.read_out(0, 1, with_images=False))
        await call.under_way.wait()
        await bench.make_safe(self.safe())
        await bench.finish(call, rules.READ_OUT_ENDS)
        if call.error is None:
            bench.breach(rules.READ_OUT_ENDS, "it returned images that were never taken", "read_out")
        elif not isinstance(call.error, DeviceError):
            bench.wrong_error(call)

    async def _all_images(self, bench: Bench) -> None:
        acquisition = self.settings.acquisition
        await self._armed(bench)
        triggers = acquisition.images // acquisition.images_per_trigger * acquisition.triggers_per_image
        for _ in range(triggers):
            await self._triggered(bench)
        await self._reads(bench, 0, acquisition.images)
        self._counts(bench, acquisition.images)
        await self._idle(bench)
        await self._still_reads(bench, 0, acquisition.images)
        await self._armed(bench)
        self._counts(bench, 0)
        await self._idle(bench)

    async def _one_image(self, bench: Bench) -> None:
        """Some images have come when it is disarmed: those stay, the others are told."""
        acquisition = self.settings.acquisition
        complete = acquisition.images_per_trigger
        if acquisition.triggers_per_image > 1 or complete == acquisition.images:
            return
        await self._armed(bench)
        await self._triggered(bench)
        await self._reads(bench, 0, complete)
        self._counts(bench, complete)
        await self._idle(bench)
        await self._still_reads(bench, 0, complete)
        call = await self._read_out(bench, 0, complete + 1, rules.READ_OUT_ENDS)
        if call.error is None:
            bench.breach(rules.READ_OUT_ENDS, "it returned images that were never taken", "read_out")
        elif not isinstance(call.error, DeviceError):
            bench.wrong_error(call)

    async def _triggered(self, bench: Bench) -> None:
        """One trigger, and its frames' time."""
        trigger, acquisition = self.settings.trigger, self.settings.acquisition
        if trigger is None:
            return
        bench.did("one trigger")
        await through(trigger, self.device)
        # A little more, so that the next trigger finds the detector ready. Assumed.
        await trio.sleep(acquisition.images_per_trigger * acquisition.frame_time_s * 1.5)

    async def _read_out(self, bench: Bench, first: int, count: int, rule: rules.Rule = rules.WORKS) -> Call:
        with_images = self.settings.with_images
        words = f"read_out({first}, {count}, with_images={with_images})"
        bench.did(words)
        read_out = self.device.read_out
        operation = bench.begin("read_out", words, lambda: read_out(first, count, with_images=with_images))
        return await bench.finish(operation, rule)

    async def _reads(self, bench: Bench, first: int, count: int) -> None:
        call = await self._read_out(bench, first, count)
        bench.succeeded(call)
        if wrong := _wrong_block(call.value, first, count, self.settings.with_images):
            bench.breach(rules.READS_WHAT_WAS_ASKED, wrong, "read_out")
            raise GiveUp

    async def _still_reads(self, bench: Bench, first: int, count: int) -> None:
        call = await self._read_out(bench, first, count, rules.KEEPS_FRAMES)
        if isinstance(call.error, DeviceError):
            bench.breach(rules.KEEPS_FRAMES, f"{call.words} raised {call.error}", "disarm")
            raise GiveUp
        bench.succeeded(call)
        if wrong := _wrong_block(call.value, first, count, self.settings.with_images):
            bench.breach(rules.KEEPS_FRAMES, wrong, "disarm")

    def _counts(self, bench: Bench, frames: int) -> None:
        counted = self.device.frames_complete
        if counted != frames:
            seen = f"frames_complete is {counted!r}: {frames} were complete"
            bench.breach(rules.FRAMES_COUNT, seen, "frames_complete")


def _wrong_block(value: object, first: int, count: int, with_images: bool) -> str:
    if not isinstance(value, FrameBlock):
        return f"it gave {value!r}: must be a FrameBlock"
    if value.first != first:
        return f"the block begins at image {value.first}: asked for was {first}"
    if len(value.omega_deg) != count or not all(map(math.isfinite, value.omega_deg)):
        return f"omega_deg is {value.omega_deg!r}: must be {count} finite angles"
    if len(value.chunks) != (count if with_images else 0):
        return f"it has {len(value.chunks)} chunks: must be {count if with_images else 0}"
    return ""
