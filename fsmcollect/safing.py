"""The ONE way to make a beamline safe.

Beam first: the fast shutter, then the safety shutter; then motion stops and the detector is disarmed; then the cover
closes and changed settings are put back. Each step is independent and idempotent, has its own deadline, commands the
device whatever it is believed to do, and is verified by read-back. All are attempted, whatever fails.

Owns the order, the deadlines and the verdict. Owns no state: it may be repeated at any time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

import attrs
import trio

from fsmcollect.beamline import Beamline
from fsmcollect.together import one_failure_as_itself

Command = Callable[[], Awaitable[None]]
ReadBack = Callable[[], Awaitable[bool]]


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
    """What became of a step: `failure` is empty when it was verified."""

    step: Step
    failure: str


Report = Callable[[StepEnded], None]


def _beam_steps(beamline: Beamline) -> Iterator[Step]:
    if (fast := beamline.fast_shutter) is not None:
        yield Step(name="fast shutter closed", command=fast.close, is_verified=fast.is_closed, deadline_s=2.0)
    if (safety := beamline.safety_shutter) is not None:
        yield Step(name="safety shutter closed", command=safety.close, is_verified=safety.is_closed, deadline_s=15.0)


def _motion_steps(beamline: Beamline) -> Iterator[Step]:
    moving = {
        "goniometer": (beamline.goniometer, 10.0),
        "detector stage": (beamline.detector_stage, 10.0),
        "monochromator": (beamline.monochromator, 10.0),
        "sample changer": (beamline.sample_changer, 120.0),
    }
    for name, (device, deadline_s) in moving.items():
        if device is not None:
            yield Step(name=f"{name} still", command=device.stop, is_verified=device.is_still, deadline_s=deadline_s)
    if (detector := beamline.detector) is not None:
        yield Step(name="detector idle", command=detector.disarm, is_verified=detector.is_idle, deadline_s=15.0)


def _covering_steps(beamline: Beamline) -> Iterator[Step]:
    if (cover := beamline.detector_cover) is not None:
        yield Step(name="detector cover closed", command=cover.close, is_verified=cover.is_closed, deadline_s=15.0)


async def make_safe(beamline: Beamline, restore: Iterable[Step] = (), report: Report | None = None) -> tuple[str, ...]:
    """Carry out every step and return a sentence for each that failed; an empty tuple means verified safe.

    Parameters
    ----------
    beamline : Beamline
        What it lacks is left out.
    restore : iterable of Step
        Settings that the run changed and wants back, the last changed first.
    report : Report, optional
        Told of each step as it ends.
    """
    failures: list[str] = []

    @trio.lowlevel.enable_ki_protection  # a second Ctrl-C must not end a step: it waits until all is safe
    async def carry_out(step: Step, ended: trio.Event) -> None:
        failure = await _carry_out(step)
        if failure:
            failures.append(f"{step.name}: {failure}")
        if report is not None:
            report(StepEnded(step, failure))
        ended.set()

    async def start(nursery: trio.Nursery, steps: Iterable[Step]) -> list[trio.Event]:
        ends: list[trio.Event] = []
        for step in steps:
            ends.append(trio.Event())
            nursery.start_soon(carry_out, step, ends[-1], name=step.name)
            # trio starts tasks that wake together in any order; after two rounds this one has sent its command.
            await trio.lowlevel.cancel_shielded_checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
        return ends

    async with trio.open_nursery() as nursery:
        beam = await start(nursery, _beam_steps(beamline))
        if (
            beam
        ):  # the fast one; the safety shutter takes seconds, and a crystal must not turn so long in a leaking beam
            await beam[0].wait()
        await start(nursery, _motion_steps(beamline))
    async with trio.open_nursery() as nursery:
        await start(nursery, (*_covering_steps(beamline), *restore))
    return tuple(failures)


async def _carry_out(step: Step) -> str:
    """Carry out one step; empty when verified, else what is wrong."""
    failure = f"no answer within {step.deadline_s:g} s"
    # The deadline stands inside: what an adapter raises while its own tasks are cancelled is a plain group by then.
    try:
        with one_failure_as_itself(), trio.move_on_after(step.deadline_s):
            await step.command()
            verified = step.is_verified is None or await step.is_verified()
            failure = "" if verified else "commanded, but its read-back denies it"
    except Exception as error:  # noqa: BLE001  (whatever an adapter raises, the other steps are carried out)
        failure = str(error) or repr(error)
    return failure
