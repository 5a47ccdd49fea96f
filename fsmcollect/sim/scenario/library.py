"""The scenarios that come with the package, by their names.

Owns where they lie and which there are. Owns no reading (`reading`): each is a file that a person can open, copy and
change.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import shown
from fsmcollect.sim.scenario.reading import parse_scenario
from fsmcollect.sim.scenario.tables import meant
from fsmcollect.sim.scenario.values import Scenario

_SUFFIX = ".toml"


def _folder() -> Traversable:
    return resources.files("fsmcollect.sim") / "scenarios"


def names() -> tuple[str, ...]:
    """Of every bundled scenario, sorted: ``beam_lost_in_the_third_wedge``."""
    files = (file.name for file in _folder().iterdir())
    return tuple(sorted(file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX)))


def text(name: str) -> str:
    """The file of a bundled scenario, as it is written.

    Raises
    ------
    InvalidRequest
        There is none of this name.
    """
    known = names()
    if name not in known:  # looked up, never made into a path
        advice = meant(name, known).rstrip() or f"there are {', '.join(known)}"
        allowed = f"no bundled scenario has this name; {advice}"
        raise InvalidRequest([Problem(field="scenario", value=shown(name), allowed=allowed)])
    return (_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def read(name: str) -> Scenario:
    """A bundled scenario. Raises as `text` does."""
    return parse_scenario(text(name), f"{name}{_SUFFIX}", name=name)
