"""What the tests of scenarios share: a request to add to, and the sentences of a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fsmcollect.errors import InvalidRequest
from fsmcollect.sim.scenario.reading import parse_scenario

FAULT = '[[faults]]\ndevice = "fast_shutter"\ncommand = "close"\neffect = "hangs"\n'
#: Twenty lines, so that what a test adds begins in line 21.
REQUEST = """\
summary = "A scenario."
[request.sample]
location = "1:5"
[request.files]
directory = "data"
prefix = "p"
[request.beam]
energy_ev = 12700
[request.sweep]
image_width_deg = 0.5
images = 20
exposure_s = 0.05
wedge_images = 10









"""


def refusals(text: str, additions: Sequence[str] = (), *, request: str = REQUEST) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        parse_scenario(request + text, "s.toml", additions=additions)
    return [str(problem) for problem in refused.value.problems]
