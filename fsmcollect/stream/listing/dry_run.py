"""What a stream would fetch, and how fast: all that ``--dry-run`` asks. Nothing is written.

Owns the cut that the criteria make beforehand, and the trial that measures the speed. What there is, is `survey`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import attrs
import httpcore
import trio

from fsmcollect.stream.entry import Entry
from fsmcollect.stream.listing.survey import Failed, Surveyor
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.sources import Source, SourceError
from fsmcollect.stream.sources.http import Http
from fsmcollect.stream.values import RemoteFile

#: The speed is measured for so long, on a movie of at least this size. Assumed: past a connection's slow start.
TRIAL_S = 2.0
TRIAL_BYTES = 4 << 20
#: So many movies are asked for their sizes before it is looked whether that is enough: an entry may have 100,000, and
#: a criterion of bytes may take the first ten. Assumed.
SIZED_AT_ONCE = 100


@attrs.frozen(kw_only=True)
class Survey:
    """What a stream would fetch.

    Attributes
    ----------
    movies, gains : tuple of RemoteFile
        With exact sizes.
    bytes_total : int
        Of movies and gains.
    measured_bytes_per_s : float or None
        Of one movie fetched on trial; None where nothing was.
    """

    entry: Entry
    movies: tuple[RemoteFile, ...]
    gains: tuple[RemoteFile, ...]
    notices: tuple[str, ...]
    bytes_total: int
    measured_bytes_per_s: float | None = None


async def survey(
    settings: Settings,
    *,
    is_settled: Callable[[str], bool] = lambda _path: False,
    registered: int = 0,
    registered_bytes: int = 0,
    network: httpcore.AsyncNetworkBackend | None = None,
    random: Random | None = None,
    failed: Failed = lambda _what, _error, _wait_s: None,
) -> Survey:
    """What a stream with these settings would fetch.

    Parameters
    ----------
    is_settled : callable
        Whether nothing is to be done any more for the file of a path: it is registered or set aside.
    registered, registered_bytes : int
        What the criteria count already.
    failed : callable
        Told of each question that will be asked again.

    Raises
    ------
    InvalidRequest
        What the call can mend.
    FsmCollectError
        The archive could not be asked, or has nothing to stream.
    """
    async with Http(jobs=settings.jobs, network=network) as http:
        surveyor = Surveyor(
            settings=settings,
            http=http,
            has_ftp=network is None,
            policy=Policy(),
            random=random or Random(),
            failed=failed,
        )
        try:
            entry = await surveyor.describe()
            inventory = await surveyor.files(entry)
            waiting = [file for file in inventory.chosen.movies if not is_settled(file.path)]
            movies = await _until_met(surveyor, inventory.source, waiting, registered, registered_bytes)
            waiting = [file for file in inventory.chosen.gains if not is_settled(file.path)]
            gains = await surveyor.sized(inventory.source, waiting)
            measured = await _measured_bytes_per_s(inventory.source, movies)
        finally:
            await surveyor.aclose()
    unknown = sum(file.size_bytes is None for file in (*movies, *gains))
    untold = (f"the archive does not say how large {unknown:,} of the files are",) if unknown else ()
    return Survey(
        entry=entry,
        movies=movies,
        gains=gains,
        notices=(*inventory.notices, *untold),
        bytes_total=sum(file.size_bytes or 0 for file in (*movies, *gains)),
        measured_bytes_per_s=measured,
    )


async def _until_met(
    surveyor: Surveyor, source: Source, waiting: Sequence[RemoteFile], registered: int, registered_bytes: int
) -> tuple[RemoteFile, ...]:
    """The first movies that it takes to meet the criteria, sized; the one that reaches the bytes is the last."""
    until = surveyor.settings.until
    if until.count is not None:
        waiting = waiting[: max(until.count - registered, 0)]
    movies: list[RemoteFile] = []
    for start in range(0, len(waiting), SIZED_AT_ONCE):
        if until.is_met(registered + len(movies), registered_bytes):
            break
        for movie in await surveyor.sized(source, waiting[start : start + SIZED_AT_ONCE]):
            if until.is_met(registered + len(movies), registered_bytes):
                break
            movies.append(movie)
            registered_bytes += movie.size_bytes or 0
    return tuple(movies)


async def _measured_bytes_per_s(source: Source, movies: Sequence[RemoteFile]) -> float | None:
    """The speed of one connection: the beginning of the first movie, fetched and thrown away."""
    if not movies or movies[0].size_bytes is None or movies[0].size_bytes < TRIAL_BYTES:
        return None
    trial, began_s = _Trial(), trio.current_time()
    with trio.move_on_after(TRIAL_S):
        try:
            await source.download(movies[0].path, await source.head(movies[0].path), 0, trial)
        except SourceError:
            return None
    took_s = trio.current_time() - began_s
    return trial.count / took_s if trial.count >= TRIAL_BYTES and took_s > 0 else None


@attrs.define(eq=False)
class _Trial:
    """A sink that only counts."""

    count: int = 0

    async def begin(self, offset: int) -> None:
        self.count = offset

    async def write(self, block: bytes | bytearray | memoryview) -> None:
        self.count += len(block)
