"""What can be wrong with the pretend archive: faults as data, and which request each of them hits.

Owns the kinds and their words, how a fault is written on a command line, and the counting that makes a fault hit the
same requests in every run. Owns no answer: what a fault does to one is `answers`' and `server`'s.
"""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Callable, Sequence

import attrs

from fsmcollect.errors import InvalidRequest, Problem


class FaultKind(enum.Enum):
    """See `FAULTS` for what each does."""

    TRUNCATION = "truncation"
    RESET = "reset"
    STALL = "stall"
    TRICKLE = "trickle"
    WRONG_LENGTH = "wrong-length"
    ENDLESS = "endless"
    SERVER_ERROR = "server-error"
    TOO_MANY = "too-many"
    MISSING = "missing"
    PAGE = "page"
    REDIRECT = "redirect"
    FOREIGN_REDIRECT = "foreign-redirect"
    BOMB = "bomb"
    GARBAGE = "garbage"
    IGNORED_RANGE = "ignored-range"
    WRONG_RANGE = "wrong-range"
    NO_LENGTH = "no-length"
    CHANGED = "changed"
    CORRUPT = "corrupt"
    FLAPPING = "flapping"
    HOSTILE_INDEX = "hostile-index"


#: Every kind, and what it does.
FAULTS: dict[FaultKind, str] = {
    FaultKind.TRUNCATION: "the connection is closed in the middle of the body",
    FaultKind.RESET: "the connection is reset in the middle of the body",
    FaultKind.STALL: "in the middle of the body the server falls silent for delay_s, then goes on",
    FaultKind.TRICKLE: "from the middle of the body on, the server sends a byte every delay_s",
    FaultKind.WRONG_LENGTH: "Content-Length says extra_bytes more (or fewer) than come; then the connection is closed",
    FaultKind.ENDLESS: "a body without length that never ends",
    FaultKind.SERVER_ERROR: "the answer is `status` (503 by itself)",
    FaultKind.TOO_MANY: "the answer is 429, with `retry_after` as Retry-After",
    FaultKind.MISSING: "the answer is 404, though the file is listed",
    FaultKind.PAGE: "the answer is 200 and a page of HTML instead of the data",
    FaultKind.REDIRECT: "the answer sends to another path of the same host, which serves the same",
    FaultKind.FOREIGN_REDIRECT: "the answer sends to `location`, on another host",
    FaultKind.BOMB: "the body comes with Content-Encoding: gzip, and is 1 GiB once unpacked",
    FaultKind.GARBAGE: "the answer is no HTTP",
    FaultKind.IGNORED_RANGE: "a range was asked for: the whole file comes, as 200",
    FaultKind.WRONG_RANGE: "a range was asked for: 206 comes with the range one byte later",
    FaultKind.NO_LENGTH: "no Content-Length",
    FaultKind.CHANGED: "before the answer the file becomes another one: content, ETag and Last-Modified; same size",
    FaultKind.CORRUPT: "the header of the movie promises a frame more than there is: a property of the file, for good",
    FaultKind.FLAPPING: "a listing omits one of its movies, which is served nevertheless",
    FaultKind.HOSTILE_INDEX: "a listing links outside its folder and has names that no file may have",
}

#: These are what the archive IS; no request is needed for them.
_STANDING = frozenset({FaultKind.CORRUPT})
_OF_LISTINGS = frozenset({FaultKind.FLAPPING, FaultKind.HOSTILE_INDEX})
_OF_RANGES = frozenset({FaultKind.IGNORED_RANGE, FaultKind.WRONG_RANGE})
#: Applied besides another fault of the same request.
BESIDES = frozenset({FaultKind.CHANGED, FaultKind.FLAPPING, FaultKind.HOSTILE_INDEX})


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong, at which request, and how.

    Attributes
    ----------
    kind : FaultKind
        The first argument.
    path : str
        Glob on the path below the entry's folder, or on its last part; ``*`` spans folders. As it stands a fault
        meets files only. A pattern that ends with ``/`` meets the listings of folders (``*/``: all of them), one that
        begins with ``api/`` the metadata (``api/entry/10200``).
    times : int or None
        How many requests it hits; None for all.
    skip : int
        How many that match pass before.
    each : bool
        `times` and `skip` are counted for each path of its own, not for all together.
    method : str
        ``GET``, ``HEAD``, or ``*`` for both.
    at_fraction : float
        How much of the body comes first, 0 to 1.
    delay_s : float
        STALL: how long the silence lasts. TRICKLE: between two bytes.
    status : int
        SERVER_ERROR: what is answered.
    retry_after : str
        TOO_MANY, and SERVER_ERROR where it is not empty: Retry-After as it is sent.
    extra_bytes : int
        WRONG_LENGTH: how many more than come are promised; negative for fewer.
    location : str
        FOREIGN_REDIRECT: where to.
    """

    kind: FaultKind = attrs.field(kw_only=False)
    path: str = "*"
    times: int | None = 1
    skip: int = 0
    each: bool = False
    method: str = "GET"
    at_fraction: float = 0.5
    delay_s: float = 120.0
    status: int = 503
    retry_after: str = ""
    extra_bytes: int = 100
    location: str = "https://elsewhere.invalid/data"

    def __attrs_post_init__(self) -> None:
        wrong = [
            Problem(field=f"fault.{name}", value=str(getattr(self, name)), allowed=allowed)
            for name, is_right, allowed in (
                ("times", self.times is None or self.times >= 1, "must be at least 1, or none for always"),
                ("skip", self.skip >= 0, "must be at least 0"),
                ("method", self.method in ("GET", "HEAD", "*"), "must be GET, HEAD or *"),
                ("at_fraction", 0.0 <= self.at_fraction <= 1.0, "must be between 0 and 1"),
                ("delay_s", 0.0 < self.delay_s < float("inf"), "must be greater than 0 s"),
                ("status", 400 <= self.status <= 599, "must be between 400 and 599"),
                ("extra_bytes", self.extra_bytes != 0, "must not be 0"),
                ("retry_after", _is_header(self.retry_after), "must be printable ASCII"),
                ("location", _is_header(self.location), "must be printable ASCII"),
            )
            if not is_right
        ]
        if wrong:
            raise InvalidRequest(wrong)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """``KIND[:PATH[:TIMES[:NAME=VALUE...]]]``, as in ``truncation:*.mrc:2`` or ``stall::always:delay_s=60``.

        Raises
        ------
        InvalidRequest
            It says which kinds there are.
        """
        kind, *rest = text.strip().split(":")
        path, times, *options = (*rest, *[""] * (2 - len(rest)))
        given: dict[str, object] = {"path": path or "*"}
        try:
            found = FaultKind(kind.strip().lower().replace("_", "-"))
        except ValueError:
            kinds = ", ".join(k.value for k in FaultKind)
            raise _refusal(text, f"unknown kind {kind!r}: allowed are {kinds}") from None
        if times:
            given["times"] = _times(times, text)
        for option in options:
            name, equals, value = option.partition("=")
            reader = _OPTIONS.get(name.strip())
            if reader is None or not equals:
                raise _refusal(text, f"{option!r} is not one of {', '.join(f'{n}=...' for n in _OPTIONS)}")
            try:
                given[name.strip()] = reader(value.strip())
            except ValueError:
                raise _refusal(text, f"{value!r} is no value for {name}") from None
        try:
            return cls(found, **given)  # type: ignore[arg-type]  # read by _OPTIONS, checked by the class
        except InvalidRequest as error:
            raise _refusal(text, "; ".join(map(str, error.problems))) from None

    def matches(self, path: str) -> bool:
        """Whether the glob means this path."""
        if path.startswith("api/") or path.endswith("/") or not path:
            whole = path or "/"
            return self._means(whole) and fnmatch.fnmatchcase(whole, self.path)
        return self._means(path) and (
            fnmatch.fnmatchcase(path, self.path) or fnmatch.fnmatchcase(path.rpartition("/")[2], self.path)
        )

    def _means(self, path: str) -> bool:
        """Whether such a path (a file, a listing, the metadata) is meant at all."""
        if path.startswith("api/"):
            return self.path.startswith("api/")
        if path.endswith("/"):
            return self.path.endswith("/") or (self.kind in _OF_LISTINGS and self.path == "*")
        return self.kind not in _OF_LISTINGS and not self.path.endswith("/") and not self.path.startswith("api/")


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()


def _flag(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError(text)
    return text.lower() in ("yes", "true", "1")


#: What a fault on the command line may say by name.
_OPTIONS: dict[str, Callable[[str], object]] = {
    "skip": int,
    "each": _flag,
    "method": str,
    "at_fraction": float,
    "delay_s": float,
    "status": int,
    "retry_after": str,
    "extra_bytes": int,
}


def _times(text: str, fault: str) -> int | None:
    if text.strip().lower() in ("always", "none"):
        return None
    try:
        return int(text)
    except ValueError:
        raise _refusal(fault, f"{text!r} is no number of times: a whole number from 1, or always") from None


def _refusal(text: str, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field="--fault", value=text, allowed=allowed)])


@attrs.define(eq=False)
class Plan:
    """The faults of one archive, and how often each has been met."""

    faults: Sequence[Fault]
    _met: dict[tuple[int, str], int] = attrs.field(init=False, factory=dict[tuple[int, str], int])

    def due(self, method: str, path: str, *, has_range: bool, holds_movies: bool = False) -> list[Fault]:
        """The faults that this request meets: any of `BESIDES`, and one other at the most.

        Parameters
        ----------
        path : str
            Below the entry's folder; a folder ends with ``/``, the metadata begins with ``api/``.
        holds_movies : bool
            The folder that is listed holds movies: only there can one be omitted.
        """
        met: list[Fault] = []
        for number, fault in enumerate(self.faults):
            if fault.kind in _STANDING or not fault.matches(path) or fault.method not in (method, "*"):
                continue
            if fault.kind in _OF_RANGES and not has_range:
                continue
            if fault.kind is FaultKind.FLAPPING and not holds_movies:
                continue
            is_free = fault.kind in BESIDES or not any(other.kind not in BESIDES for other in met)
            if is_free and self._hits(number, fault, path):
                met.append(fault)
        return met

    def standing(self, kind: FaultKind) -> list[Fault]:
        """The faults of a kind that need no request."""
        return [fault for fault in self.faults if fault.kind is kind]

    def _hits(self, number: int, fault: Fault, path: str) -> bool:
        key = (number, path if fault.each else "")
        count = self._met.get(key, 0)
        self._met[key] = count + 1
        return count >= fault.skip and (fault.times is None or count < fault.skip + fault.times)
