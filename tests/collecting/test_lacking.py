"""Any subset of devices may be lacking: a request is refused before anything moves, or carried out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.request import Request
from fsmcollect.sim.beamline import ROLES
from fsmcollect.sim.camera import Sample
from tests.collecting.rehearsing import Play, ask, simulate

OPTIONAL = sorted(ROLES - {"goniometer", "detector", "fast_shutter"})

REQUESTS = st.builds(
    ask,
    sample=st.sampled_from([{}, {"location": None}]),
    beam=st.sampled_from(
        [
            {},
            {"transmission_frac": None},
            {"energy_ev": None, "transmission_frac": None, "detector_distance_mm": None},
            {"detector_distance_mm": None, "resolution_a": 1.8},
            {"aperture_um": 50.0},
        ]
    ),
    sweep=st.sampled_from([{}, {"shutterless": False, "images": 2, "exposure_s": 0.2}, {"dark_image": True}]),
    centring=st.sampled_from([{"method": "auto"}, {"method": "manual"}, {"method": "none"}, {"validate": True}]),
    snapshots=st.sampled_from([{}, {"count": 1}]),
)


def collect_lacking(request: Request, lacking: frozenset[str]) -> None:
    simulated = simulate(without=lacking)
    # Where no centring is asked for, the sample sits where the beam is.
    for location in (None, *simulated.sample_changer.places):
        simulated.head.put_sample(location, Sample(0.0, 0.0, 0.0))
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        try:
            play = Play(request, simulated, directory=directory)
        except InvalidRequest as refusal:
            assert refusal.problems  # noqa: PT017  (whether it is refused depends on what is lacking)
            assert list(directory.iterdir()) == []
            assert simulated.kernel.now_us == 0
            assert simulated.trace.sha256() == simulate().trace.sha256()
            return
        play.run()
        assert play.raised is None, lacking
        play.check("done")
        assert all(play.commands(role) == [] for role in lacking if role != "interlock")


@given(REQUESTS, st.frozensets(st.sampled_from(OPTIONAL)))
@settings(max_examples=100)
def test_whatever_a_beamline_lacks_a_request_is_refused_or_done(request: Request, lacking: frozenset[str]) -> None:
    collect_lacking(request, lacking)


@pytest.mark.parametrize("role", [None, *OPTIONAL])
def test_every_single_device_may_be_lacking(role: str | None) -> None:
    for request in (
        ask(),
        ask(sample={"location": None}, centring={"method": "manual"}),
        ask(
            sample={"location": None},
            centring={"method": "none"},
            beam={"energy_ev": None, "transmission_frac": None, "detector_distance_mm": None},
        ),
    ):
        collect_lacking(request, frozenset({role} if role else ()))


@pytest.mark.parametrize("role", ["goniometer", "detector", "fast_shutter"])
def test_what_exposing_needs_is_not_optional(role: str) -> None:
    with pytest.raises(InvalidRequest, match=role.replace("_", " ")):
        Play(ask(), simulate(without={role}))


def test_the_barest_beamline_collects() -> None:
    """Goniometer, detector, fast shutter, and somebody to put the sample on."""
    request = ask(
        sample={"location": None},
        centring={"method": "manual"},
        beam={"energy_ev": None, "transmission_frac": None, "detector_distance_mm": None},
    )
    collect_lacking(request, frozenset(OPTIONAL) - {"person"})
