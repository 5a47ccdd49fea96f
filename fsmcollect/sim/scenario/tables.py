"""One table of a scenario while it is read: each key by its rule, and everything that is wrong with it.

Owns how a problem is worded and where it stands, in the scenario or in what was added to it. Owns no key: those are in
`entries`, `surroundings` and `reading`.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs

from fsmcollect.errors import Problem
from fsmcollect.request.fields import Outlandish, is_list, is_table, number, printable, shown, text

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

#: What an addition is called where it is refused: the option that it was given with.
ADDED = "--with"
#: Longest time in a scenario. Assumed: no run is planned for longer.
WEEK_S = 604_800
#: Most that is counted. Assumed: more calls or events than any run makes.
MANY = 10_000_000


@attrs.define(eq=False)
class Report:
    """Everything that is wrong with a scenario, each at its place.

    Attributes
    ----------
    where : str
        What to call the scenario: its file's name.
    places : mapping of str to str
        File and line of each dotted name, as far as known: ``faults[2].effect``.
    """

    where: str
    places: Mapping[str, str]
    problems: list[Problem] = attrs.field(init=False, factory=list[Problem])

    def refuse(self, field: str, allowed: str, value: str = "") -> None:
        self.problems.append(Problem(field=field, value=value, allowed=allowed, where=self.place(field)))

    def place(self, field: str) -> str:
        """File and line of a field, or of the nearest table around it that stands somewhere."""
        while field:
            if field in self.places:
                return self.places[field]
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return self.where


@attrs.frozen(eq=False)
class Table:
    """A table; empty where the scenario has none.

    Attributes
    ----------
    field : str
        Its dotted name: ``faults[2]``. Empty for the whole scenario.
    """

    field: str
    values: Mapping[str, object]
    report: Report

    @property
    def place(self) -> str:
        return self.report.place(self.field)

    def places(self) -> dict[str, str]:
        """File and line of each of its keys."""
        return {key: self.report.place(self.name(key)) for key in self.values}

    def name(self, key: str) -> str:
        return f"{self.field}.{printable(key)}" if self.field else printable(key)

    def has(self, key: str) -> bool:
        return key in self.values

    def refuse(self, key: str, allowed: str) -> None:
        """Refuse what `key` is."""
        self.report.refuse(self.name(key), allowed, shown(self.values[key]) if self.has(key) else "")

    def refuse_unknown(self, known: Sequence[str], kind: str = "key") -> None:
        """Refuse every key that is not `known`."""
        for key in self.values:
            if key not in known:
                self.report.refuse(self.name(key), f"unknown {kind}; {meant(key, known)}known are {', '.join(known)}")

    def get(self, key: str, rule: Callable[[object], T]) -> T | None:
        """What `key` is, by its rule; None where it is missing or refused."""
        if key not in self.values:
            return None
        try:
            return rule(self.values[key])
        except ValueError as refusal:
            self.refuse(key, str(refusal))
            return None

    def need(self, key: str, rule: Callable[[object], T], what: str) -> T | None:
        """As `get`, of a key that must be there; `what` says what it is for."""
        if key not in self.values:
            self.report.refuse(self.name(key), f"is required: {what}")
        return self.get(key, rule)

    def table(self, key: str) -> Table:
        """The table that `key` is."""
        value = self.values.get(key)
        if is_table(value):
            return Table(self.name(key), value, self.report)
        if self.has(key):
            self.refuse(key, f"must be a table of settings, [{self.name(key)}]")
        return Table(self.name(key), {}, self.report)

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables that `key` is a list of."""
        value = self.values.get(key, ())
        if not is_list(value) or not all(map(is_table, value)):
            self.refuse(key, f"must be a list of tables, each headed [[{self.name(key)}]]")
            value = ()
        return tuple(
            Table(f"{self.name(key)}[{index}]", entry, self.report)
            for index, entry in enumerate(value)
            if is_table(entry)
        )


# ---------------------------------------------------------------------------------------------------------------------
# Rules that requests do not have
# ---------------------------------------------------------------------------------------------------------------------

#: A time of the run, or a length of time.
time_s = number(low=0, high=WEEK_S, unit="s")
#: A length of time that is not nothing.
length_s = number(above=0, high=WEEK_S, unit="s")


def meant(word: str, known: Iterable[str]) -> str:
    """What may have been meant by a misspelt word; empty where nothing is near."""
    folded = {name.casefold(): name for name in known}
    # Of a word with a point, its last part counts too: "exposing" is meant for "wedge.EXPOSING".
    parts = {name.rpartition(".")[2]: name for name in folded}
    near = difflib.get_close_matches(word.casefold(), [*folded, *parts], 1, 0.6)
    return f'did you mean "{folded[parts.get(near[0], near[0])]}"? ' if near else ""


def word(known: Iterable[str], kind: str) -> Callable[[object], str]:
    """Rule: one of the words that are `known`."""
    choices = tuple(known)

    def rule(value: object) -> str:
        if isinstance(value, str) and not isinstance(value, Outlandish) and value in choices:
            return value
        near = meant(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"is no {kind}; {near}allowed are {', '.join(choices)}")

    return rule


def member(choices: type[E], kind: str) -> Callable[[object], E]:
    """Rule: a member of an enum, by its value."""
    by_value = {str(choice.value): choice for choice in choices}
    as_word = word(by_value, kind)
    return lambda value: by_value[as_word(value)]


def words(rule: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Rule: a list, each entry by `rule`."""

    def each(value: object) -> tuple[T, ...]:
        if not is_list(value):
            raise ValueError('must be a list such as ["...", "..."]')
        results: list[T] = []
        refusals: list[str] = []
        for entry in value:
            try:
                results.append(rule(entry))
            except ValueError as refusal:
                refusals.append(f"holds {shown(entry)}, which {refusal}")
        if refusals:
            raise ValueError("; ".join(refusals))
        return tuple(results)

    return each


def sentence(value: object) -> str:
    """Rule: words on one line."""
    if not text(value).strip():
        raise ValueError("must not be empty")
    return text(value)
