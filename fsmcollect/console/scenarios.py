"""What a person sees of scenarios: which there are, and what came of one; and what programs are told of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fsmcollect.console import amounts, coloured, say, show_row

if TYPE_CHECKING:
    from fsmcollect.sim.scenario.values import Scenario
    from fsmcollect.simulate.played import Played


def show_scenarios(scenarios: Sequence[Scenario]) -> None:
    """Print a line for each scenario, on a terminal in lines of its width."""
    column = max((len(scenario.name) for scenario in scenarios), default=0) + 2
    for scenario in scenarios:
        show_row(scenario.name, scenario.summary, column=column)


def scenarios_json(scenarios: Sequence[Scenario]) -> str:
    """One list of all scenarios."""
    return json.dumps([{"name": scenario.name, "summary": scenario.summary} for scenario in scenarios])


def show_heading(scenario: Scenario) -> None:
    """Print what the story is about."""
    say(f"{scenario.name}, seed {scenario.seed}")
    if scenario.summary:
        show_row("", scenario.summary, column=0)
    say("")


def show_played(played: Played, *, out: str | None, saved: str | None, is_told: bool, is_judged: bool) -> None:
    """Print what came of a scenario.

    Parameters
    ----------
    out : str or None
        Where the rest could be collected; None where no files were kept.
    saved : str or None
        The file that the scenario was written to.
    is_told : bool
        The story was told: what went wrong is in it.
    is_judged : bool
        Something was expected of it.
    """
    if is_told:
        say("")
    else:
        show_row("scenario", played.scenario.name)
    verdict = "" if played.safe else "; the beamline could not be verified safe"
    show_row("outcome", f"{coloured(str(played.outcome), safe=played.safe)}{verdict}")
    show_row("expected", _verdict(played, is_judged))
    if struck := _strike(played):
        show_row("struck", struck)
    show_row("images", f"{played.images:,}")
    show_row("dose", _dose(played))
    show_row("simulated", amounts.pace(played.simulated_s, played.wall_s))
    show_row("trace", played.trace_sha256)
    if not is_told:
        for failure in played.failures:
            show_row("failure", failure)
    if played.raised:
        show_row("raised", played.raised)
    show_row("violations", str(len(played.violations)))
    for violation in played.violations:
        show_row("", violation)
    if played.excused:
        show_row("excused", f"{len(played.excused)}: what a fault itself makes of the beamline")
    for file in played.files:
        show_row("file", str(file))
    if out is None:
        show_row("files", "none: it was played as a sweep plays it; --out keeps them")
    if saved is not None:
        show_row("saved", saved)
    if out is not None and played.images and _lacks_images(played):
        show_row("the rest", f"can be collected with files.skip_existing = true and --out {out}")


def _dose(played: Played) -> str:
    """What crystals got; that there was none is no failure."""
    if played.images and not played.exposed_s:
        return "none: no crystal was in the beam"
    return f"{played.exposed_s:,.3f} s in the beam, {played.photons:.3g} photons"


def _lacks_images(played: Played) -> bool:
    """It ended early, and before it had all images that were asked for."""
    from fsmcollect.wedges import make_plan

    planned = sum(make_plan(request).images for request in played.scenario.requests)
    return str(played.outcome) in ("aborted", "failed") and played.images < planned


def _verdict(played: Played, is_judged: bool) -> str:
    """Whether it ended as expected."""
    wrong = {"violated": played.violations, "unmet": played.unmet, "never came to pass": played.never}
    if said := [f"{len(found)} {name}" for name, found in wrong.items() if found]:
        return f"no: {', '.join(said)}"
    return "yes" if is_judged else "nothing in particular"


def _strike(played: Played) -> str:
    """What a sweep has added, besides faults."""
    strike = played.scenario.strike
    said: list[str] = []
    if strike.cancel_at is not None:
        said.append(f"cancelled at checkpoint {strike.cancel_at:,}")
    if strike.abort_at is not None:
        said.append(f"aborted at event {strike.abort_at:,}")
    if said and played.struck_in:
        said[-1] += f", in {played.struck_in}"
    if strike.schedule is not None:
        said.append(f"order of tasks {strike.schedule}")
    return "; ".join(said)


def played_json(played: Played) -> str:
    """One object for a scenario."""
    return json.dumps(
        {
            "outcome": str(played.outcome),
            "images": played.images,
            "simulated_s": played.simulated_s,
            "wall_s": round(played.wall_s, 6),
            "trace_sha256": played.trace_sha256,
            "violations": list(played.violations),
            "files": [str(file) for file in played.files],
            "scenario": played.scenario.name,
            "unmet": list(map(str, played.unmet)),
            "never": list(map(str, played.never)),
            "excused": list(played.excused),
            "as_expected": played.as_expected,
        }
    )
