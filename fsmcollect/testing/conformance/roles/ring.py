"""The storage ring: read-only, so what waits for it is tried to the end only with `lose_beam` and `restore_beam`."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from fsmcollect.beamline import FillMode, Ring
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench
from fsmcollect.testing.conformance.checks import waits_until
from fsmcollect.testing.conformance.roles.motors import is_number
from fsmcollect.testing.conformance.subjects import Act, OwnCheck, Read, Subject

#: A current meter that reads a little below 0 without beam is no wrong one. Assumed.
OFFSET_MA = 1.0


@attrs.frozen(eq=False)
class RingSubject(Subject[Ring]):
    """Current, fill mode, and waiting for the beam's loss and return."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        device = self.device
        return (
            Read(command="read_current_ma", call=device.read_current_ma, verdict=_current),
            Read(command="read_fill_mode", call=device.read_fill_mode, verdict=_fill_mode),
        )

    def waits(self) -> Sequence[Act]:
        """See `Subject`. One of them waits, whichever it is."""
        device = self.device
        return (
            Act(command="wait_for_loss", words="wait_for_loss()", call=device.wait_for_loss),
            Act(command="wait_for_beam", words="wait_for_beam()", call=device.wait_for_beam),
        )

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        uses = frozenset({"wait_for_loss", "wait_for_beam", "read_fill_mode"})
        checks = [OwnCheck(title="what there is nothing to wait for", uses=uses, check=self._as_it_is)]
        if self.settings.lose_beam is not None and self.settings.restore_beam is not None:
            checks.append(OwnCheck(title="the beam is lost and comes back", uses=uses, check=self._lost_and_back))
        return checks

    async def _as_it_is(self, bench: Bench) -> None:
        """With beam there is nothing to wait for in wait_for_beam, and wait_for_loss waits; without, the reverse."""
        has_beam = await bench.read(self.reads()[1]) is not FillMode.NO_BEAM
        bench.did("read_fill_mode(), which says " + ("beam" if has_beam else "no beam"))
        loss, back = ("wait_for_loss", self.device.wait_for_loss), ("wait_for_beam", self.device.wait_for_beam)
        (name, at_once), (waiting_name, waiting) = (back, loss) if has_beam else (loss, back)
        bench.did(f"{name}()")
        bench.succeeded(await bench.finish(bench.begin(name, f"{name}()", at_once), rules.RETURNS_AT_ONCE))
        bench.did(f"{waiting_name}()")
        call = bench.begin(waiting_name, f"{waiting_name}()", waiting)
        if await bench.ends(call, self.settings.watch_s):
            bench.succeeded(call)
            if (await bench.read(self.reads()[1]) is not FillMode.NO_BEAM) is has_beam:
                seen = f"it returned after {call.took_s:.3g} s, and read_fill_mode says what it said before"
                bench.breach(rules.WAITS, seen, waiting_name)

    async def _lost_and_back(self, bench: Bench) -> None:
        settings, device = self.settings, self.device
        lose, restore = settings.lose_beam, settings.restore_beam
        if lose is None or restore is None:
            return

        async def lost(bench: Bench) -> None:
            await bench.hook(lose, "the beam was lost")

        async def restored(bench: Bench) -> None:
            await bench.hook(restore, "the beam came back")

        await restored(bench)
        await waits_until(bench, "wait_for_loss", device.wait_for_loss, lost)
        await waits_until(bench, "wait_for_beam", device.wait_for_beam, restored)


def _current(value: object) -> str:
    if not is_number(value) or not isinstance(value, int | float) or value < -OFFSET_MA:
        return f"it answered {value!r}: must be a finite number from 0 mA up"
    return ""


def _fill_mode(value: object) -> str:
    return "" if isinstance(value, FillMode) else f"it answered {value!r}: must be a FillMode"
