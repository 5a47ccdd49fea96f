"""What a person sees of plans, runs and streams: lines in a pipe, a live display on a terminal.

Owns the wording and layout of what the command prints, and what becomes of it when nobody reads it any more. Owns no
exit code and no option (`cli`); decides nothing about a run. Here is how anything is printed; what is printed is in the
files beside this one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

from fsmcollect.errors import StorageError

#: Rows of a long table that a person is shown; ``--json`` has them all.
ROWS_SHOWN = 12
#: Where the second column of a summary begins.
INDENT = 12


def say(text: str, *, err: bool = False) -> None:
    """Print a line. That nobody reads any more (``| head -1``) neither fails the command nor stops a run.

    Raises
    ------
    StorageError
        What was to be printed on standard output is lost for another reason, such as a full disk.
    """
    try:
        click.echo(text, err=err)
    except OSError as error:
        # Python would flush what is left once more on its way out, and complain then.
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), (sys.stderr if err else sys.stdout).fileno())
        if not (err or isinstance(error, BrokenPipeError)):
            raise StorageError(f"cannot print the result: {error.strerror or error}") from error


def complain(sentence: object) -> None:
    """Say on standard error what is wrong."""
    say(f"fsmcollect: {sentence}", err=True)


def words(name: str) -> str:
    """The name of a state or an event as a person reads it."""
    return name.lower().replace("_", " ")


def on_a_terminal() -> bool:
    """Whether a person reads along; where standard output is closed, Python has none."""
    return sys.stdout is not None and sys.stdout.isatty()


def coloured(outcome: str, *, safe: bool = True) -> str:
    """Colour on a terminal that wants it; see https://no-color.org."""
    if os.environ.get("NO_COLOR") or not on_a_terminal():
        return outcome
    colours = {"done": "green", "skipped": "green", "aborted": "yellow"}
    return click.style(outcome, fg=colours.get(outcome, "red") if safe else "red", bold=True)


def show_row(label: str, text: str, *, column: int = INDENT) -> None:
    """Print a label and its text, on a terminal in lines of its width; a path or a hash is never broken.

    The text begins at `column`.
    """
    label = label.ljust(column)
    if not on_a_terminal():
        say(label + text)
        return
    width = max(shutil.get_terminal_size().columns, 2 * column)
    indent = " " * column
    say(
        textwrap.fill(
            text, width, initial_indent=label, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    )


def show_table(rows: Sequence[tuple[str, ...]], *, numeric: Sequence[str]) -> None:
    """Print columns under their headings, those in `numeric` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, rows[0], strict=True)
        say("  ".join(cell.rjust(n) if heading in numeric else cell.ljust(n) for cell, n, heading in cells).rstrip())
