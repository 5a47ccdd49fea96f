"""How long, of real time, a run may take that should take milliseconds.

A run in simulated time that goes round in circles never ends, and nothing within it can know. Owns the alarm that ends
it. Owns no verdict.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

#: A run takes milliseconds; one that takes so long of real time will never end. Assumed.
PATIENCE_S = 60.0
#: Once it is lost: how often it is told so, for a run that hangs may hang in its clean-up too.
_INSISTS_S = 2.0

T = TypeVar("T")


class Stuck(BaseException):
    """Raised within a run that does not end; nothing that expects errors may take it for one."""


def within(patience_s: float, run: Callable[[], T]) -> T:
    """What `run` returns.

    Only in the main thread of a process whose alarm nobody else waits for can it be interrupted; elsewhere it is
    waited for.

    Raises
    ------
    Stuck
        It has taken longer.
    """
    if not _alarm_is_free():
        return run()
    told = f"the run was not over after {patience_s:g} s of real time"
    is_stuck = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stuck
        is_stuck = True
        raise Stuck(told)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, patience_s, _INSISTS_S)
    try:
        result = run()
    except BaseException as error:
        if is_stuck:  # whatever trio has made of it
            raise Stuck(told) from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    if is_stuck:
        raise Stuck(told)
    return result


def _alarm_is_free() -> bool:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
