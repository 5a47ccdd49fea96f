"""The archive as a real server on loopback: sockets, curl, resets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import pytest
import trio

from fsmcollect.sim.archive import Archive, Fault, FaultKind

FIRST = "data/Movies/grid1_000001_frames.mrc"
LIMIT_S = 60


def archive(*faults: Fault) -> Archive:
    return Archive(movies=3, faults=faults, latency_s=0.0, bandwidth_bytes_per_s=None)


@asynccontextmanager
async def listening(served: Archive) -> AsyncIterator[str]:
    """Its address, until the block ends."""
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(served.listen, 0)
            yield f"http://127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


async def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    found = shutil.which("curl")
    assert found, "curl is needed for this test"
    return await trio.run_process(
        [found, "--silent", "--show-error", "--max-time", "30", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


async def test_curl_fetches_metadata_a_listing_and_a_file(tmp_path: Path) -> None:
    served = archive()
    async with listening(served) as address:
        described = await curl(f"{address}/empiar/api/entry/10200/")
        listed = await curl(f"{address}/empiar/world_availability/10200/data/Movies/")
        target = tmp_path / "a.mrc"
        url = f"{address}/empiar/world_availability/10200/{FIRST}"
        fetched = await curl("--fail", "--output", str(target), url)
    assert b'"EMPIAR-10200"' in described.stdout
    assert listed.stdout.count(b"_frames.mrc</a>") == 3
    assert fetched.returncode == 0
    assert target.read_bytes() == served.file(FIRST).read(0, served.size_bytes(FIRST))


async def test_curl_goes_on_with_a_file_that_was_cut(tmp_path: Path) -> None:
    served = archive(Fault(FaultKind.TRUNCATION))
    target = tmp_path / "a.mrc"
    async with listening(served) as address:
        url = f"{address}/empiar/world_availability/10200/{FIRST}"
        cut = await curl("--output", str(target), url)
        assert cut.returncode == 18  # curl: partial file
        assert target.stat().st_size == served.size_bytes(FIRST) // 2
        rest = await curl("--continue-at", "-", "--output", str(target), url)
    assert rest.returncode == 0
    assert target.read_bytes() == served.file(FIRST).read(0, served.size_bytes(FIRST))


async def test_a_reset_is_a_reset_on_a_socket() -> None:
    served = archive(Fault(FaultKind.RESET))
    async with listening(served) as address:
        fetched = await curl("--output", "/dev/null", f"{address}/empiar/world_availability/10200/{FIRST}")
    assert fetched.returncode == 56  # curl: failure in receiving
    assert b"reset" in fetched.stderr.lower()


async def test_httpcore_fetches_in_parallel_over_sockets() -> None:
    served = archive()
    sizes = dict[str, int]()

    async def fetch(pool: httpcore.AsyncConnectionPool, address: str, path: str) -> None:
        response = await pool.request("GET", f"{address}/empiar/world_availability/10200/{path}")
        sizes[path] = len(response.content)

    async with (
        listening(served) as address,
        httpcore.AsyncConnectionPool(max_connections=3) as pool,
        trio.open_nursery() as nursery,
    ):
        for path in served.paths:
            nursery.start_soon(fetch, pool, address, path)
    assert sizes == {path: served.size_bytes(path) for path in served.paths}


async def test_a_client_that_hangs_up_does_not_end_the_server() -> None:
    served = archive()
    async with listening(served) as address:
        host, port = "127.0.0.1", int(address.rpartition(":")[2])
        for sent in (b"", b"GET", b"\x00" * 100, f"GET /{FIRST} HTTP/1.1\r\nHost: a\r\n\r\n".encode()):
            stream = await trio.open_tcp_stream(host, port)
            await stream.send_all(sent)
            await trio.aclose_forcefully(stream)
        assert (await curl("--fail", f"{address}/empiar/api/entry/10200")).returncode == 0


async def test_it_listens_on_loopback_alone_and_ends_when_it_is_cancelled() -> None:
    async with listening(archive()) as address:
        pass
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
