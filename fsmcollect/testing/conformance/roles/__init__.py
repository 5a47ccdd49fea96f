"""What is special about each role: how to tell it something, how to read back, what it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fsmcollect.testing.conformance.roles.beam import ApertureSubject, AttenuatorSubject, DiodesSubject
from fsmcollect.testing.conformance.roles.blades import (
    BacklightSubject,
    CoverSubject,
    FastShutterSubject,
    InterlockSubject,
    SafetyShutterSubject,
)
from fsmcollect.testing.conformance.roles.detector import DetectorSubject
from fsmcollect.testing.conformance.roles.goniometer import GoniometerSubject
from fsmcollect.testing.conformance.roles.instruments import CameraSubject, CryoStreamSubject, FluorescenceSubject
from fsmcollect.testing.conformance.roles.motors import DetectorStageSubject, MonochromatorSubject
from fsmcollect.testing.conformance.roles.ring import RingSubject
from fsmcollect.testing.conformance.roles.sample import PersonSubject, SampleChangerSubject
from fsmcollect.testing.conformance.subjects import Subject

#: Role as it is named on `Beamline`, to what makes its subject of (role, device, settings, homes).
SUBJECTS: Mapping[str, Callable[..., Subject[object]]] = {
    "aperture": ApertureSubject,
    "attenuator": AttenuatorSubject,
    "backlight": BacklightSubject,
    "camera": CameraSubject,
    "cryo_stream": CryoStreamSubject,
    "detector": DetectorSubject,
    "detector_cover": CoverSubject,
    "detector_stage": DetectorStageSubject,
    "diodes": DiodesSubject,
    "fast_shutter": FastShutterSubject,
    "fluorescence_detector": FluorescenceSubject,
    "goniometer": GoniometerSubject,
    "interlock": InterlockSubject,
    "monochromator": MonochromatorSubject,
    "person": PersonSubject,
    "ring": RingSubject,
    "safety_shutter": SafetyShutterSubject,
    "sample_changer": SampleChangerSubject,
}
