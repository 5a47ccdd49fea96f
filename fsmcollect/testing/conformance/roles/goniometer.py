"""The goniometer: its axes one by one, and sweeps where the devices at its gate are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import attrs
import trio

from fsmcollect.beamline import Detector, FastShutter, Goniometer, Range, Sweep
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp
from fsmcollect.testing.conformance.roles.motors import is_number, way_from, wrong_limits
from fsmcollect.testing.conformance.settings import through
from fsmcollect.testing.conformance.subjects import Act, OwnCheck, Read, Refusal, Safe, Subject, plain_bool

#: How far an axis is moved by default, by its unit: degrees, millimetres. Assumed: harmless, and long enough.
DEFAULT_TRAVEL = {"deg": 10.0, "mm": 1.0}
#: A sweep of the kit: so far, in so long; slow, so that any goniometer can. Assumed.
SWEEP_DEG, SWEEP_S = 2.0, 2.0
#: Before omega_start the shutter is told to open: longer than any fast shutter takes. Assumed.
SHUTTER_LEAD_S = 0.2
_READ = frozenset({"read_positions"})
_SWEEP_COMMANDS = frozenset({"prepare_sweep", "begin_sweep", "finish_sweep", "stop", "is_still"})


@attrs.frozen(eq=False)
class GoniometerSubject(Subject[Goniometer]):
    """Each axis moves alone; omega sweeps."""

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """See `Subject`."""
        wrong: list[tuple[str, str]] = []
        limits = cast("object", self.device.limits)
        if not isinstance(limits, Mapping) or "omega_deg" not in limits:
            wrong.append(("limits", f"limits is {limits!r}: must be a mapping of axes to Ranges, omega_deg among them"))
        else:
            given = cast("Mapping[str, object]", limits)
            said = (wrong_limits(axis, f"limits[{name!r}]") for name, axis in given.items())
            wrong += [("limits", sentence) for sentence in said if sentence]
        for name, value in (
            ("max_omega_speed_deg_s", cast("object", self.device.max_omega_speed_deg_s)),
            ("time_to_speed_s", cast("object", self.device.time_to_speed_s)),
        ):
            if not is_number(value) or cast("float", value) <= 0.0:
                wrong.append((name, f"{name} is {value!r}: must be a finite number greater than 0"))
        return wrong

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (
            Read(command="read_positions", call=self.device.read_positions, verdict=self._positions),
            Read(command="is_still", call=self.device.is_still, verdict=plain_bool),
        )

    async def acts(self) -> Sequence[Act]:
        """See `Subject`. Each axis alone, all together, and the way to a sweep."""
        present = await self.device.read_positions()
        targets: dict[str, float] = {}
        others: dict[str, float] = {}
        for axis, limits in self.device.limits.items():
            if axis in present:  # what is missing there is told by `_axes_agree`
                travel = self._travel(axis)
                way = way_from(self.homes.setdefault(axis, present[axis]), limits, travel)
                targets[axis], others[axis] = way.farther(present[axis])
        acts = [self._moves({axis: targets[axis]}, {axis: others[axis]}) for axis in targets]
        if len(targets) > 1:
            acts.append(self._moves(targets, others))
        if self._has_gate:
            sweep = self._sweep()
            move = self._move({"omega_deg": sweep.omega_start_deg - sweep.run_up_deg})
            acts.append(
                attrs.evolve(
                    move,
                    command="prepare_sweep",
                    words="prepare_sweep(...)",
                    call=partial(self.device.prepare_sweep, sweep),
                    prepare=self._away_from_the_start,
                    uses=frozenset({"move", "is_still"}),
                )
            )
        return acts

    def safe(self) -> Safe:
        """See `Subject`."""
        return Safe(
            command="stop",
            call=self.device.stop,
            read="is_still",
            is_safe=self.device.is_still,
            otherwise="is_still says that it moves",
        )

    def waits(self) -> Sequence[Act]:
        """See `Subject`."""
        if not self._has_gate:
            return ()
        uses = frozenset({"prepare_sweep", "stop", "is_still"})
        device = self.device
        return (
            Act(
                command="begin_sweep",
                words="begin_sweep()",
                call=device.begin_sweep,
                prepare=self._prepared,
                uses=uses,
            ),
            Act(
                command="finish_sweep",
                words="finish_sweep()",
                call=device.finish_sweep,
                prepare=self._begun,
                uses=uses | {"begin_sweep"},
            ),
        )

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        device = self.device
        refused: list[tuple[str, Mapping[str, float]]] = [
            ("move-of-an-axis-that-is-not-there", {"no_such_axis_deg": 0.0}),
            ("move-to-nan", {"omega_deg": math.nan}),
        ]
        for axis, limits in device.limits.items():
            room = (limits.high - limits.low) / 10
            refused += [
                ("move-beyond-limits", {axis: limits.high + room}),
                ("move-below-limits", {axis: limits.low - room}),
            ]
        refusals = [
            Refusal(name=name, command="move", words=f"move({dict(to)})", call=partial(device.move, to))
            for name, to in refused
        ]
        refusals.append(
            Refusal(
                name="begin-sweep-without-a-prepared-one",
                command="begin_sweep",
                words="begin_sweep()",
                call=device.begin_sweep,
                prepare=self._stopped,
            )
        )
        sweep = self._sweep()
        too_fast_s = SWEEP_DEG / (2.0 * device.max_omega_speed_deg_s)
        for name, impossible in (
            ("prepare-of-too-fast-a-sweep", attrs.evolve(sweep, duration_s=too_fast_s, run_up_deg=180.0)),
            (
                "prepare-of-a-sweep-beyond-limits",
                attrs.evolve(sweep, omega_start_deg=device.limits["omega_deg"].high + 1.0),
            ),
        ):
            refusals.append(
                Refusal(
                    name=name,
                    command="prepare_sweep",
                    words=f"prepare_sweep({impossible})",
                    call=partial(device.prepare_sweep, impossible),
                )
            )
        return refusals

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        checks = [OwnCheck(title="limits and positions name the same axes", uses=_READ, check=self._axes_agree)]
        if self._has_gate:
            checks += [
                OwnCheck(title="a sweep", uses=_SWEEP_COMMANDS, check=self._sweeps),
                OwnCheck(title="a sweep that is stopped", uses=_SWEEP_COMMANDS, check=self._stopped_in_time),
                OwnCheck(title="a sweep whose shutter is closed", uses=_SWEEP_COMMANDS, check=self._closed_in_time),
            ]
        return checks

    async def put_back(self, bench: Bench) -> None:
        """Where each axis was found, one after the other."""
        for axis, home in self.homes.items():
            if "move" not in bench.findings.broken:
                await self._goes(bench, {axis: home})

    async def _goes(self, bench: Bench, targets: Mapping[str, float]) -> None:
        await bench.do("move", _in_words(targets), lambda: self.device.move(targets))

    # -- moves --------------------------------------------------------------------------------------------------------

    def _positions(self, value: object) -> str:
        if not isinstance(value, Mapping):
            return f"it answered {value!r}: must be a mapping of axes to positions"
        for axis, position in cast("Mapping[str, object]", value).items():
            if not is_number(position):
                return f"it answered {position!r} for {axis}: must be a finite number"
        return ""

    async def _axes_agree(self, bench: Bench) -> None:
        bench.did("limits, and read_positions()")
        positions = cast("Mapping[str, float]", await bench.read(self.reads()[0]))
        limits: Mapping[str, Range] = self.device.limits
        for axis in sorted(positions.keys() ^ limits.keys()):
            has, lacks = ("read_positions", "limits") if axis in positions else ("limits", "read_positions")
            bench.breach(rules.LIMITS_NAME_EVERY_AXIS, f"{axis} is in {has} and not in {lacks}", "limits")
        for axis in sorted(positions.keys() & limits.keys()):
            low, high = limits[axis].low, limits[axis].high
            slack = (high - low) / 100
            if not low - slack <= positions[axis] <= high + slack:
                seen = f"{axis} stands at {positions[axis]:g}: its limits are {low:g} to {high:g}"
                bench.breach(rules.SANE, seen, "read_positions")

    def _travel(self, axis: str) -> float:
        return self.settings.travel_of(axis, DEFAULT_TRAVEL.get(axis.rpartition("_")[2], 1.0))

    def _moves(self, targets: Mapping[str, float], others: Mapping[str, float]) -> Act:
        return attrs.evolve(self._move(targets), rival=self._move(others))

    def _move(self, targets: Mapping[str, float]) -> Act:
        async def arrived() -> str:
            present = await self.device.read_positions()
            for axis, target in targets.items():
                tolerance = self.settings.tolerance_of(axis, self._travel(axis))
                if abs(present[axis] - target) > tolerance:
                    off = f"which is more than {tolerance:g} from {target:.6g}"
                    return f"read_positions says {axis} = {present[axis]:.6g}, {off}"
            return ""

        return Act(
            command="move",
            words=_in_words(targets),
            call=lambda: self.device.move(targets),
            read="read_positions",
            arrived=arrived,
            arrives_late=True,
            moves=True,
            stays_undone=True,
            uses=frozenset({"is_still"}),
        )

    # -- sweeps -------------------------------------------------------------------------------------------------------

    @property
    def _has_gate(self) -> bool:
        return self.settings.fast_shutter is not None and self.settings.detector is not None

    def _sweep(self) -> Sweep:
        limits = self.device.limits["omega_deg"]
        speed_deg_s = SWEEP_DEG / SWEEP_S
        # Twice what reaching that speed and opening the shutter need.
        run_up_deg = 2.0 * speed_deg_s * (self.device.time_to_speed_s + SHUTTER_LEAD_S)
        home = self.homes.get("omega_deg", (limits.low + limits.high) / 2)
        room = SWEEP_DEG + 2.0 * run_up_deg
        start = min(max(home, limits.low + room), limits.high - room - DEFAULT_TRAVEL["deg"])
        return Sweep(
            omega_start_deg=start,
            width_deg=SWEEP_DEG,
            duration_s=SWEEP_S,
            run_up_deg=run_up_deg,
            shutter_lead_s=SHUTTER_LEAD_S,
        )

    async def _prepared(self, bench: Bench) -> None:
        sweep = self._sweep()
        prepare = self.device.prepare_sweep
        await bench.do("prepare_sweep", "prepare_sweep(...)", lambda: prepare(sweep))

    async def _begun(self, bench: Bench) -> None:
        await self._prepared(bench)
        await bench.do("begin_sweep", "begin_sweep()", self.device.begin_sweep)

    async def _stopped(self, bench: Bench) -> None:
        await bench.make_safe(self.safe())

    async def _gate(self) -> tuple[FastShutter, Detector]:
        shutter = await through(self.settings.fast_shutter, self.device) if self.settings.fast_shutter else None
        detector = await through(self.settings.detector, self.device) if self.settings.detector else None
        return cast("FastShutter", shutter), cast("Detector", detector)

    async def _away_from_the_start(self, bench: Bench) -> None:
        sweep = self._sweep()
        await self._goes(bench, {"omega_deg": sweep.omega_start_deg - sweep.run_up_deg + DEFAULT_TRAVEL["deg"]})

    async def _sweeps(self, bench: Bench) -> None:
        """From the run-up to the shutter's closing, with the detector armed for what the gate triggers."""
        shutter, detector = await self._gate()
        await bench.do("arm", "arm(...) of the detector", lambda: detector.arm(self.settings.acquisition))
        await self._begun(bench)
        if await bench.ask("is_still", self.device.is_still) is not False:
            bench.breach(rules.BEGINS_AT_SPEED, "is_still says that nothing moves", "begin_sweep")
        if await bench.ask("is_closed", shutter.is_closed) is not True:
            bench.breach(rules.BEGINS_AT_SPEED, "the fast shutter was not closed any more", "begin_sweep")
        await bench.do("finish_sweep", "finish_sweep()", self.device.finish_sweep)
        omega_deg = (await self._omega(bench)) - self._sweep().omega_end_deg
        if omega_deg < -self.settings.tolerance_of("omega_deg", SWEEP_DEG):
            bench.breach(rules.FINISHES_CLOSED, f"omega is {-omega_deg:.3g} deg before the end", "finish_sweep")
        if await bench.ask("is_closed", shutter.is_closed) is not True:
            bench.breach(rules.FINISHES_CLOSED, "is_closed of the fast shutter says not closed", "finish_sweep")
        await bench.do("disarm", "disarm() of the detector", detector.disarm)

    async def _stopped_in_time(self, bench: Bench) -> None:
        """Stopped before the gate has opened the shutter: it never does."""
        shutter, _ = await self._gate()
        await self._begun(bench)
        if await bench.ask("is_closed", shutter.is_closed) is not True:
            return  # too late: told by `_sweeps`
        await bench.make_safe(self.safe())
        await self._stays_closed(bench, "stop")

    async def _closed_in_time(self, bench: Bench) -> None:
        """The same with the shutter's own close, which takes it off the gate."""
        shutter, _ = await self._gate()
        await self._begun(bench)
        if await bench.ask("is_closed", shutter.is_closed) is not True:
            return
        await bench.do("close", "close() of the fast shutter", shutter.close)
        await self._stays_closed(bench, "close")
        await bench.make_safe(self.safe())

    async def _stays_closed(self, bench: Bench, command: str) -> None:
        shutter, _ = await self._gate()
        sweep = self._sweep()
        # Looked at four times within the shutter's lead, until the sweep would have been over.
        for _ in range(math.ceil(4.0 * (sweep.duration_s + 1.0) / sweep.shutter_lead_s)):
            if await bench.ask("is_closed", shutter.is_closed) is not True:
                bench.breach(rules.GATE_OFF, "the fast shutter opened all the same", command)
                raise GiveUp
            await trio.sleep(sweep.shutter_lead_s / 4.0)

    async def _omega(self, bench: Bench) -> float:
        positions = await bench.ask("read_positions", self.device.read_positions)
        return cast("Mapping[str, float]", positions)["omega_deg"]


def _in_words(targets: Mapping[str, float]) -> str:
    return f"move({{{', '.join(f'{axis!r}: {target:.6g}' for axis, target in targets.items())}}})"
