"""Making safe: what is commanded, in which order, and what becomes of steps that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import combinations

import attrs
import pytest
import trio
import trio.testing

from fsmcollect.beamline import Beamline, BeamlineConfig
from fsmcollect.errors import BeamlineBusy, DeviceError, SafingError
from fsmcollect.safing import Step, StepEnded, acknowledge, make_safe, pause

CONFIG = BeamlineConfig(name="FAKE", synchrotron_name="Nowhere", instrument_short_name="F", shutter_opening_s=0.0)

#: Role: command, read-back, and the step's name, in the order in which commands have to leave.
STEPS = {
    "fast_shutter": ("close", "is_closed", "fast shutter closed"),
    "safety_shutter": ("close", "is_closed", "safety shutter closed"),
    "goniometer": ("stop", "is_still", "goniometer still"),
    "detector_stage": ("stop", "is_still", "detector stage still"),
    "monochromator": ("stop", "is_still", "monochromator still"),
    "sample_changer": ("stop", "is_still", "sample changer still"),
    "detector": ("disarm", "is_idle", "detector idle"),
    "detector_cover": ("close", "is_closed", "detector cover closed"),
}
BEAM, COVERING = ("fast_shutter", "safety_shutter"), ("detector_cover",)


class Bug(Exception):
    """What no adapter should raise."""


async def _well() -> None:
    await trio.sleep(0.1)


async def _raises() -> None:
    await trio.lowlevel.checkpoint()
    raise DeviceError("device", "burnt")


async def _has_a_bug() -> None:
    raise Bug("not thought of")


async def _hangs() -> None:
    await trio.sleep_forever()


async def _hangs_and_dies() -> None:
    """An adapter with tasks of its own, one of which fails while it is being cancelled."""

    async def die_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Bug("in its own clean-up")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(die_when_cancelled)
        nursery.start_soon(trio.sleep_forever)


async def _has_a_bug_in_a_group() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_has_a_bug)


WAYS_TO_FAIL: dict[str, tuple[Callable[[], Awaitable[None]], str]] = {
    "raises": (_raises, "device: burnt"),
    "has a bug": (_has_a_bug, "not thought of"),
    "has a bug in a group": (_has_a_bug_in_a_group, "not thought of"),
    "hangs": (_hangs, "no answer within"),
    "hangs and dies": (_hangs_and_dies, "in its own clean-up"),
}


@attrs.define
class Device:
    """Anything that can be made safe."""

    role: str
    log: list[tuple[str, str, float]]
    act: Callable[[], Awaitable[None]] = _well
    answers: bool = True

    def __getattr__(self, name: str) -> Callable[[], Awaitable[object]]:
        command, question, _ = STEPS[self.role]

        async def method() -> object:
            self.log.append((self.role, name, trio.current_time()))
            if name == command:
                await self.act()
                return None
            await trio.lowlevel.checkpoint()
            return self.answers

        if name not in (command, question):
            raise AttributeError(name)
        return method


def fake(log: list[tuple[str, str, float]], **devices: Device) -> Beamline:
    roles = {role: devices.get(role, Device(role, log)) for role in STEPS}
    return Beamline(config=CONFIG, **roles)  # type: ignore[arg-type]


def safely(beamline: Beamline, restore: tuple[Step, ...] = ()) -> tuple[tuple[str, ...], list[StepEnded], float]:
    """Make it safe in no real time: what failed, what was reported, how long it took."""
    ended: list[StepEnded] = []

    async def run() -> tuple[tuple[str, ...], float]:
        began_s = trio.current_time()
        failures = await make_safe(beamline, restore, ended.append)
        return failures, trio.current_time() - began_s

    failures, took_s = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return failures, ended, took_s


def commanded(log: list[tuple[str, str, float]]) -> list[str]:
    """Who was commanded, in the order of each one's first command."""
    return list(dict.fromkeys(role for role, name, _ in log if name == STEPS[role][0]))


def test_every_device_is_commanded_and_asked_the_beam_first_and_the_cover_last() -> None:
    for _ in range(20):  # trio shuffles tasks that wake together
        log: list[tuple[str, str, float]] = []
        failures, ended, _took_s = safely(fake(log))
        assert failures == ()
        assert [role for role, name, _ in log if name == STEPS[role][0]] == list(STEPS), "each of them once"
        assert {(role, name) for role, name, _ in log} == {(role, n) for role in STEPS for n in STEPS[role][:2]}
        assert {step.step.name for step in ended} == {name for _, _, name in STEPS.values()}
        assert all(step.failure == "" for step in ended)


def test_the_beams_commands_leave_at_once_and_nothing_else_before_the_fast_shutter_has_answered() -> None:
    log: list[tuple[str, str, float]] = []
    safely(fake(log))
    began_s = log[0][2]
    when = {role: at_s - began_s for role, name, at_s in log if name == STEPS[role][0]}
    assert when["fast_shutter"] == when["safety_shutter"] == 0.0
    assert all(when[role] >= 0.1 for role in STEPS if role not in BEAM)
    assert when["detector_cover"] >= 0.2


@pytest.mark.parametrize("role", STEPS)
@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_one_step_that_fails_stops_no_other(role: str, way: str) -> None:
    log: list[tuple[str, str, float]] = []
    act, words = WAYS_TO_FAIL[way]
    failures, ended, _ = safely(fake(log, **{role: Device(role, log, act=act)}))
    assert commanded(log) == list(STEPS)
    assert len(failures) == 1
    assert failures[0].startswith(STEPS[role][2])
    assert words in failures[0]
    assert len(ended) == len(STEPS)
    assert [step.step.name for step in ended if step.failure] == [STEPS[role][2]]


@attrs.define
class Fails:
    """Fails so often, then works."""

    times: int
    act: Callable[[], Awaitable[None]]
    tried: int = 0

    async def __call__(self) -> None:
        self.tried += 1
        await (self.act() if self.tried <= self.times else _well())


@pytest.mark.parametrize("role", STEPS)
@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_step_that_fails_once_is_done_again_and_told_as_verified_with_a_remark(role: str, way: str) -> None:
    log: list[tuple[str, str, float]] = []
    act, words = WAYS_TO_FAIL[way]
    device = Device(role, log, act=Fails(1, act))
    failures, ended, _ = safely(fake(log, **{role: device}))
    assert failures == ()
    (told,) = (step for step in ended if step.step.name == STEPS[role][2])
    assert (told.failure, words in told.remark) == ("", True)
    assert [step.remark for step in ended if step is not told] == [""] * (len(STEPS) - 1)


@pytest.mark.parametrize("role", STEPS)
def test_a_step_is_tried_twice_and_no_more(role: str) -> None:
    log: list[tuple[str, str, float]] = []
    fails = Fails(2, _raises)
    failures, _, _ = safely(fake(log, **{role: Device(role, log, act=fails)}))
    assert fails.tried == 2
    assert len(failures) == 1


@pytest.mark.parametrize("role", STEPS)
def test_a_command_that_worked_and_a_read_back_that_denies_it_is_a_failure(role: str) -> None:
    log: list[tuple[str, str, float]] = []
    failures, _, _ = safely(fake(log, **{role: Device(role, log, answers=False)}))
    assert failures == (f"{STEPS[role][2]}: commanded, but its read-back denies it",)


@pytest.mark.parametrize("pair", [*combinations(STEPS, 2)])
def test_two_that_fail_are_both_told_and_all_are_commanded(pair: tuple[str, str]) -> None:
    log: list[tuple[str, str, float]] = []
    first, second = pair
    failures, _, _ = safely(
        fake(log, **{first: Device(first, log, act=_hangs), second: Device(second, log, act=_raises)})
    )
    assert commanded(log) == list(STEPS)
    assert sorted(failure.partition(":")[0] for failure in failures) == sorted(STEPS[role][2] for role in pair)


def test_all_that_hang_for_ever_take_no_longer_than_their_own_deadlines() -> None:
    log: list[tuple[str, str, float]] = []
    failures, ended, took_s = safely(fake(log, **{role: Device(role, log, act=_hangs) for role in STEPS}))
    assert commanded(log) == list(STEPS)
    assert len(failures) == len(STEPS)
    deadline_s = {step.step.name: step.step.deadline_s for step in ended}
    safety_s, robot_s, cover_s = (
        deadline_s[name] for name in ("safety shutter closed", "sample changer still", "detector cover closed")
    )
    assert took_s == pytest.approx(safety_s + robot_s + cover_s)


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_where_the_fast_shutter_fails_nothing_stops_before_the_safety_shutter_is_closed(way: str) -> None:
    log: list[tuple[str, str, float]] = []

    async def closes_slowly() -> None:
        await trio.sleep(3.0)

    failing = Device("fast_shutter", log, act=WAYS_TO_FAIL[way][0])
    safely(fake(log, fast_shutter=failing, safety_shutter=Device("safety_shutter", log, act=closes_slowly)))
    began_s = log[0][2]
    when = {role: at_s - began_s for role, name, at_s in log if name == STEPS[role][0]}
    assert all(when[role] >= 3.0 for role in STEPS if role not in BEAM)


def test_a_pause_whose_shutter_is_not_known_to_be_closed_stops_nothing_else() -> None:
    log: list[tuple[str, str, float]] = []
    beamline = fake(log, fast_shutter=Device("fast_shutter", log, act=_raises))
    failures = trio.run(pause, beamline, clock=trio.testing.MockClock(autojump_threshold=0))
    assert failures == ("fast shutter closed: device: burnt",)
    assert commanded(log) == ["fast_shutter"]


def test_settings_are_put_back_after_all_else_and_their_failure_is_one_like_any_other() -> None:
    log: list[tuple[str, str, float]] = []
    order: list[str] = []

    def setting(name: str, act: Callable[[], Awaitable[None]]) -> Step:
        async def command() -> None:
            order.extend([] if name in order else [name])
            assert len(commanded(log)) == len(STEPS)
            await act()

        return Step(name=name, command=command, is_verified=None, deadline_s=1.0)

    failures, ended, _ = safely(fake(log), (setting("last", _well), setting("first", _raises)))
    assert order == ["last", "first"]
    assert failures == ("first: device: burnt",)
    assert {step.step.name for step in ended[-3:]} == {"last", "first", "detector cover closed"}


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
def test_what_a_beamline_lacks_is_left_out(count: int) -> None:
    roles = list(STEPS)[:count]
    log: list[tuple[str, str, float]] = []
    beamline = Beamline(config=CONFIG, **{role: Device(role, log) for role in roles})  # type: ignore[arg-type]
    failures, _, _ = safely(beamline)
    assert failures == ()
    assert commanded(log) == roles


def test_it_may_be_repeated() -> None:
    log: list[tuple[str, str, float]] = []
    beamline = fake(log)
    assert safely(beamline)[0] == safely(beamline)[0] == ()
    assert [role for role, name, _ in log if name == STEPS[role][0]] == list(STEPS) * 2


def test_a_report_that_raises_is_the_callers_bug_and_comes_out() -> None:
    log: list[tuple[str, str, float]] = []

    def report(_: StepEnded) -> None:
        raise Bug("of whoever is told")

    async def run() -> None:
        await make_safe(fake(log), (), report)

    with pytest.raises(BaseExceptionGroup):
        trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


# -- somebody has looked -----------------------------------------------------------------------------------------------


def acknowledged(beamline: Beamline, report: Callable[[StepEnded], None] | None = None) -> tuple[str, ...]:
    return trio.run(lambda: acknowledge(beamline, report), clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_fault_is_not_acknowledged_past_the_run_that_owns_the_beamline() -> None:
    log: list[tuple[str, str, float]] = []
    beamline = fake(log)
    beamline.claim("lyso_1")
    beamline.fault = SafingError(["the shutter stands half open"])
    with pytest.raises(BeamlineBusy, match="the run 'lyso_1' owns FAKE: acknowledge the fault there"):
        acknowledged(beamline)
    assert log == []
    assert str(beamline.fault) == str(SafingError(["the shutter stands half open"]))


def test_an_acknowledged_fault_makes_safe_again_and_goes_only_when_all_is_verified() -> None:
    log: list[tuple[str, str, float]] = []
    shutter = Device("fast_shutter", log, act=_raises)
    beamline = fake(log, fast_shutter=shutter)
    beamline.fault = SafingError(["the shutter stands half open"])
    for _ in range(2):
        assert acknowledged(beamline) == ("fast shutter closed: device: burnt",)
        assert not beamline.free
        assert "burnt" in str(beamline.fault), "the fault says what is wrong now"
        assert commanded(log) == list(STEPS)
        log.clear()
    shutter.act = _well
    told: list[StepEnded] = []
    assert acknowledged(beamline, told.append) == ()
    assert [ended.step.name for ended in told if not ended.failure] == [ended.step.name for ended in told]
    assert len(told) == len(STEPS)
    assert commanded(log) == list(STEPS)
    assert beamline.fault is None
    assert beamline.free


def test_an_acknowledgement_that_is_cancelled_is_carried_out_all_the_same() -> None:
    log: list[tuple[str, str, float]] = []
    beamline = fake(log)
    beamline.fault = SafingError(["the shutter stands half open"])

    async def run() -> None:
        with trio.move_on_after(0.05):
            await acknowledge(beamline)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert commanded(log) == list(STEPS)
    assert beamline.free
