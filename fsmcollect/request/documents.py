"""TOML and JSON text as plain values, with every number exactly as it is written, and where each setting stands.

Owns broken text: it is told with line and column, whatever it is, and never as another exception. Owns no field and no
meaning. It opens no file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import decimal_number, printable

#: What editors on Windows begin a file with.
_BYTE_ORDER_MARK = "\ufeff"


def read_toml(text: str, where: str = "") -> dict[str, Any]:
    """The tables of a TOML document; raises `InvalidRequest` with line and column where it is broken."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        return tomllib.loads(text, parse_float=decimal_number)
    except RecursionError:
        raise _broken("TOML", "lists or tables are nested too deeply", where) from None
    except ValueError as error:
        raise _broken("TOML", *_toml_error(text, error, where)) from None


def read_json(text: str, where: str = "") -> Any:
    """The value of a JSON document; raises `InvalidRequest` with line and column where it is broken.

    NaN and Infinity, which JSON does not have and many writers write, are left for the rule of their field to refuse
    by name.
    """
    try:
        return json.loads(
            text.removeprefix(_BYTE_ORDER_MARK), parse_float=decimal_number, parse_constant=decimal_number
        )
    except RecursionError:
        raise _broken("JSON", "lists or tables are nested too deeply", where) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _broken("JSON", f"cannot be read: {printable(error.msg)}", where, place) from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise _broken("JSON", "holds a number with too many digits", where) from None


def _broken(language: str, message: str, *places: str) -> InvalidRequest:
    return InvalidRequest([Problem(field=language, allowed=message, where=", ".join(filter(None, places)))])


def _toml_error(text: str, error: ValueError, where: str) -> tuple[str, str, str]:
    """Take apart the message of tomllib: what is wrong, the file, "line 2, column 3"."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
    if found is None:
        if "digits" in str(error):  # int() refuses more than 4,300 of them, before any field is known
            rows = enumerate(text.split("\n"), 1)
            line = next((n for n, row in rows if any(len(run) > 4300 for run in re.findall("[0-9_]+", row))), None)
            return "holds a number with too many digits", where, f"line {line}" if line else ""
        return printable(str(error)), where, ""
    message, row, column = found.groups()
    if row is None:
        row, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return f"cannot be read: {printable(message)}", where, f"line {row}, column {column}"


# Possessive (`++`), so that no row, however long, is gone through more than a few times.
_HEADER = re.compile(r"\s*+(\[++)([^\[\]#]++)\]")
_SETTING = re.compile(r"""\s*+((?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+'|\s*+\.\s*+)+?)\s*+=""")


def setting_lines(text: str) -> dict[str, int]:
    """Line of each dotted name, from 1, by a light scan: a name inside a long string may fool it, and only it.

    Of an array of tables (``[[faults]]``, not within another table) every entry has a name of its own too, counted
    from 0: ``faults[2].effect``. The plain name is that of its first.
    """
    lines: dict[str, int] = {}
    entries: dict[str, int] = {}
    section = numbered = ""
    for line, row in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(row):
            section = _plain_name(header[2])
            if header[1] == "[[" and "." not in section:
                entries[section] = entries.get(section, -1) + 1
            array = section.partition(".")[0]
            numbered = f"{array}[{entries[array]}]{section[len(array) :]}" if array in entries else section
            for name in (section, numbered):
                lines.setdefault(name, line)
        elif setting := _SETTING.match(row):
            name = _plain_name(setting[1])
            for table in {section, numbered}:
                lines.setdefault(f"{table}.{name}" if table else name, line)
            if not section:
                lines.setdefault(name.split(".")[0], line)
    return lines


def _plain_name(name: str) -> str:
    return ".".join(printable(part.strip().strip("\"'")) for part in name.split("."))


def place(where: str, field: str, lines: Mapping[str, int]) -> str:
    """File and line of a field, or of its section where the field itself is nowhere."""
    line = lines.get(field) or lines.get(field.partition(".")[0])
    return ", ".join(filter(None, (where, f"line {line}" if line else "")))
