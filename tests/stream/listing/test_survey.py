"""What is asked of the archive before a stream, and what becomes of answers that are none: in simulated time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.stream.entry import EntryError
from fsmcollect.stream.listing import survey
from fsmcollect.stream.listing.survey import Surveyor
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.sources import Refused, Sink, SourceError
from fsmcollect.stream.sources.http import Http
from fsmcollect.stream.values import Kind, Listed, Remote, RemoteFile

SMALL: dict[str, Any] = {"width_px": 128, "height_px": 64, "frames": 3, "movies": 3}
POLICY = Policy(attempts_of_requests=3)


@attrs.frozen
class Asking:
    """A surveyor and what it was told to wait for."""

    surveyor: Surveyor
    waited: list[str]


@contextlib.asynccontextmanager
async def asking(archive: Archive, *, has_ftp: bool = False, **settings: Any) -> AsyncGenerator[Asking]:
    """A surveyor of the archive. What the block raises comes out as itself."""
    waited: list[str] = []
    failure: Exception | None = None
    settings |= {"accession": archive.entry, "api_url": archive.api_url, "data_url": archive.data_url}
    async with trio.open_nursery() as nursery, Http(network=archive.network(nursery)) as http:
        surveyor = Surveyor(
            settings=Settings(**settings),
            http=http,
            has_ftp=has_ftp,
            policy=POLICY,
            random=Random(1),
            failed=lambda what, _error, _wait_s: waited.append(what),
        )
        try:
            yield Asking(surveyor, waited)
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def archive(*faults: Fault, **settings: Any) -> Archive:
    return Archive(faults=faults, **{**SMALL, **settings})


# -- the description --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Fault(FaultKind.PAGE, path="api/*", times=2), Fault(FaultKind.SERVER_ERROR, path="api/*", times=2)]
)
async def test_a_page_instead_of_the_description_passes(autojump_clock: MockClock, fault: Fault) -> None:
    async with asking(archive(fault)) as there:
        assert (await there.surveyor.describe()).accession == "10200"
    assert len(there.waited) == 2


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (b"<html><title>Maintenance</title>", r'web page instead of a description in JSON: "Maintenance"$'),
        (b"We are back at noon", r"no JSON: Expecting value in line 1, column 1$"),
        (b'{"EMPIAR-10200": {"title": "cut o', r"no JSON: Unterminated string"),
        (b"", "no JSON: it is empty$"),
    ],
)
async def test_what_is_no_description_is_asked_for_again_and_then_told(
    autojump_clock: MockClock, metadata: bytes, said: str
) -> None:
    pretended = archive(metadata=metadata)
    with pytest.raises(EntryError, match=said) as caught:
        async with asking(pretended) as there:
            await there.surveyor.describe()
    assert str(caught.value).startswith("EMPIAR-10200: ")
    assert len(pretended.requests) == 3


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (b"[]", "is a list instead of an object"),
        (b'{"EMPIAR-10201": {}}', "describes another entry"),
        (b'{"EMPIAR-10200": {"status": "OBS"}}', "is obsolete"),
    ],
)
async def test_a_description_of_something_else_is_final(autojump_clock: MockClock, metadata: bytes, said: str) -> None:
    pretended = archive(metadata=metadata)
    with pytest.raises(EntryError, match=said):
        async with asking(pretended) as there:
            await there.surveyor.describe()
    assert len(pretended.requests) == 1


@pytest.mark.parametrize("kind", [FaultKind.BOMB, FaultKind.FOREIGN_REDIRECT])
async def test_what_is_hostile_is_not_asked_for_again(autojump_clock: MockClock, kind: FaultKind) -> None:
    pretended = archive(Fault(kind, path="api/*", times=None))
    with pytest.raises(Refused):
        async with asking(pretended) as there:
            await there.surveyor.describe()
    assert len(pretended.requests) == 1


# -- the folders ------------------------------------------------------------------------------------------------------


async def test_a_page_instead_of_a_listing_passes(autojump_clock: MockClock) -> None:
    async with asking(archive(Fault(FaultKind.PAGE, path="*/", times=2))) as there:
        found = await there.surveyor.files(await there.surveyor.describe())
    assert len(found.chosen.movies) == 3
    assert there.waited == ["data/Movies"] * 2
    assert found.notices == ()


async def test_a_page_instead_of_a_listing_that_stays_is_told(autojump_clock: MockClock) -> None:
    with pytest.raises(SourceError, match="is not a listing of a folder") as caught:
        async with asking(archive(Fault(FaultKind.PAGE, path="*/", times=None))) as there:
            await there.surveyor.files(await there.surveyor.describe())
    assert caught.type is SourceError


async def test_where_pages_come_instead_of_listings_it_goes_on_by_ftp(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_ftp = InMemory({"data/Movies": ["a.mrc"]})
    monkeypatch.setattr(survey, "_fallback", lambda _settings: by_ftp)
    async with asking(archive(Fault(FaultKind.PAGE, path="*/", times=None), movies=1), has_ftp=True) as there:
        found = await there.surveyor.files(await there.surveyor.describe())
    assert [file.path for file in found.chosen.movies] == ["data/Movies/a.mrc"]
    assert found.source is by_ftp
    assert found.notices[0].endswith("is not a listing of a folder; going on by FTP")


async def test_a_proxy_that_is_not_used_is_told_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def unused_proxy(_http: Http, url: str) -> str:
        asked.append(url)
        return "HTTPS_PROXY is set and is not used"

    monkeypatch.setattr(Http, "unused_proxy", unused_proxy)
    pretended = archive()
    async with asking(pretended) as there:
        found = await there.surveyor.files(await there.surveyor.describe())
    assert found.notices == ("HTTPS_PROXY is set and is not used",)
    assert asked == [pretended.api_url, pretended.data_url + "10200/"]


# -- gain references beside the movies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.MISSING, "is not there"),
        (FaultKind.SERVER_ERROR, "answers 503"),
        (FaultKind.PAGE, "is not a listing of a folder"),
        (FaultKind.FOREIGN_REDIRECT, "not followed"),
        (FaultKind.BOMB, "not unpacked"),
        (FaultKind.STALL, "has fallen silent"),
    ],
)
async def test_a_failure_to_look_beside_the_movies_is_only_told(
    autojump_clock: MockClock, kind: FaultKind, reason: str
) -> None:
    pretended = archive(Fault(kind, path="data/", times=None), gain=False)
    async with asking(pretended) as there:
        found = await there.surveyor.files(await there.surveyor.describe())
    assert len(found.chosen.movies) == 3
    (said,) = found.notices
    assert said.startswith("no gain reference was found beside data/Movies: https://archive.invalid/")
    assert reason in said
    assert there.waited == [], "it was asked for with patience"
    assert sum(request.path.endswith("/data/") for request in pretended.requests) == 1


async def test_what_was_found_beside_the_movies_is_kept_where_the_next_folder_fails(autojump_clock: MockClock) -> None:
    source = InMemory({"data": ["gain.mrc", "gain_ref/", "Movies/"], "data/Movies": ["a.mrc"]})
    notices: list[str] = []
    async with asking(archive()) as there:
        gains = await there.surveyor._gains_beside(source, ["data/Movies"], [0], notices)
    assert [(file.path, file.kind) for file in gains] == [("data/gain.mrc", Kind.GAIN)]
    assert notices == ["no further gain reference was found beside data/Movies: data/gain_ref cannot be asked"]


async def test_a_folder_named_for_gain_references_is_looked_into(autojump_clock: MockClock) -> None:
    source = InMemory({"data": ["Gain ref/", "Movies/"], "data/Gain ref": ["x.mrc"], "data/Movies": ["a.mrc"]})
    notices: list[str] = []
    async with asking(archive()) as there:
        gains = await there.surveyor._gains_beside(source, ["data/Movies"], [0], notices)
    assert [file.path for file in gains] == ["data/Gain ref/x.mrc"]
    assert notices == []


# -- several failures at once -----------------------------------------------------------------------------------------


@attrs.define(eq=False)
class InMemory:
    """Folders, by path; what is not here is refused. So many questions are answered in one tick."""

    folders: dict[str, Sequence[str]] = attrs.field(factory=dict[str, Sequence[str]])
    url: str = "memory://"
    refused: dict[str, str] = attrs.field(factory=dict[str, str])
    gate: trio.Event = attrs.field(factory=trio.Event)
    waiting: int = 0
    is_opened_by: int = 1

    async def _wait(self) -> None:
        self.waiting += 1
        if self.waiting < self.is_opened_by:
            await self.gate.wait()
        else:
            # Whoever waits is due in the next tick, whatever happens to the others until then.
            self.gate.set()

    async def folder(self, path: str) -> list[Listed]:
        await self._wait()
        if path not in self.folders:
            raise Refused(f"{path} cannot be asked")
        return [Listed(name.rstrip("/"), name.endswith("/")) for name in self.folders[path]]

    async def head(self, path: str) -> Remote:
        await self._wait()
        raise Refused(f"{path} cannot be asked")

    async def download(self, path: str, remote: Remote, offset: int, sink: Sink) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


NAMES = [f"data/{name}" for name in "abcd"]


async def test_a_size_that_the_server_does_not_tell_stays_unknown(autojump_clock: MockClock) -> None:
    files = [RemoteFile(name, Kind.MOVIE, 0) for name in NAMES]
    async with asking(archive()) as there:
        assert await there.surveyor.sized(InMemory(is_opened_by=4), files) == tuple(files)


async def test_a_size_that_the_listing_has_is_not_asked_for(autojump_clock: MockClock) -> None:
    class Unasked(InMemory):
        async def head(self, path: str) -> Remote:
            raise AssertionError(f"{path} was asked for")

    files = [RemoteFile(name, Kind.MOVIE, 0, size_bytes=5) for name in NAMES]
    async with asking(archive()) as there:
        assert await there.surveyor.sized(Unasked(is_opened_by=1), files) == tuple(files)


async def test_folders_that_fail_in_one_tick_fail_as_one(autojump_clock: MockClock) -> None:
    with pytest.raises(Refused, match="cannot be asked") as caught:
        async with asking(archive()) as there:
            await there.surveyor._walk(InMemory(is_opened_by=4), NAMES)
    assert len(caught.value.__notes__) == 3


async def test_a_failure_beside_a_cancellation_is_no_group(autojump_clock: MockClock) -> None:
    class Cancelling(InMemory):
        async def folder(self, path: str) -> list[Listed]:
            await self._wait()
            if path == NAMES[0]:
                scope.cancel()
                raise Refused("it fails")
            await trio.sleep_forever()
            return []

    with trio.CancelScope() as scope:
        with pytest.raises(Refused, match="it fails") as caught:
            async with asking(archive()) as there:
                await there.surveyor._walk(Cancelling(is_opened_by=4), NAMES)
        assert not hasattr(caught.value, "__notes__")
