"""What the commands share: exit codes, help with examples, and who hears Ctrl-C while something runs."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import click

#: What is said of each example; made when it is asked for where that needs more than words.
Rows = Sequence[tuple[str, str]] | Callable[[], Sequence[tuple[str, str]]]


class Exit(enum.IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    ABORTED = 3
    UNSAFE = 4


class WithExamples(click.Command):
    """A command whose help ends with aligned lists, such as examples."""

    def __init__(self, *args: Any, lists: dict[str, Rows], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._lists = lists

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, rows in self._lists.items():
            with formatter.section(heading):
                formatter.write_dl(rows() if callable(rows) else rows, col_max=38)


class GroupWithExamples(WithExamples, click.Group):
    """A group of commands whose help ends so."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@contextmanager
def signals_noted(heard: Callable[[], object] = lambda: None) -> Generator[list[int]]:
    """From here on SIGINT and SIGTERM no longer end the command where it stands: a run must end through CLOSING.

    Yields those that came and that no run has heard; `heard` is called at each of them, between two instructions of the
    main thread. Afterwards they are ignored: the result is printed. SIGHUP, of a terminal that is closed, becomes a
    SIGTERM, so that whoever heeds that hears of it; under ``nohup`` it stays ignored.
    """
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        heard()

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: signal.raise_signal(signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
