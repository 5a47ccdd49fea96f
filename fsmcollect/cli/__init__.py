"""The command ``fsmcollect``: options, exit codes, reading what is asked for.

Owns what is done in which order and what the shell is told; `console` owns the words for people. Results go to
standard output, everything else to standard error, so that ``--json`` prints one JSON object and nothing else.
Libraries that only some commands need are imported by these. Here is the group and how it is left; its commands are in
the files beside this one.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from fsmcollect import __version__, console
from fsmcollect.cli.calling import Exit, GroupWithExamples
from fsmcollect.cli.collecting import plan, simulate
from fsmcollect.cli.drawing import diagrams
from fsmcollect.cli.scenarios import scenarios
from fsmcollect.cli.serving import archive
from fsmcollect.cli.streaming import stream
from fsmcollect.cli.sweeping import sweep
from fsmcollect.errors import FsmCollectError, InvalidRequest

__all__ = ["cli", "main"]

_EXIT_CODES = (
    ("0", "done, or nothing was missing; of a scenario or a sweep: as expected"),
    ("1", "failed; of a scenario or a sweep: not as expected"),
    ("2", "the input or the call is wrong; or part of a scenario never came to pass"),
    ("3", "aborted"),
    ("4", "it could not be verified that the beamline is safe"),
)


@click.group(
    cls=GroupWithExamples,
    context_settings={"help_option_names": ["-h", "--help"]},
    lists={
        "Examples": (
            ("fsmcollect simulate", "the bundled example, with image files"),
            ("fsmcollect plan lyso.toml", "what would be collected, and how long it takes"),
            ("fsmcollect simulate lyso.toml", "collect it on the simulated beamline"),
            ("fsmcollect simulate gripper_stuck --explain", "what happens, and why"),
            ("fsmcollect sweep inverse_beam --limit 100", "stopped anywhere, with any fault"),
            ("fsmcollect stream 10200 --limit 5", "five movies of EMPIAR-10200, as live sets"),
            ("fsmcollect diagrams --check", "do drawings and tables agree?"),
        ),
        "Exit codes": _EXIT_CODES,
    },
)
@click.version_option(__version__, prog_name="fsmcollect")
def cli() -> None:
    """Collect macromolecular-crystallography data, and stream movies from EMPIAR.

    Both are sequenced by explicit state machines.
    """


for command in (plan, simulate, scenarios, sweep, stream, archive, diagrams):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command and say in a sentence, not a traceback, what a person can mend."""
    try:
        cli(standalone_mode=False)
    except click.Abort:
        console.complain("aborted before anything was running")
        sys.exit(Exit.ABORTED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.INVALID)
    except InvalidRequest as error:
        for problem in error.problems:
            console.complain(problem)
        sys.exit(Exit.INVALID)
    except FsmCollectError as error:
        console.complain(error)
        sys.exit(Exit.FAILED)
    sys.exit(Exit.DONE)
