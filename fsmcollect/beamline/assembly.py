"""A beamline: its configuration, its devices, and who owns it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from fsmcollect.beamline.roles import (
    Aperture,
    Attenuator,
    Backlight,
    Camera,
    CryoStream,
    Detector,
    DetectorCover,
    DetectorStage,
    Diodes,
    FastShutter,
    FluorescenceDetector,
    Goniometer,
    Interlock,
    Monochromator,
    Person,
    Ring,
    SafetyShutter,
    SampleChanger,
)
from fsmcollect.errors import BeamlineBusy, SafingError


@attrs.frozen(kw_only=True)
class BeamlineConfig:
    """What is fixed about a beamline. The last six fields are for whoever describes it, such as a laboratory database.

    `fixed_energy_ev` is the wavelength of a beamline without a monochromator, `fixed_distance_mm` the distance of
    one without a detector stage.
    """

    name: str
    synchrotron_name: str
    instrument_short_name: str
    #: How long the fast shutter needs from the open command to wholly open; the gate sends it that much earlier. No
    #: default: whoever forgot it would take the first images through a moving blade.
    shutter_opening_s: float
    fixed_energy_ev: float | None = None
    fixed_distance_mm: float | None = None
    #: Unit vector about which omega turns right-handedly, in the NeXus (McStas) frame: x to the left when looking along
    #: the beam, y up, z along the beam. Assumed: horizontal, as at Diamond; a wrong one gives a wrong geometry.
    omega_axis: tuple[float, float, float] = (-1.0, 0.0, 0.0)
    min_exposure_s: float = 0.0
    #: Where the goniometer has to stand while the robot exchanges samples (``x_mm``, ...); empty for wherever it is.
    #: The centring of the next sample begins here: from where the last one was centred, it may be out of sight.
    mount_positions: Mapping[str, float] = attrs.field(factory=dict[str, float])
    #: Warmer than this (with a cryo stream), nothing is exposed; None for no check.
    max_sample_temperature_k: float | None = None
    #: Flux of the full beam at the sample, without attenuation, at `full_flux_at_ma` of ring current; for metadata.
    full_flux_ph_s: float | None = None
    full_flux_at_ma: float | None = None
    beam_size_um: tuple[float, float] | None = None
    undulators: tuple[str, ...] = ()
    focusing_optic: str = ""
    monochromator_type: str = ""
    beam_divergence_mrad: tuple[float, float] | None = None
    polarisation_frac: float | None = None

    def flux_ph_s(self, transmission_frac: float | None, ring_current_ma: float | None) -> float | None:
        """Flux at the sample, as far as it is known; without an attenuator nothing is attenuated."""
        if self.full_flux_ph_s is None:
            return None
        flux_ph_s = self.full_flux_ph_s * (1.0 if transmission_frac is None else transmission_frac)
        if self.full_flux_at_ma is not None and ring_current_ma is not None:
            flux_ph_s *= ring_current_ma / self.full_flux_at_ma
        return flux_ph_s


@attrs.define(eq=False, kw_only=True)
class Beamline:
    """The devices of one beamline; any may be lacking. To expose, it needs goniometer, detector and fast shutter.

    It is owned by one run at a time (`claim`), and remembers a FAULT until somebody acknowledges it.
    """

    config: BeamlineConfig
    goniometer: Goniometer | None = None
    detector: Detector | None = None
    fast_shutter: FastShutter | None = None
    safety_shutter: SafetyShutter | None = None
    interlock: Interlock | None = None
    detector_cover: DetectorCover | None = None
    detector_stage: DetectorStage | None = None
    attenuator: Attenuator | None = None
    monochromator: Monochromator | None = None
    aperture: Aperture | None = None
    cryo_stream: CryoStream | None = None
    backlight: Backlight | None = None
    camera: Camera | None = None
    fluorescence_detector: FluorescenceDetector | None = None
    diodes: Diodes | None = None
    ring: Ring | None = None
    sample_changer: SampleChanger | None = None
    person: Person | None = None
    #: Why no run may begin: safing could not be verified. None when there is none; `safing.acknowledge` clears it.
    fault: SafingError | None = attrs.field(init=False, default=None)
    _owner: str | None = attrs.field(init=False, default=None)

    @property
    def owner(self) -> str | None:
        """The run that owns the beamline; None when it is nobody's."""
        return self._owner

    @property
    def free(self) -> bool:
        """No run owns the beamline and no fault is latched on it."""
        return self._owner is None and self.fault is None

    def require_free(self) -> None:
        """Do nothing where a run may begin.

        Raises
        ------
        BeamlineBusy
            Another run owns the beamline, or a fault is latched.
        """
        if self.fault is not None:
            raise BeamlineBusy(f"a fault is latched on {self.config.name} until acknowledged: {self.fault}")
        if self._owner is not None:
            raise BeamlineBusy(f"{self.config.name} is owned by the run {self._owner!r} until that has been made safe")

    def claim(self, run: str) -> None:
        """Make `run` the one owner, until `release`. Raises BeamlineBusy."""
        self.require_free()
        self._owner = run

    def release(self) -> None:
        """Give the beamline free after the run that owned it has been made safe."""
        self._owner = None
