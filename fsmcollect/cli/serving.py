"""``fsmcollect archive``: the pretend archive as a real server on loopback, for a person to try."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import click

from fsmcollect import console
from fsmcollect.cli.calling import WithExamples
from fsmcollect.console.amounts import plain
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    import trio

    from fsmcollect.sim.archive import Archive, Request

#: How the pretend archive calls what an option asks for.
_OPTIONS = {
    "ENTRY": "--entry",
    "movies": "--movies",
    "format": "--format",
    "width_px": "--size",
    "height_px": "--size",
    "frames": "--size",
    "bandwidth_bytes_per_s": "--bandwidth",
}
_TOLD_EACH_S = 0.1


def _faults() -> Sequence[tuple[str, str]]:
    from fsmcollect.sim.archive import FAULTS

    return [(kind.value, sentence) for kind, sentence in FAULTS.items()]


@click.command(
    cls=WithExamples,
    short_help="Serve a pretend archive on this machine, to try.",
    lists={
        "Examples": (
            ("fsmcollect archive", "says how to stream from it"),
            ("fsmcollect archive --fault truncation:*.mrc:2", "two movies break off in the middle"),
            ("fsmcollect archive --movies 1000 --bandwidth 5MB", "a long and slow one; try Ctrl-C"),
        ),
        "Faults, by KIND": _faults,
    },
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    default=8765,
    help="On 127.0.0.1; 0 takes one that is free. [default: 8765]",
)
@click.option("--seed", type=int, metavar="N", default=0, help="Equal seeds give equal archives. [default: 0]")
@click.option("--entry", metavar="ENTRY", default="10200", help="The one entry that there is. [default: 10200]")
@click.option("--movies", type=int, metavar="N", default=24, help="How many movies it has. [default: 24]")
@click.option(
    "--format", "movie_format", metavar="X", default="mrc", help="mrc, mrcs, tiff, bigtiff or eer. [default: mrc]"
)
@click.option(
    "--size", metavar="WxHxN", help="Width and height of a movie in pixels, and its frames. [default: 256x256x4]"
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:GLOB[:TIMES]]",
    help="What goes wrong, with files of which path or name, and how often; may be repeated. [default for GLOB: "
    "every file; for TIMES: 1, else a number or 'always']",
)
@click.option(
    "--bandwidth", metavar="SIZE", default="50MB", help="Send at most so much a second, in all. [default: 50MB]"
)
def archive(
    port: int,
    seed: int,
    entry: str,
    movies: int,
    movie_format: str,
    size: str | None,
    faults: Sequence[str],
    bandwidth: str,
) -> None:
    """Serve a pretend archive with one entry of synthetic movies over HTTP, on this machine only.

    It answers as EMPIAR does: descriptions, listings, files, ranges. It says which command streams from it (give that
    in another terminal), then shows every request. Ctrl-C ends it.

    The numbers in the list of faults below are set behind TIMES: --fault stall:*.mrc:2:delay_s=60
    """
    import trio

    from fsmcollect.sim.archive import Archive, Fault
    from fsmcollect.stream.entry import accession
    from fsmcollect.stream.stopping import parse_size

    width_px, height_px, frames = _sizes(size or "256x256x4")
    try:
        pretended = Archive(
            seed=seed,
            entry=accession(entry),
            movies=movies,
            format=movie_format,
            width_px=width_px,
            height_px=height_px,
            frames=frames,
            faults=[Fault.parse(fault) for fault in faults],
            bandwidth_bytes_per_s=parse_size(bandwidth, "--bandwidth"),
        )
    except InvalidRequest as refusal:
        problems = [
            attrs.evolve(problem, field=_OPTIONS.get(problem.field, problem.field)) for problem in refusal.problems
        ]
        raise InvalidRequest(problems) from None
    try:
        trio.run(_serve, pretended, port)
    except OSError as error:
        allowed = f"cannot be served on: {error.strerror or error}; choose another, or 0 for one that is free"
        raise InvalidRequest([Problem(field="--port", value=str(port), allowed=allowed)]) from error


def _sizes(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})[xX](\d{1,6})", text.strip())
    if match is None:
        allowed = "must be width, height and frames of a movie, such as 4096x4096x10"
        raise InvalidRequest([Problem(field="--size", value=text, allowed=allowed)])
    return int(match[1]), int(match[2]), int(match[3])


async def _serve(archive: Archive, port: int) -> None:
    """Serve and show each request until a signal comes."""
    import trio

    from fsmcollect.together import one_failure_as_itself

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, one_failure_as_itself():
        async with trio.open_nursery() as nursery:
            taken = await nursery.start(_listen, archive, port)
            root = f"http://127.0.0.1:{taken}"
            api_url, data_url = f"{root}/empiar/api/entry/", f"{root}/empiar/world_availability/"
            console.say(f"descriptions  {api_url}")
            console.say(f"files         {data_url}")
            console.say("")
            console.say(f"fsmcollect stream {archive.entry} --api-url {api_url} --data-url {data_url}")
            console.say("")
            nursery.start_soon(_tell, archive)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
    _tell_now(archive)


async def _listen(archive: Archive, port: int, *, task_status: trio.TaskStatus[int]) -> None:
    await archive.listen(port, task_status=task_status)


async def _tell(archive: Archive) -> None:
    import trio

    while True:
        _tell_now(archive)
        await trio.sleep(_TOLD_EACH_S)


def _tell_now(archive: Archive) -> None:
    while archive.requests:
        console.say(_line(archive.requests.popleft()))


def _line(request: Request) -> str:
    """The time of day, what was asked, what was answered, and the fault that it met."""
    more = "".join(f"  {part}" for part in (request.range, request.fault and f"({request.fault})") if part)
    return plain(f"{time.strftime('%H:%M:%S')}  {request.status}  {request.method:<4}  {request.path}{more}")
