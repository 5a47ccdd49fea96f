"""The processes that share the work of a sweep: begun together, ended together.

Owns how points reach workers and what came of them returns, and that no worker outlives the sweep: each holds the
reading end of a pipe whose other end is the sweep's alone, and leaves at once when that is closed, whoever closed it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from fsmcollect.errors import FsmCollectError
from fsmcollect.testing.sweeping.points import Point
from fsmcollect.testing.sweeping.trying import Base, Tried, try_points

#: Points of a batch: enough that sending it costs nothing beside playing it, few enough that no worker is left alone
#: with much at the end. Assumed.
BATCH = 25

#: A worker ends with its sweep, and by nothing else but SIGKILL.
_HEARD_BY_THE_SWEEP = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGTERM})

_base: list[Base] = []


def try_all(base: Base, points: Sequence[Point], jobs: int, told: Callable[[Tried], object]) -> None:
    """Play all points with `jobs` processes; `told` hears of each batch, in any order.

    With one, or where there is little to do, they are played in this process.

    Raises
    ------
    FsmCollectError
        A worker has died.
    """
    batches = [(begin, points[begin : begin + BATCH]) for begin in range(0, len(points), BATCH)]
    if jobs <= 1 or len(batches) <= 1:
        for begin, batch in batches:
            told(try_points(base, begin, batch))
        return
    with _workers(base, min(jobs, len(batches))) as pool:
        futures: list[Future[Tried]] = []
        done = 0
        try:
            with _deaf():
                futures += [pool.submit(_try, begin, batch) for begin, batch in batches]
            for future in as_completed(futures):
                tried = future.result()
                done += tried.points
                told(tried)
        except BrokenProcessPool as error:
            raise FsmCollectError(
                f"a worker of the sweep has died, {done} of {len(points)} points were played: with one job all is "
                "played in this process and shows why. A script that sweeps with several does so below "
                'if __name__ == "__main__":'
            ) from error


@contextlib.contextmanager
def _workers(base: Base, count: int) -> Generator[ProcessPoolExecutor]:
    # Spawned, not forked: a fork would take the parent's threads' locks and open files with it.
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with _deaf():  # its locks begin a process too, the standard library's, which watches what is left over
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(base, reader))
    is_done = False
    try:
        yield pool
        is_done = True
    finally:
        if not is_done:
            writer.close()
        pool.shutdown(wait=True, cancel_futures=True)
        writer.close()
        reader.close()


@contextlib.contextmanager
def _deaf() -> Generator[None]:
    """Processes spawned within hear no Ctrl-C before they have learned to ignore it; this one hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD_BY_THE_SWEEP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(base: Base, reader: Connection) -> None:
    """In a worker: have the scenario ready. What a terminal or a batch system tells all is the parent's to hear."""
    for number in _HEARD_BY_THE_SWEEP:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD_BY_THE_SWEEP)
    threading.Thread(target=_leave_with_the_sweep, args=(reader,), daemon=True).start()
    _base.append(base)


def _leave_with_the_sweep(reader: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        reader.recv_bytes()
    os._exit(1)


def _try(begin: int, points: Sequence[Point]) -> Tried:
    return try_points(_base[-1], begin, points)
