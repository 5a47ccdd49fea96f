"""Wavelength, and the resolution that a flat detector facing the beam records."""

from __future__ import annotations

import math

from fsmcollect.beamline.values import DetectorInfo

#: h*c, CODATA 2018 (exact since 2019): wavelength_a = HC_EV_A / energy_ev.
HC_EV_A = 12398.419843320026


def wavelength_a(energy_ev: float) -> float:
    """Photon wavelength in angstrom."""
    return HC_EV_A / energy_ev


def distance_for_resolution_mm(detector: DetectorInfo, resolution_a: float, energy_ev: float) -> float:
    """Distance at which the nearest edge of the detector records `resolution_a` (Bragg: wavelength = 2 d sin theta).

    Raises
    ------
    ValueError
        The resolution is finer than half the wavelength: no distance reaches it.
    """
    sine = wavelength_a(energy_ev) / (2.0 * resolution_a)
    if not 0.0 < sine < math.sin(math.pi / 4):
        raise ValueError(
            f"{resolution_a:g} A cannot be recorded at {energy_ev:g} eV by a flat detector facing the beam"
        )
    return _nearest_edge_m(detector) / math.tan(2.0 * math.asin(sine)) * 1e3


def resolution_at_distance_a(detector: DetectorInfo, distance_mm: float, energy_ev: float) -> float:
    """Resolution at the detector's nearest edge."""
    two_theta = math.atan(_nearest_edge_m(detector) / (distance_mm * 1e-3))
    return wavelength_a(energy_ev) / (2.0 * math.sin(two_theta / 2.0))


def _nearest_edge_m(detector: DetectorInfo) -> float:
    fast, slow = detector.beam_centre_px
    pixels = min(fast, slow, detector.pixels_fast - fast, detector.pixels_slow - slow)
    return pixels * detector.pixel_size_m
