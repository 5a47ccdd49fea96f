"""Scenarios from TOML: a file, and what was added to it on the command line.

Owns how documents are merged, where each key stands, and the tables of the whole. Owns no key of a table: those are in
`entries`, `surroundings` and `fsmcollect.request`; nor which things contradict each other (`judging`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request import Request
from fsmcollect.request.documents import read_toml, setting_lines
from fsmcollect.request.fields import integer, is_list, is_table, printable
from fsmcollect.request.reading import from_dict
from fsmcollect.sim.scenario import entries, surroundings
from fsmcollect.sim.scenario.judging import judge
from fsmcollect.sim.scenario.tables import ADDED, Report, Table, sentence
from fsmcollect.sim.scenario.values import Scenario

_KEYS = (
    *("summary", "seed", "request", "requests", "beamline", "person"),
    *("faults", "operator", "happens", "strike", "expect", "undisturbed"),
)
#: With one of these it is no plain request.
_OF_SCENARIOS = frozenset({"request", "requests", "faults", "operator", "happens", "strike", "expect", "undisturbed"})
#: TOML's integers (v1.0.0, "Integer") are of 64 bits.
_SEED = integer(low=-(2**63), high=2**63 - 1)


def is_scenario(text: str) -> bool:
    """Whether a TOML document is meant for a scenario and not for a request: it has keys that no request has."""
    try:
        tables: Mapping[str, object] = read_toml(text)
    except InvalidRequest:
        tables = dict.fromkeys((re.split(r"[.\[]", name)[0] for name in setting_lines(text)), None)
    return not _OF_SCENARIOS.isdisjoint(tables)


def parse_scenario(text: str, where: str = "", *, name: str = "", additions: Sequence[str] = ()) -> Scenario:
    """A scenario as people write it.

    Parameters
    ----------
    text : str
        The whole TOML document.
    where : str
        What to call it in a refusal: the file's name.
    name : str
        What to call the scenario.
    additions : sequence of str
        TOML documents, or inline tables in braces, that are added: lists grow, tables are merged, and of a single
        value the last one counts. One that makes another run of it takes away what was expected of it and said of it
        so far.

    Raises
    ------
    InvalidRequest
        Everything that is wrong, each with the line where it stands.
    """
    tables: dict[str, object] = read_toml(text, where)
    places = _places(text, where)
    for addition in additions:
        more, text_of_more = _read_addition(addition)
        if makes_another_run(more):
            _remember_its_ending(tables, places)
        try:
            _merge(tables, more, "", places, _places(text_of_more, ADDED))
        except RecursionError:
            too_deep = Problem(field="TOML", allowed="lists or tables are nested too deeply", where=ADDED)
            raise InvalidRequest([too_deep]) from None
    report = Report(where, places)
    scenario = _scenario(Table("", tables, report), name)
    if report.problems:
        raise InvalidRequest(report.problems)
    assert scenario is not None, "what is not read is refused"
    return scenario


# ---------------------------------------------------------------------------------------------------------------------
# Documents
# ---------------------------------------------------------------------------------------------------------------------


def _places(text: str, where: str) -> dict[str, str]:
    return {name: f"{where}, line {line}" if where else f"line {line}" for name, line in setting_lines(text).items()}


def makes_another_run(addition: Mapping[str, object]) -> bool:
    """Something else is asked for, fails or happens; not where it says only which seed, which order, what to expect."""
    strike = addition.get("strike")
    only_orders = is_table(strike) and set(strike) <= {"schedule"}
    return not set(addition) <= {"seed", "summary", "expect", *(["strike"] if only_orders else [])}


def _remember_its_ending(tables: dict[str, object], places: dict[str, str]) -> None:
    """Nothing is said and expected of what becomes of the run; how it ended before is known (`Scenario.disturbed`)."""
    tables.pop("summary", None)
    expect = tables.pop("expect", None)
    if not is_table(expect):
        return
    ends = {key: expect[key] for key in ("outcome", "ends_in") if key in expect}
    if ends:
        tables["undisturbed"] = ends
        places |= {f"undisturbed.{key}": places[f"expect.{key}"] for key in ends if f"expect.{key}" in places}


def read_addition(text: str) -> dict[str, object]:
    """What an addition says, unchecked. Raises InvalidRequest where it is no TOML."""
    return _read_addition(text)[0]


def _read_addition(text: str) -> tuple[dict[str, object], str]:
    """An addition, and its text as a document: what stands in braces is one table, so that it fits on one line."""
    if not text.lstrip().startswith("{"):
        return read_toml(text, ADDED), text
    try:
        tables: dict[str, object] = read_toml(f"_={text}", ADDED)["_"]
    except InvalidRequest as refusal:
        raise InvalidRequest([attrs.evolve(p, where=_shifted(p.where)) for p in refusal.problems]) from None
    return tables, ""


def _shifted(where: str) -> str:
    """The place of a problem in a document that had two characters put before it."""
    return re.sub(r"(line 1, column )(\d+)", lambda found: f"{found[1]}{max(1, int(found[2]) - 2)}", where)


def _merge(
    into: dict[str, object],
    more: Mapping[str, object],
    table: str,
    places: dict[str, str],
    places_of_more: Mapping[str, str],
) -> None:
    """Add `more` to `into`, which is `table`, and where it stands to `places`."""
    for key, value in more.items():
        name = f"{table}.{printable(key)}" if table else printable(key)
        here = into.get(key)
        if is_table(here) and is_table(value):
            merged = into[key] = dict(here)
            _merge(merged, value, name, places, places_of_more)
        elif is_list(here) and is_list(value):
            into[key] = [*here, *value]
            for index in range(len(value)):
                _move_places(f"{name}[{index}]", f"{name}[{len(here) + index}]", places, places_of_more)
        else:
            into[key] = value
            _move_places(name, name, places, places_of_more)


def _move_places(old: str, new: str, places: dict[str, str], places_of_more: Mapping[str, str]) -> None:
    """What was called `old` in an addition, and what lies below it, stands in `places` as `new`."""
    for name in [name for name in places if name == new or name.startswith((f"{new}.", f"{new}["))]:
        del places[name]
    places[new] = places_of_more.get(old) or places_of_more.get(old.partition("[")[0]) or ADDED
    for name, place in places_of_more.items():
        if name.startswith((f"{old}.", f"{old}[")):
            places[new + name[len(old) :]] = place


# ---------------------------------------------------------------------------------------------------------------------
# The whole
# ---------------------------------------------------------------------------------------------------------------------


def _scenario(whole: Table, name: str) -> Scenario | None:
    """The scenario; None where a request of it is refused."""
    whole.refuse_unknown(_KEYS)
    requests = _requests(whole)
    scenario = Scenario(
        name=name,
        summary=whole.get("summary", sentence) or "",
        requests=requests,
        seed=whole.get("seed", _SEED) or 0,
        beamline=surroundings.setup(whole),
        answers=surroundings.answers(whole),
        faults=entries.faults(whole),
        operator=entries.operator(whole),
        happenings=entries.happenings(whole),
        strike=entries.strike(whole),
        expect=entries.expectation(whole),
        undisturbed=entries.undisturbed(whole),
    )
    if not whole.report.problems:  # of what could not be read, nobody knows whether it fits together
        names = [f"requests[{index}]" for index in range(len(requests))] if whole.has("requests") else ["request"]
        judge(scenario, names, whole.report)
    return scenario


def _requests(whole: Table) -> tuple[Request, ...]:
    if whole.has("request") and whole.has("requests"):
        whole.refuse("requests", "cannot be asked together with request: give [request], or [[requests]] for a list")
    if whole.has("request"):
        tables: tuple[Table, ...] = (whole.table("request"),)
    else:
        tables = whole.tables("requests")
        if not tables and not whole.report.problems:
            whole.report.refuse("request", "is required: what is collected, [request.files] and [request.sweep]")
    return tuple(request for table in tables if (request := _request(table)) is not None)


def _request(table: Table) -> Request | None:
    try:
        return from_dict(table.values)
    except InvalidRequest as refusal:
        for problem in refusal.problems:
            table.report.refuse(table.name(problem.field), problem.allowed, problem.value)
        return None
