"""How a story is printed: a column of times, marks, indentation, colours, and lines of the terminal's width.

Owns the layout alone: what is told is `explaining`'s and `telling`'s.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from fsmcollect.console import on_a_terminal, say
from fsmcollect.console.telling import Kind, Told

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Width of the column of times, of what marks a line, and how far each depth is set in.
_TIME, _MARK, _STEP = 12, 2, 2
#: On narrower terminals lines are broken as if it were so wide.
_NARROWEST = 40
_MARKS = {Kind.TROUBLE: "!", Kind.DEED: ">"}
_STYLES = {
    Kind.RUN: "bold",
    Kind.STATE: "bold",
    Kind.DEED: "bold cyan",
    Kind.TROUBLE: "bold red",
    Kind.ENDED: "bold",
}
_OUTCOMES = {"done": "bold green", "skipped": "bold green", "aborted": "bold yellow", "failed": "bold red"}


def show_story(story: Sequence[Told]) -> None:
    """Print the story: on a terminal in lines of its width and with colours, elsewhere a line for each thing."""
    from rich.console import Console

    is_coloured = on_a_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", None)
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if on_a_terminal() else None
    sent = StringIO()
    console = Console(
        file=sent, width=width or 10_000, force_terminal=is_coloured, color_system="standard" if is_coloured else None
    )
    for line in _laid_out(story, console):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    say(sent.getvalue().rstrip("\n"))


def _laid_out(story: Sequence[Told], console: Console) -> Iterator[Text]:
    """Each line as it is printed."""
    from rich.text import Text

    columns = [max(map(len, column)) for column in itertools.zip_longest(*(t.cells for t in story), fillvalue="")]
    shown = ""
    for told in story:
        time = f"{told.t_us / 1e6:,.3f} s"
        mark, indent = _MARKS.get(told.kind, ""), _STEP * told.depth
        before = f"{time if time != shown else '':>{_TIME}} {mark:<{_MARK}}{'':{indent}}"
        shown = time
        text = Text(told.text)
        if told.cells:
            text = Text("  ".join(map(str.ljust, told.cells, columns)).rstrip())
        elif told.title:
            text = Text.assemble((told.title, _style(told)), f": {told.text}" if told.text else "")
        room = max(console.width - len(before), _NARROWEST // 2)
        first, *others = text.wrap(console, room) or [text]
        if others:  # what follows on further lines is set in a little
            begin = text.plain.index(others[0].plain, len(first))
            others = list(text[begin:].wrap(console, room - _STEP))
        if told.kind is Kind.RUN and told is not story[0]:
            yield Text()
        yield Text.assemble(before, first)
        for line in others:
            yield Text.assemble(" " * (len(before) + _STEP), line)


def _style(told: Told) -> str:
    if told.kind is Kind.ENDED:
        return _OUTCOMES.get(told.title, "bold")
    return _STYLES.get(told.kind, "")
