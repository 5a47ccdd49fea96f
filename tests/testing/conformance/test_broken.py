"""Every deliberately broken adapter is caught by name, and by no other name."""

from __future__ import annotations

import re

import pytest

from fsmcollect.testing.conformance.rules import RULES
from tests.testing.conformance import broken_doing, broken_reading, broken_waiting
from tests.testing.conformance.breaking import CASES, Case
from tests.testing.conformance.simulated import Bench

#: Importing them declares them.
BROKEN = (broken_doing, broken_reading, broken_waiting)


@pytest.mark.parametrize("case", CASES, ids=[case.kind.__name__ for case in CASES])
def test_a_broken_adapter_is_caught_by_name_and_by_no_other(case: Case) -> None:
    examination = Bench(case.role, case.kind).examine(**case.wishes)
    assert set(examination.names) == case.names, str(examination)


def test_at_least_twenty_five_adapters_are_broken() -> None:
    assert len(CASES) >= 25
    assert {case.kind.__module__ for case in CASES} == {module.__name__ for module in BROKEN}


def test_every_rule_is_broken_by_some_adapter() -> None:
    names = {name for case in CASES for name in case.names}
    for rule in RULES:
        pattern = re.sub(r"\\{\w+\\}", "[a-z-]+", re.escape(rule.name))
        assert any(re.fullmatch(pattern, name) for name in names), rule.name
