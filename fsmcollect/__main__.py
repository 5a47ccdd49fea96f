"""The command as it is started: ``fsmcollect``, and ``python -m fsmcollect``.

Owns what Ctrl-C and SIGTERM do before anything runs and after everything has ended; while a collection runs, `cli` has
them. From its first line on, neither is answered with a traceback or another exit code.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ABORTED = 3


def main() -> NoReturn:
    """Run the command."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        from fsmcollect.cli import main as command  # noqa: PLC0415 - takes most of the time until something runs

        command()
    finally:
        # All has been said. On its way out Python would give a handler's signal back its power to kill.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Nothing moves and nothing is held: leave at once."""
    try:
        os.write(2, b"fsmcollect: aborted before anything was running\n")
    finally:
        os._exit(_ABORTED)


if __name__ == "__main__":
    main()
