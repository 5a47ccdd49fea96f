"""A stream as it goes on, on standard error: bars on a terminal, lines elsewhere.

Fed by events alone, from within the run: they are only noted there. A thread of its own writes, so that a reader who
pauses (Ctrl-S, a pager) delays no stream. Owns how it looks; what is counted and said is `tally`'s.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from fsmcollect.console import say
from fsmcollect.console.amounts import count, duration, plain, shortened
from fsmcollect.console.tally import FETCHING, Tally, UnderWay, sentence
from fsmcollect.events import EntryDescribed, Event, FileGivenUp, FileRejected, FileRetried, Noticed
from fsmcollect.machines.stream import STREAM
from fsmcollect.stream.stopping import size_in_words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from fsmcollect.observers import Listener

#: What is said above the bars; the bars tell the rest.
_ABOVE = (EntryDescribed, FileRetried, FileRejected, FileGivenUp, Noticed)
_REFRESHED_EACH_S = 0.125
#: Lines of the display that are not files: the total, the counts, and one for the cursor.
_OTHER_LINES = 3
#: On narrower terminals the total has no bytes and no time, then no speed, and on the narrowest nothing has a bar.
_WIDE = 72
_MIDDLING = 47
_NARROW = 32
_STATE_WIDTH = max(len(state.name) for state in STREAM.states)
#: Shorter times are told without a fraction, which nobody could read.
_MOMENT_S = 10.0


@contextmanager
def following(jobs: int) -> Generator[Listener]:
    """Show how a stream gets on; yields who wants to be told of its events."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        with _lines() as listener:
            yield listener
    else:
        with _bars(jobs) as listener:
            yield listener


# ---------------------------------------------------------------------------------------------------------------------
# Lines
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _lines() -> Generator[Listener]:
    """A line for every state, movie and mishap, with the time since the stream began."""
    tally = Tally()
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def show(event: Event) -> None:
        tally.note(event)
        if (said := sentence(event, tally)) is not None:
            waiting.put(f"{event.t_us / 1e6:12.3f} s  {said}")

    def write() -> None:
        while (line := waiting.get()) is not None:
            say(line, err=True)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield show
    finally:
        waiting.put(None)
        writer.join()


# ---------------------------------------------------------------------------------------------------------------------
# Bars
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _bars(jobs: int) -> Generator[Listener]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    display = _Display(jobs)
    above: deque[str] = deque()
    is_over = threading.Event()
    live = Live(display, console=console, auto_refresh=False, redirect_stdout=False)

    def show(event: Event) -> None:
        display.note(event)
        if isinstance(event, _ABOVE) and (said := sentence(event, display.tally)) is not None:
            above.append(said)

    def refresh() -> None:
        if said := [above.popleft() for _ in range(len(above))]:
            console.print(Text("\n".join(said)), soft_wrap=True)
        live.refresh()

    def keep_refreshing() -> None:
        with suppress(OSError):  # the terminal has gone: nobody looks any more
            while not is_over.wait(_REFRESHED_EACH_S):
                refresh()

    with suppress(OSError):
        live.start()
    refresher = threading.Thread(target=keep_refreshing, daemon=True)
    refresher.start()
    try:
        yield show
    finally:
        is_over.set()
        refresher.join()
        with suppress(OSError):
            refresh()
            live.stop()


@attrs.define(eq=False)
class _Display:
    """What the terminal shows now. Noted in the run's thread, drawn in the display's."""

    jobs: int
    tally: Tally = attrs.field(factory=Tally)
    _noted_s: float = attrs.field(factory=time.monotonic)
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    def note(self, event: Event) -> None:
        with self._lock:
            self.tally.note(event)
            self._noted_s = time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A terminal shows Ctrl-C as ^C behind the last line; full lines would be broken by it.
        width = max(options.max_width - len("^C") - 1, 1)
        with self._lock:
            drawn = self._drawn(width, console.size.height)
        yield from console.render(drawn, options.update_width(width))

    def _drawn(self, width: int, height: int) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        tally = self.tally
        if width < _NARROW:
            return Text(f"{tally.state} {_movies(tally)}", no_wrap=True, overflow="crop")
        is_wide = width >= _WIDE
        now_s = tally.now_s + time.monotonic() - self._noted_s
        fraction = tally.fraction
        bar = ProgressBar(total=None if fraction is None else 1.0, completed=fraction or 0.0, pulse=fraction is None)
        total = _row_of_bars()
        total.add_row(tally.state.ljust(_STATE_WIDTH), bar, "  ".join(_total(tally, now_s, width)))
        lines: list[RenderableType] = [total]
        if files := list(tally.under_way.values())[: max(min(self.jobs, height - _OTHER_LINES), 0)]:
            each = _row_of_bars()
            for file in files:
                name = "  " + shortened(plain(file.path), width // 2)
                each.add_row(name, ProgressBar(total=1.0, completed=file.fraction), _progress(file, is_wide=is_wide))
            lines.append(each)
        return Group(*lines, Text(_counts(tally), style="dim", no_wrap=True, overflow="crop"))


def _row_of_bars() -> Table:
    """A name, a bar as wide as there is room, and what it means."""
    from rich.table import Table

    rows = Table.grid(expand=True, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, overflow="crop")
    rows.add_column(ratio=1)
    rows.add_column(no_wrap=True, overflow="crop")
    return rows


def _movies(tally: Tally) -> str:
    """Registered of wanted; nothing before that is known."""
    if tally.wanted is None:
        return ""
    return f"{tally.registered:,}/{tally.wanted:,} movies"


def _total(tally: Tally, now_s: float, width: int) -> Iterator[str]:
    if tally.movies is None:
        return
    yield _movies(tally)
    if width >= _WIDE:
        yield size_in_words(tally.bytes_here)
    if tally.is_over or width < _MIDDLING:
        return
    yield f"{size_in_words(tally.bytes_per_s(now_s))}/s"
    if width >= _WIDE and (left_s := tally.remaining_s(now_s)) is not None:
        yield f"{duration(left_s) if left_s >= _MOMENT_S else f'{left_s:.0f} s'} left"


def _progress(file: UnderWay, *, is_wide: bool) -> str:
    if file.doing != FETCHING:
        return file.doing
    of = f" of {size_in_words(file.of_bytes)}" if is_wide and file.of_bytes else ""
    return f"{file.fraction:4.0%}{of}"


def _counts(tally: Tally) -> str:
    parts = [
        f"{tally.registered:,} registered",
        f"{tally.rejected:,} rejected",
        count(tally.retries, "retry", "retries"),
    ]
    return ", ".join([*parts, *([f"{tally.given_up:,} given up"] if tally.given_up else [])])
