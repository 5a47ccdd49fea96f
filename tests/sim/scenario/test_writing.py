"""Scenarios as TOML: what is written reads back as it was, is readable, and fits on one line where it has to."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.beamline import Location, Question, Range
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.sim.faults.commands import COMMANDS, effects_of
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import EVENTS, Moment
from fsmcollect.sim.person import NEVER, Answer
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.reading import parse_scenario
from fsmcollect.sim.scenario.surroundings import SETTINGS
from fsmcollect.sim.scenario.tables import MANY, WEEK_S
from fsmcollect.sim.scenario.values import (
    Deed,
    Does,
    Expectation,
    Happening,
    Scenario,
    Setup,
    Strike,
    What,
)
from fsmcollect.sim.scenario.writing import additions_toml, to_toml
from fsmcollect.testing import strategies

SHORT = library.read("short")


def told(read: Callable[[], Scenario]) -> tuple[tuple[Problem, ...], Scenario | None]:
    """What is refused, or what is read."""
    try:
        return (), read()
    except InvalidRequest as refusal:
        return refusal.problems, None


# -- every value that each part may have -------------------------------------------------------------------------------

times_s = st.floats(0.0, WEEK_S)
lengths_s = st.floats(0.0, WEEK_S, exclude_min=True)
counts = st.integers(1, MANY)
moments = st.one_of(
    st.builds(Moment, at_s=times_s),
    st.builds(Moment, event=st.sampled_from(EVENTS), count=counts, after_s=times_s),
)
BEFALLEN = [
    (device, command, effect)
    for device, commands in COMMANDS.items()
    for command in ("", *commands)
    for effect in effects_of(device, command)
]


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    device, command, effect = draw(st.sampled_from(BEFALLEN))
    fault = Fault(
        device=device,
        command=command,
        effect=effect,
        lasts_s=draw(st.one_of(st.just(ONCE_S), st.just(FOR_EVER_S), lengths_s)),
    )
    if effect is Effect.DELAYED:
        fault = attrs.evolve(fault, delay_s=draw(lengths_s))
    if command and draw(st.booleans()):
        return attrs.evolve(fault, call=draw(counts))
    return attrs.evolve(fault, moment=draw(moments))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    low, high = sorted((draw(times_s), draw(times_s)))
    return draw(st.sampled_from([NEVER, Answer(low, True), Answer(Range(low, high), False)]))


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    settings: dict[str, dict[str, float | bool]] = {}
    for device, key in draw(st.lists(st.sampled_from([(d, k) for d, rules in SETTINGS.items() for k in rules]))):
        try:
            value = SETTINGS[device][key](draw(st.one_of(st.booleans(), st.integers(0, 9), st.floats(0, 1))))
        except ValueError:
            continue
        settings.setdefault(device, {})[key] = value
    # A place that the smallest dewar has.
    return Setup(bare_pins=draw(st.frozensets(st.just(Location(1, 1)))), settings=settings)


words = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1).filter(str.strip)
optional_counts = st.none() | counts
strikes = st.builds(
    Strike, cancel_at=optional_counts, abort_at=optional_counts, schedule=st.none() | st.integers(0, 2**63 - 1)
)
#: No more than what contradicts nothing, whatever else is drawn.
expectations = st.builds(
    Expectation,
    outcome=st.none() | st.just("failed"),
    ends_in=st.none() | st.just("IDLE"),
    images=st.none() | st.integers(0, 2),
    failure=st.none() | words,
    visits=st.sampled_from([(), ("MOUNTING", "CLOSING", "IDLE")]),
)
deeds = st.builds(Deed, does=st.sampled_from([does for does in Does if does is not Does.HOLD]), moment=moments)
parts = {
    "summary": st.just("") | words,
    "seed": st.integers(-(2**63), 2**63 - 1),
    "beamline": setups(),
    "answers": st.dictionaries(st.sampled_from(Question), answers()),
    "faults": st.lists(faults(), max_size=3, unique=True).map(tuple),
    "operator": st.lists(deeds, max_size=3).map(tuple),
    "happenings": st.lists(st.builds(Happening, what=st.sampled_from(What), moment=moments), max_size=3).map(tuple),
    "strike": strikes,
    "expect": expectations,
}


@given(st.fixed_dictionaries({}, optional=parts))
def test_every_part_reads_back_as_it_was_written(changed: dict[str, object]) -> None:
    # What it expects itself would contradict some of what is drawn.
    changed = {"expect": Expectation(), **changed}
    scenario = attrs.evolve(library.read("everything_asked_for"), **changed)  # type: ignore[arg-type]
    refused, there = told(lambda: parse_scenario(to_toml(scenario), name=scenario.name))
    # A setting that this request cannot be collected with is told at its request, and nowhere else.
    assert all(problem.field.startswith("request.") for problem in refused)
    assert refused or there == scenario


@given(strategies.scenarios(max_requests=3))
def test_what_the_strategies_draw_reads_back_as_it_was_written(scenario: Scenario) -> None:
    assert parse_scenario(to_toml(scenario), name=scenario.name) == scenario


@given(st.lists(faults(), max_size=4), strikes)
def test_what_a_sweep_adds_is_one_line_that_adds_just_that(added: list[Fault], strike: Strike) -> None:
    base = attrs.evolve(library.read("two_faults_at_once"), summary="", expect=Expectation())
    line = additions_toml(added, strike)
    assert "\n" not in line
    assert "'" not in line  # it stands between quotes in a shell
    there = parse_scenario(to_toml(base), name=base.name, additions=[line] if line else [])
    assert there == attrs.evolve(base, faults=(*base.faults, *added), strike=strike)


@pytest.mark.parametrize(
    "added, strike, line",
    [
        ((), Strike(), ""),
        ((), Strike(cancel_at=12, schedule=3), "strike = { cancel_at = 12, schedule = 3 }"),
        (
            [Fault(device="fast_shutter", command="close", effect=Effect.HANGS, call=3, lasts_s=FOR_EVER_S)],
            Strike(),
            'faults = [{ device = "fast_shutter", command = "close", effect = "hangs", call = 3, lasts = "for ever" }]',
        ),
        (
            [Fault(device="ring", effect=Effect.DRIFTS, moment=Moment(event="wedge.EXPOSING", count=2))],
            Strike(abort_at=7),
            (
                '{ faults = [{ device = "ring", effect = "drifts", event = "wedge.EXPOSING", count = 2 }], '
                "strike = { abort_at = 7 } }"
            ),
        ),
    ],
)
def test_what_is_added_looks_like_this(added: list[Fault], strike: Strike, line: str) -> None:
    assert additions_toml(added, strike) == line


def test_a_scenario_looks_as_a_person_would_write_it() -> None:
    scenario = attrs.evolve(
        SHORT,
        seed=3,
        beamline=Setup(without=frozenset({"diodes"}), settings={"cryo_stream": {"temperature_k": 150.0}}),
        answers={Question.VALIDATE_CENTRING: Answer(5.0, False), Question.MOUNT_BY_HAND: NEVER},
        faults=(
            Fault(device="fast_shutter", command="close", effect=Effect.DELAYED, call=3, delay_s=5.0),
            Fault(device="ring", effect=Effect.DRIFTS, moment=Moment(at_s=1.5), lasts_s=30.0),
        ),
        operator=(Deed(does=Does.ABORT, moment=Moment(event="wedge.EXPOSING", count=3, after_s=0.02)),),
        happenings=(Happening(what=What.BEAM_LOST, moment=Moment(event="CENTRING")),),
        strike=Strike(schedule=4),
        expect=Expectation(outcome="aborted", ends_in="IDLE", images=0, failure="words", visits=("CLOSING", "IDLE")),
    )
    assert (
        to_toml(scenario)
        == """\
summary = "Two images, undisturbed: the smallest collection through every state."
seed = 3

[request.sample]
location = "1:1"

[request.files]
directory = "data/short"
prefix = "short"

[request.beam]
energy_ev = 12700.0

[request.sweep]
image_width_deg = 1.0
images = 2
exposure_s = 0.1

[request.centring]
method = "none"

[beamline]
without = ["diodes"]

[beamline.cryo_stream]
temperature_k = 150.0

[person]
mount_by_hand = { says = "never" }
validate_centring = { says = "no", delay_s = 5.0 }

[[faults]]
device = "fast_shutter"
command = "close"
effect = "delayed"
call = 3
delay_s = 5.0

[[faults]]
device = "ring"
effect = "drifts"
at_s = 1.5
lasts_s = 30.0

[[operator]]
does = "abort"
event = "wedge.EXPOSING"
count = 3
after_s = 0.02

[[happens]]
what = "beam lost"
event = "CENTRING"

[strike]
schedule = 4

[expect]
outcome = "aborted"
ends_in = "IDLE"
images = 0
failure = "words"
visits = ["CLOSING", "IDLE"]
"""
    )


# -- text that nobody would write --------------------------------------------------------------------------------------

_WORDS = sorted(
    {word for part in parts for word in (part,)}
    | {"request", "requests", "person", "happens", "device", "command", "effect", "call", "at_s", "event", "count"}
    | {"after_s", "lasts", "lasts_s", "delay_s", "does", "what", "without", "bare_pins", "cryo_stream", "config"}
    | {"temperature_k", "says", "mount_by_hand", "outcome", "ends_in", "images", "failure", "visits", "cancel_at"}
    | {"fast_shutter", "close", "hangs", "hold", "beam lost", "HOLDING", "sample", "files", "sweep", "location"}
)


def _inline(table: dict[str, str]) -> str:
    return "{ " + ", ".join(f'"{key}" = {value}' for key, value in table.items()) + " }"


_plain = st.sampled_from(["true", "1", "-1", "1e400", "nan", "inf", "0.5", '"1:5"', '""', "1979-05-27", "[]", "{}"])
_quoted = st.sampled_from([f'"{word}"' for word in _WORDS])
_values = st.recursive(
    _plain | _quoted,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4).map(_inline),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(_WORDS), _values, max_size=5), st.booleans())
def test_whatever_is_written_is_read_or_refused_with_its_place(tables: dict[str, str], is_added: bool) -> None:
    text = "\n".join(f'"{key}" = {value}' for key, value in tables.items())
    base, additions = (to_toml(SHORT), [text]) if is_added else (text, [])
    refused, there = told(lambda: parse_scenario(base, "s.toml", additions=additions))
    assert bool(refused) is (there is None)
    assert all("s.toml" in problem.where or "--with" in problem.where for problem in refused)
