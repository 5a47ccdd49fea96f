"""The models notice: a driver that does one thing otherwise is found out by each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from fsmcollect.machines import collection as collection_table
from fsmcollect.machines import stream as stream_table
from fsmcollect.machines.driver import Driver
from tests.testing.stateful.collecting import CollectionMachine
from tests.testing.stateful.streaming import StreamMachine

#: Found, not made small: that it is found is what is asked here.
SEEKING = settings(
    max_examples=300,
    stateful_step_count=25,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)
ABORTS = (collection_table.Event.ABORT, stream_table.Event.ABORT)
HOLDS = (collection_table.Event.HOLD, stream_table.Event.HOLD)
Request = Callable[[Driver, object], bool]  # type: ignore[type-arg]  # of either machine
REAL: Request = Driver.request


def _ignores_aborts(driver: Driver, event: object) -> bool:  # type: ignore[type-arg]
    return driver.engine.answers(event) is not None if event in ABORTS else REAL(driver, event)


def _refuses_repeated_holds(driver: Driver, event: object) -> bool:  # type: ignore[type-arg]
    return driver.engine.current.name != "HOLDING" and REAL(driver, event) if event in HOLDS else REAL(driver, event)


def _forgets_all_but_the_first(driver: Driver, event: object) -> bool:  # type: ignore[type-arg]
    return REAL(driver, event) if not driver._pending else driver.engine.answers(event) is not None


# Each stream keeps files: looking for this takes it a minute.
@pytest.mark.parametrize("machine", [CollectionMachine, pytest.param(StreamMachine, marks=pytest.mark.long)])
@pytest.mark.parametrize("otherwise", [_ignores_aborts, _refuses_repeated_holds, _forgets_all_but_the_first])
def test_a_driver_that_answers_otherwise_is_found_out(
    machine: type[RuleBasedStateMachine], otherwise: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what is found here is no bug, and not to be kept
    monkeypatch.setattr(Driver, "request", otherwise)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=SEEKING)
