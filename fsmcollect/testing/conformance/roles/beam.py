"""What is set to one of several values: attenuator, aperture, the gains of the diodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import cast

import attrs

from fsmcollect.beamline import Aperture, Attenuator, Diodes, Range
from fsmcollect.testing.conformance.bench import Bench
from fsmcollect.testing.conformance.roles.motors import is_number, within
from fsmcollect.testing.conformance.subjects import Act, Read, Refusal, Subject

#: What is tried of an attenuator; "0 is a value like any other".
TRANSMISSIONS_FRAC = (0.0, 0.5)
#: How far from it the nearest real set of absorbers may be, unless `tolerance` says so. Assumed.
TRANSMISSION_TOLERANCE_FRAC = 0.05
#: No amplifier has a gain of so many powers of ten in V/A.
NO_GAIN = 1000


@attrs.frozen(eq=False)
class AttenuatorSubject(Subject[Attenuator]):
    """Set to two values, the present one not among them where it can be helped."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        device = self.device
        verdict = within(Range(0.0, 1.0), "(a fraction)")
        return (Read(command="read_transmission_frac", call=device.read_transmission_frac, verdict=verdict),)

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""
        present = await self.device.read_transmission_frac()
        self.homes.setdefault("", present)
        low, high = (self._set(value) for value in TRANSMISSIONS_FRAC)
        farther = low if abs(present) >= abs(present - TRANSMISSIONS_FRAC[1]) else high
        return (attrs.evolve(farther, rival=high if farther is low else low),)

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        return tuple(
            Refusal(
                name=name,
                command="set_transmission",
                words=f"set_transmission({value:g})",
                call=partial(self.device.set_transmission, value),
            )
            for name, value in (
                ("transmission-above-1", 1.5),
                ("transmission-below-0", -0.5),
                ("transmission-of-nan", math.nan),
            )
        )

    async def put_back(self, bench: Bench) -> None:
        """What was set at first."""
        home = self.homes.get("")
        if home is not None and "set_transmission" not in bench.findings.broken:
            words = f"set_transmission({home:g})"
            await bench.do("set_transmission", words, lambda: self.device.set_transmission(home))

    def _set(self, value: float) -> Act:
        read = self.device.read_transmission_frac
        given = self.settings.tolerance
        tolerance = TRANSMISSION_TOLERANCE_FRAC if given is None else self.settings.tolerance_of("", 0.0)

        async def arrived() -> str:
            present = await read()
            wrong = f"read_transmission_frac says {present:g}, which is more than {tolerance:g} from {value:g}"
            return "" if abs(present - value) <= tolerance else wrong

        return Act(
            command="set_transmission",
            words=f"set_transmission({value:g})",
            call=lambda: self.device.set_transmission(value),
            read="read_transmission_frac",
            arrived=arrived,
        )


@attrs.frozen(eq=False)
class ApertureSubject(Subject[Aperture]):
    """Each size that it has."""

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """See `Subject`."""
        sizes = cast("object", self.device.sizes_um)
        if not isinstance(sizes, Sequence) or not sizes:
            return (("sizes_um", f"sizes_um is {sizes!r}: must be a sequence of at least one diameter in um"),)
        given = cast("Sequence[object]", sizes)
        if not all(is_number(size) and cast("float", size) > 0.0 for size in given):
            return (("sizes_um", f"sizes_um is {given!r}: each must be greater than 0 um"),)
        return () if len(set(given)) == len(given) else (("sizes_um", f"sizes_um is {given!r}: one is there twice"),)

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""

        def verdict(value: object) -> str:
            sizes = self.device.sizes_um
            return "" if value in sizes else f"it answered {value!r}: must be one of {', '.join(map(str, sizes))}"

        # Between two apertures there is none.
        read = self.device.read_size_um
        return (Read(command="read_size_um", call=read, verdict=verdict, may_refuse=True),)

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""
        present = await self.device.read_size_um()
        self.homes.setdefault("", present)
        others = [size for size in self.device.sizes_um if size != present]
        acts = [self._select(size) for size in others or [present]]
        return tuple(attrs.evolve(act, rival=acts[index - 1]) for index, act in enumerate(acts))[:2]

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        size = max(self.device.sizes_um) + 1.0
        call = Refusal(
            name="an-aperture-that-is-not-there",
            command="select",
            words=f"select({size:g})",
            call=lambda: self.device.select(size),
        )
        return (call,)

    async def put_back(self, bench: Bench) -> None:
        """What was in the beam at first."""
        home = self.homes.get("")
        if home is not None and "select" not in bench.findings.broken:
            await bench.do("select", f"select({home:g})", lambda: self.device.select(home))

    def _select(self, size: float) -> Act:
        async def arrived() -> str:
            present = await self.device.read_size_um()
            return "" if present == size else f"read_size_um says {present:g}"

        return Act(
            command="select",
            words=f"select({size:g})",
            call=lambda: self.device.select(size),
            read="read_size_um",
            arrived=arrived,
        )


@attrs.frozen(eq=False)
class DiodesSubject(Subject[Diodes]):
    """Gains are set and read; counts are read; gains are adjusted where there is beam."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        device = self.device
        return (
            Read(command="read_gains", call=device.read_gains, verdict=_two_gains),
            Read(command="read_counts", call=device.read_counts, verdict=_two_counts),
        )

    async def acts(self) -> Sequence[Act]:
        """See `Subject`. The gains that each has are tried on the other: both are of its kind."""
        i0, i1 = await self.device.read_gains()
        return (
            attrs.evolve(self._set(i1, i0), rival=self._set(i0, i1)),
            # Whether there is beam is not the kit's to say.
            Act(
                command="adjust_gains",
                words="adjust_gains()",
                call=self.device.adjust_gains,
                read="read_gains",
                may_refuse=True,
            ),
        )

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        words = f"set_gains({NO_GAIN}, {NO_GAIN})"
        call = self.device.set_gains
        return (
            Refusal(
                name="a-gain-that-is-not-there", command="set_gains", words=words, call=lambda: call(NO_GAIN, NO_GAIN)
            ),
        )

    def _set(self, i0: int, i1: int) -> Act:
        async def arrived() -> str:
            present = await self.device.read_gains()
            return "" if tuple(present) == (i0, i1) else f"read_gains says {present!r}"

        return Act(
            command="set_gains",
            words=f"set_gains({i0}, {i1})",
            call=lambda: self.device.set_gains(i0, i1),
            read="read_gains",
            arrived=arrived,
        )


def _two_gains(value: object) -> str:
    if isinstance(value, tuple):
        pair = cast("tuple[object, ...]", value)
        if len(pair) == 2 and all(isinstance(gain, int) and not isinstance(gain, bool) for gain in pair):
            return ""
    return f"it answered {value!r}: must be a tuple of two whole numbers, i0 and i1"


def _two_counts(value: object) -> str:
    if isinstance(value, tuple):
        pair = cast("tuple[object, ...]", value)
        if len(pair) == 2 and all(map(is_number, pair)):
            return ""
    return f"it answered {value!r}: must be a tuple of two finite numbers, i0 and i1"
