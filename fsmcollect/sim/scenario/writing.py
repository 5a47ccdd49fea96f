"""Scenarios as TOML: what differs from the defaults, in the order in which a person tells it.

Owns the layout of the text. Owns no key's meaning (`entries`, `surroundings`): what is written here is read there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from fsmcollect.beamline import Question
from fsmcollect.request import Request
from fsmcollect.request.fields import is_list, is_table
from fsmcollect.request.reading import to_dict
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.person import Answer
from fsmcollect.sim.scenario.values import Expectation, Scenario, Setup, Strike

#: A value of TOML, as far as scenarios have them.
_Value = str | bool | int | float | Sequence[object] | Mapping[str, object]
_Table = dict[str, _Value]


def to_toml(scenario: Scenario) -> str:
    """The scenario as a TOML document that reads back as an equal one; its name is its file's."""
    blocks = [_lines(_head(scenario))]
    many = len(scenario.requests) != 1
    for request in scenario.requests:
        blocks += [["[[requests]]"]] if many else []
        blocks += _tables("requests" if many else "request", _request(request))
    blocks += _tables("beamline", _setup(scenario.beamline))
    blocks.append(_block("[person]", _answers(scenario.answers)))
    blocks += [_block("[[faults]]", _fault(fault)) for fault in scenario.faults]
    blocks += [_block("[[operator]]", {"does": deed.does.value} | _moment(deed.moment)) for deed in scenario.operator]
    blocks += [_block("[[happens]]", {"what": it.what.value} | _moment(it.moment)) for it in scenario.happenings]
    blocks.append(_block("[strike]", _strike(scenario.strike)))
    blocks.append(_block("[expect]", _expectation(scenario.expect)))
    blocks.append(_block("[undisturbed]", _expectation(scenario.undisturbed)))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def additions_toml(faults: Iterable[Fault] = (), strike: Strike = Strike()) -> str:  # noqa: B008  (it is frozen)
    """What a sweep adds to a scenario, on one line, for ``--with``; empty where it adds nothing.

    One statement is TOML as it is; two are an inline table in braces, because TOML has each on a line of its own.
    """
    added: _Table = {}
    if tables := [_fault(fault) for fault in faults]:
        added["faults"] = tables
    if struck := _strike(strike):
        added["strike"] = struck
    return _lines(added)[0] if len(added) == 1 else _written(added) if added else ""


# ---------------------------------------------------------------------------------------------------------------------
# The parts, as plain values
# ---------------------------------------------------------------------------------------------------------------------


def _head(scenario: Scenario) -> _Table:
    head: _Table = {"summary": scenario.summary} if scenario.summary else {}
    if scenario.seed:
        head["seed"] = scenario.seed
    return head


def _request(request: Request) -> _Table:
    """The tables of a request, without what is left to the defaults."""
    told: _Table = {}
    for section, settings in to_dict(request).items():
        values: _Table = dict(settings)
        part: object = getattr(request, section)
        kind = type(part)
        if attrs.has(kind):
            defaults = {field.name: field.default for field in attrs.fields(kind)}
            values = {name: value for name, value in values.items() if getattr(part, name) != defaults[name]}
        if values or section in ("files", "sweep"):
            told[section] = values
    return told


def _setup(setup: Setup) -> _Table:
    told: _Table = {}
    if setup.without:
        told["without"] = sorted(setup.without)
    if setup.bare_pins:
        told["bare_pins"] = [str(pin) for pin in sorted(setup.bare_pins)]
    return told | {device: dict(settings) for device, settings in setup.settings.items() if settings}


def _answers(answers: Mapping[Question, Answer]) -> _Table:
    return {question.name.lower(): _answer(answers[question]) for question in Question if question in answers}


def _answer(answer: Answer) -> _Table:
    if answer.says is None:
        return {"says": "never"}
    low, high = answer.delay_s.low, answer.delay_s.high
    return {"says": "yes" if answer.says else "no", "delay_s": low if low == high else [low, high]}


def _moment(moment: Moment) -> _Table:
    if moment.at_s is not None:
        return {"at_s": moment.at_s}
    told: _Table = {"event": moment.event}
    if moment.count != 1:
        told["count"] = moment.count
    if moment.after_s:
        told["after_s"] = moment.after_s
    return told


def _fault(fault: Fault) -> _Table:
    told: _Table = {"device": fault.device}
    if fault.command:
        told["command"] = fault.command
    told["effect"] = fault.effect.value
    if fault.call is not None:
        told["call"] = fault.call
    if fault.moment is not None:
        told |= _moment(fault.moment)
    if fault.lasts_s == FOR_EVER_S:
        told["lasts"] = "for ever"
    elif fault.lasts_s != ONCE_S:
        told["lasts_s"] = fault.lasts_s
    if fault.effect is Effect.DELAYED:
        told["delay_s"] = fault.delay_s
    return told


def _strike(strike: Strike) -> _Table:
    parts = {"cancel_at": strike.cancel_at, "abort_at": strike.abort_at, "schedule": strike.schedule}
    return {name: value for name, value in parts.items() if value is not None}


def _expectation(expect: Expectation) -> _Table:
    parts = {"outcome": expect.outcome, "ends_in": expect.ends_in, "images": expect.images, "failure": expect.failure}
    told: _Table = {name: value for name, value in parts.items() if value is not None}
    return told | ({"visits": list(expect.visits)} if expect.visits else {})


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------


def _tables(name: str, values: _Table) -> list[list[str]]:
    """A block for the table itself, where it has values of its own, and one for each table in it."""
    tables = {f"{name}.{_key(key)}": value for key, value in values.items() if is_table(value)}
    own = {key: value for key, value in values.items() if not is_table(value)}
    return [_block(f"[{name}]", own), *([f"[{key}]", *_lines(value)] for key, value in tables.items())]


def _block(header: str, values: _Table) -> list[str]:
    return [header, *_lines(values)] if values else []


def _lines(values: Mapping[str, object]) -> list[str]:
    return [f"{_key(key)} = {_written(value)}" for key, value in values.items()]


def _written(value: object) -> str:
    if is_table(value):
        return f"{{ {', '.join(_lines(value))} }}" if value else "{}"
    if is_list(value):
        return f"[{', '.join(map(_written, value))}]"
    # A JSON string, number or truth value is a TOML one too.
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
