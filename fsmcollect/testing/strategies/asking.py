"""Requests and plans that a simulated beamline can collect, and that take it milliseconds.

Owns which settings are drawn and how they shrink: towards one image of a sample in the dewar. Owns no limit: what a
beamline can do is asked of the beamline and of `fsmcollect.limits`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from fractions import Fraction
from typing import TypeVar

from hypothesis import strategies as st

from fsmcollect import limits
from fsmcollect.beamline import Beamline
from fsmcollect.errors import InvalidRequest
from fsmcollect.request import (
    Beam,
    Centring,
    CentringMethod,
    Files,
    InverseBeam,
    Request,
    Sample,
    Snapshots,
    SweepRequest,
)
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.wedges import Plan, make_plan

T = TypeVar("T")


def _mostly(usual: T, otherwise: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Two times of three the usual, to which it shrinks."""
    return st.one_of(st.just(usual), st.just(usual), otherwise)


# Made once: making a strategy costs more than drawing from it. All within what the simulated devices can do and
# the field usually asks for, the simplest first.
_RARELY = _mostly(False, st.just(True))
_WIDTHS_DEG = st.sampled_from([Fraction(n) / d for n, d in ((1, 2), (1, 10), (1, 1), (-1, 2), (0, 1), (1, 3), (2, 1))])
_STARTS_DEG = _mostly(Fraction(0), st.fractions(-360, 360, max_denominator=10))
_OVERLAPS_DEG = _mostly(Fraction(0), st.sampled_from([Fraction(-1), Fraction(1, 20)]))
_EXPOSURES_S = st.sampled_from([0.05, 0.01, 0.2, 0.1, 0.005, 0.02])
_FIRST_IMAGES = _mostly(1, st.sampled_from([0, 7, 1000]))
_PASSES = st.integers(1, 3)
_ENERGIES_EV = st.sampled_from([12_700.0, 6_500.0, 9_000.0, 19_000.0])
_DISTANCES_MM = st.sampled_from([200.0, 300.0, 150.0, 450.0, None])
_TRANSMISSIONS = st.sampled_from([0.2, 1.0, 0.0, 0.05, None])
_APERTURES_UM = _mostly(None, st.sampled_from([10.0, 20.0, 50.0, 100.0]))
#: Of centring. People take up to 180 s to mount a sample, and are given as long again.
_TIMEOUT_S, _PATIENT_TIMEOUT_S = 120.0, 360.0
_SNAPSHOTS = _mostly(0, st.integers(1, 4))
_NO_POSITIONS: dict[str, float] = {}
_POSITIONS = _mostly(_NO_POSITIONS, st.sampled_from([{"kappa_deg": 30.0}, {"phi_deg": -45.0}]))


@functools.lru_cache(maxsize=64)
def beamline_without(without: frozenset[str]) -> Beamline:
    """A simulated beamline to be asked for its limits; it is never run."""
    return SimulatedBeamline(without=without).beamline


def requests(
    *, max_images: int = 12, without: Collection[str] = frozenset(), run_number: int = 1, acceptable: bool = True
) -> st.SearchStrategy[Request]:
    """Requests for one collection.

    Parameters
    ----------
    max_images : int
        Most images in all, both passes of inverse beam together; at least 1.
    without : collection of str
        Roles that the beamline lacks: nothing is asked of them.
    run_number : int
        Told apart by it, several requests can share a directory.
    acceptable : bool
        Only what `fsmcollect.limits` accepts of the simulated beamline. Otherwise a few are refused too.
    """
    return _cached(max_images, frozenset(without), run_number, acceptable)


@functools.lru_cache(maxsize=256)
def _cached(max_images: int, without: frozenset[str], run_number: int, acceptable: bool) -> st.SearchStrategy[Request]:
    drawn = _requests(max_images, without, run_number)
    return drawn.filter(lambda request: is_acceptable(request, without)) if acceptable else drawn


def is_acceptable(request: Request, without: Collection[str] = frozenset()) -> bool:
    """Whether a simulated beamline that lacks these roles would collect it."""
    try:
        limits.check(request, make_plan(request), beamline_without(frozenset(without)))
    except InvalidRequest:
        return False
    return True


def plans(*, max_images: int = 12, without: Collection[str] = frozenset()) -> st.SearchStrategy[Plan]:
    """Plans of acceptable requests; see `requests` for the parameters."""
    return requests(max_images=max_images, without=without).map(make_plan)


@st.composite
def _requests(draw: st.DrawFn, max_images: int, without: frozenset[str], run_number: int) -> Request:
    sweep, inverse_beam = draw(_sweeps(max_images))
    sample = draw(_samples(without))
    return Request(
        sample=sample,
        files=Files(directory="data", prefix="lyso", run_number=run_number),
        beam=draw(_beams(without)),
        sweep=sweep,
        inverse_beam=inverse_beam,
        centring=draw(_centrings(sample, without)),
        snapshots=Snapshots(count=draw(_SNAPSHOTS) if "camera" not in without else 0),
        positions=draw(_POSITIONS),
    )


# Hypothesis takes for simplest what needs the fewest choices, whatever they are: so each way draws what all ways need.


@st.composite
def _sweeps(draw: st.DrawFn, max_images: int) -> tuple[SweepRequest, InverseBeam | None]:
    inverse = draw(_RARELY) and max_images > 1
    images = draw(st.integers(1, max_images // 2 if inverse else max_images))
    wedge_images = draw(st.integers(0, images)) or None
    width_deg = draw(_WIDTHS_DEG)
    shutterless = not draw(_RARELY)
    passes = draw(_PASSES)
    overlap_deg = draw(_OVERLAPS_DEG)
    overlaps = wedge_images is not None and not inverse and width_deg != 0
    sweep = SweepRequest(
        omega_start_deg=draw(_STARTS_DEG),
        image_width_deg=width_deg,
        images=images,
        exposure_s=draw(_EXPOSURES_S),
        first_image=draw(_FIRST_IMAGES),
        wedge_images=None if inverse else wedge_images,
        overlap_deg=overlap_deg if overlaps else Fraction(0),
        passes=1 if shutterless else passes,
        shutterless=shutterless,
        dark_image=draw(_RARELY),
    )
    return sweep, InverseBeam(wedge_images=wedge_images or images) if inverse else None


@st.composite
def _samples(draw: st.DrawFn, without: frozenset[str]) -> Sample:
    """From the dewar where there is a robot, else by hand where there is somebody, else it is there already."""
    changer = beamline_without(without).sample_changer
    ways: list[str] = [] if changer is None else ["dewar"]
    ways += ["by hand"] if "person" not in without else []
    way = draw(st.sampled_from([*ways, "mounted"]))
    places = [None] if changer is None else changer.places
    place = places[draw(st.integers(0, len(places) - 1))]
    return Sample(location=place if way == "dewar" else None, mounted=way == "mounted")


@st.composite
def _beams(draw: st.DrawFn, without: frozenset[str]) -> Beam:
    return Beam(
        energy_ev=None if "monochromator" in without else draw(_ENERGIES_EV),
        transmission_frac=None if "attenuator" in without else draw(_TRANSMISSIONS),
        detector_distance_mm=None if "detector_stage" in without else draw(_DISTANCES_MM),
        aperture_um=None if "aperture" in without else draw(_APERTURES_UM),
    )


@st.composite
def _centrings(draw: st.DrawFn, sample: Sample, without: frozenset[str]) -> Centring:
    methods = [CentringMethod.AUTO] if "camera" not in without else []
    methods += [CentringMethod.NONE]
    methods += [CentringMethod.MANUAL] if "person" not in without else []
    method = draw(st.sampled_from(methods))
    by_hand = method is CentringMethod.MANUAL or sample.location is None
    validate = draw(_RARELY) and "person" not in without
    return Centring(method=method, timeout_s=_PATIENT_TIMEOUT_S if by_hand else _TIMEOUT_S, validate=validate)
