"""What an entry is and which files it has: asked from the archive, nothing written.

Owns the order of questions (description, folders, sizes) and which answers are asked for once more. The stream machine
and ``--dry-run`` both ask here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import PurePosixPath
from random import Random
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

from fsmcollect.stream.entry import Entry, EntryError, NoDescription, read_entry
from fsmcollect.stream.listing import choice, naming
from fsmcollect.stream.listing.walk import Lister, Tree, walk
from fsmcollect.stream.patience import Policy, patiently
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.sources import REFUSED_KEPT, NotThere, Refused, Source, SourceError
from fsmcollect.stream.sources.ftp import FtpSource
from fsmcollect.stream.sources.http import Http, HttpSource
from fsmcollect.stream.values import Kind, Listed, RemoteFile
from fsmcollect.together import expected_failure_as_itself

T = TypeVar("T")

#: Larger descriptions are none. Assumed; real ones have some ten kilobytes.
MAX_ENTRY_BYTES = 4 << 20
#: FTP connections at once: the archive's front end resets them where many run in parallel (see docs/explanation).
FTP_CONNECTIONS = 2

#: Letting go of connections ends after this. Assumed.
CLOSE_LIMIT_S = 2.0

#: Told what went wrong and how long it is waited, seconds.
Failed = Callable[[str, SourceError, float], None]


class _Unread(SourceError):
    """What came instead of a description may be one the next time."""


@attrs.frozen(kw_only=True)
class Inventory:
    """The files of an entry that a stream may fetch."""

    source: Source
    imagesets: tuple[int, ...]
    chosen: choice.Chosen
    notices: tuple[str, ...]


@attrs.define(eq=False, kw_only=True)
class Surveyor:
    """Asks the archive about one entry, patiently."""

    settings: Settings
    http: Http
    #: In memory there is no FTP to fall back to.
    has_ftp: bool
    policy: Policy
    random: Random
    failed: Failed = lambda _what, _error, _wait_s: None
    _source: Source | None = attrs.field(init=False, default=None)

    async def describe(self) -> Entry:
        """Read the archive's description.

        Raises
        ------
        EntryError
            There is no such entry, or what the archive says is no description.
        SourceError
            The archive could not be asked.
        """
        accession = self.settings.accession
        url = f"{_slashed(self.settings.api_url)}{accession}/"

        async def ask() -> Entry:
            data = await self.http.read(url, max_bytes=MAX_ENTRY_BYTES)
            try:
                return read_entry(data, accession)
            except NoDescription as error:
                raise _Unread(str(error)) from error

        try:
            return await self._patiently(url, ask)
        except _Unread as error:
            raise EntryError(str(error)) from error
        except NotThere as error:
            raise EntryError(
                f"EMPIAR-{accession} is not in the archive: unknown, withdrawn or not yet released ({error})"
            ) from error

    async def files(self, entry: Entry) -> Inventory:
        """List what there is and choose.

        Raises
        ------
        InvalidRequest
            ``--imageset`` names none of the entry's.
        EntryError
            There is nothing to stream.
        SourceError
            The folders could not be listed, neither by HTTPS nor by FTP.
        """
        wanted = choice.choose_imagesets(entry, self.settings.imagesets)
        self._source = source_of(self.settings, self.http)
        urls = (self.settings.api_url, self._source.url)
        notices = list(dict.fromkeys(said for url in urls if (said := self.http.unused_proxy(url)) is not None))
        try:
            chosen = await self._list(self._source, entry, wanted, notices)
        except (NotThere, Refused):
            raise
        except SourceError as error:
            if not self.has_ftp or (by_ftp := _fallback(self.settings)) is None:
                raise
            notices.append(f"{error}; going on by FTP")
            await self.aclose()
            self._source = by_ftp
            try:
                chosen = await self._list(self._source, entry, wanted, notices)
            except SourceError as again:
                raise type(error)(f"{error}; by FTP: {again}") from again
        return Inventory(source=self._source, imagesets=wanted, chosen=chosen, notices=tuple(notices))

    async def aclose(self) -> None:
        """Let go of the source's connections."""
        if self._source is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_LIMIT_S):
                await self._source.aclose()

    async def _list(self, source: Source, entry: Entry, wanted: Sequence[int], notices: list[str]) -> choice.Chosen:
        folders = [folder for folder, _ in choice.folders(entry, wanted)]
        tree = await self._walk(source, folders)
        chosen = self._choose(entry, wanted, tree)
        if choice.count_disagrees(entry, wanted, chosen) is not None:
            # A balanced front end has been seen to leave out a file that it serves: what either listing has, there is.
            tree = tree.joined(await self._walk(source, folders))
            chosen = self._choose(entry, wanted, tree)
            if (said := choice.count_disagrees(entry, wanted, chosen)) is not None:
                notices.append(f"{said} (listed twice)")
        if not chosen.movies:
            said = "; ".join((*notices, *tree.notices, *chosen.notices)) or "its folders hold no movies"
            raise EntryError(f"EMPIAR-{entry.accession} has nothing to stream: {said}")
        if not chosen.gains:
            chosen = attrs.evolve(chosen, gains=await self._gains_beside(source, folders, wanted, notices))
        notices += [*_refused(source), *tree.notices, *chosen.notices]
        return chosen

    def _choose(self, entry: Entry, wanted: Sequence[int], tree: Tree) -> choice.Chosen:
        return choice.choose(entry, wanted, tree, self.settings.patterns, self.settings.excludes)

    async def _gains_beside(
        self, source: Source, folders: Sequence[str], wanted: Sequence[int], notices: list[str]
    ) -> tuple[RemoteFile, ...]:
        """Gain references that lie beside an imageset's folder: in its parent, or a folder there named so.

        A guess at what may not be there: it is asked for once, and a failure is only told.
        """
        gains: dict[str, RemoteFile] = {}

        def note(path: str, row: Listed) -> None:
            if not row.is_folder and (kind := naming.kind(path)) in (Kind.GAIN, Kind.DEFECTS):
                gains[path] = RemoteFile(path, kind, wanted[0], row.size_bytes, row.about_bytes)

        parents = {str(PurePosixPath(folder).parent): folder for folder in reversed(folders)}
        for parent in sorted(parents.keys() - {".", *folders}):
            try:
                beside = await source.folder(parent)
                for row in beside:
                    note(f"{parent}/{row.name}", row)
                named = [f"{parent}/{row.name}" for row in beside if row.is_folder and "gain" in row.name.lower()]
                for path, row in await self._walk_with(source.folder, source, [n for n in named if n not in folders]):
                    note(path, row)
            except SourceError as error:
                further = "further " if gains else ""
                notices.append(f"no {further}gain reference was found beside {parents[parent]}: {error}")
        return tuple(gains[path] for path in sorted(gains))

    async def sized(self, source: Source, files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
        """The files with their exact sizes, asked one by one where the listing rounds, `jobs` at once.

        A file that the server does not tell of keeps none: it can still be that it will be fetched.
        """
        exact: list[RemoteFile] = list(files)
        positions = iter([position for position, file in enumerate(files) if file.size_bytes is None])

        async def work() -> None:
            for position in positions:
                path = files[position].path
                with contextlib.suppress(SourceError):
                    remote = await self._patiently(path, partial(source.head, path))
                    exact[position] = attrs.evolve(files[position], size_bytes=remote.size_bytes)

        with expected_failure_as_itself():
            async with trio.open_nursery() as nursery:
                for _ in range(self.settings.jobs):
                    nursery.start_soon(work)
        return tuple(exact)

    async def _walk(self, source: Source, folders: Sequence[str]) -> Tree:
        async def patient(path: str) -> list[Listed]:
            return await self._patiently(path, lambda: source.folder(path))

        return await self._walk_with(patient, source, folders)

    async def _walk_with(self, lister: Lister, source: Source, folders: Sequence[str]) -> Tree:
        with expected_failure_as_itself():
            return await walk(source, lister, folders, jobs=self.settings.jobs)

    async def _patiently(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(
            self.policy, self.random, ask, lambda failure, wait_s: self.failed(what, failure, wait_s)
        )


def _refused(source: Source) -> list[str]:
    """What a person should know of names that were left out."""
    told = [f"{path} is left out: {reason}" for path, reason in source.refused.items()]
    return [*told, "there may be more such names, and all are left out"] if len(told) == REFUSED_KEPT else told


def source_of(settings: Settings, http: Http) -> Source:
    """Where the settings say that the entry's files are."""
    url = f"{_slashed(settings.data_url)}{settings.accession}/"
    if settings.ftp or url.startswith("ftp://"):
        return FtpSource(_by_ftp(url), connections=FTP_CONNECTIONS)
    return HttpSource(http, url)


def _fallback(settings: Settings) -> Source | None:
    """FTP on the same host; a server on a port of its own is not asked on another."""
    url = f"{_slashed(settings.data_url)}{settings.accession}/"
    if settings.ftp or url.startswith("ftp://") or urlsplit(url).port is not None:
        return None
    return FtpSource(_by_ftp(url), connections=FTP_CONNECTIONS)


def _slashed(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _by_ftp(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.scheme == "ftp" else urlunsplit(("ftp", parts.hostname or "", parts.path, "", ""))
