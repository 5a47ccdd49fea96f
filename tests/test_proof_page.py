"""The page that says how it is proved: its scenario plays as it says, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from fsmcollect.sim.scenario.reading import parse_scenario
from fsmcollect.simulate.playing import play

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "explanation" / "proof.md").read_text(encoding="utf-8")


def test_its_scenario_ends_as_it_expects() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    played = play(parse_scenario(text, "proof.md"))
    assert played.as_expected, (played.violations, played.unmet, played.never, played.failures)


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (DOCS / "explanation" / link).resolve().is_file(), link
