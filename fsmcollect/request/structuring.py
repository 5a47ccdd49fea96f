"""From tables of plain values to frozen classes, by cattrs, with every problem found and named.

Owns how a misspelt, missing or misplaced setting is told. Owns no setting: the classes, their sections and their rules
are given to it (`fsmcollect.request`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import converting, is_table, printable, shown

if TYPE_CHECKING:
    from attrs import AttrsInstance

T = TypeVar("T", bound="AttrsInstance")


@attrs.frozen(kw_only=True)
class Rewriting:
    """Settings that a section takes in place of a field of its class."""

    #: What may be written, besides the fields of the class.
    settings: tuple[str, ...]
    #: Gives the section in terms of its fields, and what was wrong with the settings that it took out.
    rewrite: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], tuple[Problem, ...]]]


@attrs.frozen
class Structurer(Generic[T]):
    """Makes a `whole` of a table of sections.

    Attributes
    ----------
    whole : type
        An attrs class whose fields are the sections, and mappings that have a rule of their own.
    sections : mapping of str to type
        Name of each section to its class, whose fields have their rules by `fsmcollect.request.fields.named`.
    missing : mapping of str to str
        What to say where a section or a dotted field is missing; else "is required".
    rewriting : mapping of str to Rewriting
        By section.
    """

    whole: type[T]
    sections: Mapping[str, type]
    missing: Mapping[str, str]
    rewriting: Mapping[str, Rewriting]
    _converter: cattrs.Converter = attrs.field(init=False, factory=lambda: cattrs.Converter(detailed_validation=True))

    def __attrs_post_init__(self) -> None:
        overrides = {name: _override(converting(self.whole, name)) for name in attrs.fields_dict(self.whole)}
        for name, cls in self.sections.items():
            # A section's rules are its attrs converters, which name the field themselves; used as hooks too, so that
            # cattrs asks every one of them and not only those before the first refusal.
            rules = {field: _override(converting(cls, field)) for field in attrs.fields_dict(cls)}
            read = self._section_reader(name, _structure_function(cls, self._converter, rules))
            overrides[name] = _override(_or_none(read) if attrs.fields_dict(self.whole)[name].default is None else read)
        hook = _structure_function(self.whole, self._converter, overrides)
        self._converter.register_structure_hook(self.whole, hook)

    def __call__(self, mapping: object, where: str = "") -> T:
        """Make it, or raise `InvalidRequest` with everything that is wrong."""
        if not is_table(mapping):
            allowed = f"must be a table of sections: {', '.join(self.sections)}"
            raise InvalidRequest([Problem(field="request", value=shown(mapping), allowed=allowed, where=where)])
        try:
            return self._converter.structure(mapping, self.whole)
        except cattrs.BaseValidationError as refusals:
            found = self._problems(refusals, "")
            raise InvalidRequest([attrs.evolve(p, where=where) for p in found]) from None

    def _section_reader(self, section: str, structure: Callable[..., Any]) -> Callable[[object], Any]:
        def read(value: object) -> Any:
            if not is_table(value):
                allowed = f"must be a section of settings, [{section}], not a single value"
                raise InvalidRequest([Problem(field=section, value=shown(value), allowed=allowed)])
            problems: tuple[Problem, ...] = ()
            if section in self.rewriting:
                value, problems = self.rewriting[section].rewrite(value)
            try:
                result = structure(value, None)
            except cattrs.BaseValidationError as refusals:
                problems += tuple(self._problems(refusals, section))
                result = None
            if problems:
                raise InvalidRequest(problems)
            return result

        return read

    def _problems(self, refusals: cattrs.BaseValidationError, section: str) -> Iterable[Problem]:
        """Flatten the tree of what went wrong as cattrs tells it, in the order of the fields."""
        if not isinstance(refusals, cattrs.ClassValidationError):
            raise refusals  # nothing here is structured as a list: a bug, not a wrong request
        named, others = refusals.group_exceptions()
        for exception, note in named:
            if isinstance(exception, InvalidRequest):
                yield from exception.problems
            elif isinstance(exception, cattrs.BaseValidationError):
                yield from self._problems(exception, note.name)
            elif isinstance(exception, KeyError):
                field = f"{section}.{note.name}" if section else note.name
                yield Problem(field=field, allowed=self.missing.get(field, "is required"))
            else:
                raise exception
        for exception in others:
            if isinstance(exception, InvalidRequest):
                yield from exception.problems
            elif isinstance(exception, cattrs.ForbiddenExtraKeysError):
                yield from (self._unknown(section, str(key)) for key in sorted(exception.extra_fields, key=str))
            else:
                raise exception

    def _settings(self, section: str) -> tuple[str, ...]:
        others = self.rewriting[section].settings if section in self.rewriting else ()
        return (*attrs.fields_dict(self.sections[section]), *others)

    def _unknown(self, section: str, key: str) -> Problem:
        """A key that nothing knows, with what may have been meant."""
        if not section:
            field, kind, known = printable(key), "section", list(attrs.fields_dict(self.whole))
            homes = [f"{name}.{key}" for name in self.sections if key in self._settings(name)]
        else:
            field, kind, known = f"{section}.{printable(key)}", "setting", list(self._settings(section))
            homes = [f"{name}.{key}" for name in self.sections if name != section and key in self._settings(name)]
        nearest = difflib.get_close_matches(key.lower(), known, 1, 0.5)
        if homes:
            advice = f"did you mean {' or '.join(homes)}?"
        elif nearest:
            advice = f"did you mean {f'{section}.' if section else ''}{nearest[0]}?"
        else:
            advice = f"known are {', '.join(known)}"
        return Problem(field=field, allowed=f"unknown {kind}; {advice}")


def _structure_function(cls: type[Any], converter: cattrs.Converter, overrides: dict[str, Any]) -> Callable[..., Any]:
    return make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)


def _override(rule: Callable[[object], Any]) -> Any:
    return override(struct_hook=lambda value, _: rule(value))


def _or_none(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else read(value)
