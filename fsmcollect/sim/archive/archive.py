"""A pretend EMPIAR: one entry, its metadata, its folders and its files, and whatever shall go wrong with them.

Owns which request is answered with what. Deterministic from the seed: the same requests at the same simulated times
get the same answers at the same times, byte for byte.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

import attrs
import httpcore
import trio

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.sim.archive.answers import BLOCK_BYTES, Answer, Served, asked_range, file, page, spoilt, streamed, whole
from fsmcollect.sim.archive.content import Entry, Row
from fsmcollect.sim.archive.faults import BESIDES, Fault, FaultKind, Plan
from fsmcollect.sim.archive.index import HOSTILE_LINKS, STYLES
from fsmcollect.sim.archive.layouts import LAYOUTS
from fsmcollect.sim.archive.line import Line, now_us
from fsmcollect.sim.archive.movies import FORMATS, Shape, SyntheticFile
from fsmcollect.sim.archive.network import MemoryNetwork
from fsmcollect.sim.archive.server import Asked, converse

#: How many requests are kept in `Archive.requests`.
_KEPT_REQUESTS = 100_000
_API = "/empiar/api/entry/"
_DATA = "/empiar/world_availability/"
#: The older path, which serves the same: where REDIRECT sends to.
_OLDER = "/pub/databases/empiar/archive/"
_CONTENT_TYPES = {".xml": "text/xml", ".txt": "text/plain", ".tif": "image/tiff"}


@attrs.frozen
class Request:
    """One line of the archive's log.

    Attributes
    ----------
    at_us : int
        When it was answered.
    path : str
        As it was asked for, without the query.
    range : str
        Empty where none was asked for.
    fault : str
        The kinds of the faults that it met, divided by spaces.
    """

    at_us: int
    method: str
    path: str
    range: str
    status: int
    fault: str = ""


@attrs.define(eq=False, repr=False, kw_only=True)
class Archive:
    """A pretend EMPIAR with one entry.

    Parameters
    ----------
    entry : str
        The accession; every other one is unknown (404).
    movies : int
        How many movies there are; up to 100,000 and more.
    format : str
        One of `movies.FORMATS`: ``mrc``, ``mrcs``, ``tiff``, ``bigtiff``, ``eer``.
    layout : str
        One of `layouts.LAYOUTS`: ``Movies``, ``flat``, ``nested``, ``datasets``, ``deep``, ``tilt``, ``archives``,
        ``no movies``, ``awkward``.
    folders : sequence of str
        Where the movies lie, instead of where the layout has them.
    gain : bool
        Whether the layout's gain references are there.
    style : str
        Of the listings: ``apache`` or ``nginx``.
    metadata : bytes or None
        What the API answers instead of what is true.
    faults : sequence of Fault
    latency_s : float
        From a request to its answer, and to connect in memory.
    bandwidth_bytes_per_s : float or None
        Of all connections together; None: as fast as it goes.
    hosts : tuple of str
        The names under which it is found in memory; the first is its own.
    """

    seed: int = 0
    entry: str = "10200"
    movies: int = 24
    folders: Sequence[str] = ()
    format: str = "mrc"
    width_px: int = 256
    height_px: int = 256
    frames: int = 4
    gain: bool = True
    layout: str = "Movies"
    style: str = "apache"
    metadata: bytes | None = None
    faults: Sequence[Fault] = ()
    latency_s: float = 0.05
    bandwidth_bytes_per_s: float | None = 50e6
    hosts: tuple[str, ...] = ("archive.invalid", "www.ebi.ac.uk", "ftp.ebi.ac.uk")
    #: The last requests, oldest first.
    requests: deque[Request] = attrs.field(init=False, factory=lambda: deque[Request](maxlen=_KEPT_REQUESTS))
    _content: Entry = attrs.field(init=False)
    _line: Line = attrs.field(init=False)
    _plan: Plan = attrs.field(init=False)
    _listed: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._check()
        self._plan = Plan(self.faults)
        self._line = self._new_line()
        self._content = Entry(
            accession=self.entry,
            layout=LAYOUTS[self.layout],
            shape=Shape(self.format, self.width_px, self.height_px, self.frames),
            movies=self.movies,
            has_gain=self.gain,
            seed=self.seed,
            folders=self.folders,
            corrupting=self._plan.standing(FaultKind.CORRUPT),
        )

    # -- what is in it -------------------------------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """Where the metadata of entries is, in memory."""
        return f"https://{self.hosts[0]}{_API}"

    @property
    def data_url(self) -> str:
        """Where the folders of entries are, in memory."""
        return f"https://{self.hosts[0]}{_DATA}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The movies, below the entry's folder, folder by folder."""
        return tuple(self._content.paths)

    @property
    def gain_paths(self) -> tuple[str, ...]:
        return self._content.gain_paths

    @property
    def other_paths(self) -> tuple[str, ...]:
        """Neither movies nor gain references."""
        return self._content.other_paths

    def size_bytes(self, path: str) -> int:
        return self.file(path).size_bytes

    def sha256(self, path: str) -> str:
        """Of the file that lies there now."""
        return self.file(path).sha256()

    def is_corrupt(self, path: str) -> bool:
        """Whether a movie's header disagrees with its size."""
        return self._content.is_corrupt(path)

    def file(self, path: str) -> SyntheticFile:
        """The file that lies there now.

        Raises
        ------
        KeyError
            There is none.
        """
        found = self._content.file(path)
        if found is None:
            raise KeyError(path)
        return found

    # -- how it is reached ---------------------------------------------------------------------------------------------

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Speak HTTP/1.1 over a stream until either side closes it; never raises for what comes over it."""
        await converse(stream, self._line, self.answer)

    def network(self, nursery: trio.Nursery) -> httpcore.AsyncNetworkBackend:
        """A network in memory in which the archive is the only host; its connections end with the nursery.

        Its line is its own, for a line's times are those of one clock: a second run begins at 0 again.
        """
        serve = functools.partial(converse, line=self._new_line(), answering=self.answer)
        return MemoryNetwork(nursery, serve, self.hosts, self.latency_s)

    def _new_line(self) -> Line:
        return Line(self.latency_s, self.bandwidth_bytes_per_s)

    async def listen(self, port: int = 0, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a real server on 127.0.0.1 until cancelled; 0 takes a free port, and the status tells which."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self.serve, listeners)

    # -- what it answers -----------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        """What a request gets; it is counted and logged."""
        path = asked.target.partition("?")[0]
        answer, faults = self._answer(asked, path)
        kinds = " ".join(fault.kind.value for fault in faults)
        self.requests.append(
            Request(now_us(), asked.method, path, asked.headers.get("range", ""), answer.status, kinds)
        )
        return answer

    def _answer(self, asked: Asked, path: str) -> tuple[Answer, list[Fault]]:
        if asked.method not in ("GET", "HEAD"):
            return page(405, "Only GET and HEAD are understood.", ("Allow", "GET, HEAD"), ("Connection", "close")), []
        if path.startswith(_API):
            return self._api(asked, path.removeprefix(_API))
        for root in (_DATA, _OLDER):
            own = f"{root}{self.entry}/"
            if path.startswith(own):
                return self._below(asked, root, _decoded(path.removeprefix(own)))
        return _not_found(), []

    def _api(self, asked: Asked, rest: str) -> tuple[Answer, list[Fault]]:
        if rest.removesuffix("/").removeprefix("EMPIAR-") != self.entry:
            return _not_found(), []
        faults = self._plan.due(asked.method, f"api/entry/{self.entry}", has_range=False)
        document = self._content.metadata() if self.metadata is None else self.metadata
        answer = whole(200, document, "application/json")
        return self._spoil(answer, faults, answer, f"{_API}EMPIAR-{self.entry}/"), faults

    def _below(self, asked: Asked, root: str, path: str | None) -> tuple[Answer, list[Fault]]:
        """A file or a folder of the entry."""
        if path is None:
            return _not_found(), []
        if self._content.has_folder(path):
            return self._listing(asked, root, path)
        if self._content.has_folder(path + "/"):
            return page(301, "The document has moved.", ("Location", quote(f"{root}{self.entry}/{path}/"))), []
        if self._content.file(path) is None:
            return _not_found(), []
        has_range = asked_range(asked.headers, 2**62) is not None
        faults = self._plan.due(asked.method, path, has_range=has_range)
        if any(fault.kind is FaultKind.CHANGED for fault in faults):
            self._content.change(path)
        served = self._served(path)
        other = _OLDER if root == _DATA else _DATA
        elsewhere = quote(f"{other}{self.entry}/{path}")
        return self._spoil(file(served, asked.headers), faults, file(served, {}), elsewhere), faults

    def _listing(self, asked: Asked, root: str, folder: str) -> tuple[Answer, list[Fault]]:
        holds_movies = self._content.holds_movies(folder)
        faults = self._plan.due(asked.method, folder or "/", has_range=False, holds_movies=holds_movies)
        kinds = {fault.kind for fault in faults}
        omitted = self._omitted(folder) if FaultKind.FLAPPING in kinds else None
        links = HOSTILE_LINKS if FaultKind.HOSTILE_INDEX in kinds else ()
        title = f"{root}{self.entry}/{folder}"

        def written() -> Iterator[bytes]:
            rows: Iterator[Row] = self._content.rows(folder)
            kept = (row for row in rows if row.name != omitted)
            return STYLES[self.style](title, kept, links)

        answer = streamed("text/html;charset=UTF-8", written)
        return self._spoil(answer, faults, answer, quote(f"{_OLDER}{self.entry}/{folder}")), faults

    def _omitted(self, folder: str) -> str:
        """One of the movies of a folder."""
        self._listed += 1
        chance = random.Random(f"{self.seed}/flapping/{folder}/{self._listed}")
        here = [series for series in self._content.series if series.folder == folder and series.count]
        series = chance.choice(here)
        return series.path(chance.randint(1, series.count))[len(folder) :]

    def _served(self, path: str) -> Served:
        found = self.file(path)
        etag, last_modified = self._content.validators(path)
        content_type = next(
            (kind for suffix, kind in _CONTENT_TYPES.items() if path.endswith(suffix)), "application/octet-stream"
        )
        return Served(
            found.size_bytes,
            lambda start, stop: found.blocks(start, stop, BLOCK_BYTES),
            content_type,
            etag,
            last_modified,
        )

    def _spoil(self, answer: Answer, faults: Sequence[Fault], whole_answer: Answer, elsewhere: str) -> Answer:
        for fault in faults:
            if fault.kind not in BESIDES:
                answer = spoilt(answer, fault, without_range=lambda: whole_answer, elsewhere=elsewhere)
        return answer

    def _check(self) -> None:
        numbers = ("movies", self.movies, 0), ("width_px", self.width_px, 1), ("height_px", self.height_px, 1)
        wrong = [
            Problem(field=name, value=str(value), allowed=f"must be at least {least}")
            for name, value, least in (*numbers, ("frames", self.frames, 1))
            if value < least
        ]
        for name, value, allowed in (
            ("format", self.format, FORMATS),
            ("layout", self.layout, LAYOUTS),
            ("style", self.style, STYLES),
        ):
            if value not in allowed:
                wrong.append(Problem(field=name, value=value, allowed=f"must be one of {', '.join(allowed)}"))
        if not (self.entry.isascii() and self.entry.isdigit()):
            wrong.append(Problem(field="entry", value=self.entry, allowed="must be a number, such as 10200"))
        if not 0 <= self.latency_s < float("inf"):
            wrong.append(Problem(field="latency_s", value=str(self.latency_s), allowed="must be at least 0 s"))
        if self.bandwidth_bytes_per_s is not None and not self.bandwidth_bytes_per_s > 0:
            wrong.append(
                Problem(
                    field="bandwidth_bytes_per_s",
                    value=str(self.bandwidth_bytes_per_s),
                    allowed="must be greater than 0 bytes/s",
                )
            )
        if wrong:
            raise InvalidRequest(wrong)


def _decoded(path: str) -> str | None:
    """None for what no file is called; Apache too refuses an encoded ``/``."""
    if "%2f" in path.lower():
        return None
    try:
        return unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _not_found() -> Answer:
    return page(404, "The requested URL was not found on this server.")
