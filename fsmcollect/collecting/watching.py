"""What goes on around an exposure and has to end it."""

from __future__ import annotations

from typing import NoReturn

import trio

from fsmcollect.beamline import Interlock
from fsmcollect.errors import DeviceError
from fsmcollect.together import asked

#: How often the hutch is looked at where no safety shutter drops when it is opened. Assumed: the interlock's hardware
#: has closed what there is long before; this ends the run.
INTERLOCK_POLL_S = 0.5


async def hutch_is_opened(interlock: Interlock) -> NoReturn:
    """Raise DeviceError once the hutch is no longer searched."""
    # The role answers questions only: nobody tells when the hutch is opened.
    while await asked("interlock", interlock.is_searched) is True:  # noqa: ASYNC110
        await trio.sleep(INTERLOCK_POLL_S)
    raise DeviceError("interlock", "the hutch was opened while images were being taken")
