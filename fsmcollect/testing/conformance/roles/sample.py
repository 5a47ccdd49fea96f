"""Who handles the sample: the robot, and the person on shift."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import attrs

from fsmcollect.beamline import Location, Person, SampleChanger
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp
from fsmcollect.testing.conformance.roles.motors import is_number
from fsmcollect.testing.conformance.settings import through
from fsmcollect.testing.conformance.subjects import Act, OwnCheck, Read, Refusal, Safe, Subject, plain_bool


@attrs.frozen(eq=False)
class SampleChangerSubject(Subject[SampleChanger]):
    """Loads one of two samples, unloads, stops."""

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """See `Subject`."""
        wrong: list[tuple[str, str]] = []
        needs, places = cast("object", self.device.needs_distance_mm), cast("object", self.device.places)
        if not is_number(needs) or cast("float", needs) < 0.0:
            wrong.append(("needs_distance_mm", f"needs_distance_mm is {needs!r}: must be a finite number from 0 up"))
        given = list(cast("Sequence[object]", places)) if isinstance(places, Sequence) else []
        if not given or not all(isinstance(p, Location) and p.puck > 0 and p.pin > 0 for p in given):
            wrong.append(("places", f"places is {places!r}: must be a sequence of Locations, counted from 1"))
        elif len(set(given)) < len(given):
            wrong.append(("places", "places names a place twice"))
        return wrong

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        device = self.device

        def verdict(value: object) -> str:
            if value is None or value in device.places:
                return ""
            return f"it answered {value!r}: must be one of its places, or None"

        def plain(value: object) -> str:
            return plain_bool(value)

        return (
            Read(command="read_loaded", call=device.read_loaded, verdict=verdict),
            Read(command="is_still", call=device.is_still, verdict=plain),
        )

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""
        samples = [*self.settings.samples, *self.device.places][:2]
        loaded = await self.device.read_loaded()
        first, *others = [sample for sample in samples if sample != loaded] or samples
        rival = self._load(others[0]) if others else None
        unload = Act(
            command="unload",
            words="unload()",
            call=self.device.unload,
            read="read_loaded",
            arrived=self._is_free,
            prepare=self._something_loaded,
            moves=True,
            steps=True,
            stays_undone=True,
            uses=frozenset({"load", "is_still"}),
        )
        return attrs.evolve(self._load(first), rival=rival), unload

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
        nowhere = Location(max(place.puck for place in self.device.places) + 1, 1)
        refused = [("load-of-a-place-that-is-not-there", nowhere)]
        refused += [("load-of-an-empty-pin", pin) for pin in self.settings.bare_pins]
        refusals = [
            Refusal(
                name=name,
                command="load",
                words=f"load({location})",
                call=partial(self.device.load, location),
            )
            for name, location in refused
        ]
        if self.settings.bring_detector_near is not None:
            place = ([*self.settings.samples, *self.device.places])[0]
            refusals.append(
                Refusal(
                    name="load-with-the-detector-near",
                    command="load",
                    words=f"load({place})",
                    call=lambda: self.device.load(place),
                    prepare=self._detector_near,
                    uses=frozenset({"unload"}),
                )
            )
        return refusals

    async def put_back(self, bench: Bench) -> None:
        """Nothing on the goniometer."""
        if not bench.findings.broken:
            await bench.do("unload", "unload()", self.device.unload)

    async def _something_loaded(self, bench: Bench) -> None:
        if await bench.ask("read_loaded", self.device.read_loaded) is None:
            place = ([*self.settings.samples, *self.device.places])[0]
            await bench.do("load", f"load({place})", lambda: self.device.load(place))

    async def _detector_near(self, bench: Bench) -> None:
        await bench.do("unload", "unload()", self.device.unload)
        if self.settings.bring_detector_near is not None:
            await bench.hook(self.settings.bring_detector_near, "the detector was brought near")

    async def _is_free(self) -> str:
        loaded = await self.device.read_loaded()
        return "" if loaded is None else f"read_loaded says {loaded}"

    def _load(self, location: Location) -> Act:
        async def arrived() -> str:
            loaded = await self.device.read_loaded()
            return "" if loaded == location else f"read_loaded says {loaded or 'nothing'}"

        return Act(
            command="load",
            words=f"load({location})",
            call=lambda: self.device.load(location),
            read="read_loaded",
            arrived=arrived,
            arrives_late=True,
            moves=True,
            steps=True,
            stays_undone=True,
            uses=frozenset({"is_still"}),
        )


@attrs.frozen(eq=False)
class PersonSubject(Subject[Person]):
    """Asked, and given up; answered where `answer` says how."""

    def waits(self) -> Sequence[Act]:
        """See `Subject`."""
        return (self._ask(),)

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        if self.settings.answer is None:
            return (OwnCheck(title="what it answers, if it does", uses=_ASK, check=self._if_it_answers),)
        return (
            OwnCheck(title="yes", uses=_ASK, check=self._yes),
            OwnCheck(title="no", uses=_ASK, check=self._no),
            OwnCheck(title="given up, then asked again", uses=_ASK, check=self._asked_again),
        )

    def _ask(self) -> Act:
        question = self.settings.question
        return Act(command="ask", words=f"ask({question.name})", call=lambda: self.device.ask(question))

    async def _if_it_answers(self, bench: Bench) -> None:
        ask = self._ask()
        bench.did(ask.words)
        call = bench.begin(ask.command, ask.words, ask.call)
        if await bench.ends(call, self.settings.limit_s):
            bench.succeeded(call)
            if wrong := plain_bool(call.value):
                bench.breach(rules.PLAIN_ANSWER, wrong, "ask")

    async def _yes(self, bench: Bench) -> None:
        await self._answered(bench, True)

    async def _no(self, bench: Bench) -> None:
        await self._answered(bench, False)

    async def _asked_again(self, bench: Bench) -> None:
        """What was said to a question that was given up is no answer to the next one."""
        ask = self._ask()
        bench.did(f"{ask.words}, given up")
        call = bench.begin(ask.command, ask.words, ask.call)
        await call.under_way.wait()
        if not await bench.is_gone(call):
            seen = f"it was still there {self.settings.prompt_s:g} s later"
            bench.breach(rules.CAN_BE_CANCELLED, seen, "ask")
            raise GiveUp
        await self._answered(bench, False)

    async def _answered(self, bench: Bench, says: bool) -> None:
        answer, ask = self.settings.answer, self._ask()
        if answer is None:
            return
        bench.did(ask.words)
        call = bench.begin(ask.command, ask.words, ask.call)
        await call.under_way.wait()
        if call.ended.is_set():
            bench.succeeded(call)
            bench.breach(rules.WAITS, f"it gave {call.value!r} before anybody had answered", "ask")
            raise GiveUp
        bench.did(f"the answer was {'yes' if says else 'no'}")
        await through(answer, self.device, says)
        bench.succeeded(await bench.finish(call, rules.NOTICES))
        if call.value is not says:
            bench.breach(rules.PLAIN_ANSWER, f"ask gave {call.value!r}", "ask")


_ASK = frozenset({"ask"})
