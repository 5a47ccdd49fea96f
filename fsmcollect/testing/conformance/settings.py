"""What the author of an adapter may tell the conformance kit about the device.

Owns the settings and their defaults. A hook is handed the device that is being examined and may be async.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypedDict

import attrs

from fsmcollect.beamline import Acquisition, Location
from fsmcollect.beamline.values import Question

#: Three images, one per trigger; assumed: what any detector can do.
ACQUISITION = Acquisition(images=3, images_per_trigger=1, frame_time_s=0.1, energy_ev=12_700.0)
Hook = Callable[..., object]


class Wishes(TypedDict, total=False):
    """The keywords of `conforms` and `examine`; what they mean is at `Settings`."""

    limit_s: float
    prompt_s: float
    block_s: float
    watch_s: float
    strikes: int
    leave_out: Collection[str]
    tell: Callable[[str], object] | None
    travel: float | Mapping[str, float] | None
    tolerance: float | Mapping[str, float] | None
    fast_shutter: Hook | None
    detector: Hook | None
    trigger: Hook | None
    acquisition: Acquisition
    with_images: bool
    exposure_s: float
    samples: Sequence[Location]
    bare_pins: Sequence[Location]
    bring_detector_near: Hook | None
    lose_beam: Hook | None
    restore_beam: Hook | None
    open_hutch: Hook | None
    search_hutch: Hook | None
    answer: Hook | None
    question: Question


@attrs.frozen(kw_only=True)
class Settings:
    """How a device is examined. All times are in the clock of the run: simulated seconds in simulated time.

    Attributes
    ----------
    limit_s : float
        A command or an answer that takes longer hangs. Assumed: twice what the slowest thing (a robot) takes.
    prompt_s : float
        A call that was cancelled is gone by then: as long as `safing` waits for a step after its deadline.
    block_s : float
        A step that lets nothing else run so long, in REAL time, blocks everything. Assumed: far more than a busy
        machine takes from a program. So does one that twice stops all else for over 0.1 s and half of its call.
    watch_s : float
        What is to wait is watched so long. Assumed.
    strikes : int
        Where a command has more checkpoints than this, so many of them are struck: the first, the last, and others
        evenly between. Assumed: each costs a whole run of the command.
    leave_out : collection of str
        Names of breaches that are known and accepted; they are listed as left out.
    tell : callable or None
        Told the title of each check as it begins.
    travel : float or mapping of an axis to float, optional
        How far the kit moves a motor, from where it stands; in its unit. By default the smaller of a tenth of its range
        and 10 deg, 1 mm (centring table), 20 mm (detector stage), 100 eV: assumed to be harmless, and long enough to be
        interrupted.
    tolerance : float or mapping of an axis to float, optional
        How far from its target a device counts as there. By default a hundredth of the way: a device that has not
        moved is never within it, and it is wider than usual in-position bands.
    fast_shutter, detector : hook, optional
        Goniometer: give the devices that are wired to its gate. Without both no sweep is tried.
    trigger : hook, optional
        Detector: send one hardware trigger. Without it no frame is tried.
    acquisition : Acquisition
        Detector: what it is armed for; two images or more, one per trigger.
    with_images : bool
        Detector: image data are asked for too.
    exposure_s : float
        Of dark images and spectra; assumed.
    samples : sequence of Location
        Sample changer: two filled places; the first two of the dewar by default.
    bare_pins : sequence of Location
        Sample changer: places whose pin holds no sample.
    bring_detector_near : hook, optional
        Sample changer: put the detector where the arm has no room.
    lose_beam, restore_beam : hook, optional
        Ring.
    open_hutch, search_hutch : hook, optional
        Interlock and safety shutter: somebody opens the door; somebody searches and locks the hutch.
    answer : hook, optional
        Person: called with the device and True or False while the question is asked; answers it so.
    question : Question
        Person: what is asked.
    """

    limit_s: float = 60.0
    prompt_s: float = 0.5
    block_s: float = 0.5
    watch_s: float = 1.0
    strikes: int = 12
    leave_out: Collection[str] = ()
    tell: Callable[[str], object] | None = None
    travel: float | Mapping[str, float] | None = None
    tolerance: float | Mapping[str, float] | None = None
    fast_shutter: Hook | None = None
    detector: Hook | None = None
    trigger: Hook | None = None
    acquisition: Acquisition = ACQUISITION
    with_images: bool = False
    exposure_s: float = 0.1
    samples: Sequence[Location] = ()
    bare_pins: Sequence[Location] = ()
    bring_detector_near: Hook | None = None
    lose_beam: Hook | None = None
    restore_beam: Hook | None = None
    open_hutch: Hook | None = None
    search_hutch: Hook | None = None
    answer: Hook | None = None
    question: Question = Question.VALIDATE_CENTRING

    def travel_of(self, axis: str, default: float) -> float:
        """How far `axis` is moved."""
        return _of(self.travel, axis, default)

    def tolerance_of(self, axis: str, way: float) -> float:
        """How near to its target `axis` is there, after a way."""
        return _of(self.tolerance, axis, abs(way) / 100)


def settings_from(wishes: Mapping[str, object]) -> Settings:
    """The settings that somebody wishes.

    Raises
    ------
    TypeError
        There is no such setting.
    """
    known = [field.name for field in attrs.fields(Settings)]
    unknown = sorted(set(wishes) - set(known))
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: no such setting; there are {', '.join(known)}")
    return Settings(**wishes)  # type: ignore[arg-type]


async def through(hook: Hook, *arguments: object) -> object:
    """What a hook gives, be it async or not."""
    given = hook(*arguments)
    return await given if inspect.isawaitable(given) else given


def _of(given: float | Mapping[str, float] | None, axis: str, default: float) -> float:
    if isinstance(given, Mapping):
        return given.get(axis, default)
    return default if given is None else given
