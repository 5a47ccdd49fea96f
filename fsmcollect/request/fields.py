"""The door: how one field of a request is converted and checked, and how a refusal is worded.

Owns the rules (a rule takes what the user wrote and gives the value, or says what is allowed), exact rational numbers
from decimal input, and how an offending value is shown. Owns no field: those are in `request`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, TypeGuard, TypeVar

import attrs

from fsmcollect.errors import InvalidRequest, Problem

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

#: Largest and smallest power of ten that a number may be written with (assumed). It keeps `Fraction` from making an
#: integer of a billion digits out of ten characters; float noise such as 1.2e-16 passes with room to spare.
MAX_EXPONENT = 30
MIN_EXPONENT = -100
#: Largest numerator or denominator, in bits: what the exponents above can make, and no more.
_MAX_BITS = 512
_RATIO = re.compile(r"[+-]?[0-9]{1,100}/[0-9]{1,100}", re.ASCII)


class Outlandish(str):
    """A number as it was written, whose exponent no decimal arithmetic holds."""


def decimal_number(text: str) -> Decimal | Outlandish:
    """What TOML and JSON parsers make of a number with a point or an exponent: exactly what is written."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Outlandish(text)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------------------------------------------------


def exact(value: object) -> Fraction:
    """The rational number that was written: 0.1 is 1/10.

    Parameters
    ----------
    value : int, Fraction, Decimal, float or text such as "1/3"
        A float counts as the shortest decimal that reads back as it (its ``repr``).

    Raises
    ------
    ValueError
        It is no number (nor are true and "5"), it is not finite, or its exponent is out of bounds.
    """
    if isinstance(value, str) and not isinstance(value, Outlandish) and _RATIO.fullmatch(value):
        above, below = value.split("/")
        if not int(below):
            raise ValueError("must not divide by 0")
        return _bounded(Fraction(int(above), int(below)))
    number = _number(value)
    if isinstance(number, float):
        number = Decimal(repr(number))
    if isinstance(number, Decimal):
        # Bounded BEFORE Fraction writes the power of ten out; zero has any exponent and no digits.
        if number and not (number.adjusted() <= MAX_EXPONENT and _exponent(number) >= MIN_EXPONENT):
            raise ValueError(f"must be 0 or lie between 1e{MIN_EXPONENT} and 1e{MAX_EXPONENT}, with as many decimals")
        number = Fraction(number) if number else Fraction(0)
    return _bounded(Fraction(number))


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "only NaN and infinity have letters for an exponent, and they were refused"
    return exponent


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise ValueError("has more digits than any angle needs")
    return value


def _number(value: object) -> int | float | Decimal | Fraction:
    """`value` if it is a finite number, and not text or a truth value that Python would take for one."""
    if isinstance(value, Outlandish):
        raise ValueError(f"must lie between 1e{MIN_EXPONENT} and 1e{MAX_EXPONENT}")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction):
        raise ValueError(f"must be a number, not {_kind(value)}")
    if isinstance(value, Decimal):
        finite = value.is_finite()
    elif isinstance(value, float):
        finite = value - value == 0.0
    else:
        finite = True
    if not finite:
        raise ValueError("must be a finite number")
    return value


def is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether it is a table: of TOML, of JSON or of Python."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether it is a list, and not text."""
    return isinstance(value, list | tuple)


def _kind(value: object) -> str:
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        (str, "text"),
        ((int, float, Decimal, Fraction), "a number"),
        (Mapping, "a table"),
        ((list, tuple), "a list"),
        (type(None), "nothing"),
    ]
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


def number(
    *, low: float | None = None, above: float | None = None, high: float | None = None, unit: str = ""
) -> Callable[[object], float]:
    """Rule: a finite number that goes to a device as a float; `low` and `high` are allowed, `above` is not."""
    limits = _limits(low, above, high, unit)

    def rule(value: object) -> float:
        given = _number_within(value, limits)
        try:
            result = float(given)
        except OverflowError:
            result = float("inf")
        if result in (float("inf"), float("-inf")):
            raise ValueError(limits or "must be a finite number that a device can hold, below 1e308")
        if not result and given:
            raise ValueError("is so near 0 that a device would take it for 0: write 0 or a larger number")
        _check_limits(result, low, above, high, limits)
        return result

    return rule


def integer(*, low: int, high: int, unit: str = "") -> Callable[[object], int]:
    """Rule: a whole number, written as one."""
    limits = _limits(low, None, high, unit)

    def rule(value: object) -> int:
        given = _number_within(value, limits)
        if not isinstance(given, int):
            raise ValueError("must be a whole number, written without a point or an exponent")
        _check_limits(given, low, None, high, limits)
        return given

    return rule


def angle(*, low: int, high: int, unit: str = "deg") -> Callable[[object], Fraction]:
    """Rule: an exact angle."""
    limits = _limits(low, None, high, unit)

    def rule(value: object) -> Fraction:
        _number_within(value, limits, or_ratio=True)
        result = exact(value)
        _check_limits(result, low, None, high, limits)
        return result

    return rule


def _number_within(value: object, limits: str, *, or_ratio: bool = False) -> int | float | Decimal | Fraction:
    """As `_number`; a refusal says which numbers are allowed, too."""
    try:
        return exact(value) if or_ratio and isinstance(value, str) else _number(value)
    except ValueError as refusal:
        raise ValueError(f"{refusal}: {limits.removeprefix('must be ')}" if limits else str(refusal)) from None


def _check_limits(
    value: float | Fraction, low: float | None, above: float | None, high: float | None, sentence: str
) -> None:
    inside = (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)
    if not inside:
        raise ValueError(sentence)


def _limits(low: float | None, above: float | None, high: float | None, unit: str) -> str:
    unit = f" {unit}" if unit else ""
    floor = low if low is not None else above
    if floor is None:
        return ""  # a rule with an upper limit has a lower one too
    if high is None:
        return f"must be {'at least' if low is not None else 'greater than'} {floor:,}{unit}"
    if low is not None:
        return f"must be {low:,} to {high:,}{unit}"
    return f"must be greater than {above:,}{unit} and at most {high:,}{unit}"


# ---------------------------------------------------------------------------------------------------------------------
# Words
# ---------------------------------------------------------------------------------------------------------------------


def truth(value: object) -> bool:
    """Rule: true or false, and nothing that only looks like it."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_kind(value)}")
    return value


def text(value: object) -> str:
    """Rule: text that can be shown and written to a file."""
    if not isinstance(value, str) or isinstance(value, Outlandish):
        raise ValueError(f"must be text in quotes, not {_kind(0 if isinstance(value, Outlandish) else value)}")
    # Lone surrogates (JSON may escape them) cannot be written as UTF-8; NUL and newlines end paths and log lines.
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("must not hold control characters or broken Unicode")
    return value


def one_of(choices: type[E]) -> Callable[[object], E]:
    """Rule: one member of an enum, by its value."""
    listed = ", ".join(str(member.value) for member in choices)

    def rule(value: object) -> E:
        if isinstance(value, choices):
            return value
        for member in choices:
            if value == member.value and not isinstance(value, bool):
                return member
        raise ValueError(f"must be one of {listed}")

    return rule


def optional(rule: Callable[[object], T]) -> Callable[[object], T | None]:
    """Rule: nothing, or what `rule` allows."""

    def maybe(value: object) -> T | None:
        return None if value is None else rule(value)

    return maybe


# ---------------------------------------------------------------------------------------------------------------------
# Refusing
# ---------------------------------------------------------------------------------------------------------------------

_SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """An offending value as it was written, on one line, printable, and short whatever it is."""
    if isinstance(value, Outlandish):
        words = str(value)
    elif isinstance(value, bool):
        words = "true" if value else "false"
    elif isinstance(value, int) and value.bit_length() > 256:
        # str() of an integer with more than 4,300 digits is refused by Python itself.
        words = f"an integer of about {int(value.bit_length() * 0.30103) + 1} digits"
    elif isinstance(value, str):
        words = f'"{value}"'
    elif isinstance(value, enum.Enum):
        words = f'"{value.value}"'
    elif is_table(value) or is_list(value):
        words = f"{_kind(value)} of {len(value)}"
    elif isinstance(value, Fraction) and value.denominator.bit_length() <= 256:
        words = degrees(value)
    else:
        words = str(value)
    return printable(words)


def printable(words: str) -> str:
    """`words` on one line, without what a terminal cannot show, and short."""
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words[: _SHOWN_CHARACTERS + 1])
    return escaped if len(words) <= _SHOWN_CHARACTERS else escaped[: _SHOWN_CHARACTERS - 3] + "..."


def degrees(value: Fraction) -> str:
    """A rational as people write it: its decimal where that is exact, else a ratio."""
    if value.denominator == 1:
        return str(value.numerator)
    rounded = float(value)
    return repr(rounded) if Fraction(Decimal(repr(rounded))) == value else str(value)


def by(rule: Callable[[object], object]) -> dict[str, object]:
    """A field's metadata that says which rule its value passes."""
    return {"rule": rule}


def named(cls: type, attributes: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Let the rule of each field refuse with an `InvalidRequest` that names section and field.

    A field transformer of attrs. The class says its section (``section = "sweep"``), its fields their rules (`by`).
    """
    section: str = cls.__dict__["section"]

    def naming(name: str, rule: Callable[[object], object]) -> Callable[[object], object]:
        def convert(value: object) -> object:
            try:
                return rule(value)
            except ValueError as refusal:
                raise InvalidRequest([Problem(field=name, value=shown(value), allowed=str(refusal))]) from None

        return convert

    return [a.evolve(converter=naming(f"{section}.{a.name}", a.metadata["rule"])) for a in attributes]


def converting(cls: type, name: str) -> Callable[[object], Any]:
    """The rule of one field, refusing as its class does."""
    converter: Callable[[object], Any] = attrs.fields_dict(cls)[name].converter  # type: ignore[assignment]
    return converter
