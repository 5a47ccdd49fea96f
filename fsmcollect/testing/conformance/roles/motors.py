"""What moves along one axis: the detector stage, the monochromator. And where the kit sends a motor."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from fsmcollect.beamline import DetectorStage, Monochromator, Range
from fsmcollect.testing.conformance.bench import Bench
from fsmcollect.testing.conformance.subjects import Act, Read, Refusal, Safe, Subject, Verdict, plain_bool

M_co = TypeVar("M_co", bound="DetectorStage | Monochromator", covariant=True)


@attrs.frozen
class Way:
    """Two places of an axis: where it was found, and one a little further. The kit sends it nowhere else."""

    home: float
    away: float

    @property
    def length(self) -> float:
        return abs(self.away - self.home)

    def farther(self, present: float) -> tuple[float, float]:
        """Of the two the one that is farther, and the other: a move is never too short to be seen."""
        if abs(present - self.home) < abs(present - self.away):
            return self.away, self.home
        return self.home, self.away


def way_from(home: float, limits: Range, travel: float) -> Way:
    """A way of `travel` (or a tenth of the range, where that is less) that stays within the limits."""
    travel = min(abs(travel), (limits.high - limits.low) / 10)
    return Way(home, home + travel if home + travel <= limits.high else home - travel)


def wrong_limits(limits: object, name: str = "limits") -> str:
    """What is wrong with limits."""
    if not isinstance(limits, Range):
        return f"{name} is {limits!r}: must be a Range"
    if not (is_number(limits.low) and is_number(limits.high)):
        return f"{name} is {limits!r}: both ends must be finite numbers"
    return "" if limits.low < limits.high else f"{name} is {limits!r}: the lower end must be below the upper one"


def is_number(value: object) -> bool:
    """A finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def within(limits: Range, unit: str) -> Verdict:
    """A verdict: a finite number within limits, give or take a hundredth of their width."""

    def verdict(value: object) -> str:
        if not is_number(value) or not isinstance(value, int | float):
            return f"it answered {value!r}: must be a finite number, in {unit}"
        slack = (limits.high - limits.low) / 100
        if limits.low - slack <= value <= limits.high + slack:
            return ""
        return f"it answered {value:g} {unit}: the limits are {limits.low:g} to {limits.high:g} {unit}"

    return verdict


@attrs.frozen(eq=False)
class MotorSubject(Subject[M_co]):
    """One axis: moves, stops, says where it is and whether it stands."""

    unit = ""
    default_travel = 0.0

    @property
    def limits(self) -> Range:
        """Of the axis."""
        raise NotImplementedError

    @property
    def position_read(self) -> tuple[str, Callable[[], Awaitable[float]]]:
        """The method that reads the position, and its name."""
        raise NotImplementedError

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """See `Subject`."""
        name = f"limits_{self.unit.lower()}"
        wrong = wrong_limits(self.limits, name)
        return ((name, wrong),) if wrong else ()

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        name, read = self.position_read
        limits = self.limits if not self.wrong_properties() else Range(-math.inf, math.inf)
        return (
            Read(command=name, call=read, verdict=within(limits, self.unit)),
            Read(command="is_still", call=self.device.is_still, verdict=plain_bool),
        )

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""
        _, read = self.position_read
        present = await read()
        home = self.homes.setdefault("", present)
        way = way_from(home, self.limits, self.settings.travel_of("", self.default_travel))
        target, other = way.farther(present)
        return (attrs.evolve(self._move(target, way), rival=self._move(other, way)),)

    def safe(self) -> Safe:
        """See `Subject`."""
        return Safe(
            command="stop",
            call=self.device.stop,
            read="is_still",
            is_safe=self.device.is_still,
            otherwise="is_still says that it moves",
        )

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        limits = self.limits
        beyond = limits.high + (limits.high - limits.low) / 10
        below = limits.low - (limits.high - limits.low) / 10
        return tuple(
            Refusal(name=name, command="move", words=f"move({value:g})", call=partial(self.device.move, value))
            for name, value in (
                ("move-beyond-limits", beyond),
                ("move-below-limits", below),
                ("move-to-nan", math.nan),
            )
        )

    async def put_back(self, bench: Bench) -> None:
        """Where it was found."""
        home = self.homes.get("")
        if home is not None and "move" not in bench.findings.broken:
            await bench.do("move", f"move({home:g})", lambda: self.device.move(home))

    def _move(self, target: float, way: Way) -> Act:
        name, read = self.position_read
        tolerance = self.settings.tolerance_of("", way.length)

        async def arrived() -> str:
            present = await read()
            if abs(present - target) <= tolerance:
                return ""
            return f"{name} says {present:.6g}, which is more than {tolerance:g} {self.unit} from {target:.6g}"

        return Act(
            command="move",
            words=f"move({target:.6g})",
            call=lambda: self.device.move(target),
            read=name,
            arrived=arrived,
            arrives_late=True,
            moves=True,
            stays_undone=True,
            uses=frozenset({"is_still"}),
        )


@attrs.frozen(eq=False)
class DetectorStageSubject(MotorSubject[DetectorStage]):
    """Millimetres."""

    unit = "mm"
    default_travel = 20.0

    @property
    def limits(self) -> Range:
        """See `MotorSubject`."""
        return self.device.limits_mm

    @property
    def position_read(self) -> tuple[str, Callable[[], Awaitable[float]]]:
        """See `MotorSubject`."""
        return "read_distance_mm", self.device.read_distance_mm


@attrs.frozen(eq=False)
class MonochromatorSubject(MotorSubject[Monochromator]):
    """Electronvolts."""

    unit = "eV"
    default_travel = 100.0

    @property
    def limits(self) -> Range:
        """See `MotorSubject`."""
        return self.device.limits_ev

    @property
    def position_read(self) -> tuple[str, Callable[[], Awaitable[float]]]:
        """See `MotorSubject`."""
        return "read_energy_ev", self.device.read_energy_ev
