"""The ONE way to make a beamline safe.

Beam first: the fast shutter, then the safety shutter; then motion stops and the detector is disarmed; then the cover
closes and changed settings are put back. Each step is independent and idempotent, has its own deadline, commands the
device whatever it is believed to do, and is verified by read-back. One that fails is carried out a second time: a lost
answer must not latch a fault at night. All are attempted, whatever fails.

Owns the order, the deadlines and the verdict. Owns no state: it may be repeated at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

import attrs
import trio

from fsmcollect.beamline import Beamline
from fsmcollect.errors import BeamlineBusy, SafingError
from fsmcollect.together import one_failure_as_itself

Command = Callable[[], Awaitable[None]]
ReadBack = Callable[[], Awaitable[bool]]

#: After its deadline a step is cancelled; so long it may take to be gone. Assumed.
GRACE_S = 0.5


@attrs.frozen(kw_only=True)
class Step:
    """One thing to make safe.

    Attributes
    ----------
    name : str
        What it achieves, for people: ``fast shutter closed``.
    command : Command
        Sent whatever the device is believed to do.
    is_verified : ReadBack or None
        Asks the device; None for a setting that is put back and reads back nothing.
    deadline_s : float
        For command and read-back together. All deadlines here are assumed, no source found: several times what a
        healthy device needs.
    """

    name: str
    command: Command
    is_verified: ReadBack | None
    deadline_s: float


@attrs.frozen
class StepEnded:
    """What became of a step.

    Attributes
    ----------
    failure : str
        Empty when it was verified.
    remark : str
        Of a verified step, what went wrong on the way; empty when nothing did.
    """

    step: Step
    failure: str
    remark: str = ""


Report = Callable[[StepEnded], None]


def _fast_shutter(beamline: Beamline) -> Iterator[Step]:
    if (fast := beamline.fast_shutter) is not None:
        yield Step(name="fast shutter closed", command=fast.close, is_verified=fast.is_closed, deadline_s=2.0)


def _safety_shutter(beamline: Beamline) -> Iterator[Step]:
    if (safety := beamline.safety_shutter) is not None:
        yield Step(name="safety shutter closed", command=safety.close, is_verified=safety.is_closed, deadline_s=15.0)


def _goniometer(beamline: Beamline) -> Iterator[Step]:
    if (goniometer := beamline.goniometer) is not None:
        yield Step(name="goniometer still", command=goniometer.stop, is_verified=goniometer.is_still, deadline_s=10.0)


def _other_motion(beamline: Beamline) -> Iterator[Step]:
    moving = {
        "detector stage": (beamline.detector_stage, 10.0),
        "monochromator": (beamline.monochromator, 10.0),
        "sample changer": (beamline.sample_changer, 120.0),
    }
    for name, (device, deadline_s) in moving.items():
        if device is not None:
            yield Step(name=f"{name} still", command=device.stop, is_verified=device.is_still, deadline_s=deadline_s)


def _detector(beamline: Beamline) -> Iterator[Step]:
    if (detector := beamline.detector) is not None:
        yield Step(name="detector idle", command=detector.disarm, is_verified=detector.is_idle, deadline_s=15.0)


def _covers(beamline: Beamline) -> Iterator[Step]:
    if (cover := beamline.detector_cover) is not None:
        yield Step(name="detector cover closed", command=cover.close, is_verified=cover.is_closed, deadline_s=15.0)
    if (backlight := beamline.backlight) is not None:

        async def is_out() -> bool:
            return (await backlight.is_in()) is False

        yield Step(name="backlight out", command=backlight.move_out, is_verified=is_out, deadline_s=15.0)


async def make_safe(
    beamline: Beamline,
    restore: Iterable[Step] = (),
    report: Report | None = None,
    *,
    stragglers: trio.Nursery | None = None,
) -> tuple[str, ...]:
    """Carry out every step and return a sentence for each that failed; an empty tuple means verified safe.

    Parameters
    ----------
    beamline : Beamline
        What it lacks is left out.
    restore : iterable of Step
        Settings that the run changed and wants back, the last changed first.
    report : Report, optional
        Told of each step as it ends.
    stragglers : trio.Nursery, optional
        Owns steps whose adapter cannot even be cancelled (a blocking call in a thread): they are told as failed when
        their deadline has passed, and the others go on. Without it, this waits for them at its end.
    """
    async with _attempt(report, stragglers) as attempt:
        fast = await attempt.start(_fast_shutter(beamline))
        safety = await attempt.start(_safety_shutter(beamline))
        # The safety shutter takes seconds: a crystal must not turn that long in a leaking beam. Where the fast shutter
        # is not known to be closed, it turns on until the safety shutter is: standing, one place would take it all.
        await attempt.ended(fast)
        if attempt.failures:
            await attempt.ended(safety)
        motion = await attempt.start((*_goniometer(beamline), *_other_motion(beamline), *_detector(beamline)))
        await attempt.ended((*safety, *motion))
        await attempt.ended(await attempt.start((*_covers(beamline), *restore)))
        return tuple(attempt.failures)


async def pause(
    beamline: Beamline, report: Report | None = None, *, stragglers: trio.Nursery | None = None
) -> tuple[str, ...]:
    """Make a hold safe: the fast shutter first, then the rotation stops and the detector is disarmed.

    Returns a sentence for each step that failed, as `make_safe` does. The safety shutter stays as it is. Where the fast
    shutter is not known to be closed, nothing else is done: this is no pause, and `make_safe` has to follow.
    """
    async with _attempt(report, stragglers) as attempt:
        await attempt.ended(await attempt.start(_fast_shutter(beamline)))
        if attempt.failures:
            return tuple(attempt.failures)
        await attempt.ended(await attempt.start((*_goniometer(beamline), *_detector(beamline))))
        return tuple(attempt.failures)


async def clear_the_way(
    beamline: Beamline, report: Report | None = None, *, stragglers: trio.Nursery | None = None
) -> tuple[str, ...]:
    """Beam off, goniometer still, detector idle, however the beamline was found: before robot or person come near.

    Returns a sentence for each step that failed, as `make_safe` does.
    """
    async with _attempt(report, stragglers) as attempt:
        await attempt.ended(await attempt.start((*_fast_shutter(beamline), *_safety_shutter(beamline))))
        await attempt.ended(await attempt.start((*_goniometer(beamline), *_detector(beamline))))
        return tuple(attempt.failures)


async def acknowledge(beamline: Beamline, report: Report | None = None) -> tuple[str, ...]:
    """Somebody has looked at a fault that an abandoned run has left: make safe again, and free the beamline if it is.

    Returns
    -------
    tuple of str
        What still could not be verified; the fault stays latched then.

    Raises
    ------
    BeamlineBusy
        A run owns the beamline: acknowledge its fault there.
    """
    if beamline.owner is not None:
        raise BeamlineBusy(f"the run {beamline.owner!r} owns {beamline.config.name}: acknowledge the fault there")
    failures: tuple[str, ...] = ()
    with trio.CancelScope(shield=True):
        failures = await make_safe(beamline, report=report)
    beamline.fault = SafingError(failures) if failures else None
    return failures


@attrs.define(eq=False)
class _Running:
    """A step under way."""

    step: Step
    give_up_at_s: float
    ended: trio.Event = attrs.field(init=False, factory=trio.Event)


@attrs.define(eq=False)
class _Attempt:
    """Steps under way, and what failed of them."""

    nursery: trio.Nursery
    report: Report | None
    failures: list[str] = attrs.field(init=False, factory=list[str])

    async def start(self, steps: Iterable[Step]) -> tuple[_Running, ...]:
        """Start the steps, their commands leaving in order."""
        started: list[_Running] = []
        for step in steps:
            running = _Running(step, trio.current_time() + step.deadline_s + GRACE_S)
            started.append(running)
            self.nursery.start_soon(self._carry_out, running, name=step.name)
            # trio runs tasks that wake together in any order. What is started a round later comes later; after a second
            # round, so does what the first one tells when it ends at once, whichever of them has its turn first.
            await trio.lowlevel.cancel_shielded_checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
        return tuple(started)

    async def ended(self, steps: Iterable[_Running]) -> None:
        """Return when every step has ended, or is not waited for any more."""
        for running in steps:
            if running.ended.is_set():
                continue
            with trio.move_on_at(running.give_up_at_s):
                await running.ended.wait()
            if not running.ended.is_set():
                running.ended.set()
                failure = f"no answer within {running.step.deadline_s:g} s, and it cannot be interrupted"
                self._tell(StepEnded(running.step, failure))

    @trio.lowlevel.enable_ki_protection  # a second Ctrl-C must not end a step: it waits until all is safe
    async def _carry_out(self, running: _Running) -> None:
        ended = await _carry_out(running.step)
        if not running.ended.is_set():
            running.ended.set()
            self._tell(ended)

    def _tell(self, ended: StepEnded) -> None:
        if ended.failure:
            self.failures.append(f"{ended.step.name}: {ended.failure}")
        if self.report is not None:
            self.report(ended)


@contextlib.asynccontextmanager
async def _attempt(report: Report | None, stragglers: trio.Nursery | None) -> AsyncGenerator[_Attempt, None]:
    if stragglers is not None:
        yield _Attempt(stragglers, report)
        return
    async with trio.open_nursery() as nursery:
        yield _Attempt(nursery, report)


async def _carry_out(step: Step) -> StepEnded:
    """Carry out one step, if need be twice: a first attempt that hangs leaves half of the deadline to the second."""
    given_up_at_s = trio.current_time() + step.deadline_s
    first = await _failing(step, trio.current_time() + step.deadline_s / 2)
    if not first:
        return StepEnded(step, "")
    second = await _failing(step, given_up_at_s)
    return StepEnded(step, second, "" if second else f"only when it was done again: {first}")


async def _failing(step: Step, until_s: float) -> str:
    """Command and ask the device, once, whoever cancels: what went wrong, empty when verified."""
    failure = f"no answer within {step.deadline_s:g} s"
    # The deadline stands inside: what an adapter raises while its own tasks are cancelled is a plain group by then.
    try:
        with one_failure_as_itself(), trio.CancelScope(deadline=until_s, shield=True):
            await step.command()
            # An answer that is not a plain yes is no answer: a string or a NaN counts as true in Python.
            verified = step.is_verified is None or (await step.is_verified()) is True
            failure = "" if verified else "commanded, but its read-back denies it"
    except Exception as error:  # noqa: BLE001  (whatever an adapter raises, the other steps are carried out)
        failure = str(error) or repr(error)
    return failure
