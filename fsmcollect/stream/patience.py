"""How often and after how long the archive is asked again.

Owns the numbers and the waiting of requests that are no file's: the entry, the folders, the sizes. A file's attempts
are states of its transfer machine, which asks here only for how long to wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import attrs
import trio

from fsmcollect.stream.sources import NotThere, Refused, SourceError

T = TypeVar("T")

#: A file or folder that is said not to be there is asked for once more: a balanced front end may know it elsewhere.
ATTEMPTS_WHERE_NOT_THERE = 2


@attrs.frozen(kw_only=True)
class Policy:
    """Limits of trying again. All numbers are assumed: polite to a public archive, patient over a restart of it.

    Attributes
    ----------
    attempts : int
        Of one request; of one file, those since it last grew by `progress_bytes`.
    failures_in_a_row : int
        Of all files together since any of them grew: then the network or the archive is gone, and the stream fails.
    first_wait_s, longest_wait_s : float
        Of the exponential back-off, before jitter.
    longest_retry_after_s : float
        A server that asks to be left alone for longer is asked again after this.
    """

    attempts: int = 8
    attempts_of_requests: int = 5
    failures_in_a_row: int = 40
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_retry_after_s: float = 900.0
    progress_bytes: int = 1 << 20

    def wait_s(self, failures: int, failure: Exception | None, random: Random) -> float:
        """How long to wait after the n-th failure in a row (from 1), seconds.

        Half of the exponential wait is fixed and half is drawn, so that jobs that failed together do not come back
        together; never less than the server's Retry-After asks for, and up to a tenth more.
        """
        drawn = random.random()
        doubled_s = min(self.first_wait_s * 2.0 ** min(failures - 1, 32), self.longest_wait_s)
        asked_s = min(getattr(failure, "retry_after_s", None) or 0.0, self.longest_retry_after_s)
        return max(doubled_s * (0.5 + 0.5 * drawn), asked_s * (1.0 + 0.1 * drawn))


async def patiently(
    policy: Policy, random: Random, ask: Callable[[], Awaitable[T]], failed: Callable[[SourceError, float], None]
) -> T:
    """What the request answers, asked again while that may help; `failed` is told of each failure and the wait.

    Raises
    ------
    SourceError
        The last failure.
    """
    failures = 0
    while True:
        try:
            return await ask()
        except Refused:
            raise
        except SourceError as failure:
            failures += 1
            if failures >= (ATTEMPTS_WHERE_NOT_THERE if isinstance(failure, NotThere) else policy.attempts_of_requests):
                raise
            wait_s = policy.wait_s(failures, failure, random)
            failed(failure, wait_s)
            await trio.sleep(wait_s)
