"""Streaming from the pretend archive, in simulated time: what the command and the tests both call."""

from __future__ import annotations

from collections.abc import Callable

import httpcore
import trio

from fsmcollect.signals import heeding_signals
from fsmcollect.sim.archive import Archive
from fsmcollect.sim.kernel import Kernel
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.result import StreamResult
from fsmcollect.together import one_failure_as_itself


def simulate_stream(
    stream_on: Callable[[httpcore.AsyncNetworkBackend], Stream], archive: Archive, *, heed_signals: bool = False
) -> StreamResult:
    """Run the stream that `stream_on` makes for the archive's network, as fast as possible.

    Parameters
    ----------
    heed_signals : bool
        Take SIGINT and SIGTERM for an abort; only in the main thread.
    """

    async def body() -> StreamResult:
        with one_failure_as_itself():
            async with trio.open_nursery() as nursery:
                stream = stream_on(archive.network(nursery))
                result = await (heeding_signals(stream.run, stream.abort) if heed_signals else stream.run())
                nursery.cancel_scope.cancel()
        return result

    return Kernel().run(body)
