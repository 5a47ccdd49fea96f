"""``fsmcollect plan`` and ``fsmcollect simulate``: collections that are asked for, and their rehearsal.

Owns what is done in which order. How a request or a scenario is found and read is `reading`'s, how a scenario is
played and judged `scenarios`'.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsmcollect import console
from fsmcollect.cli import reading
from fsmcollect.cli.calling import Exit, WithExamples, json_option, signals_noted
from fsmcollect.cli.checking import checked, exit_of, new_folder
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.observers import Listener


@click.command(
    cls=WithExamples,
    short_help="Show what REQUEST would collect.",
    lists={
        "Examples": (
            ("fsmcollect plan lyso.toml", "the wedges, in order"),
            ("fsmcollect plan parameters.json --json", "all of them, for a program"),
            ("fsmcollect plan - < lyso.toml", "from standard input"),
        )
    },
)
@click.argument("request_file", metavar="REQUEST")
@json_option
def plan(request_file: str, as_json: bool) -> None:
    """Show what REQUEST would collect, in order, checked against the simulated beamline. Nothing moves.

    REQUEST is a TOML file, or MXCuBE's parameter dictionary (or a list of them) as a JSON file.
    """
    from fsmcollect import timing
    from fsmcollect.console import collecting as showing
    from fsmcollect.sim.beamline import SimulatedBeamline

    simulated = SimulatedBeamline()
    plans = checked(reading.requests_in(reading.from_file(request_file)), simulated.beamline, None)
    durations_s = [timing.predicted_duration_s(planned, simulated.timings) for planned in plans]
    if as_json:
        console.say(showing.plan_json(plans, durations_s))
        return
    for number, (planned, duration_s) in enumerate(zip(plans, durations_s, strict=True), 1):
        if len(plans) > 1:
            console.say(f"{'' if number == 1 else chr(10)}Collection {number} of {len(plans)}\n")
        showing.show_plan(planned, duration_s, timing.friedel_delay_s(planned, simulated.timings))


@click.command(
    cls=WithExamples,
    short_help="Collect REQUEST, or play a scenario, on the simulated beamline.",
    lists={
        "Examples": (
            ("fsmcollect simulate", "the bundled inverse-beam example"),
            ("fsmcollect simulate lyso.toml --out a", "image files go below a/"),
            ("fsmcollect simulate --speed 10", "to look at; try Ctrl-C"),
            ("fsmcollect simulate gripper_stuck --explain", "the story of a bundled scenario"),
            ("fsmcollect simulate NAME --with 'seed = 7'", "with something changed or added"),
            ("fsmcollect simulate NAME --save mine.toml", "keep it as a file, to go on with"),
        )
    },
)
@click.argument("asked", metavar="[REQUEST]", required=False)
@click.option(
    "--seed",
    type=click.IntRange(-(2**63), 2**63 - 1),
    help="Equal seeds give equal simulations. [default: the scenario's, or 0]",
)
@click.option(
    "--speed",
    type=click.Choice(["max", "1", "10"]),
    default="max",
    show_default=True,
    help="Simulated seconds per second.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the request's directory goes. [default: a new folder simulated-1, simulated-2, ... here]",
)
@click.option("--explain", is_flag=True, help="Tell the story: what happened, when and why.")
@click.option(
    "--with",
    "additions",
    metavar="TOML",
    multiple=True,
    help="Add to the scenario, as 'seed = 7' or 'strike = {abort_at = 12}'; may be repeated.",
)
@click.option("--save", metavar="FILE", help="Write the scenario, with what was added, as a new file.")
@json_option
def simulate(
    asked: str | None,
    seed: int | None,
    speed: str,
    out: Path | None,
    explain: bool,
    additions: tuple[str, ...],
    save: str | None,
    as_json: bool,
) -> None:
    """Collect REQUEST on the simulated beamline and leave its image files.

    REQUEST is a TOML file, or MXCuBE's parameter dictionary (or a list of them) as a JSON file; without it, a bundled
    example is collected. MXCuBE's absolute directories are kept below --out, so that a simulation never writes into a
    facility's data; an absolute directory in a TOML file is taken as it is.

    REQUEST may be a scenario too, which says what fails, what people do and what must come of it: a TOML file, or the
    name of one that is bundled (see fsmcollect scenarios). It ends with 0 when all went as expected and no rule was
    violated, with 1 when not, and with 2 when a part of it never came to pass. One that a sweep has struck keeps no
    files without --out: it is played as the sweep played it.

    Ctrl-C aborts: the beam goes off, everything is made safe, the images that are complete are kept.
    """
    if explain and as_json:
        raise InvalidRequest([Problem(field="--explain", allowed="tells people a story, --json programs: give one")])
    source = reading.example() if asked is None else reading.from_file_or_library(asked)
    pace = None if speed == "max" else float(speed)
    if explain or additions or save is not None or reading.is_scenario(source):
        from fsmcollect.cli.scenarios import Wish, carry_out

        wish = Wish(speed=pace, out=out, explain=explain, save=save, as_json=as_json)
        sys.exit(carry_out(reading.scenario_in(source, additions, seed=seed), wish))
    sys.exit(_rehearse(source, seed=seed or 0, speed=pace, out=out, as_json=as_json))


def _rehearse(source: reading.Source, *, seed: int, speed: float | None, out: Path | None, as_json: bool) -> Exit:
    """Collect what is asked for, with nothing else happening."""
    from fsmcollect.console import collecting as showing
    from fsmcollect.sim.beamline import SimulatedBeamline
    from fsmcollect.simulate.collecting import Rehearsal

    asked = reading.requests_in(source)
    directory = out if out is not None else new_folder()
    simulated = SimulatedBeamline(seed=seed, speed=speed)
    plans = checked(asked, simulated.beamline, directory)
    progress: AbstractContextManager[Sequence[Listener]] = nullcontext([]) if as_json else showing.progress(plans)
    with signals_noted() as noted, progress as listeners:
        rehearsal = Rehearsal(
            requests=[written.request for written in asked],
            simulated=simulated,
            directory=directory,
            listeners=listeners,
            before=lambda rehearsal: rehearsal.abort() if noted else None,
        )
        ended = rehearsal.run(heed_signals=True)
    if as_json:
        console.say(showing.simulation_json(ended))
    else:
        showing.show_simulation(ended, str(directory), planned=sum(plan.images for plan in plans))
    for failure in ended.failures:
        console.complain(failure)
    return exit_of(ended.outcome, safe=ended.safe)
