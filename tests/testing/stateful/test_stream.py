"""Whatever is asked of a stream, and whenever: it answers as its table says, and what it leaves is whole and right."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.testing.stateful.streaming import StreamMachine


def test_a_stream_and_its_requests_keep_step_with_their_model() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=30, stateful_step_count=20))


@pytest.mark.long
def test_a_stream_keeps_step_with_its_model_for_long() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=1000, stateful_step_count=40))
