"""The story of a scenario: what is told, in which order, what is folded, and how it looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from fsmcollect.console.explaining import Story
from fsmcollect.console.telling import Kind, Told
from fsmcollect.console.timeline import show_story
from fsmcollect.events import Event, ImagesTaken, Moved, RunEnded, RunStarted, SafingStep, StepDone, WedgeStarted
from fsmcollect.sim.faults.values import MEANINGS, Effect
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.values import Expectation, Strike
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import play
from tests.cli.commanding import SMALL, Command
from tests.cli.test_terminal import lines_of, on_a_terminal

#: Played as a sweep plays it: no files are made.
NO_FILES = ("--with", "strike = {schedule = 1}")
#: Two screens of a terminal of 80 x 24 are what a person reads with pleasure.
TWO_SCREENS = 48


def moved(source: str, event: str, dest: str, machine: str = "collection") -> Moved:
    return Moved(t_us=0, machine=machine, source=source, event=event, dest=dest)


def started(images: int = 4, wedges: int = 2, run: str = "r_1") -> RunStarted:
    request = {"sweep": {"image_width_deg": 0.5}}
    return RunStarted(t_us=0, run=run, version="0", started_at="", images=images, wedges=wedges, request=request)


def wedge(index: int, *between: Event, end: Moved | None = None) -> list[Event]:
    return [
        WedgeStarted(t_us=0, wedge=index, series="r_1", omega_start_deg=index, first_image=2 * index + 1, images=2),
        moved("PLANNED", "START", "ARMING", "wedge"),
        moved("ARMING", "ARMED", "RUNNING_UP", "wedge"),
        moved("RUNNING_UP", "AT_SPEED", "EXPOSING", "wedge"),
        *between,
        end or moved("DRAINING", "DRAINED", "TAKEN", "wedge"),
    ]


def story_of(*things: Event | tuple[str, str], faults: Sequence[object] = ()) -> Story:
    """Each at its own second."""
    story = Story()
    for second, thing in enumerate(things):
        if isinstance(thing, Event):
            story.follow(second * 1_000_000, thing.kind, thing.to_json())
            story.hear(thing)
        else:
            story.follow(second * 1_000_000, *thing)
    return story


def lines(told: Sequence[Told]) -> list[str]:
    return [" ".join(told.cells) if told.cells else ": ".join(filter(None, (told.title, told.text))) for told in told]


def played(name: str) -> tuple[Played, list[Told]]:
    scenario = library.read(name)
    story = Story(scenario.faults)
    ended = play(scenario, listeners=[story.hear], followers=[story.follow])
    return ended, story.told(ended.violations, ended.excused)


# ---------------------------------------------------------------------------------------------------------------------
# What is told
# ---------------------------------------------------------------------------------------------------------------------


def test_a_state_is_told_with_the_reason_of_its_row() -> None:
    told = story_of(moved("OSCILLATING", "ABORT", "CLOSING")).told()
    assert lines(told) == ["CLOSING: somebody stopped it: the beam goes off"]
    assert told[0].kind is Kind.STATE


def test_what_is_heard_without_leaving_a_state_is_told_too() -> None:
    (line,) = lines(story_of(moved("CLOSING", "ABORT", "CLOSING")).told())
    assert line.startswith("ABORT while CLOSING: a stop may be repeated")


def test_wedges_that_went_alike_are_told_in_one_line_each_and_folded() -> None:
    events = [event for index in range(9) for event in wedge(index)]
    told = lines(story_of(started(18, 9), *events).told())
    assert told == [
        "r_1: 18 images in 9 wedges",
        "wedge 1 r_1 0 to 1 deg images 1 to 2",
        "wedge 2 r_1 1 to 2 deg images 3 to 4",
        "wedge 3 r_1 2 to 3 deg images 5 to 6",
        "wedges 4 to 8: as before, 10 images",
        "wedge 9 r_1 8 to 9 deg images 17 to 18",
    ]


def test_a_wedge_in_which_something_happens_is_told_in_full_and_ends_the_fold() -> None:
    broken = wedge(6, end=moved("EXPOSING", "FAILED", "BROKEN", "wedge"))
    events = [event for index in range(6) for event in wedge(index)]
    told = lines(story_of(started(18, 9), *events, *broken).told())
    assert told[4:6] == ["wedges 4 to 5: as before, 4 images", "wedge 6 r_1 5 to 6 deg images 11 to 12"]
    assert told[6] == "wedge 7: r_1, 6 to 7 deg, images 13 to 14"
    assert [line.split(":")[0] for line in told[7:]] == ["RUNNING_UP", "EXPOSING", "BROKEN"]


def test_a_wedge_that_is_taken_again_says_so() -> None:
    again = wedge(0, end=moved("EXPOSING", "CANCELLED", "INTERRUPTED", "wedge"))
    assert lines(story_of(started(), *again, *wedge(0)).told())[-1].startswith("wedge 1 again ")


def test_notes_of_devices_that_nobody_cares_for_are_left_out_and_disturb_no_fold() -> None:
    events = wedge(0, ImagesTaken(t_us=0, series="r_1", first_image=1, images=2, omega_recorded_deg=0))
    told = story_of(started(), *events[:3], ("goniometer", "gate off"), *events[3:]).told()
    assert len(told) == 2


def test_images_and_verified_steps_are_told_in_groups() -> None:
    taken = [ImagesTaken(t_us=0, series="r_1", first_image=n, images=2, omega_recorded_deg=0) for n in (1, 3, 5)]
    steps = [SafingStep(t_us=0, step=step, verified=True) for step in ("shutter closed", "goniometer still")]
    denied = SafingStep(t_us=0, step="detector idle", verified=False, message="no answer within 15 s")
    shots = [StepDone(t_us=0, step="snapshot", detail=f"omega {deg} deg") for deg in (0, 90)]
    assert lines(story_of(*taken, *steps, denied, *shots).told()) == [
        "images 1 to 6 of r_1 taken",
        "verified: shutter closed, goniometer still",
        "NOT verified: detector idle: no answer within 15 s",
        "snapshot omega 0 deg, omega 90 deg",
    ]


def test_people_and_what_happens_around_are_told() -> None:
    notes = [
        ("operator", "hold"),
        ("person", "says no to VALIDATE_CENTRING"),
        ("person", "could not: sample_changer: no"),
        ("ring", "no beam"),
        ("interlock", "broken"),
        ("safety_shutter", "drop"),
    ]
    assert lines(story_of(*notes).told()) == [
        "operator: hold",
        "person: says no: validate centring",
        "person: could not: sample_changer: no",
        "happens: the beam is lost",
        "happens: the hutch is opened",
        "the safety shutter drops by itself",
    ]


def test_a_violation_is_told_where_it_happened_and_in_no_fold() -> None:
    events = [event for index in range(9) for event in wedge(index)]
    told = lines(story_of(started(18, 9), *events).told(["at 28.500000 s: it was dark", "and without a time"]))
    assert told[-1] == "violation: and without a time"
    around = told.index("violation: it was dark")
    assert [line.split(":")[0] for line in told[around - 2 : around + 2]] == [
        "wedge 6",
        "RUNNING_UP",
        "violation",
        "EXPOSING",
    ]


def test_what_an_operator_does_at_an_event_is_told_after_it() -> None:
    """Though the trace knows of the deed before a listener is told of the event."""
    story = Story()
    event = moved("ARMING", "ARMED", "RUNNING_UP", "wedge")
    story.follow(5, "wedge", event.to_json())
    story.follow(5, "operator", "abort")
    story.hear(event)
    assert [line.split(":")[0] for line in lines(story.told())] == ["RUNNING_UP", "operator"]


def test_the_second_run_of_a_list_goes_on_in_time_and_is_folded_if_nothing_happened() -> None:
    run = [moved("IDLE", "START", "MOUNTING"), RunEnded(t_us=0, outcome="done", safe=True, images=4)]
    told = story_of(started(), *run, started(run="r_2"), *run, started(run="r_3"), run[0], ("ring", "beam")).told()
    assert lines(told)[3:5] == ["r_2: as before; done, safe, 4 images", "r_3: 4 images in 2 wedges"]
    assert [line.t_us for line in told[3:5]] == [3_000_000, 6_000_000]


@pytest.mark.parametrize("strike, says", [(Strike(abort_at=9), "abort at event 9"), (Strike(cancel_at=9), "cancel at")])
def test_where_a_sweep_strikes_is_told_before_what_comes_of_it(strike: Strike, says: str) -> None:
    story = Story()
    play(
        attrs.evolve(library.read("short"), strike=strike, expect=Expectation()),
        listeners=[story.hear],
        followers=[story.follow],
    )
    told = lines(story.told())
    struck = next(index for index, line in enumerate(told) if line.startswith(f"sweep: {says}"))
    assert any(line.startswith("CLOSING: ") for line in told[struck:])


# ---------------------------------------------------------------------------------------------------------------------
# Real stories
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", library.names())
def test_every_bundled_scenario_has_a_story_that_begins_with_a_run_and_ends_with_its_outcome(name: str) -> None:
    ended, told = played(name)
    assert told[0].kind is Kind.RUN
    last = [line for line in told if line.kind is Kind.ENDED][-1]
    assert ended.safe is ("NOT" not in last.text)
    assert len(told) <= 2 * TWO_SCREENS
    # Faults, deeds and notes stand where they happened.
    assert [line.t_us for line in told] == sorted(line.t_us for line in told)


def test_a_fault_is_told_where_it_strikes_with_what_it_means_once() -> None:
    _, told = played("shutter_does_not_close")
    struck = [line for line in lines(told) if line.startswith("fault: ")]
    assert struck[0].startswith("fault: fast_shutter.close stops half-way (at ")
    assert struck[0].endswith(f": {MEANINGS[Effect.STOPS_HALF_WAY]}")
    assert set(struck[1:]) == {"fault: fast_shutter.close stops half-way, again"}


# ---------------------------------------------------------------------------------------------------------------------
# How it looks
# ---------------------------------------------------------------------------------------------------------------------


def test_the_story_of_360_images_fits_on_two_screens(command: Command) -> None:
    ran = command("simulate", "inverse_beam", "--explain", *NO_FILES)
    assert (ran.code, ran.err) == (0, "")
    shown = ran.out.splitlines()
    assert len(shown) <= TWO_SCREENS
    assert shown[0] == "inverse_beam, seed 0"
    assert "    37.355 s     wedges 4 to 35: as before, 320 images" in [line.rstrip() for line in shown]
    labels = [line[:12].rstrip() for line in shown[shown.index("", 4) + 1 :]]
    assert labels[:5] == ["outcome", "expected", "struck", "images", "dose"]
    assert "violations" in labels
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal_lines_are_as_wide_as_it_is(work: Path, columns: int) -> None:
    sent = on_a_terminal(work, "simulate", "inverse_beam", "--explain", *NO_FILES, columns=columns)
    shown = lines_of(sent)
    assert max(map(len, (line for line in shown if not line.startswith("trace")))) <= columns
    if columns >= 80:
        assert len(shown) <= TWO_SCREENS
    assert "\x1b[1m" in sent, "states are set off"


def test_no_color_is_heeded(work: Path) -> None:
    sent = on_a_terminal(work, "simulate", "short", "--explain", *NO_FILES, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", sent)
    assert "MOUNTING: a checked request" in sent


def test_equal_times_are_told_once_and_trouble_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    show_story(
        [
            Told(t_us=1_500_000, kind=Kind.STATE, title="CLOSING", text="it was stopped", depth=0),
            Told(t_us=1_500_400, kind=Kind.TROUBLE, title="fault", text="[red]no markup[/red]"),
            Told(t_us=2_000_000, kind=Kind.DEED, title="operator", text="abort"),
        ]
    )
    assert capsys.readouterr().out == (
        "     1.500 s   CLOSING: it was stopped\n"
        "             !   fault: [red]no markup[/red]\n"
        "     2.000 s >   operator: abort\n"
    )


def test_with_json_it_is_refused(command: Command, work: Path) -> None:
    ran = command("simulate", "short", "--explain", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "fsmcollect: --explain: tells people a story, --json programs: give one\n"
    assert list(work.iterdir()) == []


def test_a_plain_request_can_be_explained(command: Command, work: Path) -> None:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    ran = command("simulate", "r.toml", "--explain", "--out", "out")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("r, seed 0\n\n     0.000 s   lyso_1: 8 images in 4 wedges\n")
    assert "\nexpected    nothing in particular\n" in ran.out
    assert "\nfile        " in ran.out
