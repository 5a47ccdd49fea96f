"""When a stream has had enough: so many movies, so many bytes, so much time, whichever comes first.

Owns the words of ``--until`` and sizes in words. Owns no clock and no counter: who counts asks here. The STOP file and
Ctrl-C are other ways to end a stream and not a matter of arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

import attrs

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import printable, shown

N = TypeVar("N", int, float)

_DECIMAL = ("B", "kB", "MB", "GB", "TB")
_BINARY = ("KiB", "MiB", "GiB", "TiB")
#: Decimal as disks and the archive count, binary where it is said. All small or as it is written: `Gb` are bits.
_BYTES = {
    **{unit: 1000**power for power, unit in enumerate(_DECIMAL)},
    **{unit: 1024**power for power, unit in enumerate(_BINARY, 1)},
    "KB": 1000,
}
_BYTES.update({unit.lower(): factor for unit, factor in _BYTES.items()})
_SECONDS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}

_FIELD = "--until"
_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_COUNT = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(_NUMBER + r"\s?([A-Za-z]{1,3})")
_TIME = re.compile(_NUMBER + r"\s?([a-z]{0,3})")

_COUNT_ALLOWED = "must be a whole number of movies, 1 or more"
_SIZE_ALLOWED = "must be a size with its unit, at least 1 B: 500MB, 10GB, 1.5TB, or binary 10GiB"
_TIME_ALLOWED = "must be a time greater than 0: 600s, 10min, 2h, or plain seconds"


@attrs.frozen(kw_only=True)
class Criteria:
    """What ends a stream; None where it does not matter. The first that is met ends it.

    Attributes
    ----------
    count : int or None
        Registered movies, 1 or more.
    size_bytes : int or None
        Of registered movies: the one that reaches it is the last.
    time_s : float or None
        Since the stream began.
    """

    count: int | None = None
    size_bytes: int | None = None
    time_s: float | None = None

    def __attrs_post_init__(self) -> None:
        if problems := list(self._problems()):
            raise InvalidRequest(problems)

    def _problems(self) -> Iterator[Problem]:
        if self.count is not None and self.count < 1:
            yield Problem(field=_FIELD, value=f"count={self.count}", allowed=_COUNT_ALLOWED)
        if self.size_bytes is not None and self.size_bytes < 1:
            yield Problem(field=_FIELD, value=f"size={self.size_bytes}B", allowed=_SIZE_ALLOWED)
        if self.time_s is not None and not 0 < self.time_s < math.inf:
            yield Problem(field=_FIELD, value=f"time={self.time_s:g}", allowed=_TIME_ALLOWED)

    @classmethod
    def parse(cls, text: str) -> Criteria:
        """Read ``count=5,size=10GB,time=600s``: any of them, in any order, each once.

        Raises
        ------
        InvalidRequest
            With everything that is wrong.
        """
        problems: list[Problem] = []
        read: dict[str, float] = {}
        for setting in text.split(","):
            name, equals, value = map(str.strip, setting.partition("="))
            if not equals or name not in _READERS:
                allowed = "must be count=N, size=SIZE or time=TIME, or several of them with commas between"
            elif name in read:
                allowed = "is said twice"
            elif (number := _READERS[name][0](value)) is None:
                allowed = _READERS[name][1]
            else:
                read[name] = number
                continue
            problems.append(Problem(field=_FIELD, value=printable(setting.strip()), allowed=allowed))
        if problems:
            raise InvalidRequest(problems)
        count, size_bytes = read.get("count"), read.get("size")
        return cls(
            count=None if count is None else int(count),
            size_bytes=None if size_bytes is None else int(size_bytes),
            time_s=read.get("time"),
        )

    def tighter(self, limit: int | None) -> Criteria:
        """The same, and no more than `limit` movies (``--limit``); None asks for nothing more.

        Raises
        ------
        InvalidRequest
            The limit is less than 1.
        """
        if limit is None:
            return self
        if limit < 1:
            raise InvalidRequest([Problem(field="--limit", value=shown(limit), allowed=_COUNT_ALLOWED)])
        return attrs.evolve(self, count=limit if self.count is None else min(self.count, limit))

    def may_begin(self, registered: int, in_flight: int, registered_bytes: int, in_flight_bytes: int) -> bool:
        """Whether one more movie may be begun, should all that are in flight be registered."""
        return not self.is_met(registered + in_flight, registered_bytes + in_flight_bytes)

    def is_met(self, registered: int, registered_bytes: int) -> bool:
        """Whether there are enough movies, or enough bytes of them. Time is the caller's to watch."""
        enough = self.count is not None and registered >= self.count
        return enough or (self.size_bytes is not None and registered_bytes >= self.size_bytes)


def size_in_bytes(text: str) -> int | None:
    """Bytes of ``10GB``, ``1.5 TiB`` or ``512 B``, at least 1; None where it is no size."""
    return _scaled(_SIZE, _BYTES, text, int)


def parse_size(text: str, field: str) -> int:
    """Bytes of ``10GB``, ``1.5TiB``; kB, MB, GB, TB are decimal, KiB, MiB, GiB, TiB binary.

    Raises
    ------
    InvalidRequest
        It is no size, or less than a byte; `field` names it.
    """
    size_bytes = size_in_bytes(text)
    if size_bytes is None:
        raise InvalidRequest([Problem(field=field, value=printable(text), allowed=_SIZE_ALLOWED)])
    return size_bytes


def size_in_words(size_bytes: float) -> str:
    """A size as people say it: ``512 bytes``, ``1.5 MB``, ``305.5 GB``; decimal, as the archive and disks count."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} {'byte' if size_bytes == 1 else 'bytes'}"
    power = 1
    # What would be written as 1000.0 of a unit is one of the next.
    while (value := size_bytes / 1000**power) >= 999.95 and power < len(_DECIMAL) - 1:
        power += 1
    return f"{value:,.1f} {_DECIMAL[power]}"


def _count(text: str) -> int | None:
    """A whole number, 1 or more."""
    return int(text) or None if _COUNT.fullmatch(text) else None


def _time_s(text: str) -> float | None:
    return _scaled(_TIME, _SECONDS, text, float)


def _scaled(shape: re.Pattern[str], factors: Mapping[str, int], text: str, number: Callable[[Decimal], N]) -> N | None:
    """A number times its unit, exact before it becomes a `number`; None where it is no such thing, or nothing."""
    read = shape.fullmatch(text.strip())
    if read is None or (factor := factors.get(read[2])) is None:
        return None
    return number(Decimal(read[1]) * factor) or None


#: How the value of each setting is read (None: it cannot be), and what is allowed.
_READERS: dict[str, tuple[Callable[[str], float | None], str]] = {
    "count": (_count, _COUNT_ALLOWED),
    "size": (size_in_bytes, _SIZE_ALLOWED),
    "time": (_time_s, _TIME_ALLOWED),
}
