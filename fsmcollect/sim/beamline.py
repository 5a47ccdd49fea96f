"""The simulated beamline: every device built of one seed and wired to the others.

Owns the wiring (the gate to shutter and detector, the robot to the detector's distance, a person's hands to the hutch)
and the choice of what is there. Owns no behaviour: that is the devices'.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

import attrs

from fsmcollect.beamline import Beamline, BeamlineConfig, Location, Question
from fsmcollect.sim.camera import Backlight, Camera, Head, Sample
from fsmcollect.sim.changer import SampleChanger
from fsmcollect.sim.checkers import (
    AtRest,
    BeamOnlyInSweep,
    BeamOnlyOnArmedDetector,
    Checkers,
    DoseOfRun,
    FramesAreTrue,
    HutchSearched,
    LightAsPlanned,
    LightOnlyInFrames,
    NoExposureInOpenHutch,
    NothingInTheBeam,
    NoTriggerLost,
    OnlyOmegaMoves,
    Openings,
    PhotonsAsAsked,
    ReportedAnglesAreNominal,
    ReportedIsHandedOut,
    RobotHasRoom,
    RobotOnlyInTheDark,
    RobotOnlyWhileGoniometerStands,
    RobotOnlyWithDetectorAtRest,
    SettingsAsAsked,
)
from fsmcollect.sim.detector import Detector, OmegaRecord, State
from fsmcollect.sim.dose import BeamPath, Dose
from fsmcollect.sim.goniometer import Goniometer
from fsmcollect.sim.interlock import Interlock
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.optics import Aperture, Attenuator, DetectorStage, Diodes, Monochromator
from fsmcollect.sim.person import Person
from fsmcollect.sim.ring import Ring
from fsmcollect.sim.shutter import FAST_OPENING_S, FastShutter, SafetyShutter
from fsmcollect.sim.surroundings import CryoStream, DetectorCover, FluorescenceDetector
from fsmcollect.sim.trace import Trace
from fsmcollect.timing import Timings

#: The roles that a simulated beamline may be built without.
ROLES = frozenset(
    field.name for field in attrs.fields(Beamline) if field.init and field.default is None and field.name != "config"
)

CONFIG = BeamlineConfig(
    name="FSMCOLLECT-SIM",
    synchrotron_name="Simulated Synchrotron",
    instrument_short_name="SIM",
    fixed_energy_ev=12_700.0,  # where there is no monochromator; assumed
    fixed_distance_mm=300.0,  # where there is no detector stage; assumed
    shutter_opening_s=FAST_OPENING_S,
    min_exposure_s=0.0002,  # assumed: 5 kHz, within what the detector can do
    full_flux_ph_s=1e12,  # assumed
    full_flux_at_ma=300.0,  # where the simulated ring begins
    beam_size_um=(50.0, 50.0),  # assumed
    mount_positions={"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0},  # assumed: the middle of the centring table
    undulators=("U20",),  # assumed
    focusing_optic="simulated mirrors",
    monochromator_type="simulated Si(111)",
    beam_divergence_mrad=(0.1, 0.1),  # assumed
    polarisation_frac=0.99,  # assumed
)

#: Where no safety shutter drops, the hutch is looked at now and then. Assumed: once a second at least.
UNTOLD_US = 1_000_000

#: A crystal so near the beam's centre is hit, at any omega. Assumed: half of the beam.
HIT_TOLERANCE_UM = 25.0


@attrs.define(eq=False, repr=False)
class SimulatedBeamline:
    """A beamline of simulated devices. Used for one run of its kernel.

    Every device is built, but those in `without` are no part of `beamline`: the robot then never moves, nothing
    attenuates, the energy is fixed.

    Parameters
    ----------
    seed : int or str
        Makes everything that is random; each device draws from a generator of its own, so that leaving one out does
        not change another.
    speed : float or None
        Simulated seconds per real second; None jumps.
    without : collection of str
        Roles (see `ROLES`) that this beamline lacks.
    config : BeamlineConfig
    bare_pins : collection of Location
        Places in the dewar whose pin holds no sample.
    settings : mapping of str to mapping
        By device: numbers and truth values that it is built with, each named as the device's attribute.
    """

    seed: int | str = 0
    speed: float | None = None
    without: Collection[str] = frozenset()
    config: BeamlineConfig = CONFIG
    bare_pins: Collection[Location] = frozenset()
    settings: Mapping[str, Mapping[str, float | bool]] = attrs.field(factory=dict[str, Mapping[str, float | bool]])
    kernel: Kernel = attrs.field(init=False)
    trace: Trace = attrs.field(init=False)
    interlock: Interlock = attrs.field(init=False)
    fast_shutter: FastShutter = attrs.field(init=False)
    safety_shutter: SafetyShutter = attrs.field(init=False)
    goniometer: Goniometer = attrs.field(init=False)
    detector: Detector = attrs.field(init=False)
    detector_cover: DetectorCover = attrs.field(init=False)
    detector_stage: DetectorStage = attrs.field(init=False)
    attenuator: Attenuator = attrs.field(init=False)
    monochromator: Monochromator = attrs.field(init=False)
    aperture: Aperture = attrs.field(init=False)
    cryo_stream: CryoStream = attrs.field(init=False)
    backlight: Backlight = attrs.field(init=False)
    head: Head = attrs.field(init=False)
    camera: Camera = attrs.field(init=False)
    fluorescence_detector: FluorescenceDetector = attrs.field(init=False)
    diodes: Diodes = attrs.field(init=False)
    ring: Ring = attrs.field(init=False)
    sample_changer: SampleChanger = attrs.field(init=False)
    person: Person = attrs.field(init=False)
    dose: Dose = attrs.field(init=False)
    checkers: Checkers = attrs.field(init=False)
    #: The devices by their roles.
    beamline: Beamline = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        unknown = sorted(set(self.without) - ROLES)
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such role; there are {', '.join(sorted(ROLES))}")
        self.kernel = Kernel(speed=self.speed)
        self.trace = Trace(self.kernel)
        self._build_what_exposes()
        self._build_beam()
        self._build_sample()
        self._build_measuring()
        self._build_checkers()
        self.beamline = Beamline(config=self.config, **{role: getattr(self, role) for role in ROLES if self._has(role)})

    def find_mounted(
        self, *, besides: Collection[Location | None] = (), centred_at_mm: Mapping[str, float] | None = None
    ) -> None:
        """Somebody has mounted a sample before the run: with the robot, where it has a pin to spare, else by hand.

        Parameters
        ----------
        besides : collection of Location
            Places in the dewar whose samples are wanted in it.
        centred_at_mm : mapping of str to float, optional
            And has centred it, with the table there; axes that are left out stay where they are.
        """
        place = self.sample_changer.find_mounted(besides) if self._has("sample_changer") else None
        if place is None:
            self.head.mount_by_hand()
        if centred_at_mm is not None:
            table_mm = dict(zip(("x_mm", "y_mm", "z_mm"), self._table_mm(), strict=True))
            at_um = (1e3 * centred_at_mm.get(axis, here_mm) for axis, here_mm in table_mm.items())
            self.head.put_sample(place, Sample(*at_um))

    @property
    def timings(self) -> Timings:
        """What a prediction of durations needs to know of this beamline."""
        goniometer, detector, shutter = self.goniometer, self.detector, self.fast_shutter
        # Closing and reading out go on while omega runs down, which takes longer.
        busy_s = max(shutter.closing_s, detector.readout_s)
        return Timings(
            time_to_speed_s=goniometer.time_to_speed_s,
            max_omega_speed_deg_s=goniometer.max_omega_speed_deg_s,
            omega_acceleration_deg_s2=goniometer.omega.acceleration,
            settle_s=goniometer.omega.settle_s,
            arm_s=detector.arm_s,
            readout_s=max(0.0, busy_s - goniometer.time_to_speed_s),
            shutter_opening_s=shutter.opening_s,
            shutter_closing_s=shutter.closing_s,
        )

    # -- building -----------------------------------------------------------------------------------------------------

    def _has(self, role: str) -> bool:
        return role not in self.without

    def _set(self, device: str) -> dict[str, Any]:
        return dict(self.settings.get(device, {}))

    def _random(self, device: str) -> Random:
        return Random(f"{self.seed}/{device}")

    def _build_what_exposes(self) -> None:
        kernel, trace = self.kernel, self.trace
        self.interlock = Interlock(trace, **self._set("interlock"))
        self.fast_shutter = FastShutter(kernel, trace, **self._set("fast_shutter"))
        self.safety_shutter = SafetyShutter(
            kernel,
            trace,
            interlock=self.interlock if self._has("interlock") else None,
            **self._set("safety_shutter"),
        )
        self.goniometer = Goniometer(kernel, trace, **self._set("goniometer"))
        self.detector = Detector(kernel, trace, follow_omega=self._follow_omega, **self._set("detector"))
        if self._has("fast_shutter") and self._has("detector"):
            self.goniometer.fast_shutter = self.fast_shutter
            self.goniometer.trigger = self.detector.trigger
            self.fast_shutter.take_gate_off = self.goniometer.take_gate_off
            self.fast_shutter.left_open = self.goniometer.shutter_left_open

    def _follow_omega(self) -> OmegaRecord:
        return self.goniometer.omega.trajectory.position_at

    def _build_beam(self) -> None:
        kernel, trace = self.kernel, self.trace
        self.ring = Ring(kernel, trace, self._random("ring"), **self._set("ring"))
        self.attenuator = Attenuator(kernel, trace, **self._set("attenuator"))
        self.monochromator = Monochromator(kernel, trace, **self._set("monochromator"))
        self.aperture = Aperture(kernel, trace, **self._set("aperture"))
        self.backlight = Backlight(kernel, trace, **self._set("backlight"))
        self.detector_cover = DetectorCover(kernel, trace, **self._set("detector_cover"))
        self.detector_stage = DetectorStage(kernel, trace, **self._set("detector_stage"))

    def _build_sample(self) -> None:
        kernel, trace = self.kernel, self.trace
        self.head = Head(self.seed, table_mm=self._table_mm, omega_deg=self.goniometer.omega.position)
        self.sample_changer = SampleChanger(
            kernel,
            trace,
            self._random("sample_changer"),
            distance_mm=self._distance_mm,
            hand_mounted=lambda: self.head.mounted_by_hand,
            bare_pins=self.bare_pins,
            **self._set("sample_changer"),
        )
        self.head.from_changer = lambda: self.sample_changer.on_goniometer
        self.camera = Camera(
            kernel,
            trace,
            self._random("camera"),
            self.head,
            lit=lambda: self.backlight.is_in_now or not self._has("backlight"),
            **self._set("camera"),
        )
        self.person = Person(
            kernel,
            trace,
            self._random("person"),
            deeds={Question.MOUNT_BY_HAND: self._mount_by_hand, Question.CENTRE_BY_HAND: self._centre_by_hand},
        )

    def _build_measuring(self) -> None:
        kernel, trace = self.kernel, self.trace
        self.dose = Dose(
            kernel,
            BeamPath(
                full_flux_ph_s=self.config.full_flux_ph_s or 0.0,
                omega=self.goniometer.omega,
                fast_shutter=self.fast_shutter,
                safety_shutter=self.safety_shutter if self._has("safety_shutter") else None,
                ring=self.ring if self._has("ring") else None,
                fractions=self._fractions(),
                in_beam=lambda: self.head.is_centred(HIT_TOLERANCE_UM),
            ),
        )
        self.cryo_stream = CryoStream(kernel, trace, self._random("cryo_stream"), **self._set("cryo_stream"))
        self.diodes = Diodes(
            kernel,
            trace,
            flux_ph_s=lambda: self.dose.hutch_flux_ph_s,
            energy_ev=self._energy_ev,
            safety_shutter_open=lambda: self.safety_shutter.wholly_open or not self._has("safety_shutter"),
            at_sample=lambda: self.fast_shutter.wholly_open,
            **self._set("diodes"),
        )
        self.fluorescence_detector = FluorescenceDetector(
            kernel,
            trace,
            self._random("fluorescence_detector"),
            energy_ev=self._energy_ev,
            flux_ph_s=lambda: self.dose.flux_ph_s,
            **self._set("fluorescence_detector"),
        )

    def _fractions(self) -> tuple[Callable[[], float], ...]:
        """What each device that this beamline has lets through."""
        fractions: dict[str, Callable[[], float]] = {
            "attenuator": lambda: self.attenuator.transmission_frac,
            "aperture": lambda: self.aperture.through_frac,
            "backlight": lambda: 1.0 if self.backlight.is_out_now else 0.0,
            # Between two energies the undulator and the crystals do not fit together. Assumed: no beam at all.
            "monochromator": lambda: 0.0 if self.monochromator.axis.is_moving else 1.0,
        }
        return tuple(fraction for role, fraction in fractions.items() if self._has(role))

    def _build_checkers(self) -> None:
        checkers = self.checkers = Checkers(
            self.kernel,
            self.fast_shutter,
            self.safety_shutter if self._has("safety_shutter") else None,
            self.sample_changer if self._has("sample_changer") else None,
        )
        self._check_light(checkers)
        self._check_images(checkers)
        self._check_dose(checkers)
        if self._has("sample_changer"):
            checkers.robot_rules += [
                RobotHasRoom(self.sample_changer, self._distance_mm),
                RobotOnlyInTheDark(self.fast_shutter, checkers.safety_shutter),
                RobotOnlyWhileGoniometerStands(self.goniometer),
                RobotOnlyWithDetectorAtRest(self.detector),
            ]
        detector, goniometer, changer = self.detector, self.goniometer, self.sample_changer
        stage, monochromator = self.detector_stage.axis, self.monochromator.axis
        at_rest = (State.IDLE, State.ERROR)
        checkers.at_rest_rules += [
            AtRest("FastShutterClosed", "the fast shutter was not closed", lambda: self.fast_shutter.closed),
            AtRest("SafetyShutterClosed", "the safety shutter was not closed", lambda: self.safety_shutter.closed),
            AtRest("DetectorAtRest", "the detector was neither idle nor in error", lambda: detector.state in at_rest),
            AtRest("GoniometerStands", "the goniometer moved", lambda: not goniometer.is_moving),
            AtRest("DetectorStageStands", "the detector stage moved", lambda: not stage.is_moving),
            AtRest("MonochromatorStands", "the monochromator moved", lambda: not monochromator.is_moving),
            AtRest("RobotStands", "the robot moved", lambda: not changer.is_moving),
        ]

    def _check_light(self, checkers: Checkers) -> None:
        """Rules of what may be while light can pass."""
        goniometer, detector = self.goniometer, self.detector
        others = [axis for axis in goniometer.axes.values() if axis is not goniometer.omega]
        checkers.open_rules += [
            BeamOnlyOnArmedDetector(detector),
            BeamOnlyInSweep(goniometer),
            OnlyOmegaMoves(others),
        ]
        checkers.settled_rules.append(LightOnlyInFrames(detector, goniometer, to_us(self.config.shutter_opening_s)))
        if self._has("detector_cover"):
            cover = self.detector_cover
            checkers.open_rules.append(NothingInTheBeam("the detector cover", lambda: cover.is_open_now))
        if self._has("backlight"):
            backlight = self.backlight
            checkers.open_rules.append(NothingInTheBeam("the backlight", lambda: backlight.is_out_now))
        if self._has("interlock"):
            told = self._has("safety_shutter")
            checkers.settled_rules.append(NoExposureInOpenHutch(self.interlock, None if told else UNTOLD_US))
            if told:
                checkers.rules.append(HutchSearched(self.safety_shutter, self.interlock))

    def _check_images(self, checkers: Checkers) -> None:
        detector = self.detector
        NoTriggerLost(detector, checkers.saying("NoTriggerLost"))
        FramesAreTrue(detector, self.dose, self.goniometer, checkers.saying("FramesAreTrue"))
        checkers.add(ReportedIsHandedOut(detector, checkers.saying("ReportedIsHandedOut")))
        checkers.add(ReportedAnglesAreNominal(checkers.saying("ReportedAnglesAreNominal")))
        checkers.add(SettingsAsAsked(self._energy_ev, self._distance_mm, checkers.saying("SettingsAsAsked")))

    def _check_dose(self, checkers: Checkers) -> None:
        light = LightAsPlanned(self.fast_shutter, self.config.shutter_opening_s, checkers.saying("LightAsPlanned"))
        photons = PhotonsAsAsked(
            lambda: self.attenuator.transmission_frac if self._has("attenuator") else 1.0,
            self._aperture_frac,
            checkers.saying("PhotonsAsAsked"),
        )
        run = DoseOfRun(self.dose, light, checkers.saying("DoseOfRun"))
        openings = Openings(self.dose, self.fast_shutter, self.detector, [light.judge, photons.judge, run.judge])
        checkers.opening_over.append(openings.over)
        checkers.add(photons)
        checkers.add(run)

    def _aperture_frac(self, size_um: float | None) -> float | None:
        """What an aperture of a size lets through; of the present one for None, and None between two."""
        if not self._has("aperture"):
            return 1.0
        if size_um is None and self.aperture.size_um is None:
            return None
        return self.aperture.through_frac if size_um is None else self.aperture.frac_through(size_um)

    # -- who sees and does what ---------------------------------------------------------------------------------------

    def _distance_mm(self) -> float:
        if self._has("detector_stage"):
            return self.detector_stage.distance_mm
        return self.config.fixed_distance_mm or 0.0

    def _energy_ev(self) -> float:
        return self.monochromator.energy_ev if self._has("monochromator") else self.config.fixed_energy_ev or 0.0

    def _table_mm(self) -> tuple[float, float, float]:
        axes = self.goniometer.axes
        return axes["x_mm"].position(), axes["y_mm"].position(), axes["z_mm"].position()

    async def _mount_by_hand(self) -> None:
        """A person opens the hutch, takes off what is there, puts a sample on, searches the hutch and leaves."""
        self.interlock.open_door()
        self.sample_changer.take_off_by_hand()
        self.head.mount_by_hand()
        self.interlock.search()

    async def _centre_by_hand(self) -> None:
        """A person looks at the camera and clicks on the crystal until it stays in place."""
        table_mm = self.head.centred_table_mm()
        if table_mm is not None:
            await self.goniometer.move(dict(zip(("x_mm", "y_mm", "z_mm"), table_mm, strict=True)))
