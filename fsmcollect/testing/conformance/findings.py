"""What an examination of a device adapter found: breaches in plain words, and what could not be tried.

Owns the values and how they read. Which breach means what is in `rules`.
"""

from __future__ import annotations

import textwrap

import attrs

#: Width of a report; assumed: what pytest and a terminal show without wrapping.
_WIDTH = 100


@attrs.frozen(kw_only=True)
class Breach:
    """One part of a role's contract that the device breaks.

    Attributes
    ----------
    name : str
        Stable, for people and for tests: ``close-is-idempotent``.
    done : str
        What the kit did with the device, in order.
    seen : str
        What happened then.
    allowed : str
        What the contract says.
    advice : str
        What to do about it.
    times : int
        In how many places it was seen; `done` and `seen` are of the first.
    """

    name: str
    done: str
    seen: str
    allowed: str
    advice: str
    times: int = 1

    def __str__(self) -> str:
        more = f" (and {self.times - 1} more such)" if self.times > 1 else ""
        parts = (("done", self.done), ("seen", self.seen + more), ("allowed", self.allowed), ("to do", self.advice))
        return "\n".join((self.name, *(_part(title, text) for title, text in parts)))


@attrs.frozen(kw_only=True)
class LeftOut:
    """A check that was not made, and why."""

    check: str
    why: str

    def __str__(self) -> str:
        return f"{self.check}: {self.why}"


@attrs.frozen(kw_only=True)
class Examination:
    """What came of examining one device.

    Attributes
    ----------
    role : str
        As it is named on `Beamline`: ``fast_shutter``.
    breaches : tuple of Breach
        In the order in which they were found; each name once. Empty: the device conforms, as far as was tried.
    made : tuple of str
        The checks that were made, in words.
    left_out : tuple of LeftOut
        The checks that were not made.
    """

    role: str
    breaches: tuple[Breach, ...]
    made: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def conforms(self) -> bool:
        """Nothing was found."""
        return not self.breaches

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what was found."""
        return tuple(breach.name for breach in self.breaches)

    def __str__(self) -> str:
        return "\n\n".join((self._headline(), *map(str, self.breaches), *self._what_was_not_made()))

    def _headline(self) -> str:
        checks = f"{_counted(len(self.made), 'check')} made, {len(self.left_out)} not"
        if not self.breaches:
            return f"{self.role} keeps the contract of its role ({checks})"
        return f"{self.role} breaks the contract of its role in {_counted(len(self.breaches), 'point')} ({checks})"

    def _what_was_not_made(self) -> tuple[str, ...]:
        if not self.left_out:
            return ()
        reasons: dict[str, list[str]] = {}
        for left_out in self.left_out:
            reasons.setdefault(left_out.why, []).append(left_out.check)
        lines = [_part("not made", f"{'; '.join(checks)} - {why}") for why, checks in reasons.items()]
        return ("\n".join(lines),)


class NotConforming(AssertionError):
    """The device breaks the contract of its role: mend the adapter.

    Attributes
    ----------
    examination : Examination
        The same as data.
    """

    def __init__(self, examination: Examination) -> None:
        self.examination = examination
        super().__init__(str(examination))


def _part(title: str, text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"  {title + ':':<10}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
