"""Which rows of the tables fire in a run of the tests, and which faults are in force in which states.

Owns the noting and the sentences; `conftest` asks for them at the end of a run. A row counts where a driver has fired
it that runs the package's own activities: not where a test fires events at an engine by hand, nor where it drives a
table with activities of its own. Of a run in several processes each says what it has noted, and one adds it up.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import attrs
import pytest

from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from fsmcollect.machines.stream import STREAM
from fsmcollect.machines.table import Row, Table
from fsmcollect.machines.transfer import TRANSFER
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.sim.faults.values import Effect

TABLES: tuple[Table[Any, Any], ...] = (COLLECTION, WEDGE, STREAM, TRANSFER)
#: Where a fault can be in force: every state with an activity, named as `Played.pairs` names it.
STATES = (*(state.name for state in COLLECTION.active), *(f"wedge.{state.name}" for state in WEDGE.active))


#: Rows that the package's own activities cannot bring about, and why. `machines/test_every_row` plays them with others.
DEFENCES = {
    "collection: CLOSING on CANCELLED": "closing is shielded, and nothing inside it is cancelled",
    "collection: FAULT on CRASHED": "a latched fault waits and does nothing that could have a bug",
    "stream: CLOSING on CANCELLED": "closing is shielded, and nothing inside it is cancelled",
    "stream: HOLDING on FAILED": "a held stream does nothing that could fail",
    "stream: HOLDING on CRASHED": "a held stream does nothing that could have a bug",
}


@attrs.define
class TableCoverage:
    """What was visited so far."""

    #: By identity: to hash a row is to hash its sentences, and the tables keep theirs alive.
    fired: set[int] = attrs.field(factory=set[int])
    pairs: set[tuple[str, str]] = attrs.field(factory=set[tuple[str, str]])

    def watch_drivers(self) -> None:
        """Note every row that a driver fires, from now on."""
        run: Callable[[Any], Coroutine[Any, Any, Any]] = Driver.run
        arrived: Callable[[Any, Any], None] = Engine._arrived
        fired = self.fired

        @functools.wraps(run)
        def noted_run(driver: Any) -> Coroutine[Any, Any, Any]:
            if any(_is_ours(activity) for activity in driver.activities.values()):
                driver.engine.is_driven = True
            return run(driver)

        @functools.wraps(arrived)
        def noted_arrived(engine: Any, row: Row[Any, Any]) -> None:
            if "is_driven" in engine.__dict__:
                fired.add(id(row))
            arrived(engine, row)

        _replace(Driver, "run", noted_run)
        _replace(Engine, "_arrived", noted_arrived)

    def watch_scenarios(self) -> None:
        """Note every pair that a scenario or a sweep visits, from now on; nothing where no test plays any."""
        if (playing := sys.modules.get("fsmcollect.simulate.playing")) is not None:
            self._note_made(playing.Played, lambda played: played.pairs)
        # A sweep plays most of its scenarios in other processes, and brings home what was missed.
        if (report := sys.modules.get("fsmcollect.testing.sweeping.report")) is not None:
            self._note_made(report.Coverage, _visited)

    def _note_made(self, kind: type, pairs_of: Callable[[Any], Iterable[tuple[str, str]]]) -> None:
        """Note what every object of this kind says, when it is made."""
        make: Callable[..., None] = kind.__init__  # type: ignore[misc]

        @functools.wraps(make)
        def noted_make(made: Any, *args: Any, **fields: Any) -> None:
            make(made, *args, **fields)
            self.pairs.update(pairs_of(made))

        _replace(kind, "__init__", noted_make)

    # -- several processes --------------------------------------------------------------------------------------------

    def noted(self) -> dict[str, list[Any]]:
        """What was visited, as one process can tell another."""
        fired = [name for name, row in _rows().items() if id(row) in self.fired]
        return {"fired": fired, "pairs": [list(pair) for pair in sorted(self.pairs)]}

    def add(self, noted: dict[str, list[Any]]) -> None:
        """What another process has `noted` counts as if it had been here."""
        rows = _rows()
        self.fired.update(id(rows[name]) for name in noted["fired"])
        self.pairs.update((effect, state) for effect, state in noted["pairs"])

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def missed_rows(self) -> list[str]:
        return [name for name, row in _rows().items() if id(row) not in self.fired and name not in DEFENCES]

    @property
    def missed_pairs(self) -> list[str]:
        return [_in_words(pair) for pair in every_pair() if pair not in self.pairs]

    def sentences(self) -> list[str]:
        """What is printed at the end of a run."""
        rows, pairs = sum(len(table.rows) for table in TABLES), len(every_pair())
        missed_rows, missed_pairs = self.missed_rows, self.missed_pairs
        counts = (
            f"rows of the tables: {rows - len(missed_rows)} of {rows} "
            f"({len(DEFENCES)} by a script: no run can bring them about); "
            f"fault x state: {pairs - len(missed_pairs)} of {pairs}"
        )
        told = [counts]
        if missed_rows:
            told.append(f"rows that no run has fired: {', '.join(missed_rows)}")
        if missed_pairs:
            told.append(f"faults never in force: {', '.join(missed_pairs)}")
        return told


def _rows() -> dict[str, Row[Any, Any]]:
    return {name_of(table, row): row for table in TABLES for row in table.rows}


def name_of(table: Table[Any, Any], row: Row[Any, Any]) -> str:
    return f"{table.name}: {row.source.name} on {row.event.name}"


def _is_ours(activity: Any) -> bool:
    return str(getattr(activity, "__module__", "")).startswith("fsmcollect.")


def _replace(owner: type, name: str, by: object) -> None:
    setattr(owner, name, by)


def _visited(coverage: Any) -> Iterable[tuple[str, str]]:
    """The pairs that a sweep has visited."""
    missed = set(coverage.fault_x_state.missed)
    return [pair for pair in every_pair() if _in_words(pair) not in missed]


def _in_words(pair: tuple[str, str]) -> str:
    return f"{pair[0]} in {pair[1]}"


def every_pair() -> list[tuple[str, str]]:
    """Every effect of a fault in every state with an activity."""
    return [(effect.value, state) for effect in Effect for state in STATES]


def is_whole(config: pytest.Config) -> bool:
    """Every test was asked for that is asked for by default: no paths, no words, no other marks."""
    option = config.option
    chosen = [
        option.keyword,
        option.collectonly,
        option.deselect,
        option.ignore,
        option.ignore_glob,
        getattr(option, "lf", False),
        getattr(option, "stepwise", False),
    ]
    by_default = config.args_source is pytest.Config.ArgsSource.TESTPATHS and option.markexpr in ("", "not long")
    return by_default and not any(chosen)


def ended_early(session: pytest.Session) -> bool:
    """It was stopped before its last test: by a person, a limit of failures, or an error of pytest's own."""
    ended = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return bool(session.shouldstop or session.shouldfail) or session.exitstatus not in ended
