"""Scenarios from TOML: what is read, what is refused and in which words, and what may be added."""

from __future__ import annotations

import math

import attrs
import pytest

from fsmcollect.beamline import Location, Question, Range
from fsmcollect.errors import InvalidRequest
from fsmcollect.request.documents import setting_lines
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.person import NEVER, Answer
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.reading import is_scenario, parse_scenario
from fsmcollect.sim.scenario.surroundings import SETTINGS
from fsmcollect.sim.scenario.values import Deed, Does, Expectation, Happening, Strike, What
from fsmcollect.simulate.playing import play
from tests.sim.scenario.refusing import FAULT, REQUEST, refusals

# -- what is read ------------------------------------------------------------------------------------------------------


def test_every_table_is_read() -> None:
    scenario = parse_scenario(
        REQUEST
        + """
[beamline]
without = ["diodes"]
bare_pins = ["1:6"]
[beamline.cryo_stream]
temperature_k = 150
[beamline.config]
max_sample_temperature_k = 120.0
[person]
validate_centring = { says = "no", delay_s = 5 }
mount_by_hand = { says = "yes", delay_s = [60, 90] }
centre_by_hand = { says = "never" }
[[faults]]
device = "fast_shutter"
command = "close"
effect = "delayed"
call = 3
lasts_s = 30.0
delay_s = 2.5
[[faults]]
device = "cryo_stream"
effect = "drifts"
event = "wedge.EXPOSING"
count = 2
after_s = 0.1
lasts = "for ever"
[[operator]]
does = "hold"
at_s = 12.5
[[operator]]
does = "resume"
event = "HOLDING"
[[happens]]
what = "hutch opened"
event = "run_ended"
[strike]
cancel_at = 120
schedule = 4
[expect]
outcome = "failed"
ends_in = "IDLE"
images = 0
failure = "words"
visits = ["CENTRING", "CLOSING"]
""",
        name="mine",
    )
    assert (scenario.name, scenario.summary, scenario.seed) == ("mine", "A scenario.", 0)
    assert scenario.requests[0].sweep.images == 20
    assert scenario.beamline.without == {"diodes"}
    assert scenario.beamline.bare_pins == {Location(1, 6)}
    assert scenario.beamline.settings == {
        "cryo_stream": {"temperature_k": 150.0},
        "config": {"max_sample_temperature_k": 120.0},
    }
    assert scenario.answers == {
        Question.VALIDATE_CENTRING: Answer(5.0, False),
        Question.MOUNT_BY_HAND: Answer(Range(60.0, 90.0), True),
        Question.CENTRE_BY_HAND: NEVER,
    }
    assert scenario.faults == (
        Fault(device="fast_shutter", command="close", effect=Effect.DELAYED, call=3, lasts_s=30.0, delay_s=2.5),
        Fault(
            device="cryo_stream",
            effect=Effect.DRIFTS,
            moment=Moment(event="wedge.EXPOSING", count=2, after_s=0.1),
            lasts_s=FOR_EVER_S,
        ),
    )
    assert scenario.operator == (
        Deed(does=Does.HOLD, moment=Moment(at_s=12.5)),
        Deed(does=Does.RESUME, moment=Moment(event="HOLDING")),
    )
    assert scenario.happenings == (Happening(what=What.HUTCH_OPENED, moment=Moment(event="run_ended")),)
    assert scenario.strike == Strike(cancel_at=120, schedule=4)
    assert scenario.expect == Expectation(
        outcome="failed", ends_in="IDLE", images=0, failure="words", visits=("CENTRING", "CLOSING")
    )


def test_a_fault_lasts_once_unless_told() -> None:
    text = '[[faults]]\ndevice = "ring"\ncommand = "read_current_ma"\neffect = "hangs"\ncall = 1\n'
    assert parse_scenario(REQUEST + text).faults[0].lasts_s == ONCE_S


def test_an_answer_takes_the_usual_time_unless_told() -> None:
    answer = parse_scenario(REQUEST + '[person]\nmount_by_hand = { says = "no" }\n').answers[Question.MOUNT_BY_HAND]
    assert answer == Answer(Range(60.0, 180.0), False)


def test_faults_deeds_and_happenings_know_where_they_stand() -> None:
    text = """\
[[faults]]
device = "cryo_stream"
effect = "drifts"
at_s = 1
[[faults]]
device = "ring"
effect = "drifts"
at_s = 1
[[operator]]
does = "abort"
at_s = 1
[[happens]]
what = "beam lost"
at_s = 1
[expect]
ends_in = "IDLE"
"""
    scenario = parse_scenario(REQUEST + text, "s.toml")
    wheres = [
        *(fault.where for fault in scenario.faults),
        *(deed.where for deed in scenario.operator),
        *(happening.where for happening in scenario.happenings),
        scenario.expect.places["ends_in"],
    ]
    assert wheres == [f"s.toml, line {line}" for line in (23, 27, 31, 34, 38)]


def test_a_list_has_its_requests_one_after_the_other() -> None:
    text = "".join(
        f'[[requests]]\n[requests.sample]\nmounted = true\n[requests.files]\ndirectory = "d"\nprefix = "{prefix}"\n'
        "[requests.beam]\nenergy_ev = 12700\n[requests.sweep]\nimage_width_deg = 1\nimages = 1\nexposure_s = 1\n"
        for prefix in "ab"
    )
    assert [request.files.prefix for request in parse_scenario(text).requests] == ["a", "b"]
    wrong = text.replace('prefix = "b"', 'prefix = "b/c"')
    assert any("requests[1].files.prefix" in line and "line 18" in line for line in refusals(wrong, request=""))


@pytest.mark.parametrize(
    "text, is_one",
    [
        (REQUEST, True),
        ("[[requests]]\n", True),
        ('request = { files = { directory = "d" } }', True),
        ("[request.sample\nlocation = 1", False),
        ("[request.sample]\nlocation = = 1", True),
        ("[sweep]\nimages = 3\n", False),
        ("", False),
    ],
)
def test_a_scenario_is_told_from_a_request(text: str, is_one: bool) -> None:
    assert is_scenario(text) is is_one


def test_the_lines_of_entries_are_known_by_number_and_the_first_by_its_plain_name_too() -> None:
    text = "a = 1\n[[b]]\nc = 1\n[b.d]\ne = 1\n[[b]]\nc = 2\n[b.d]\ne = 2\n[f]\ng = 1\n"
    lines = setting_lines(text)
    assert (lines["a"], lines["b"], lines["b.c"], lines["b.d.e"], lines["f.g"]) == (1, 2, 3, 5, 11)
    assert (lines["b[0].c"], lines["b[1]"], lines["b[1].c"], lines["b[1].d.e"]) == (3, 6, 7, 9)


# -- what is added -----------------------------------------------------------------------------------------------------


def test_lists_grow_tables_merge_and_of_a_value_the_last_counts() -> None:
    base = REQUEST + FAULT + "call = 1\n[beamline.cryo_stream]\ntemperature_k = 90\n"
    added = (
        (
            'seed = 7\nrequest.sweep.images = 30\nbeamline.cryo_stream.noise_k = 1\nfaults = [{ device = "ring", '
            'effect = "drifts", at_s = 1 }]'
        ),
        "seed = 8\n[strike]\nabort_at = 3\n",
    )
    scenario = parse_scenario(base, additions=added)
    assert scenario.seed == 8
    assert scenario.requests[0].sweep.images == 30
    assert scenario.beamline.settings == {"cryo_stream": {"temperature_k": 90.0, "noise_k": 1.0}}
    assert [fault.device for fault in scenario.faults] == ["fast_shutter", "ring"]
    assert scenario.strike == Strike(abort_at=3)


def test_what_is_added_fits_on_one_line_in_braces() -> None:
    line = '{ faults = [{ device = "ring", effect = "drifts", at_s = 1 }], strike = { cancel_at = 3 } }'
    scenario = parse_scenario(REQUEST, additions=[line])
    assert len(scenario.faults) == 1
    assert scenario.faults[0].where == "--with"
    assert scenario.strike == Strike(cancel_at=3)


def test_what_is_wrong_with_an_addition_is_told_as_such() -> None:
    good = FAULT + "call = 1\n"
    assert refusals(good, [good + good.replace("hangs", "x")])[0].startswith('faults[2].effect = "x": is no effect')
    assert refusals(good, [good + good.replace("hangs", "x")])[0].endswith("(--with, line 9)")
    assert refusals(good, ["faults = 3"])[0].endswith("(--with, line 1)")
    assert refusals("", ["{ strike = { abort_at = 0 } }"])[0].endswith("(--with)")
    assert refusals("", ["strike = "])[0].endswith("(--with, line 1, column 10)")
    assert refusals("", ["{ strike = x }"])[0].endswith("(--with, line 1, column 12)")
    assert refusals("[strike]\ncancel_at = 0\n", ["strike.abort_at = 3"])[0].endswith("(s.toml, line 24)")


def test_an_addition_that_is_nested_too_deeply_is_refused() -> None:
    deep = ".".join("a" * 5000) + " = 1"
    assert refusals("", [deep, deep]) == ["TOML: lists or tables are nested too deeply (--with)"]


def test_a_header_of_many_parts_is_looked_at_once() -> None:
    assert len(setting_lines("[[a]]\n[a." + ".".join("b" * 200_000) + "]\n")) == 4


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device, key", [(device, key) for device, rules in SETTINGS.items() for key in rules])
def test_a_beamline_with_the_least_or_the_most_of_a_setting_can_be_played(device: str, key: str) -> None:
    scenario = library.read("everything_asked_for")
    scenario = attrs.evolve(scenario, expect=Expectation())
    accepted = 0
    for value in (0, 1, 1e-9, 604_800, True, False):
        try:
            setting = SETTINGS[device][key](value)
        except ValueError:
            continue
        accepted += 1
        set_so = attrs.evolve(scenario.beamline, settings={device: {key: setting}})
        try:
            played = play(attrs.evolve(scenario, beamline=set_so))
        except InvalidRequest:
            continue
        assert not played.raised, (value, played.raised)
        assert math.isfinite(played.simulated_s)
    assert accepted
