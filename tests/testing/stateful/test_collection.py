"""Whatever is asked of a collection, and whenever: it answers as its table says, stays safe, ends as it was asked."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.testing.stateful.collecting import CollectionMachine


def test_a_collection_and_its_requests_keep_step_with_their_model() -> None:
    run_state_machine_as_test(CollectionMachine, settings=settings(max_examples=150, stateful_step_count=25))


@pytest.mark.long
def test_a_collection_keeps_step_with_its_model_for_long() -> None:
    run_state_machine_as_test(CollectionMachine, settings=settings(max_examples=5000, stateful_step_count=40))
