"""What is asked for, held against the beamline and the disk before anything moves; and what the shell is told after.

Shared by the commands that collect. Owns no limit (`fsmcollect.limits`) and no option.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsmcollect.cli.calling import Exit
from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.beamline import Beamline
    from fsmcollect.machines.table import Outcome
    from fsmcollect.request import Written
    from fsmcollect.wedges import Plan


def checked(asked: Sequence[Written], beamline: Beamline, directory: Path | None) -> list[Plan]:
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


def new_folder() -> Path:
    """The first of simulated-1, simulated-2, ... that is not here yet."""
    number = 1
    while (folder := Path(f"simulated-{number}")).exists():
        number += 1
    return folder


def exit_of(outcome: Outcome, *, safe: bool) -> Exit:
    """What the shell is told of a run that nothing was expected of."""
    from fsmcollect.machines.table import Outcome

    if not safe:
        return Exit.UNSAFE
    if outcome is Outcome.ABORTED:
        return Exit.ABORTED
    return Exit.FAILED if outcome is Outcome.FAILED else Exit.DONE
