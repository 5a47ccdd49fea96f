"""What every test shares: how Hypothesis behaves, and what of the tables a run has visited."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import settings

from tests import table_coverage

# `ci` is what runs unless asked otherwise: the same examples every time, so that a red build is red for its change.
# `explore` looks further with fresh examples: HYPOTHESIS_PROFILE=explore, and `make prove`. No deadline in either: how
# long an example takes says more about the machine than about the code.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A shell has what it runs in the background ignore Ctrl-C; a test that sends one to itself would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COVERAGE = table_coverage.TableCoverage()
COVERAGE.watch_drivers()
NOTED = "fsmcollect_table_coverage"


def pytest_collection_finish() -> None:
    COVERAGE.watch_scenarios()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A whole run in which a row of a table has never fired is a failed one.

    Of a run in several processes (`make test` takes as many as there are cores) only the one that adds up can say so.
    """
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[NOTED] = COVERAGE.noted()
        return
    whole = table_coverage.is_whole(session.config) and not table_coverage.ended_early(session)
    if whole and COVERAGE.missed_rows:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist's has ended; one that has died says nothing, and its test has failed."""
    noted = getattr(node, "workeroutput", {}).get(NOTED)
    if noted is not None:
        COVERAGE.add(noted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if table_coverage.is_whole(config):
        terminalreporter.section("what the tables say may happen, and did")
        for sentence in COVERAGE.sentences():
            terminalreporter.write_line(sentence)
