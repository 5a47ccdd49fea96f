"""What a stream would fetch: all of it, what the criteria leave, and what is left of it by an earlier run."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.stream.listing import dry_run
from fsmcollect.stream.listing.dry_run import TRIAL_BYTES, Survey, survey
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.stopping import Criteria

SMALL: dict[str, Any] = {"width_px": 128, "height_px": 64, "frames": 3, "movies": 6}


async def surveyed(archive: Archive, until: Criteria | None = None, **earlier: Any) -> Survey:
    settings = Settings(
        accession=archive.entry, api_url=archive.api_url, data_url=archive.data_url, until=until or Criteria()
    )
    async with trio.open_nursery() as nursery:
        found = await survey(settings, network=archive.network(nursery), random=Random(1), **earlier)
        nursery.cancel_scope.cancel()
    return found


def paths(found: Survey) -> tuple[str, ...]:
    return tuple(file.path for file in found.movies)


def heads(archive: Archive) -> int:
    return sum(request.method == "HEAD" for request in archive.requests)


async def test_all_there_is_with_exact_sizes(autojump_clock: MockClock) -> None:
    archive = Archive(**SMALL)
    found = await surveyed(archive)
    assert paths(found) == archive.paths
    assert tuple(file.path for file in found.gains) == archive.gain_paths
    assert found.bytes_total == sum(map(archive.size_bytes, (*archive.paths, *archive.gain_paths)))
    assert found.measured_bytes_per_s is None, "the movies are too small to tell"


async def test_what_the_criteria_leave(autojump_clock: MockClock) -> None:
    archive = Archive(**SMALL)
    assert paths(await surveyed(archive, Criteria(count=2))) == archive.paths[:2]
    assert heads(archive) == 2 + 1, "more was asked for than would be fetched"
    one_bytes = archive.size_bytes(archive.paths[0])
    assert paths(await surveyed(archive, Criteria(size_bytes=2 * one_bytes))) == archive.paths[:2]
    assert paths(await surveyed(archive, Criteria(size_bytes=2 * one_bytes + 1))) == archive.paths[:3]


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
async def test_no_more_is_asked_for_than_reaches_the_size(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(dry_run, "SIZED_AT_ONCE", at_once)
    archive = Archive(gain=False, **SMALL)
    found = await surveyed(archive, Criteria(size_bytes=2 * archive.size_bytes(archive.paths[0])))
    assert paths(found) == archive.paths[:2]
    assert heads(archive) == min(at_once if at_once > 1 else 2, 6)


async def test_what_is_settled_is_left_out_before_it_is_counted(autojump_clock: MockClock) -> None:
    """Of five that are wanted two are registered and one is set aside: three more are to come."""
    archive = Archive(**SMALL)
    settled = {*archive.paths[:3], *archive.gain_paths}
    found = await surveyed(archive, Criteria(count=5), is_settled=settled.__contains__, registered=2)
    assert paths(found) == archive.paths[3:6]
    assert found.gains == ()
    assert heads(archive) == 3


async def test_the_bytes_that_are_registered_count(autojump_clock: MockClock) -> None:
    archive = Archive(**SMALL)
    one_bytes = archive.size_bytes(archive.paths[0])
    earlier = {"is_settled": {*archive.paths[:2]}.__contains__, "registered": 1, "registered_bytes": one_bytes}
    found = await surveyed(archive, Criteria(size_bytes=3 * one_bytes), **earlier)
    assert paths(found) == archive.paths[2:4]
    assert paths(await surveyed(archive, Criteria(size_bytes=one_bytes), **earlier)) == ()


async def test_where_enough_is_registered_nothing_is_to_come(autojump_clock: MockClock) -> None:
    archive = Archive(**SMALL)
    found = await surveyed(archive, Criteria(count=2), is_settled={*archive.paths[:3]}.__contains__, registered=3)
    assert (found.movies, len(found.gains)) == ((), 1)


async def test_the_speed_is_measured_on_a_movie_that_is_large_enough(autojump_clock: MockClock) -> None:
    large: dict[str, Any] = {"width_px": 2048, "height_px": 1024, "frames": 4, "movies": 1}
    archive = Archive(bandwidth_bytes_per_s=20e6, **large)
    assert archive.size_bytes(archive.paths[0]) >= TRIAL_BYTES
    measured = (await surveyed(archive)).measured_bytes_per_s
    assert measured is not None
    assert 10e6 < measured < 21e6
    failing = Archive(faults=[Fault(FaultKind.SERVER_ERROR, path="*.mrc", times=None)], **large)
    assert (await surveyed(failing)).measured_bytes_per_s is None
