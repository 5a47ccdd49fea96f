"""A device that never answers: every method that a collection calls, one at a time, waits for ever."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

import attrs
import pytest
import trio

from fsmcollect.beamline import Beamline, roles
from fsmcollect.sim.beamline import CONFIG, SimulatedBeamline
from tests.collecting.rehearsing import SECOND_US, Play, adapt, ask, simulate

#: Asks something of every device that a collection has a use for.
EVERYTHING = ask(
    beam={"energy_ev": 12_000, "transmission_frac": 0.2, "detector_distance_mm": 200.0, "aperture_um": 20.0},
    sweep={"images": 4, "wedge_images": 2, "dark_image": True},
    positions={"kappa_deg": 0.0},
    centring={"validate": True},
    snapshots={"count": 1},
)
HOURS_2_US = 2 * 3600 * SECOND_US
#: What has no end by its contract, and what nobody calls.
WAITS_BY_CONTRACT = {("ring", "wait_for_loss"), ("ring", "wait_for_beam"), ("safety_shutter", "wait_while_open")}
NOT_CALLED = {
    ("fast_shutter", "open"),
    ("sample_changer", "unload"),
    ("fluorescence_detector", "measure"),
    ("diodes", "read_counts"),
    ("ring", "read_fill_mode"),
}
#: Without these nothing can be called safe.
NEEDED_TO_BE_SAFE = {
    ("fast_shutter", "close"),
    ("fast_shutter", "is_closed"),
    ("safety_shutter", "close"),
    ("safety_shutter", "is_closed"),
    ("goniometer", "stop"),
    ("goniometer", "is_still"),
    ("detector_stage", "stop"),
    ("detector_stage", "is_still"),
    ("monochromator", "stop"),
    ("monochromator", "is_still"),
    ("sample_changer", "stop"),
    ("sample_changer", "is_still"),
    ("detector", "disarm"),
    ("detector", "is_idle"),
    ("detector_cover", "close"),
    ("detector_cover", "is_closed"),
    ("backlight", "move_out"),
    ("backlight", "is_in"),
    ("diodes", "set_gains"),
}


#: Who does not answer here is known by what was to be done.
TOLD_OTHERWISE = {("camera", "locate"): "not centred within centring.timeout_s", ("person", "ask"): "no answer within"}


def _methods() -> list[tuple[str, str]]:
    """Every role and each of its methods that waits."""
    hints = typing.get_type_hints(Beamline)
    found: list[tuple[str, str]] = []
    for field in attrs.fields(Beamline):
        for protocol in typing.get_args(hints[field.name]):
            if getattr(protocol, "__module__", "") == roles.__name__:
                found += [(field.name, name) for name, _ in inspect.getmembers(protocol, inspect.iscoroutinefunction)]
    return found


METHODS = _methods()


def silence(simulated: SimulatedBeamline, role: str, method: str) -> list[str]:
    """The method waits for ever from its first call on; the list grows with its calls."""
    calls: list[str] = []

    async def wait_for_ever(*_: object, **__: object) -> None:
        calls.append(method)
        await trio.sleep_forever()

    adapt(simulated, role, **{method: wait_for_ever})
    return calls


def test_the_sweep_knows_every_role_and_every_method() -> None:
    assert {role for role, _ in METHODS} == {f.name for f in attrs.fields(Beamline) if f.default is None and f.init}
    assert set(METHODS) > NOT_CALLED | WAITS_BY_CONTRACT | NEEDED_TO_BE_SAFE


@pytest.mark.parametrize(("role", "method"), METHODS)
def test_a_method_that_never_answers_ends_the_run_in_time_and_never_as_done(
    role: str, method: str, tmp_path: Path
) -> None:
    simulated = simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0))
    simulated.kernel.run(lambda: simulated.detector_stage.move(150.0))  # so that it has to make room
    calls = silence(simulated, role, method)
    play = Play(EVERYTHING, simulated, directory=tmp_path)
    play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
    assert play.raised is None
    assert play.tasks_left == []
    assert play.simulated.kernel.now_us < HOURS_2_US
    assert bool(calls) == ((role, method) not in NOT_CALLED | {("ring", "wait_for_beam")})
    if (role, method) in NOT_CALLED | WAITS_BY_CONTRACT:
        play.check("done")
    elif (role, method) in NEEDED_TO_BE_SAFE:
        assert play.outcome == "failed"
        assert play.states[-2:] == ["FAULT", "ABANDONED"]
        assert not play.simulated.beamline.free
        assert "no answer within" in " ".join(play.result.failures)
    else:
        play.check("failed")
        words = TOLD_OTHERWISE.get((role, method), role)
        assert any(words in failure for failure in play.result.failures), "which device it is, is told"


@pytest.mark.parametrize("method", ["finish_sweep", "begin_sweep", "prepare_sweep", "move"])
def test_a_rotation_that_never_ends_is_stopped_also_in_a_long_wedge(method: str) -> None:
    play = Play(ask(sweep={"images": 360, "exposure_s": 0.02}))
    silence(play.simulated, "goniometer", method)
    play.run()
    play.check("failed")
    assert play.simulated.kernel.now_us < 300 * SECOND_US
    state = {"finish_sweep": "EXPOSING", "begin_sweep": "RUNNING_UP", "prepare_sweep": "ARMING"}.get(method, "mounting")
    assert state in play.result.failures[0], "what it was about is told"
