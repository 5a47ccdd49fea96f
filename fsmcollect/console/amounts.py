"""Times, numbers and names as a person reads them; for sizes see `fsmcollect.stream.stopping.size_in_words`."""

from __future__ import annotations

from collections.abc import Iterator


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``5 h 10 min``: the two largest units."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit_s, name, lesser_s, lesser in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // lesser_s
            return f"{whole // unit_s:,} {name}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"


def pace(simulated_s: float, wall_s: float) -> str:
    """``7.5 s in 0.50 s, 15 times as fast``: simulated in real time; no ratio where there is nothing to compare."""
    took = f"{simulated_s:,.1f} s in {wall_s:.2f} s"
    if simulated_s <= 0 or wall_s <= 0:
        return took
    times = simulated_s / wall_s
    return f"{took}, {times:,.0f} times as fast" if times >= 1.95 else f"{took}, {times:.2g} times as fast"


def count(n: int, one: str, many: str = "") -> str:
    """``1 movie``, ``24 movies``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def shortened(path: str, width: int) -> str:
    """The end of a path, which tells files apart, in at most `width` characters."""
    if len(path) <= width:
        return path
    return ("..." + path[len(path) - width + 3 :])[:width] if width > 3 else path[len(path) - width :]


def plain(text: str) -> str:
    """What an archive wrote, without what a terminal would obey and an encoding would refuse."""
    return "".join(_plain(text))


def _plain(text: str) -> Iterator[str]:
    for character in text:
        if character.isprintable():
            yield character
        else:
            yield " " if character.isspace() else "?"
