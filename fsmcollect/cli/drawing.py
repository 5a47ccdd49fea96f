"""``fsmcollect diagrams``: the pages of the state machines."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fsmcollect import console
from fsmcollect.cli.calling import Exit, WithExamples
from fsmcollect.errors import InvalidRequest, Problem


@click.command(
    cls=WithExamples,
    short_help="Draw the state machines from their tables.",
    lists={
        "Examples": (
            ("fsmcollect diagrams", "write the pages"),
            ("fsmcollect diagrams --check", "have they drifted from the tables?"),
        )
    },
)
@click.option("--check", is_flag=True, help="Write nothing; fail with a diff where pages and tables disagree.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs/machines"),
    show_default=True,
    help="Where the pages are.",
)
def diagrams(check: bool, out: Path) -> None:
    """Draw the state machines from their tables: a Markdown page each, and SVG where Graphviz is installed.

    Beside them, a page of the faults that a collection survives, and how.
    """
    from fsmcollect.console.declaring import faults_page
    from fsmcollect.machines import diagrams as drawing
    from fsmcollect.machines.collection import COLLECTION
    from fsmcollect.machines.stream import STREAM
    from fsmcollect.machines.transfer import TRANSFER
    from fsmcollect.machines.wedge import WEDGE

    tables = (COLLECTION, WEDGE, STREAM, TRANSFER)
    others = {"faults": faults_page()}
    try:
        if not check:
            for path in drawing.write(out, tables, others):
                console.say(str(path))
            return
        difference = drawing.check(out, tables, others)
    except OSError as error:
        allowed = f"cannot be used: {error.strerror}"
        raise InvalidRequest([Problem(field="--out", value=str(out), allowed=allowed)]) from error
    if difference:
        console.say(difference)
        console.complain(f"{out} does not agree with the tables; run: fsmcollect diagrams")
        sys.exit(Exit.FAILED)
