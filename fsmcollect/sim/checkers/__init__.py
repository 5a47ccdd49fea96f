"""Invariants of a beamline and of its runs: what must hold whatever is collected, aborted or broken.

Owns the rules, each a class of its own, and the moments at which they are looked at (`watching`). Owns no device and no
reaction: a violation is a sentence with its time, for a person or a test to read.
"""

from fsmcollect.sim.checkers.beam import (
    ANGLE_TOLERANCE_DEG,
    BeamOnlyInSweep,
    BeamOnlyOnArmedDetector,
    HutchSearched,
    LightOnlyInFrames,
    NoExposureInOpenHutch,
    NothingInTheBeam,
)
from fsmcollect.sim.checkers.dose import DoseOfRun, LightAsPlanned, Opening, Openings, PhotonsAsAsked
from fsmcollect.sim.checkers.images import (
    FramesAreTrue,
    NoTriggerLost,
    ReportedAnglesAreNominal,
    ReportedIsHandedOut,
    SettingsAsAsked,
)
from fsmcollect.sim.checkers.motion import (
    OnlyOmegaMoves,
    RobotHasRoom,
    RobotOnlyInTheDark,
    RobotOnlyWhileGoniometerStands,
    RobotOnlyWithDetectorAtRest,
)
from fsmcollect.sim.checkers.run import RunRules
from fsmcollect.sim.checkers.watching import KEPT, AtRest, Checkers, Hearer, Robot, Rule

__all__ = [
    "ANGLE_TOLERANCE_DEG",
    "KEPT",
    "AtRest",
    "BeamOnlyInSweep",
    "BeamOnlyOnArmedDetector",
    "Checkers",
    "DoseOfRun",
    "FramesAreTrue",
    "Hearer",
    "HutchSearched",
    "LightAsPlanned",
    "LightOnlyInFrames",
    "NoExposureInOpenHutch",
    "NoTriggerLost",
    "NothingInTheBeam",
    "OnlyOmegaMoves",
    "Opening",
    "Openings",
    "PhotonsAsAsked",
    "ReportedAnglesAreNominal",
    "ReportedIsHandedOut",
    "Robot",
    "RobotHasRoom",
    "RobotOnlyInTheDark",
    "RobotOnlyWhileGoniometerStands",
    "RobotOnlyWithDetectorAtRest",
    "Rule",
    "RunRules",
    "SettingsAsAsked",
]
