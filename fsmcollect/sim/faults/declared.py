"""Which faults a collection must survive, and how: ONE declared table.

Owns the declaration, as data. Docs are generated from it (docs/machines/faults.md), sweeps judge every run by it
(`survival`), and the tests take each row of it.
"""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Mapping

import attrs

from fsmcollect.sim.faults.commands import Kind, kind_of
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect, Fault


class Ending(enum.IntEnum):
    """How a run may end that met a fault, the worse the later."""

    DONE = 0
    FAILED = 1
    FAULT = 2


#: What each ending means, for people.
ENDINGS: dict[Ending, str] = {
    Ending.DONE: "done, as without the fault",
    Ending.FAILED: "failed and verified safe",
    Ending.FAULT: "FAULT latched until somebody has looked",
}


@attrs.frozen(kw_only=True)
class Declared:
    """One row: to which faults it applies, and how such a run may end. Of several rows the first that fits holds.

    Attributes
    ----------
    commands : str
        Patterns on ``device.command`` (for what befalls a device as a whole: ``device``), separated by blanks; what
        fits one that begins with ``!`` is left out.
    kinds, effects, states : frozenset
        Empty: any. The state is the one in which the fault struck first.
    for_ever : bool or None
        It lasts for ever, or not; None: either.
    at_least_s : float
        Of what is DELAYED: so late, or later.
    endings : frozenset of Ending
    why : str
        For people.
    excuses : frozenset of str
        Rules of `sim.checkers` that the fault itself breaks, whatever the sequencer does. The whole run long: what a
        row excuses must be what only its own fault can do in its states.
    """

    commands: str = "*"
    kinds: frozenset[Kind] = frozenset()
    effects: frozenset[Effect] = frozenset()
    states: frozenset[str] = frozenset()
    for_ever: bool | None = None
    at_least_s: float = 0.0
    endings: frozenset[Ending]
    why: str
    excuses: frozenset[str] = frozenset()

    def fits(self, fault: Fault, state: str) -> bool:
        kind = kind_of(fault.device, fault.command)
        name = f"{fault.device}.{fault.command}" if fault.command else fault.device
        return (
            (not self.effects or fault.effect in self.effects)
            and (not self.kinds or kind in self.kinds)
            and (not self.states or state in self.states)
            and (self.for_ever is None or self.for_ever is (fault.lasts_s == FOR_EVER_S))
            and (fault.effect is not _E.DELAYED or fault.delay_s >= self.at_least_s)
            and _is_named(name, self.commands)
        )


def _is_named(name: str, patterns: str) -> bool:
    words = patterns.split()
    left_out = any(fnmatch.fnmatchcase(name, word[1:]) for word in words if word.startswith("!"))
    return not left_out and any(fnmatch.fnmatchcase(name, word) for word in words if not word.startswith("!"))


_E = Effect
_DONE, _FAILED, _FAULT = frozenset({Ending.DONE}), frozenset({Ending.FAILED}), frozenset({Ending.FAULT})
#: States in which `safing` commands devices and reads them back.
_SAFING = frozenset({"MOUNTING", "HOLDING", "HOLDING_FOR_BEAM", "CLOSING", "FAULT"})
#: In these a device that forgets what it was told has been told something.
_EXPOSING = frozenset({"wedge.ARMING", "wedge.RUNNING_UP", "wedge.EXPOSING", "wedge.DRAINING"})
#: The commands of `safing`, and how it reads back what they did.
STOPS = (
    "fast_shutter.close safety_shutter.close goniometer.stop detector.disarm detector_stage.stop monochromator.stop "
    "sample_changer.stop detector_cover.close backlight.move_out diodes.set_gains"
)
READ_BACKS = "*.is_closed *.is_still *.is_idle backlight.is_in"
_SAID_NO = frozenset({_E.REFUSES, _E.RAISES, _E.HANGS, _E.ANSWER_LOST})
_LIES = frozenset({_E.NO_ACTION, _E.STOPS_HALF_WAY})
_NO_IMAGES = frozenset({"BeamOnlyOnArmedDetector", "NoTriggerLost", "LightOnlyInFrames", "LightAsPlanned"})
_OMEGA_OFF = frozenset({"BeamOnlyInSweep"})
_OTHER_DOSE = frozenset({"PhotonsAsAsked"})
#: A device that says it has done what it has not, or stands where it does not.
LYING = _LIES | {_E.WRONG_READ_BACK}
_STUCK_OPEN = frozenset(
    {"BeamOnlyOnArmedDetector", "BeamOnlyInSweep", "LightOnlyInFrames", "LightAsPlanned", "NoExposureInOpenHutch"}
)
#: Of a fast shutter that is closed at the second attempt.
_OPEN_FOR_LONGER = frozenset({"DoseOfRun", "NoExposureInOpenHutch"})
#: With neither shutter, the beam is on until somebody has come; what protects the detector moves all the same.
NO_SHUTTER = frozenset({"NothingInTheBeam", "DoseOfRun", "HutchSearched"})
_DARK = frozenset({"FramesAreTrue", "DoseOfRun"})
#: What each device can break that lies twice: about what it has done, and about how it stands. Nobody can know.
TWO_LIES: Mapping[str, frozenset[str]] = {
    "detector": _NO_IMAGES,
    "goniometer": _OMEGA_OFF | {"FramesAreTrue"},
    "monochromator": frozenset({"SettingsAsAsked"}),
    "detector_stage": frozenset({"SettingsAsAsked"}),
    "fast_shutter": _STUCK_OPEN | _DARK,
}
DECLARED: tuple[Declared, ...] = (
    # -- making safe -------------------------------------------------------------------------------------------------
    Declared(
        commands="fast_shutter.close fast_shutter.is_closed",
        effects=frozenset({_E.DELAYED}),
        for_ever=True,
        at_least_s=2.0,
        endings=_FAULT,
        why="a fast shutter that is 2 s late is not one: its step has no more",
        excuses=_STUCK_OPEN,
    ),
    Declared(
        commands="fast_shutter.close fast_shutter.is_closed",
        effects=frozenset({_E.DELAYED}),
        for_ever=True,
        endings=_DONE | _FAULT,
        why="less late than 2 s: each of its two attempts has half of that",
        excuses=_STUCK_OPEN,
    ),
    Declared(
        commands="ring.wait_for_loss",
        effects=frozenset({_E.HANGS, _E.DELAYED}),
        endings=_DONE,
        why="an adapter that hangs there does not tell in time that the beam is lost (its contract): dark images",
        excuses=_DARK,
    ),
    Declared(
        commands="safety_shutter.wait_while_open",
        effects=frozenset({_E.HANGS, _E.DELAYED}),
        endings=_DONE,
        why="an adapter that hangs there does not tell that the hutch was opened: the interlock closes, dark images",
        excuses=_DARK | {"NoExposureInOpenHutch"},
    ),
    Declared(effects=frozenset({_E.DELAYED}), endings=_DONE, why="every wait has a limit of several usual times"),
    Declared(
        commands="fast_shutter.close",
        effects=_SAID_NO,
        for_ever=True,
        endings=_FAULT,
        why="the beam may get past it until the safety shutter is closed, and nobody knows how it stands",
        excuses=_STUCK_OPEN,
    ),
    Declared(
        commands=f"{STOPS} {READ_BACKS}",
        effects=_SAID_NO | {_E.WRONG_READ_BACK},
        for_ever=True,
        endings=_FAULT,
        why="nothing is believed safe that has not been commanded and read back",
    ),
    Declared(
        commands="fast_shutter.close",
        effects=frozenset({_E.STOPS_HALF_WAY}),
        for_ever=False,
        endings=_DONE,
        why="a safing step that fails is done again; until then half of the beam gets past it",
        excuses=_OPEN_FOR_LONGER,
    ),
    Declared(
        commands="fast_shutter.close",
        effects=frozenset({_E.HANGS}),
        states=_SAFING,
        for_ever=False,
        endings=_DONE,
        why="a safing step that fails is done again, after half of its 2 s; until then the beam gets past it",
        excuses=_OPEN_FOR_LONGER,
    ),
    Declared(
        commands="safety_shutter.close",
        effects=frozenset({_E.STOPS_HALF_WAY}),
        states=_SAFING,
        for_ever=False,
        endings=_DONE,
        why="a safing step that fails is done again; until then it does not drop when the hutch is opened either",
        excuses=frozenset({"HutchSearched"}),
    ),
    Declared(
        commands=f"{STOPS} {READ_BACKS}",
        states=_SAFING,
        for_ever=False,
        endings=_DONE,
        why="a safing step that fails is done again",
    ),
    Declared(
        commands="fast_shutter.close",
        effects=_LIES,
        for_ever=True,
        endings=_DONE | _FAULT,
        why="the read-back tells, unless it was closed already; until the safety shutter is, the beam gets past it",
        excuses=_STUCK_OPEN,
    ),
    Declared(
        commands="safety_shutter.close",
        effects=_LIES,
        for_ever=True,
        endings=_FAULT,
        why="the read-back tells; stuck, it does not drop when the hutch is opened either",
        excuses=frozenset({"HutchSearched"}),
    ),
    Declared(
        commands="safety_shutter.open",
        effects=frozenset({_E.STOPS_HALF_WAY}),
        for_ever=True,
        endings=_FAULT,
        why="neither open nor closed, and it cannot be closed; nor does it drop when the hutch is opened",
        excuses=frozenset({"HutchSearched"}),
    ),
    Declared(
        commands=STOPS,
        effects=_LIES,
        for_ever=True,
        endings=_DONE | _FAULT,
        why="the read-back tells, unless the device was safe already",
    ),
    Declared(
        commands=READ_BACKS,
        effects=frozenset({_E.REFUSES, _E.HANGS}),
        endings=_DONE,
        why="what only reads is asked again",
    ),
    Declared(
        commands="detector.disarm",
        effects=frozenset({_E.NO_ACTION}),
        endings=_DONE | _FAILED,
        why="the next wedge finds it armed; after the last one it is disarmed again",
    ),
    # -- reading -----------------------------------------------------------------------------------------------------
    Declared(
        commands="diodes.read_gains",
        states=frozenset({"CLOSING"}),
        for_ever=False,
        endings=_DONE,
        why="a safing step that fails is done again",
    ),
    Declared(
        commands="diodes.read_gains",
        effects=_SAID_NO,
        for_ever=True,
        endings=_FAILED | _FAULT,
        why="that the gains are put back cannot be read back, once they were changed",
    ),
    Declared(
        commands="diodes.read_gains",
        effects=frozenset({_E.WRONG_READ_BACK}),
        endings=_DONE | _FAULT,
        why="a lie about what the gains were puts back the wrong ones: nobody can know",
    ),
    Declared(
        commands="*.read_* !detector.read_out interlock.is_searched",
        effects=frozenset({_E.REFUSES, _E.HANGS}),
        for_ever=False,
        endings=_DONE,
        why="what only reads is asked again",
    ),
    Declared(
        commands="detector.read_out",
        effects=frozenset({_E.WRONG_READ_BACK}),
        endings=_FAILED,
        why="images that were not taken at the angles asked for are refused",
    ),
    Declared(
        commands="camera.locate interlock.is_searched *.is_* sample_changer.read_loaded",
        effects=frozenset({_E.WRONG_READ_BACK}),
        endings=_DONE | _FAILED,
        why="it is compared, or looked at again; what agrees with what was asked for cannot be told from the truth",
    ),
    Declared(
        kinds=frozenset({Kind.READ}),
        effects=frozenset({_E.WRONG_READ_BACK}),
        endings=_DONE | _FAILED,
        why="caught where it is compared with what was asked for; else it is only written down",
    ),
    Declared(
        kinds=frozenset({Kind.READ}),
        endings=_FAILED,
        why="what is not known is not assumed",
    ),
    # -- watching ----------------------------------------------------------------------------------------------------
    Declared(
        commands="goniometer.finish_sweep",
        effects=frozenset({_E.NO_ACTION}),
        endings=_DONE | _FAILED,
        why="the images tell when the sweep is over; in shuttered mode the next is refused while omega still turns",
    ),
    Declared(
        commands="goniometer.finish_sweep",
        endings=_FAILED,
        why="a sweep is not believed until its end is known",
    ),
    Declared(
        kinds=frozenset({Kind.WATCH}),
        effects=frozenset({_E.HANGS}),
        endings=_DONE,
        why="watching has no limit of its own: an adapter that hangs there notices nothing (its contract)",
    ),
    Declared(kinds=frozenset({Kind.WATCH}), endings=_FAILED, why="nothing is exposed that is not watched"),
    # -- acting ------------------------------------------------------------------------------------------------------
    Declared(
        commands=(
            "detector.arm goniometer.prepare_sweep goniometer.begin_sweep safety_shutter.open detector_cover.open "
            "sample_changer.load"
        ),
        effects=frozenset({_E.NO_ACTION}),
        endings=_FAILED,
        why="read back, or missed at the next step, before the crystal sees more than one sweep",
    ),
    Declared(
        kinds=frozenset({Kind.ACT, Kind.MAKE_SAFE}),
        effects=frozenset({_E.NO_ACTION}),
        endings=_DONE | _FAILED,
        why="the read-back tells, unless it stood there already or only a setting is less good",
    ),
    Declared(
        commands="goniometer.begin_sweep",
        effects=frozenset({_E.STOPS_HALF_WAY}),
        endings=_DONE | _FAILED,
        why="an omega that sticks while the shutter is open is seen at the sweep's end; a still turns nothing",
        excuses=_OMEGA_OFF | {"FramesAreTrue"},
    ),
    Declared(
        effects=frozenset({_E.STOPS_HALF_WAY}),
        for_ever=True,
        endings=_DONE | _FAILED | _FAULT,
        why="what is stuck half-way fails, and cannot be made safe where it must move for that",
    ),
    Declared(
        effects=frozenset({_E.STOPS_HALF_WAY}),
        endings=_DONE | _FAILED,
        why="what stands half-way is no success, unless it had to go nowhere",
    ),
    Declared(
        kinds=frozenset({Kind.ACT, Kind.MAKE_SAFE, Kind.ASK}),
        endings=_FAILED,
        why="what acts is never repeated blindly: the run fails, and what was taken is kept",
    ),
    # -- devices as a whole ------------------------------------------------------------------------------------------
    Declared(
        commands="detector",
        effects=frozenset({_E.RESETS}),
        states=_EXPOSING,
        for_ever=False,
        endings=_DONE | _FAILED,
        why="images that are missing are missed; those of the sweep under way are lost",
        excuses=_NO_IMAGES,
    ),
    Declared(
        commands="detector",
        effects=frozenset({_E.RESETS}),
        for_ever=True,
        endings=_FAULT,
        why="it answers nothing any more",
        excuses=_NO_IMAGES,
    ),
    Declared(
        commands="goniometer",
        effects=frozenset({_E.RESETS}),
        states=_EXPOSING,
        for_ever=False,
        endings=_DONE | _FAILED,
        why="a sweep whose gate is gone is seen at once",
        excuses=_OMEGA_OFF,
    ),
    Declared(
        commands="fast_shutter",
        effects=frozenset({_E.RESETS}),
        for_ever=True,
        endings=_FAULT,
        why="it answers nothing any more; until the safety shutter is closed, the beam gets past it",
        excuses=_STUCK_OPEN,
    ),
    Declared(
        effects=frozenset({_E.RESETS}),
        for_ever=False,
        endings=_DONE | _FAILED,
        why="noticed by whoever needs the device next",
    ),
    Declared(
        effects=frozenset({_E.RESETS}),
        endings=_DONE | _FAILED | _FAULT,
        why="it answers nothing any more: what must be made safe cannot be",
        excuses=_OMEGA_OFF,
    ),
    Declared(
        commands="goniometer",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE | _FAILED,
        why="recorded angles tell, from half an image's width on; where nothing turns any more it does not matter",
        excuses=_OMEGA_OFF | {"FramesAreTrue"},
    ),
    Declared(
        commands="attenuator",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE | _FAILED,
        why="nobody watches the absorbers while images are taken: an i0 reading for each image would tell",
        excuses=_OTHER_DOSE,
    ),
    Declared(
        commands="ring",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE,
        why="a current that fades without being lost is no loss: an i0 reading for each image would tell",
        excuses=frozenset({"DoseOfRun"}),
    ),
    Declared(
        commands="cryo_stream",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE | _FAILED,
        why="too warm for the beamline's limit, nothing more is exposed; without a limit it is only written down",
    ),
    Declared(
        commands="detector_stage",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE | _FAILED,
        why="a robot whose room it comes into refuses to go on; elsewhere the files say what was read back",
        excuses=frozenset({"RobotHasRoom", "SettingsAsAsked"}),
    ),
    Declared(
        commands="monochromator",
        effects=frozenset({_E.DRIFTS}),
        endings=_DONE,
        why="nobody watches the energy while images are taken: the files say what was read back at the first",
        excuses=frozenset({"SettingsAsAsked"}),
    ),
)
