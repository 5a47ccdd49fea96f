"""What of a plan has been taken and what is still to be taken, over every interruption."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from fsmcollect.collecting.exposing import Setting, WedgeRun
from fsmcollect.wedges import Wedge


@attrs.define(eq=False)
class Progress:
    """Takes wedge after wedge; an interrupted one is put back with the images that it misses."""

    #: Images of the wedges that have been accounted for.
    _images: int = attrs.field(init=False, default=0)
    _todo: deque[Wedge] = attrs.field(init=False, factory=deque[Wedge])
    _run: WedgeRun | None = attrs.field(init=False, default=None)

    def plan(self, wedges: Iterable[Wedge]) -> None:
        """Add what has to be taken, in order."""
        self._todo.extend(wedges)

    @property
    def images(self) -> int:
        """Images taken, and on disk where the run keeps files."""
        return self._images + (0 if self._run is None else self._run.stored)

    @property
    def is_complete(self) -> bool:
        return not self._todo

    def beam_goes_off(self) -> None:
        """What is complete now is all that was in the beam. Synchronous; may be repeated."""
        if self._run is not None:
            self._run.beam_goes_off()

    async def take_next(self, setting: Setting) -> None:
        """Take one wedge. If this is interrupted, call `salvage` once the beam is off.

        Raises
        ------
        FsmCollectError
            The wedge could not be taken.
        """
        self._run = WedgeRun(setting, self._todo[0])
        await self._run.take()
        if self._run.failure is not None:
            raise self._run.failure
        self._account_for(self._run)

    async def salvage(self) -> None:
        """Store the complete images of an interrupted wedge; if this is interrupted too, the next call goes on.

        Raises
        ------
        FsmCollectError
            An image that was complete cannot be read or stored.
        """
        if self._run is not None:
            await self._run.salvage()
            self._account_for(self._run)

    def _account_for(self, run: WedgeRun) -> None:
        wedge, self._run = run.wedge, None
        self._images += run.stored
        self._todo.popleft()
        if run.stored < wedge.images:
            self._todo.appendleft(wedge.part(wedge.first_image + run.stored, wedge.images - run.stored))
