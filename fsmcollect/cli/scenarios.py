"""``fsmcollect scenarios``, and what ``fsmcollect simulate`` does with a scenario: play it, say whether it ended well.

Owns what the shell is told of a scenario. What one is, and what came of it, is decided elsewhere
(`fsmcollect.sim.scenario`, `fsmcollect.simulate.playing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from fsmcollect import console
from fsmcollect.cli.calling import Exit, WithExamples, signals_noted
from fsmcollect.cli.checking import checked, exit_of, new_folder
from fsmcollect.cli.reading import Asked, as_title
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.observers import Listener
    from fsmcollect.sim.scenario.values import Scenario
    from fsmcollect.simulate.played import Played
    from fsmcollect.wedges import Plan


@click.command(
    cls=WithExamples,
    short_help="List the bundled scenarios, or print one.",
    lists={
        "Examples": (
            ("fsmcollect scenarios", "which there are"),
            ("fsmcollect scenarios gripper_stuck > my.toml", "a copy, to change"),
            ("fsmcollect simulate my.toml --explain", "and to play"),
        )
    },
)
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of names and summaries and nothing else.")
def scenarios(name: str | None, as_json: bool) -> None:
    """List the scenarios that come with this program, one line each; with NAME, print that one's file."""
    from fsmcollect.console import scenarios as showing
    from fsmcollect.sim.scenario import library

    if name is None:
        found = [library.read(known) for known in library.names()]
        if as_json:
            console.say(showing.scenarios_json(found))
        else:
            showing.show_scenarios(found)
        return
    if as_json:
        raise InvalidRequest([Problem(field="--json", allowed="is for the list: with a NAME its TOML text is printed")])
    known = library.names()
    console.say(library.text(name if name in known else as_title(name)).rstrip("\n"))


@attrs.frozen(kw_only=True)
class Wish:
    """How a scenario is to be played: the options of ``fsmcollect simulate``."""

    speed: float | None = None
    out: Path | None = None
    explain: bool = False
    save: str | None = None
    as_json: bool = False


def carry_out(asked: Asked, wish: Wish) -> Exit:
    """Play a scenario, and say what came of it.

    Raises
    ------
    InvalidRequest
        The beamline or the disk refuses it; nothing has moved and no file was made.
    """
    from fsmcollect.console import scenarios as showing
    from fsmcollect.console import timeline
    from fsmcollect.console.explaining import Story
    from fsmcollect.simulate.playing import beamline_of, play

    scenario = asked.scenario
    directory = _directory(scenario, wish.out)
    plans = checked(asked.written, beamline_of(scenario).beamline, directory)
    if wish.save is not None:
        _save(scenario, wish.save)
    story = Story(scenario.faults)
    with signals_noted() as noted, _progress(plans, wish) as listeners:
        if noted:
            raise click.Abort
        played = play(
            scenario,
            directory=directory,
            listeners=[*listeners, *([story.hear] if wish.explain else [])],
            followers=[story.follow] if wish.explain else [],
            heed_signals=True,
            speed=wish.speed,
        )
    played = _as_asked(played, asked)
    if wish.as_json:
        console.say(showing.played_json(played))
    else:
        if wish.explain:
            showing.show_heading(scenario)
            timeline.show_story(story.told(played.violations, played.excused))
        out = str(directory) if directory is not None else None
        judged = _is_judged(scenario)
        showing.show_played(played, out=out, saved=wish.save, is_told=wish.explain, is_judged=judged)
    return _verdict(played)


def _as_asked(played: Played, asked: Asked) -> Played:
    """What came of it: what is disturbed need not come as far, what was added must come to pass all the same."""
    if not asked.is_disturbed:
        return played
    never = tuple(
        problem for problem in played.never if problem.field.startswith("strike.") or problem.where.startswith("--with")
    )
    return attrs.evolve(played, never=never)


def _directory(scenario: Scenario, out: Path | None) -> Path | None:
    """Where files go. A sweep keeps none, and a thread that writes has checkpoints: its points are played likewise."""
    from fsmcollect.sim.scenario.values import Strike

    if out is None and scenario.strike != Strike():
        return None
    return out if out is not None else new_folder()


def _progress(plans: Sequence[Plan], wish: Wish) -> AbstractContextManager[Sequence[Listener]]:
    """On standard error: a bar on a terminal; elsewhere lines, unless the story is told anyhow."""
    from fsmcollect.console import collecting as showing

    return nullcontext([]) if wish.as_json or wish.explain else showing.progress(plans)


def _save(scenario: Scenario, name: str) -> None:
    from fsmcollect.sim.scenario import writing

    text = writing.to_toml(scenario)
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        allowed = "is there already, and is not overwritten: give another name"
        raise InvalidRequest([Problem(field="--save", value=name, allowed=allowed)]) from None
    except OSError as error:
        allowed = f"cannot be written: {error.strerror}"
        raise InvalidRequest([Problem(field="--save", value=name, allowed=allowed)]) from error


def _verdict(played: Played) -> Exit:
    """What the shell is told, and a sentence on standard error for each thing that was not as it should be."""
    if _stopped_by_hand(played):
        return Exit.ABORTED if played.safe else Exit.UNSAFE
    for problem in (*played.never, *played.unmet):
        console.complain(problem)
    for violation in played.violations:
        console.complain(f"violated: {violation}")
    if played.never:
        return Exit.INVALID
    if played.unmet:
        return Exit.FAILED
    if _is_judged(played.scenario):
        return Exit.FAILED if played.violations else Exit.DONE
    for failure in played.failures:
        console.complain(failure)
    return Exit.FAILED if played.violations else exit_of(played.outcome, safe=played.safe)


def _is_judged(scenario: Scenario) -> bool:
    """It says what must come of it."""
    from fsmcollect.sim.scenario.values import Expectation

    return scenario.expect != Expectation()


def _stopped_by_hand(played: Played) -> bool:
    """Somebody pressed Ctrl-C: it was aborted, and nothing in the scenario has done that."""
    from fsmcollect.machines.table import Outcome
    from fsmcollect.sim.scenario.values import Does

    scenario = played.scenario
    if played.outcome is not Outcome.ABORTED or played.violations:
        return False
    strike = scenario.strike
    return (
        strike.abort_at is None
        and strike.cancel_at is None
        and not any(deed.does is Does.ABORT for deed in scenario.operator)
    )
