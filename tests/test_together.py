"""Several operations at once fail as one, and what a caller sees is the failure itself."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from fsmcollect.errors import DeviceError
from fsmcollect.together import expected_failure_as_itself, one_failure_as_itself, together


class Bug(Exception):
    """What no adapter should raise."""


async def test_it_returns_when_all_have_ended(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[float] = []

    def operation(seconds: float) -> object:
        async def run() -> None:
            await trio.sleep(seconds)
            ended.append(seconds)

        return run

    began_s = trio.current_time()
    await together(operation(2.0), operation(3.0), operation(1.0))  # type: ignore[arg-type]
    assert ended == [1.0, 2.0, 3.0]
    assert trio.current_time() - began_s == pytest.approx(3.0)


async def fails() -> None:
    await trio.lowlevel.checkpoint()
    raise DeviceError("detector", "does not arm")


async def fails_later() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise DeviceError("goniometer", "was stopped")


async def has_a_bug() -> None:
    await trio.lowlevel.checkpoint()
    raise Bug


@pytest.mark.parametrize("order", [(fails, trio.sleep_forever), (trio.sleep_forever, fails)])
async def test_the_first_failure_cancels_the_others_and_is_raised_as_itself(order: tuple[object, object]) -> None:
    with pytest.raises(DeviceError, match="detector: does not arm"):
        await together(*order)  # type: ignore[arg-type]


async def test_further_failures_become_its_notes() -> None:
    with pytest.raises(DeviceError) as failure:
        await together(fails, fails_later)
    told = [str(failure.value), *failure.value.__notes__]
    assert sorted(told) == ["at the same time: goniometer: was stopped", "detector: does not arm"] or sorted(told) == [
        "at the same time: detector: does not arm",
        "goniometer: was stopped",
    ]


async def test_a_bug_is_not_taken_for_an_expected_failure() -> None:
    async def has_a_bug_in_its_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Bug

    with pytest.raises(BaseExceptionGroup) as group:
        await together(fails, has_a_bug_in_its_clean_up)
    assert group.value.subgroup(Bug) is not None


async def test_cancelled_from_outside_it_is_just_cancelled() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await together(trio.sleep_forever, trio.sleep_forever)
    assert scope.cancelled_caught


async def test_one_failure_of_nested_nurseries_comes_out_as_itself() -> None:
    with pytest.raises(Bug), one_failure_as_itself():
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(has_a_bug)
            outer.start_soon(trio.sleep_forever)


async def test_several_failures_stay_a_group() -> None:
    with pytest.raises(ExceptionGroup) as group, one_failure_as_itself():
        raise ExceptionGroup("two", [Bug(), DeviceError("detector", "fails")])
    assert len(group.value.exceptions) == 2


async def test_what_is_no_group_passes() -> None:
    with pytest.raises(Bug), one_failure_as_itself():
        raise Bug
    with one_failure_as_itself():
        pass


# -- a nursery whose failures are expected ----------------------------------------------------------------------------


async def test_of_expected_failures_in_one_tick_the_first_comes_out_and_the_others_are_its_notes() -> None:
    with pytest.raises(DeviceError) as failure, expected_failure_as_itself():
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(fails_later)
            outer.start_soon(fails_later)
            await trio.testing.wait_all_tasks_blocked()
            raise DeviceError("detector", "does not arm")
    assert str(failure.value) == "detector: does not arm"
    assert failure.value.__notes__ == ["at the same time: goniometer: was stopped"] * 2


async def test_an_expected_failure_comes_out_as_itself_of_a_group_that_a_cancellation_is_in_too() -> None:
    async def cancelled_from_outside(scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        scope.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        with pytest.raises(DeviceError, match="goniometer: was stopped") as failure, expected_failure_as_itself():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_later)
                nursery.start_soon(cancelled_from_outside, scope)
        assert not hasattr(failure.value, "__notes__")
        await trio.lowlevel.checkpoint()  # it is cancelled all the same
    assert scope.cancelled_caught


async def test_a_bug_among_expected_failures_is_not_lost() -> None:
    with pytest.raises(ExceptionGroup) as group, expected_failure_as_itself():
        raise ExceptionGroup("two", [DeviceError("detector", "fails"), ExceptionGroup("one", [Bug()])])
    assert group.value.subgroup(Bug) is not None
    assert group.value.subgroup(DeviceError) is not None


async def test_a_bug_alone_comes_out_as_itself() -> None:
    with pytest.raises(Bug), expected_failure_as_itself():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(has_a_bug)
            nursery.start_soon(trio.sleep_forever)


async def test_an_expected_failure_keeps_its_cause() -> None:
    async def fails_because_of_something() -> None:
        await trio.lowlevel.checkpoint()
        raise DeviceError("detector", "fails") from OSError("the reason")

    with pytest.raises(DeviceError) as failure, expected_failure_as_itself():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_because_of_something)
    assert isinstance(failure.value.__cause__, OSError)


async def test_a_cancellation_of_several_is_just_that() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with expected_failure_as_itself():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_without_a_group_expected_failures_and_bugs_pass() -> None:
    with pytest.raises(Bug), expected_failure_as_itself():
        raise Bug
    with expected_failure_as_itself():
        pass
