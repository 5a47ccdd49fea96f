"""The example of the how-to in real time, from the page itself, and what is wrong with others like it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from fsmcollect.testing.conformance import NotConforming, conforms, examine
from tests.testing.conformance.real import Controller

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "conformance.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def page(controller: Controller) -> dict[str, Any]:
    """The names that the first two examples of the page define."""
    names: dict[str, Any] = {"controller": controller}
    for block in blocks()[:2]:
        exec(block, names)
    return names


def test_the_example_of_the_page_conforms_in_real_time() -> None:
    controller = Controller()
    page(controller)["test_my_stage_conforms"]()
    assert controller.lines.count("stop") > 20
    # It was put back.
    assert controller.position == 500.0


def test_the_example_for_simulated_devices_conforms() -> None:
    exec(blocks()[2], {})


def test_a_stop_that_waits_for_the_moves_lock_is_told_as_the_page_says() -> None:
    controller = Controller(speed=100.0)  # so slow that a busy machine is in time to stop it
    stage = page(controller)["Stage"]

    class Locked(stage):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(controller)
            self.lock = trio.Lock()

        async def move(self, distance_mm: float) -> None:
            async with self.lock:
                await super().move(distance_mm)

        async def stop(self) -> None:
            async with self.lock:
                await super().stop()

    def make_detector_stage() -> object:
        return Locked()

    with pytest.raises(NotConforming) as caught:
        conforms(make_detector_stage, travel=5.0, tolerance=0.01, strikes=2)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    told = str(caught.value)
    for line in shown.strip().splitlines():
        if not line.startswith("detector_stage breaks"):
            assert line in told.splitlines(), told


def test_a_connection_is_opened_and_closed_for_every_check() -> None:
    controller, connected, most = Controller(), 0, 0
    stage = page(controller)["Stage"]

    @contextlib.asynccontextmanager
    async def make_detector_stage() -> AsyncGenerator[object]:
        nonlocal connected, most
        connected += 1
        most = max(most, connected)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)  # what listens to the controller
            yield stage(controller)
            nursery.cancel_scope.cancel()
        connected -= 1

    conforms(make_detector_stage, travel=2.0, strikes=3)
    assert (connected, most) == (0, 1)


def test_what_blocks_in_a_thread_for_ever_is_told_and_left_behind() -> None:
    controller = Controller()
    stage = page(controller)["Stage"]

    class InAThread(stage):  # type: ignore[misc, valid-type]
        async def move(self, distance_mm: float) -> None:
            await trio.to_thread.run_sync(threading.Event().wait)

    examination = examine(lambda: InAThread(controller), role="detector_stage", limit_s=1.0, prompt_s=0.05)
    assert examination.names == ("move-works",)
    assert "cancelled then, it did not go away" in examination.breaches[0].seen


def test_a_thread_that_is_not_abandoned_cannot_be_cancelled() -> None:
    controller = Controller()
    stage = page(controller)["Stage"]

    class InAThread(stage):  # type: ignore[misc, valid-type]
        async def move(self, distance_mm: float) -> None:
            if distance_mm in self.limits_mm:
                await trio.to_thread.run_sync(threading.Event().wait, 0.05)
            await super().move(distance_mm)

    examination = examine(
        lambda: InAThread(controller), role="detector_stage", prompt_s=0.02, travel=2.0, limit_s=5.0, strikes=2
    )
    assert "move-can-be-cancelled" in examination.names


def test_what_shields_itself_for_a_moment_only_is_no_breach_and_has_swallowed_nothing() -> None:
    """Found by a review: the time limit inside `trio.sleep` was taken for the cancellation from outside."""
    controller = Controller()
    stage = page(controller)["Stage"]

    class Shielded(stage):  # type: ignore[misc, valid-type]
        async def move(self, distance_mm: float) -> None:
            with trio.CancelScope(shield=True):
                await super().move(distance_mm)
                await trio.sleep(0.01)

    examination = examine(lambda: Shielded(controller), role="detector_stage", travel=2.0, limit_s=5.0, strikes=3)
    assert examination.names == ()


def test_what_blocks_for_most_of_a_short_move_is_told_without_any_setting() -> None:
    controller = Controller()
    stage = page(controller)["Stage"]

    class Blocking(stage):  # type: ignore[misc, valid-type]
        async def move(self, distance_mm: float) -> None:
            if distance_mm in self.limits_mm:
                threading.Event().wait(0.15)
            await super().move(distance_mm)

    examination = examine(lambda: Blocking(controller), role="detector_stage", travel=2.0, limit_s=5.0, strikes=3)
    assert "move-blocks-nobody" in examination.names
