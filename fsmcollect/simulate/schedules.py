"""The order in which trio runs tasks that wake together: shuffled on purpose, here from a seed.

trio has no public way to repeat its shuffling. The two private names are used here and nowhere else, only for
rehearsals; a trio that has lost them is told in a sentence to who asks for a schedule, and left alone by who does not.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Generator, MutableSequence
from typing import Any

import trio

from fsmcollect.errors import FsmCollectError


@contextlib.contextmanager
def repeatable_schedule(seed: int, *, is_asked: bool = True) -> Generator[Callable[[], None]]:
    """Within it, every ``trio.run`` of this thread shuffles its tasks from `seed`.

    Yields what shuffles from `seed` anew: for when what is to be repeated begins, whatever came before.

    Parameters
    ----------
    is_asked : bool
        Somebody relies on it: not to be able to is an error, and not just another order each time.

    Raises
    ------
    FsmCollectError
        This trio keeps its shuffling elsewhere.
    """
    run = getattr(getattr(trio, "_core", None), "_run", None)
    shuffle = getattr(run, "_r", None)
    if run is None or shuffle is None or not hasattr(run, "_ALLOW_DETERMINISTIC_SCHEDULING"):
        if not is_asked:
            yield lambda: None
            return
        raise FsmCollectError(f"a schedule cannot be repeated with trio {trio.__version__}: it shuffles in a new way")
    before = shuffle, run._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001
    order = _Order(seed)
    run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = order, True  # noqa: SLF001
    try:
        yield lambda: order.seed(seed)
    finally:
        run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = before  # noqa: SLF001


class _Order(random.Random):
    """Shuffles as any other; most often one task wakes alone, and there is nothing to shuffle."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if len(x) > 1:
            super().shuffle(x)
