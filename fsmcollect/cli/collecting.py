"""``fsmcollect plan`` and ``fsmcollect simulate``: collections that are asked for, and their rehearsal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsmcollect import console
from fsmcollect.cli.calling import Exit, WithExamples, json_option, signals_noted
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.beamline import Beamline
    from fsmcollect.observers import Listener
    from fsmcollect.request import Written
    from fsmcollect.simulate.collecting import Simulation
    from fsmcollect.wedges import Plan

EXAMPLE = "inverse_beam.toml"
#: Larger files are no requests. Assumed: room for ten thousand collections of MXCuBE's.
MAX_REQUEST_BYTES = 20_000_000


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
    plans = _checked(_read(request_file), simulated.beamline, None)
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
    short_help="Collect REQUEST on the simulated beamline.",
    lists={
        "Examples": (
            ("fsmcollect simulate", "the bundled inverse-beam example"),
            ("fsmcollect simulate lyso.toml --out a", "image files go below a/"),
            ("fsmcollect simulate --speed 10", "to look at; try Ctrl-C"),
        )
    },
)
@click.argument("request_file", metavar="[REQUEST]", required=False)
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal simulations.")
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
@json_option
def simulate(request_file: str | None, seed: int, speed: str, out: Path | None, as_json: bool) -> None:
    """Collect REQUEST on the simulated beamline and leave its image files.

    REQUEST is a TOML file, or MXCuBE's parameter dictionary (or a list of them) as a JSON file; without it, a bundled
    example is collected. MXCuBE's absolute directories are kept below --out, so that a simulation never writes into a
    facility's data; an absolute directory in a TOML file is taken as it is.

    Ctrl-C aborts: the beam goes off, everything is made safe, the images that are complete are kept.
    """
    from fsmcollect.console import collecting as showing
    from fsmcollect.sim.beamline import SimulatedBeamline
    from fsmcollect.simulate.collecting import Rehearsal

    asked = _read(request_file) if request_file is not None else [_example()]
    directory = out if out is not None else _new_folder()
    simulated = SimulatedBeamline(seed=seed, speed=None if speed == "max" else float(speed))
    plans = _checked(asked, simulated.beamline, directory)
    progress: AbstractContextManager[list[Listener]] = nullcontext([]) if as_json else showing.progress(plans)
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
        showing.show_simulation(ended, str(directory))
    for failure in ended.failures:
        console.complain(failure)
    sys.exit(_exit_code(ended))


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def _read(name: str) -> Sequence[Written]:
    """The requests of a file, or of standard input. A TOML document holds one, MXCuBE's JSON may hold a list."""
    from fsmcollect.request import written_in_mxcube, written_in_toml

    where = "standard input" if name == "-" else name
    try:
        data = _bytes(name)
        text = data.decode()
    except OSError as error:
        raise _unreadable(name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"is no text in UTF-8 (byte {error.start}): is it a request at all?") from error
    if len(data) > MAX_REQUEST_BYTES:
        raise _unreadable(name, f"is larger than {MAX_REQUEST_BYTES / 1e6:g} MB: is it a request at all?")
    if not (name.lower().endswith(".json") or (name == "-" and _looks_like_json(text))):
        return [written_in_toml(text, where)]
    return [_below_out(written) for written in written_in_mxcube(text, where)]


def _bytes(name: str) -> bytes:
    """The beginning of a file, long enough to see that it is too long."""
    if name != "-":
        with Path(name).open("rb") as file:
            return file.read(MAX_REQUEST_BYTES + 1)
    if sys.stdin is None:
        raise _unreadable(name, "standard input is closed")
    return sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)


def _unreadable(name: str, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field="REQUEST", value=name, allowed=allowed)])


def _looks_like_json(text: str) -> bool:
    """TOML may begin with a bracket too, but not with a brace behind it."""
    return text.lstrip("\ufeff \t\r\n[").startswith("{")


def _below_out(written: Written) -> Written:
    """MXCuBE names a facility's absolute directories; a simulation keeps them below --out."""
    import attrs

    files = written.request.files

    def relative(directory: str) -> str:
        return str(Path(directory).relative_to(Path(directory).anchor)) if directory else ""

    try:
        files = attrs.evolve(
            files, directory=relative(files.directory), process_directory=relative(files.process_directory)
        )
    except InvalidRequest as refusal:
        raise written.retold(refusal) from None
    return attrs.evolve(written, request=attrs.evolve(written.request, files=files))


def _checked(asked: Sequence[Written], beamline: Beamline, directory: Path | None) -> list[Plan]:
    """The plans of what is asked, if beamline and disk can do it; `directory` is None where no file will be made.

    Raises
    ------
    InvalidRequest
        Everything that is wrong with any of them, as the user finds it in the file.
    """
    from fsmcollect import limits, wedges
    from fsmcollect.collecting.storing import Store

    plans: list[Plan] = []
    problems: list[Problem] = []
    for written in asked:
        plans.append(wedges.make_plan(written.request))
        try:
            limits.check(written.request, plans[-1], beamline)
            if directory is not None:
                Store.checked(directory, written.request, plans[-1], beamline)
        except InvalidRequest as refusal:
            problems += written.retold(refusal).problems
    for position, clash in limits.name_clashes([written.request for written in asked], plans):
        problems += asked[position].retold(InvalidRequest([clash])).problems
    if problems:
        raise InvalidRequest(problems)
    return plans


def _example() -> Written:
    from fsmcollect.request import written_in_toml

    return written_in_toml((resources.files("fsmcollect.sim") / EXAMPLE).read_text("utf-8"), EXAMPLE)


def _new_folder() -> Path:
    """The first of simulated-1, simulated-2, ... that is not here yet."""
    number = 1
    while (folder := Path(f"simulated-{number}")).exists():
        number += 1
    return folder


def _exit_code(ended: Simulation) -> Exit:
    from fsmcollect.machines.table import Outcome

    if not ended.safe:
        return Exit.UNSAFE
    if ended.outcome is Outcome.ABORTED:
        return Exit.ABORTED
    return Exit.FAILED if ended.outcome is Outcome.FAILED else Exit.DONE
