"""The order of one collection, and that every part of a request is heeded."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import attrs
import pytest
from PIL import Image

from fsmcollect.beamline import Location, Range
from fsmcollect.errors import InvalidRequest
from fsmcollect.events import (
    Event,
    ImagesTaken,
    Moved,
    PersonAsked,
    RunEnded,
    RunStarted,
    SafingStep,
    StepDone,
    WedgeStarted,
)
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.camera import Sample
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.values import Deed, Does, Expectation, Strike
from fsmcollect.simulate import playing
from tests.collecting.rehearsing import INVERSE, WAYS, Play, adapt, ask, simulate


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_exposing_takes_every_image_once_in_order_and_violates_nothing(way: str) -> None:
    Play(WAYS[way]).run().check("done")


def test_the_events_of_one_collection_come_in_the_order_of_the_field() -> None:
    play = Play(ask(snapshots={"count": 1}, centring={"validate": True}), first_of_list=True).run()
    play.check("done")
    assert type(play.events[0]) is RunStarted
    assert type(play.events[-1]) is RunEnded
    assert play.states == ["MOUNTING", "CENTRING", "OSCILLATING", "CLOSING", "IDLE"]
    beside = {"energy", "transmission", "detector distance"}  # they move while the sample is mounted and centred
    assert [step for step in play.steps if step not in beside] == [
        "sample mounted",
        "centred",
        "centring validated",
        "snapshot",
        "dark image",
        "detector cover open",
        "safety shutter open",
        "diode gains",
    ]
    assert beside < set(play.steps)
    assert play.of(WedgeStarted)[0].t_us >= max(step.t_us for step in play.of(StepDone))
    assert [event.t_us for event in play.events] == sorted(event.t_us for event in play.events)


def test_the_wedges_states_follow_each_other() -> None:
    play = Play(INVERSE).run()
    once = ["ARMING", "RUNNING_UP", "EXPOSING", "DRAINING", "TAKEN"]
    assert [move.dest for move in play.of(Moved) if move.machine == "wedge"] == once * 4
    shuttered = Play(ask(sweep={"images": 2, "passes": 2, "shutterless": False, "exposure_s": 0.2})).run()
    moves = [move.dest for move in shuttered.of(Moved) if move.machine == "wedge"]
    assert moves == ["ARMING", *["RUNNING_UP", "EXPOSING"] * 4, "DRAINING", "TAKEN"]


def test_the_optics_move_while_the_sample_is_mounted_and_the_detector_waits_for_the_robot_to_leave() -> None:
    play = Play(ask(beam={"energy_ev": 9000.0})).run()
    play.check("done")
    mounted_us = play.when_step("sample mounted")
    assert play.instant("monochromator.energy_ev", "move 9000.000000") < mounted_us
    assert play.when_step("transmission") < mounted_us
    assert mounted_us <= play.instant("detector_stage.distance_mm", "move 200.000000") < play.when_step("centred")
    assert play.when_step("detector distance") < play.of(WedgeStarted)[0].t_us


def test_a_detector_that_the_robot_does_not_fear_moves_at_once() -> None:
    play = Play(ask(beam={"detector_distance_mm": 400.0})).run()
    play.check("done")
    assert play.instant("detector_stage.distance_mm", "move 400.000000") == 0


def test_a_detector_that_is_too_near_makes_room_before_the_robot_moves() -> None:
    simulated = simulate()
    simulated.kernel.run(lambda: simulated.detector_stage.move(150.0))
    play = Play(ask(), simulated).run()
    play.check("done")
    assert play.steps[:2] == ["detector makes room for the sample changer", "energy"]
    assert play.when_step("detector makes room for the sample changer") <= play.instant("sample_changer", "load 1:5")


def test_while_a_person_mounts_the_detector_does_not_move() -> None:
    for distance_mm in (200.0, 700.0):
        play = Play(ask(sample={"location": None}, beam={"detector_distance_mm": distance_mm})).run()
        play.check("done")
        assert play.instant("detector_stage.distance_mm", f"move {distance_mm:.6f}") >= play.when_step("sample mounted")
        assert [event.question for event in play.of(PersonAsked)] == ["mount_by_hand"]


def test_a_sample_that_is_there_already_is_not_fetched_again_and_nothing_waits_for_a_robot() -> None:
    simulated = simulate()
    simulated.kernel.run(lambda: simulated.sample_changer.load(ask().sample.location))  # type: ignore[arg-type]
    began_us = simulated.kernel.now_us
    play = Play(ask(), simulated).run()
    play.check("done")
    assert play.instant("detector_stage.distance_mm", "move 200.000000") == began_us
    assert [text for _, text in play.commands("sample_changer")] == ["stop"]


def test_the_safety_shutter_opens_only_after_centring_and_the_cover_before_it() -> None:
    play = Play(ask(snapshots={"count": 4})).run()
    play.check("done")
    centred_us = next(move.t_us for move in play.of(Moved) if move.event == "CENTRED")
    assert centred_us <= play.instant("detector_cover", "to open") < play.instant("safety_shutter", "open")
    assert play.instant("safety_shutter", "open") < play.instant("fast_shutter", "gate open")
    last_us, note = play.commands("safety_shutter")[-1]
    assert (note, last_us >= max(event.t_us for event in play.of(ImagesTaken))) == ("close", True)
    assert play.commands("detector_cover")[-1][1] == "at closed"


def test_a_dark_image_is_taken_for_a_lists_first_or_when_asked_with_the_shutter_closed() -> None:
    for play, dark in (
        (Play(ask()), False),
        (Play(ask(), first_of_list=True), True),
        (Play(ask(sweep={"dark_image": True})), True),
    ):
        play.run().check("done")
        assert ("dark image" in play.steps) is dark
        assert ("dark" in [text for _, text in play.commands("detector")]) is dark
        if dark:
            assert play.instant("detector", "dark") < play.instant("detector_cover", "to open")


def test_the_diodes_gains_are_adjusted_in_the_beam_and_put_back_at_the_end() -> None:
    simulated = simulate()
    before = simulated.kernel.run(simulated.diodes.read_gains)
    play = Play(ask(), simulated).run()
    play.check("done")
    notes = [text for _, text in play.commands("diodes")]
    assert notes[0] == "adjust gains"
    assert notes[-1] == f"set gains {before[0]} {before[1]}"
    assert simulated.kernel.run(simulated.diodes.read_gains) == before


@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("keeps_files", [False, True])
def test_snapshots_are_pictures_90_degrees_apart_from_where_the_sweep_begins(
    count: int, keeps_files: bool, tmp_path: Path
) -> None:
    request = ask(snapshots={"count": count}, sweep={"omega_start_deg": 30.0})
    play = Play(request, directory=tmp_path if keeps_files else None).run()
    play.check("done")
    details = [step.detail for step in play.of(StepDone) if step.step == "snapshot"]
    assert details == [f"omega {30 + 90 * number} deg" for number in range(count)]
    names = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert names == ([f"lyso_1_snapshot_{number + 1}.png" for number in range(count)] if keeps_files else [])
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert len(set(picture.convert("L").tobytes())) > 1, "an empty picture"


def test_the_goniometer_goes_to_the_positions_asked_for_and_stays_there() -> None:
    play = Play(
        ask(positions={"kappa_deg": 30.0, "phi_deg": -45.5}, centring={"method": "none"}, sample={"location": None})
    )
    adapt_centred(play.simulated)
    play.run()
    play.check("done")
    positions = play.simulated.kernel.run(play.simulated.goniometer.read_positions)
    assert (positions["kappa_deg"], positions["phi_deg"]) == (30.0, -45.5)
    assert play.steps.index("goniometer positions") < play.steps.index("safety shutter open")


def adapt_centred(simulated: SimulatedBeamline) -> None:
    """What is mounted by hand sits where the beam is: no centring is needed."""
    simulated.head.put_sample(None, Sample(0.0, 0.0, 0.0))


def test_a_crystal_is_hit_only_after_it_has_been_centred_by_camera_or_by_hand() -> None:
    for method in ("auto", "manual"):
        play = Play(ask(centring={"method": method})).run()
        play.check("done")
        assert play.simulated.head.is_centred(12.0)
        assert play.simulated.dose.photons > 0


def test_a_transmission_of_0_is_a_value_like_any_other() -> None:
    play = Play(ask(beam={"transmission_frac": 0.0})).run()
    play.check("done")
    assert play.instant("attenuator", "at 0.0") < play.of(WedgeStarted)[0].t_us
    assert play.simulated.dose.photons == 0


def test_what_is_not_asked_for_is_left_as_it_stands() -> None:
    play = Play(ask(beam={"transmission_frac": None, "detector_distance_mm": None})).run()
    play.check("done")
    assert play.commands("attenuator") == []
    assert not [text for _, text in play.commands("detector_stage.distance_mm") if text.startswith("move")]


@pytest.mark.parametrize(
    "sweep",
    [
        {"first_image": 0},
        {"first_image": 101},
        {"image_width_deg": -0.5, "omega_start_deg": -3.3},
        {"image_width_deg": 0, "omega_start_deg": 77.7},
        {"wedge_images": 7, "overlap_deg": 0.75},
        {"wedge_images": 7, "overlap_deg": -2},
        {"shutterless": False, "passes": 3, "images": 3, "exposure_s": 0.3},
        {"omega_start_deg": 1000.1, "image_width_deg": 0.1},
        {"images": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("inverse", [False, True])
def test_images_have_the_numbers_and_angles_asked_for(sweep: dict[str, object], inverse: bool, tmp_path: Path) -> None:
    if inverse:
        sweep = {name: value for name, value in sweep.items() if name != "wedge_images"}
    play = Play(
        ask(sweep=sweep, **({"inverse_beam": {"wedge_images": 7}} if inverse else {})), directory=tmp_path
    ).run()
    play.check("done")
    asked = play.request.sweep
    first = next(event for event in play.of(ImagesTaken) if event.series == "lyso_1")
    assert first.first_image == asked.first_image
    assert first.omega_recorded_deg == pytest.approx(float(asked.omega_start_deg), abs=1e-6)
    for wedge in play.collection.plan.wedges:
        for number in range(wedge.first_image, wedge.first_image + wedge.images):
            step = Fraction(number - wedge.first_image) * asked.image_width_deg
            assert wedge.image_start_deg(number) == wedge.omega_start_deg + step
    passes = [text for _, text in play.commands("detector")].count("trigger")
    assert passes == (
        play.collection.plan.images * asked.passes if not asked.shutterless else len(play.of(WedgeStarted))
    )


def test_a_beamline_and_a_run_can_be_shown_in_a_debugger() -> None:
    """Everything is wired to everything; shown in full, that would be hundreds of megabytes."""
    play = Play(INVERSE).run()
    assert len(repr(play.collection)) + len(repr(play.simulated)) + len(repr(play.simulated.beamline)) < 100_000


def test_two_collections_follow_each_other_on_one_beamline() -> None:
    first = Play(INVERSE).run()
    first.check("done")
    second = Play(ask(sample={"location": "2:3"}), first.simulated)
    second.run()
    second.check("done")
    assert second.events[0].t_us == 0


def test_the_robot_finds_the_goniometer_where_samples_are_mounted() -> None:
    """Wherever the sample before had to be moved: the next one must be where the camera looks."""
    first = Play(INVERSE).run()
    simulated = first.simulated
    centred = simulated.kernel.run(simulated.goniometer.read_positions)
    at_loading: list[Mapping[str, float]] = []

    async def load(location: Location) -> None:
        at_loading.append(await simulated.goniometer.read_positions())
        await simulated.sample_changer.load(location)

    adapt(simulated, "sample_changer", load=load)
    Play(ask(sample={"location": "2:3"}), simulated).run().check("done")
    mount = simulated.config.mount_positions
    assert {axis: at_loading[0][axis] for axis in mount} == mount
    assert {axis: centred[axis] for axis in mount} != mount, "the crystal before was centred elsewhere"


def test_the_time_of_events_counts_from_the_runs_own_beginning_also_where_observers_are_shared() -> None:
    from fsmcollect.collecting.collection import Collection

    play = Play(ask())
    following = Collection(
        beamline=play.simulated.beamline, request=ask(sample={"location": "2:3"}), observers=play.collection.observers
    )

    async def both() -> None:
        await play.collection.run()
        await following.run()

    play.simulated.kernel.run(both)
    assert [event.t_us for event in play.of(RunStarted)] == [0, 0]


def test_two_journals_of_one_list_of_observers_hold_their_own_run_each(tmp_path: Path) -> None:
    from fsmcollect.collecting.collection import Collection

    play = Play(ask(), directory=tmp_path)
    other = ask(sample={"location": "2:3"}, files={"directory": "other"})
    following = Collection(
        beamline=play.simulated.beamline, request=other, observers=play.collection.observers, directory=tmp_path
    )

    async def both() -> None:
        await play.collection.run()
        await following.run()

    play.simulated.kernel.run(both)
    for folder in ("data", "other"):
        lines = (tmp_path / folder / "events.jsonl").read_text().splitlines()
        assert sum('"event":"run_started"' in line for line in lines) == 1
        assert sum('"event":"run_ended"' in line for line in lines) == 1


def test_a_second_run_on_a_busy_beamline_is_refused_and_the_first_goes_on_unharmed() -> None:
    from fsmcollect.collecting.collection import Collection
    from fsmcollect.errors import BeamlineBusy

    alone = Play(INVERSE).run()
    play = Play(INVERSE)
    refusals: list[str] = []

    async def intrude() -> None:
        import trio

        events: list[object] = []
        for _ in range(20):
            intruder = Collection(beamline=play.simulated.beamline, request=ask(files={"prefix": "other"}))
            intruder.observers.listeners.append(events.append)
            try:
                await intruder.run()
            except BeamlineBusy as busy:
                refusals.append(str(busy))
            await trio.sleep(2.0)
        assert events == []

    play.run(intrude)
    play.check("done")
    assert len(refusals) == 20
    assert "is owned by the run 'lyso_1'" in refusals[0]
    assert [line for line in play.lines if line[1][0] != "person"] == alone.lines
    assert play.simulated.trace.sha256() == alone.simulated.trace.sha256()


def test_the_absorbers_are_chosen_once_the_energy_is_there() -> None:
    """Which of them let a fraction through depends on it."""
    simulated = simulate()
    energies_ev: list[float] = []
    set_transmission = simulated.attenuator.set_transmission

    async def note_energy(transmission_frac: float) -> None:
        energies_ev.append(simulated.monochromator.energy_ev)
        assert not simulated.monochromator.axis.is_moving
        await set_transmission(transmission_frac)

    play = Play(ask(beam={"energy_ev": 9000.0}), adapt(simulated, "attenuator", set_transmission=note_energy)).run()
    play.check("done")
    assert energies_ev == [9000.0]
    assert play.steps.index("energy") < play.steps.index("transmission")
    assert play.instant("attenuator", "to 0.2") >= play.when_step("energy") > 0


@pytest.mark.parametrize("method", ["manual", "none", "auto"])
@pytest.mark.parametrize("count", [0, 1])
def test_the_light_is_on_while_a_person_looks_and_out_before_the_beam(method: str, count: int) -> None:
    play = Play(ask(centring={"method": method, "validate": True}, snapshots={"count": count}))
    if method == "none":
        for location in (None, *play.simulated.sample_changer.places):
            play.simulated.head.put_sample(location, Sample(0.0, 0.0, 0.0))
    backlight = play.simulated.backlight
    lit: dict[str, bool] = {}

    def look(event: Event) -> None:
        if isinstance(event, PersonAsked):
            lit[event.question] = backlight.is_in_now
        elif isinstance(event, StepDone) and event.step in ("centring validated", "snapshot"):
            lit[event.step] = backlight.is_in_now

    play.collection.observers.listeners.append(look)
    out: list[bool] = []
    play.enters("OSCILLATING", lambda: out.append(backlight.is_out_now)).run()
    play.check("done")
    asked = {"centre_by_hand", "validate_centring"} if method == "manual" else {"validate_centring"}
    assert lit == dict.fromkeys(asked | {"centring validated"} | ({"snapshot"} if count else set()), True)
    assert out == [True]


@pytest.mark.parametrize("method", ["manual", "auto"])
@pytest.mark.parametrize("after_us", [1, 500_000, 3_000_000, 6_000_000])
def test_the_light_is_taken_out_and_verified_after_an_abort_while_centring(method: str, after_us: int) -> None:
    play = Play(ask(centring={"method": method, "validate": True}))
    states: list[str] = []

    def abort() -> None:
        states.append(play.collection.state.name)
        play.collection.abort()

    play.enters("CENTRING", abort, after_us=after_us).run()
    play.check("aborted")
    assert states == ["CENTRING"]
    assert play.simulated.backlight.is_out_now
    assert [step.verified for step in play.of(SafingStep) if step.step == "backlight out"] == [True]


# -- an omega that does not turn without end ---------------------------------------------------------------------------


def limited(low_deg: float, high_deg: float, here_deg: float = 0.0) -> SimulatedBeamline:
    simulated = simulate()
    simulated.goniometer.omega.limits = Range(low_deg, high_deg)
    simulated.kernel.run(lambda: simulated.goniometer.move({"omega_deg": here_deg}))
    return simulated


@pytest.mark.parametrize("here_deg", [-180.0, -91.0, 0.0, 90.0, 91.0, 180.0])
def test_centring_and_snapshots_stay_within_the_travel_of_omega(here_deg: float) -> None:
    simulated = limited(-180.0, 180.0, here_deg)
    play = Play(ask(snapshots={"count": 4}), simulated).run()
    assert play.raised is None
    assert (play.outcome, play.violations) == ("done", []), play.result.failures
    details = [step.detail for step in play.of(StepDone) if step.step == "snapshot"]
    assert details == ["omega 0 deg", "omega 90 deg", "omega 180 deg", "omega -90 deg"]
    moves = [float(text.split()[1]) for _, text in play.commands("omega_deg") if text.startswith("move")]
    assert moves
    assert all(-180.0 <= omega_deg <= 180.0 for omega_deg in moves)
    views = sorted({round(omega_deg, 6) for omega_deg in moves[:2]})
    assert views == sorted({here_deg, here_deg + 90.0 if here_deg <= 90.0 else here_deg - 90.0})


def test_snapshots_out_of_omegas_reach_are_refused_beforehand() -> None:
    simulated = limited(-100.0, 100.0)
    noted = simulated.trace.sha256()
    with pytest.raises(InvalidRequest, match=r"snapshots\.count = 4: one at omega 180 deg is out of reach"):
        Play(ask(snapshots={"count": 4}), simulated)
    assert simulated.trace.sha256() == noted
    play = Play(ask(snapshots={"count": 2}), simulated).run()
    assert play.outcome == "done", play.result.failures


def test_the_smallest_run_is_the_same_in_every_order_of_tasks_also_where_it_is_stopped_within_making_safe() -> None:
    """What a step tells that ends at once comes before what the next one does, whichever task has its turn first."""
    for count in range(1, 5):
        abort = Deed(does=Does.ABORT, moment=Moment(event="safing_step", count=count))
        base = attrs.evolve(library.read("short"), expect=Expectation(), operator=(abort,))
        orders = (attrs.evolve(base, strike=Strike(schedule=schedule)) for schedule in range(20))
        assert len({playing.play(order).trace_sha256 for order in orders}) == 1, f"stopped within step {count}"
