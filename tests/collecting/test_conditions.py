"""What the files say of the experiment is what was there, and images of another experiment are not added to."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import attrs
import h5py
import pytest
import trio

from fsmcollect import images, limits
from fsmcollect.collecting import storing
from fsmcollect.errors import InvalidRequest
from fsmcollect.events import Event, RunEnded, WedgeStarted
from fsmcollect.images import Experiment
from fsmcollect.request import Request
from fsmcollect.sim.beamline import CONFIG, SimulatedBeamline
from fsmcollect.storage import make_directories
from tests.collecting.rehearsing import INVERSE, Play, adapt, ask, simulate
from tests.collecting.test_files import data_files, skipping

UNASKED = ask(beam={"transmission_frac": None, "detector_distance_mm": None})


def experiment(play: Play) -> Experiment:
    """What the data files say; the masters say the same (see tests/test_images.py)."""
    return images.series_from_files(play.folder, "lyso_1")[0].experiment


def collected(request: Request, simulated: SimulatedBeamline, directory: Path) -> Experiment:
    play = Play(request, simulated, directory=directory).run()
    assert play.raised is None
    assert play.outcome == "done", play.result.failures
    return experiment(play)


@pytest.mark.parametrize("here_mm", [150.0, 432.1])
def test_the_distance_is_the_one_at_which_the_detector_stood_also_where_none_was_asked_for(
    here_mm: float, tmp_path: Path
) -> None:
    """Nearer than the robot needs, it makes room and goes back."""
    simulated = simulate()
    simulated.kernel.run(lambda: simulated.detector_stage.move(here_mm))
    assert collected(UNASKED, simulated, tmp_path).detector_distance_mm == pytest.approx(here_mm)
    assert simulated.detector_stage.distance_mm == pytest.approx(here_mm)


def test_a_transmission_that_was_not_asked_for_is_read_back(tmp_path: Path) -> None:
    simulated = simulate()
    simulated.kernel.run(lambda: simulated.attenuator.set_transmission(0.35))
    found = collected(UNASKED, simulated, tmp_path)
    assert found.transmission_frac == 0.35
    assert found.flux_ph_s is not None
    assert found.flux_ph_s == pytest.approx(0.35e12, rel=0.11)


@pytest.mark.parametrize("age_s", [0.0, 500.0])
def test_the_flux_is_that_of_the_rings_current(age_s: float, tmp_path: Path) -> None:
    simulated = simulate()
    simulated.ring.age_s = age_s
    simulated.ring.__attrs_post_init__()
    currents: list[float] = []

    async def read_current_ma() -> float:
        currents.append(simulated.ring.current_ma())
        return currents[-1]

    found = collected(ask(), adapt(simulated, "ring", read_current_ma=read_current_ma), tmp_path)
    assert found.flux_ph_s == pytest.approx(1e12 * 0.2 * currents[-1] / 300.0)
    assert (currents[-1] < 290.0) == (age_s > 0.0)


@pytest.mark.parametrize("asked", [None, 20.0])
def test_the_beams_size_is_the_apertures(asked: float | None, tmp_path: Path) -> None:
    simulated = simulate()
    there_um = simulated.aperture.size_um
    assert there_um != 20.0
    size_um = asked or there_um
    assert collected(ask(beam={"aperture_um": asked}), simulated, tmp_path).beam_size_um == (size_um, size_um)


def test_without_an_aperture_the_beams_size_is_the_beamlines(tmp_path: Path) -> None:
    assert collected(ask(), simulate(without={"aperture"}), tmp_path).beam_size_um == CONFIG.beam_size_um


def test_the_energy_is_the_one_read_back(tmp_path: Path) -> None:
    simulated = simulate()

    async def read_energy_ev() -> float:
        return simulated.monochromator.energy_ev + 1.5

    adapt(simulated, "monochromator", read_energy_ev=read_energy_ev)
    assert collected(ask(beam={"energy_ev": 9000.0}), simulated, tmp_path).energy_ev == pytest.approx(9001.5)


@pytest.mark.parametrize("asked", [False, True])
def test_the_other_axes_stand_where_the_files_say(asked: bool, tmp_path: Path) -> None:
    simulated = simulate()
    simulated.kernel.run(lambda: simulated.goniometer.move({"kappa_deg": 12.5, "phi_deg": -3.25}))
    request = ask(positions={"kappa_deg": 30.0, "phi_deg": 45.5}) if asked else ask()
    found = collected(request, simulated, tmp_path)
    assert (found.kappa_deg, found.phi_deg) == ((30.0, 45.5) if asked else (12.5, -3.25))


def test_a_goniometer_without_kappa_and_phi_says_nothing_of_them(tmp_path: Path) -> None:
    simulated = simulate()
    for name in ("kappa_deg", "phi_deg"):
        del simulated.goniometer.axes[name]
    found = collected(ask(), simulated, tmp_path)
    assert (found.kappa_deg, found.phi_deg) == (None, None)


def test_the_temperature_is_the_gass(tmp_path: Path) -> None:
    simulated = simulate()
    simulated.cryo_stream.temperature_k = 277.0
    assert collected(ask(), simulated, tmp_path / "there").temperature_k == pytest.approx(277.0, abs=1.0)
    assert collected(ask(), simulate(without={"cryo_stream"}), tmp_path / "not").temperature_k is None


def test_omega_turns_about_the_axis_of_the_configuration(tmp_path: Path) -> None:
    config = attrs.evolve(CONFIG, omega_axis=(0.0, -1.0, 0.0))
    play = Play(ask(), simulate(config=config), directory=tmp_path).run()
    play.check("done")
    assert experiment(play).omega_axis == (0.0, -1.0, 0.0)
    with h5py.File(play.folder / "lyso_1_master.h5", "r") as file:
        vectors: list[tuple[float, ...]] = []
        file["entry"].visititems(
            lambda name, item: vectors.append(tuple(item.attrs["vector"])) if name.endswith("/omega") else None
        )
    assert (0.0, -1.0, 0.0) in vectors


def test_the_start_is_when_the_first_image_begins_and_not_when_the_robot_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(ask(), directory=tmp_path)
    midnight = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)

    def now() -> str:
        return (midnight + dt.timedelta(microseconds=play.simulated.kernel.now_us)).isoformat()

    monkeypatch.setattr(storing, "_now", now)
    play.run()
    play.check("done")
    start_us = (dt.datetime.fromisoformat(experiment(play).start_time) - midnight) / dt.timedelta(microseconds=1)
    first_us = play.of(WedgeStarted)[0].t_us
    assert play.when_step("sample mounted") > 1_000_000
    assert first_us - 1_000 <= start_us <= first_us


def test_where_images_exist_already_the_series_began_with_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_now", lambda: "2026-01-31T10:00:00+00:00")
    first = Play(INVERSE, directory=tmp_path).run()
    data_files(first.folder)[-1].unlink()
    monkeypatch.setattr(storing, "_now", lambda: "2026-01-31T15:00:00+00:00")
    play = Play(skipping(INVERSE), directory=tmp_path).run()
    assert play.outcome == "done"
    with h5py.File(play.folder / "lyso_1_master.h5", "r") as file:
        assert file["entry/start_time"][()].decode().startswith("2026-01-31T10:00")


@pytest.mark.parametrize("distance_mm", [None, 200.0])
def test_a_beamline_that_does_not_know_its_distance_is_refused(distance_mm: float | None) -> None:
    config = attrs.evolve(CONFIG, fixed_distance_mm=None)
    with pytest.raises(InvalidRequest, match=r"beam\.detector_distance_mm.*has no detector stage and names no fixed"):
        Play(ask(beam={"detector_distance_mm": distance_mm}), simulate(without={"detector_stage"}, config=config))


# -- images that exist already -----------------------------------------------------------------------------------------


def interrupted(directory: Path, simulated: SimulatedBeamline | None = None) -> Play:
    """A run of which the last file is missing."""
    play = Play(INVERSE, simulated or simulate(), directory=directory).run()
    assert play.outcome == "done"
    data_files(play.folder)[-1].unlink()
    return play


def asked_again(**sections: dict[str, object]) -> Request:
    sweep = {"images": 20, **sections.pop("sweep", {})}
    return skipping(ask(sweep=sweep, inverse_beam={"wedge_images": 10}, **sections))


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        (r"energy_ev = 12700 eV; asked for is 12600 eV", {"beam": {"energy_ev": 12_600}}),
        (r"exposure_s = 0.01 s; asked for is 0.02 s", {"sweep": {"exposure_s": 0.02}}),
        (r"detector_distance_mm = 200 mm; asked for is 210 mm", {"beam": {"detector_distance_mm": 210.0}}),
        (r"transmission_frac = 0.2; asked for is 0.4", {"beam": {"transmission_frac": 0.4}}),
    ],
    ids=str,
)
def test_images_of_another_experiment_are_refused_in_words_and_left_alone(
    words: str, sections: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    first = interrupted(tmp_path)
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.h5")}
    play = Play(asked_again(**sections), directory=tmp_path).run()
    assert (play.outcome, play.result.safe, play.violations) == ("failed", True, [])
    assert words in play.result.failures[0]
    assert "move the files away or choose another prefix or run number" in play.result.failures[0]
    assert play.states == ["MOUNTING", "CLOSING", "IDLE"]
    assert play.of(WedgeStarted) == []
    for device in ("sample_changer", "detector_stage.distance_mm", "monochromator.energy_ev", "attenuator"):
        assert {text for _, text in play.commands(device)} <= {"stop"}, device
    assert {path.name: path.read_bytes() for path in first.folder.glob("*.h5")} == before


def reading(simulated: SimulatedBeamline, role: str, method: str, change: Callable[[float], float]) -> None:
    original = getattr(getattr(simulated, role), method)

    async def read() -> float:
        return change(await original())

    adapt(simulated, role, **{method: read})


@pytest.mark.parametrize(
    ("role", "method", "change"),
    [
        ("monochromator", "read_energy_ev", lambda ev: ev + 0.9 * limits.ENERGY_TOLERANCE * ev),
        ("detector_stage", "read_distance_mm", lambda mm: mm + 0.9 * limits.DISTANCE_TOLERANCE_MM),
        ("attenuator", "read_transmission_frac", lambda frac: frac - 0.9 * limits.transmission_tolerance(frac)),
    ],
)
def test_what_was_near_enough_to_be_taken_is_near_enough_to_be_added_to(
    role: str, method: str, change: Callable[[float], float], tmp_path: Path
) -> None:
    near = {"beam": {"detector_distance_mm": 80.0}}
    simulated = simulate()
    reading(simulated, role, method, change)
    request = ask(sweep={"images": 20}, inverse_beam={"wedge_images": 10}, **near)
    first = Play(request, simulated, directory=tmp_path).run()
    assert first.outcome == "done", first.result.failures
    data_files(first.folder)[-1].unlink()
    for later in (simulate(), simulated):
        play = Play(skipping(request), later, directory=tmp_path).run()
        assert play.outcome in ("done", "skipped"), play.result.failures


def test_what_is_not_asked_for_is_not_compared(tmp_path: Path) -> None:
    interrupted(tmp_path)
    play = Play(asked_again(beam={"transmission_frac": None, "detector_distance_mm": None}), directory=tmp_path).run()
    assert play.outcome == "done", play.result.failures


# -- what is on the disk, and whether there is room --------------------------------------------------------------------


def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What has been synced from now on, and that it existed by then."""
    found: list[Path] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        found.append(Path(os.path.realpath(f"/proc/self/fd/{descriptor}")))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_each_new_directory_is_on_the_disk_by_its_entry_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = synced(monkeypatch)
    make_directories(tmp_path / "proposal" / "crystal" / "data")
    above = tmp_path.resolve()
    assert found == [above, above / "proposal", above / "proposal" / "crystal"]
    found.clear()
    make_directories(tmp_path / "proposal" / "crystal" / "data")
    assert found == []


def test_a_new_journal_is_on_the_disk_by_its_entry_in_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = synced(monkeypatch)
    play = Play(INVERSE, directory=tmp_path)
    mounted: list[list[Path]] = []
    play.enters("CENTRING", lambda: mounted.append(list(found))).run()
    play.check("done")
    folder = play.folder.resolve()
    journal = mounted[0].index(folder / "events.jsonl")
    assert mounted[0][journal + 1] == folder, "its name, right after its content"


def test_where_only_a_part_is_missing_only_that_part_needs_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path)  # a quarter is missing
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    needed = _least_free(lambda: Play(INVERSE, directory=tmp_path / "elsewhere"), free)
    missing = _least_free(lambda: Play(skipping(INVERSE), directory=tmp_path), free)
    assert missing == pytest.approx(needed / 4, rel=0.05)
    free[0] = missing - 1
    with pytest.raises(InvalidRequest, match="MB free, and"):
        Play(skipping(INVERSE), directory=tmp_path)
    free[0] = missing
    assert Play(skipping(INVERSE), directory=tmp_path).run().outcome == "done"
    free[0] = 0
    assert Play(skipping(INVERSE), directory=tmp_path).run().outcome == "skipped"


def _least_free(build: Callable[[], object], free: list[int]) -> int:
    """With how few bytes free it is not refused."""
    low, high = -1, 10_000_000
    while high - low > 1:
        free[0] = (low + high) // 2
        try:
            build()
        except InvalidRequest:
            low = free[0]
        else:
            high = free[0]
    return high


# -- subscriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abort", [False, True])
def test_a_subscription_ends_with_the_run(abort: bool) -> None:
    """Whoever reads one in a loop is not left waiting: it would be a deadlock here."""
    play = Play(INVERSE)
    heard: list[Event] = []

    async def read() -> None:
        with play.collection.observers.subscription() as events:
            async for event in events:
                heard.append(event)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            if abort:
                play.enters("wedge.EXPOSING", play.collection.abort)
            await play.collection.run()

    play.simulated.kernel.run(both)
    assert isinstance(heard[-1], RunEnded)
    assert heard == play.events


@pytest.mark.parametrize(
    "role, method, answer, safe",
    [
        ("interlock", "is_searched", "no", True),
        ("person", "ask", "perhaps", True),
        ("backlight", "is_in", None, False),
        ("detector_cover", "is_closed", "half", False),
    ],
)
def test_an_answer_that_is_not_a_plain_yes_or_no_is_none(role: str, method: str, answer: object, safe: bool) -> None:
    async def say(*_: object) -> object:
        return answer

    play = Play(ask(centring={"validate": True}))
    adapt(play.simulated, role, **{method: say})
    play.enters("FAULT", play.scope.cancel).run()
    assert (play.outcome, play.result.safe) == ("failed", safe)
    assert not play.of(WedgeStarted)
