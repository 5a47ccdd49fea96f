"""The beamline and the people of a scenario: ``[beamline]`` and ``[person]``.

Owns which settings a simulated device has and what each may be: the unit that ends its name says that. Owns no device.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping

import attrs

from fsmcollect.beamline import Beamline, BeamlineConfig, Location, Question, Range
from fsmcollect.errors import InvalidRequest
from fsmcollect.request import Sample
from fsmcollect.request.fields import converting, integer, is_list, number, truth
from fsmcollect.sim.beamline import CONFIG, ROLES, SimulatedBeamline
from fsmcollect.sim.changer import SampleChanger
from fsmcollect.sim.person import USUAL_ANSWERS, Answer
from fsmcollect.sim.scenario.tables import WEEK_S, Table, time_s, word, words
from fsmcollect.sim.scenario.values import Setup

_Rule = Callable[[object], float | bool]

#: What a number may be, by the end of its name; the first that fits. Limits assumed: beyond them nothing is physics.
_BY_UNIT: tuple[tuple[str, _Rule], ...] = (
    ("_deg_s", number(above=0, high=1e5, unit="deg/s")),
    ("_mm_s", number(above=0, high=1e5, unit="mm/s")),
    ("_ev_s", number(above=0, high=1e6, unit="eV/s")),
    ("_ph_s", number(low=0, high=1e18, unit="photons/s")),
    ("_counts_s", number(low=0, high=1e9, unit="counts/s")),
    ("_frac", number(low=0, high=1, unit="(a fraction: 0.5 is 50 %)")),
    ("_fwhm_um", number(above=0, high=1e6, unit="um")),
    ("_mm", number(low=0, high=1e5, unit="mm")),
    ("_um", number(low=0, high=1e6, unit="um")),
    ("_ev", number(above=0, high=1e6, unit="eV")),
    ("_ma", number(above=0, high=1e4, unit="mA")),
    ("_k", number(low=0, high=1000, unit="K")),
    ("time_to_speed_s", number(above=0, high=WEEK_S, unit="s (assumed limit: a week)")),
    ("_s", number(low=0, high=WEEK_S, unit="s (assumed limit: a week)")),
    ("", number(above=0, high=1e9)),
)
_whole_number = integer(low=1, high=10_000)

_ANSWERS: Mapping[str, bool | None] = {"yes": True, "no": False, "never": None}
_QUESTIONS = {question.name.lower(): question for question in Question}


def _numbers(cls: type) -> Iterator[tuple[str, _Rule]]:
    """Every setting of a class: a number or a truth value that it is built with, and its rule."""
    hints = typing.get_type_hints(cls)
    for field in attrs.fields(cls):
        hint = hints[field.name]
        if not field.init or field.name.startswith("_"):
            continue
        if hint in (float, float | None):
            yield field.name, next(rule for end, rule in _BY_UNIT if field.name.endswith(end))
        elif hint is bool:
            yield field.name, truth
        elif hint is int:
            yield field.name, _whole_number


def _all_settings() -> dict[str, Mapping[str, _Rule]]:
    hints = typing.get_type_hints(SimulatedBeamline)
    roles = [field.name for field in attrs.fields(Beamline) if field.name in ROLES]
    settings = {"config": dict(_numbers(BeamlineConfig))}
    settings |= {role: dict(_numbers(hints[role])) for role in roles}
    return {device: rules for device, rules in settings.items() if rules}


#: Rule of every setting, by device, or ``config``.
SETTINGS: Mapping[str, Mapping[str, _Rule]] = _all_settings()


def built(setup: Setup, seed: int, speed: float | None = None) -> SimulatedBeamline:
    """The simulated beamline that a setup describes; `speed` as `SimulatedBeamline` has it."""
    return SimulatedBeamline(
        seed=seed,
        speed=speed,
        without=setup.without,
        bare_pins=setup.bare_pins,
        config=attrs.evolve(CONFIG, **setup.settings.get("config", {})),  # type: ignore[arg-type]  # numbers only
        settings={device: values for device, values in setup.settings.items() if device != "config"},
    )


def setup(whole: Table) -> Setup:
    """What ``[beamline]`` says."""
    table = whole.table("beamline")
    table.refuse_unknown(("without", "bare_pins", *SETTINGS), "key or device")
    without = frozenset(table.get("without", words(word(sorted(ROLES), "device"))) or ())
    settings = {device: _settings(table.table(device), device) for device in SETTINGS if table.has(device)}
    for device in sorted(without & set(settings)):
        table.report.refuse(table.name(device), f"cannot be set: the beamline is without its {device}")
    is_safety_open = "safety_shutter" in without or settings.get("safety_shutter", {}).get("found_open")
    if is_safety_open and settings.get("fast_shutter", {}).get("found_open"):
        table.report.refuse(
            f"{table.name('fast_shutter')}.found_open", "must be false: no other shutter is closed, and the beam is on"
        )
    bare_pins = frozenset(table.get("bare_pins", words(_location)) or ())
    if bare_pins and "sample_changer" in without:
        table.refuse("bare_pins", "are pins of a sample changer, and the beamline is without one")
    elif bare_pins:
        _check_places(table, bare_pins, settings.get("sample_changer", {}))
    return Setup(without=without, bare_pins=bare_pins, settings={name: told for name, told in settings.items() if told})


def _settings(table: Table, device: str) -> dict[str, float | bool]:
    rules = SETTINGS[device]
    table.refuse_unknown(tuple(rules), f"setting of {device}")
    found = {key: table.get(key, rule) for key, rule in rules.items() if table.has(key)}
    return {key: value for key, value in found.items() if value is not None}


def _location(value: object) -> Location:
    """Rule: a place in the sample changer, as a request has it."""
    try:
        location: Location = converting(Sample, "location")(value if isinstance(value, str) else "")
    except InvalidRequest:
        raise ValueError('is no place "puck:pin" such as "1:5", both counted from 1') from None
    return location


def _check_places(table: Table, pins: frozenset[Location], changer: Mapping[str, float | bool]) -> None:
    usual = attrs.fields(SampleChanger)
    pucks, per_puck = changer.get("pucks", usual.pucks.default), changer.get("pins", usual.pins.default)
    assert pucks is not None, "both have defaults"
    assert per_puck is not None
    for pin in sorted(pins):
        if pin.puck > pucks or pin.pin > per_puck:
            allowed = f"holds {pin}, which is no place: the dewar has {pucks} pucks of {per_puck} pins, counted from 1"
            table.refuse("bare_pins", allowed)


def answers(whole: Table) -> dict[Question, Answer]:
    """What ``[person]`` says."""
    table = whole.table("person")
    table.refuse_unknown(tuple(_QUESTIONS), "question")
    found = {question: _answer(table.table(name), question) for name, question in _QUESTIONS.items() if table.has(name)}
    return {question: answer for question, answer in found.items() if answer is not None}


def _answer(table: Table, question: Question) -> Answer | None:
    table.refuse_unknown(("says", "delay_s"))
    says = table.need("says", word(_ANSWERS, "answer"), f"one of {', '.join(_ANSWERS)}")
    delay_s = table.get("delay_s", _delay_s)
    if says is None:
        return None
    if _ANSWERS[says] is None:
        if table.has("delay_s"):
            table.refuse("delay_s", 'says nothing where the answer is "never"')
        return Answer(0.0, None)
    return Answer(USUAL_ANSWERS[question].delay_s if delay_s is None else delay_s, _ANSWERS[says])


def _delay_s(value: object) -> Range:
    """Rule: a time, or the least and the most of it."""
    if not is_list(value):
        return Range(time_s(value), time_s(value))
    if len(value) != 2:
        raise ValueError("must be one time in s, or the least and the most, such as [5.0, 20.0]")
    low, high = map(time_s, value)
    if low > high:
        raise ValueError(f"begins with the larger: write [{high:g}, {low:g}]")
    return Range(low, high)
