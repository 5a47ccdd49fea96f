"""The robot exchanges samples, refuses what is wrong, and never loses a pin, whatever stops it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.beamline import Location
from fsmcollect.beamline import SampleChanger as Role
from fsmcollect.errors import DeviceError
from fsmcollect.sim.changer import SampleChanger, Whereabouts
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.trace import Trace

FIRST, SECOND, BARE = Location(1, 5), Location(3, 16), Location(2, 2)


@attrs.define
class Robot:
    """A changer with all that it stands in."""

    kernel: Kernel = attrs.field(factory=Kernel)
    distance_mm: float = 500.0
    by_hand: bool = False
    changer: SampleChanger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changer = SampleChanger(
            self.kernel,
            Trace(self.kernel),
            random.Random("test/sample_changer"),
            distance_mm=lambda: self.distance_mm,
            hand_mounted=lambda: self.by_hand,
            bare_pins={BARE},
        )

    def run(self, body: Callable[[SampleChanger], Awaitable[None]]) -> None:
        self.kernel.run(lambda: body(self.changer))

    @property
    def now_s(self) -> float:
        return self.kernel.now_us / 1e6


def is_consistent(changer: SampleChanger) -> bool:
    """Every pin is somewhere, and gripper and goniometer hold one at most."""
    held = Counter(changer.whereabouts.values())
    return (
        set(changer.whereabouts) == set(changer.places)
        and held[Whereabouts.GRIPPER] <= 1
        and held[Whereabouts.GONIOMETER] <= 1
    )


def test_it_has_the_role_of_a_sample_changer() -> None:
    changer: Role = Robot().changer
    assert len(changer.places) == 5 * 16
    assert changer.places[0] == Location(1, 1)
    assert changer.places[-1] == Location(5, 16)


def test_a_mount_takes_ten_to_thirty_seconds_and_ends_with_the_arm_standing() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        assert await changer.read_loaded() is None
        await changer.load(FIRST)
        assert await changer.read_loaded() == FIRST
        assert await changer.is_still()

    robot.run(body)
    assert 10.0 < robot.now_s < 30.0


def test_an_exchange_puts_the_old_sample_back_first() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        await changer.load(FIRST)
        began_s = robot.now_s
        await changer.load(SECOND)
        assert 20.0 < robot.now_s - began_s < 40.0
        assert changer.whereabouts[FIRST] is Whereabouts.DEWAR
        assert changer.on_goniometer == SECOND

    robot.run(body)


def test_loading_what_is_loaded_moves_nothing() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        await changer.load(FIRST)
        before_s = robot.now_s
        await changer.load(FIRST)
        assert robot.now_s == before_s

    robot.run(body)


def test_unload_leaves_the_goniometer_free_and_may_be_repeated() -> None:
    async def body(changer: SampleChanger) -> None:
        await changer.load(FIRST)
        await changer.unload()
        assert await changer.read_loaded() is None
        await changer.unload()
        assert set(changer.whereabouts.values()) == {Whereabouts.DEWAR}

    Robot().run(body)


@pytest.mark.parametrize("location", [Location(6, 1), Location(1, 17), Location(0, 1), Location(1, 0)])
def test_a_place_that_is_not_there_is_refused_and_nothing_moves(location: Location) -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        with pytest.raises(DeviceError, match=f"no place {location}: the dewar has 5 pucks of 16 pins"):
            await changer.load(location)

    robot.run(body)
    assert robot.now_s == 0.0


def test_a_bare_pin_is_found_out_after_the_mount_and_put_back() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        with pytest.raises(DeviceError, match="the pin at 2:2 holds no sample"):
            await changer.load(BARE)
        assert robot.now_s > 15.0
        assert await changer.read_loaded() is None
        assert set(changer.whereabouts.values()) == {Whereabouts.DEWAR}
        assert await changer.is_still()
        await changer.load(FIRST)
        assert await changer.read_loaded() == FIRST

    robot.run(body)


def test_a_bare_pin_that_a_stop_left_on_the_goniometer_is_still_found_out() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, changer.load, BARE)
            while changer.whereabouts[BARE] is not Whereabouts.GONIOMETER:
                await robot.kernel.wait(to_us(0.1))
            await changer.stop()
        assert await changer.read_loaded() is None
        with pytest.raises(DeviceError, match="holds no sample"):
            await changer.load(BARE)

    robot.run(body)


async def fails(load: Callable[[Location], Awaitable[None]], location: Location) -> None:
    with pytest.raises(DeviceError):
        await load(location)


def test_it_refuses_while_the_detector_is_near() -> None:
    robot = Robot(distance_mm=299.9)

    async def body(changer: SampleChanger) -> None:
        with pytest.raises(DeviceError, match=r"detector stands at 299.9 mm, the arm needs 300 mm"):
            await changer.load(FIRST)
        assert await changer.is_still()

    robot.run(body)
    assert robot.now_s == 0.0


def test_it_goes_to_safety_when_the_detector_comes_near_on_the_way() -> None:
    robot = Robot()

    def come_near() -> None:
        robot.distance_mm = 150.0

    async def body(changer: SampleChanger) -> None:
        robot.kernel.after(to_us(8), come_near)
        with pytest.raises(DeviceError, match="1:5 is in the gripper"):
            await changer.load(FIRST)
        assert await changer.is_still()

    robot.run(body)
    assert robot.now_s < 20.0


def test_it_does_not_touch_a_sample_that_was_mounted_by_hand() -> None:
    async def body(changer: SampleChanger) -> None:
        with pytest.raises(DeviceError, match="mounted by hand"):
            await changer.load(FIRST)

    Robot(by_hand=True).run(body)


def test_it_has_mounted_a_sample_before_that_nobody_wants_from_the_dewar() -> None:
    changer = Robot().changer
    last, before_it = changer.places[-1], changer.places[-2]
    assert changer.find_mounted({None, last}) == before_it == changer.on_goniometer


def test_where_every_sample_is_wanted_it_has_mounted_none() -> None:
    changer = Robot().changer
    assert changer.find_mounted(set(changer.places)) is None
    assert changer.on_goniometer is None


def test_a_stuck_gripper_is_reported_after_its_time_limit_with_the_sample_where_it_is() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        robot.kernel.after(to_us(6), lambda: setattr(changer, "gripper_stuck", True))
        with pytest.raises(DeviceError, match=r"gripper did not move within 15 s; 1:5 is in the gripper"):
            await changer.load(FIRST)
        assert changer.in_gripper == FIRST
        assert await changer.is_still()
        with pytest.raises(DeviceError, match="gripper did not move"):
            await changer.load(FIRST)
        changer.gripper_stuck = False
        await changer.load(FIRST)
        assert changer.on_goniometer == FIRST

    robot.run(body)


def test_a_gripper_that_comes_free_in_time_is_no_failure() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        changer.gripper_stuck = True
        robot.kernel.after(to_us(10), lambda: setattr(changer, "gripper_stuck", False))
        await changer.load(FIRST)

    robot.run(body)


def test_cancelling_a_load_does_not_stop_the_arm() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        with trio.move_on_after(2):
            await changer.load(FIRST)
        assert not await changer.is_still()
        with pytest.raises(DeviceError, match=r"cannot load 3:16: the arm is at work \(load 1:5\)"):
            await changer.load(SECOND)
        await changer.stand()
        assert await changer.read_loaded() == FIRST

    robot.run(body)


def test_stop_is_commanded_before_its_first_checkpoint() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        with trio.move_on_after(8):
            await changer.load(FIRST)
        with trio.CancelScope() as scope:
            scope.cancel()
            await changer.stop()
        await changer.stand()
        assert changer.in_gripper == FIRST
        assert robot.now_s < 12.0

    robot.run(body)


def test_stop_tells_whoever_waits_and_may_be_repeated_and_joined() -> None:
    robot = Robot()

    async def load(changer: SampleChanger) -> None:
        with pytest.raises(DeviceError, match="was stopped during 'load 1:5'; 1:5 is in the gripper"):
            await changer.load(FIRST)

    async def body(changer: SampleChanger) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, changer)
            await robot.kernel.wait(to_us(8))
            nursery.start_soon(changer.stop)
            await robot.kernel.wait(to_us(1))
            await changer.stop()
            assert await changer.is_still()
            before_s = robot.now_s
            await changer.stop()
            assert robot.now_s == before_s

    robot.run(body)


def test_a_person_may_take_the_sample_off_but_not_under_the_arm() -> None:
    async def body(changer: SampleChanger) -> None:
        await changer.load(FIRST)
        changer.take_off_by_hand()
        assert await changer.read_loaded() is None
        with trio.move_on_after(1):
            await changer.load(SECOND)
        with pytest.raises(DeviceError):
            changer.take_off_by_hand()
        await changer.stop()

    Robot().run(body)


COMMANDS = st.tuples(
    st.sampled_from([FIRST, SECOND, BARE, None]),
    st.one_of(st.none(), st.integers(0, to_us(45))),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(COMMANDS, min_size=1, max_size=6), st.integers(0, 2**32))
def test_no_pin_is_ever_lost_and_the_next_load_recovers(
    commands: list[tuple[Location | None, int | None, bool, bool]], seed: int
) -> None:
    """Each command: what to load (None unloads), when it is cancelled, whether `stop` follows, a stuck gripper."""
    robot = Robot()
    robot.changer.rng.seed(seed)
    inconsistent: list[float] = []
    robot.kernel.settled.append(lambda: None if is_consistent(robot.changer) else inconsistent.append(robot.now_s))

    async def one(changer: SampleChanger, location: Location | None) -> None:
        try:
            await (changer.unload() if location is None else changer.load(location))
        except DeviceError:
            return
        assert await changer.read_loaded() == location
        assert changer.in_gripper is None

    async def body(changer: SampleChanger) -> None:
        for location, cancel_us, stops, changer.gripper_stuck in commands:
            if cancel_us is None:
                await one(changer, location)
            else:
                with trio.move_on_after(cancel_us / 1e6):
                    await one(changer, location)
            if stops:
                with trio.fail_after(5):
                    await changer.stop()
                assert await changer.is_still()
        changer.gripper_stuck = False
        await changer.stop()
        await changer.load(SECOND)
        assert await changer.read_loaded() == SECOND
        assert Counter(changer.whereabouts.values())[Whereabouts.DEWAR] == len(changer.places) - 1

    robot.run(body)
    assert not inconsistent


def test_equal_seeds_take_equal_times() -> None:
    def duration_s() -> float:
        robot = Robot()
        robot.run(lambda changer: changer.load(FIRST))
        return robot.now_s

    assert duration_s() == duration_s()


def test_a_stuck_arm_stays_where_it_is_is_reported_and_never_counts_as_still() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        robot.kernel.after(to_us(9), lambda: setattr(changer, "arm_stuck", True))
        with pytest.raises(DeviceError, match=r"the arm did not move within 30 s; 1:5 is in the gripper"):
            await changer.load(FIRST)
        assert changer.arm_stuck
        with pytest.raises(DeviceError, match="the arm is at work"):
            await changer.unload()
        with trio.move_on_after(1000.0) as limit:
            await changer.stop()
        assert limit.cancelled_caught
        assert not await changer.is_still()
        changer.arm_stuck = False
        await changer.stop()
        assert await changer.is_still()
        assert changer.in_gripper == FIRST
        await changer.load(FIRST)

    robot.run(body)


@pytest.mark.parametrize("freed_s", [9.1, 20.0, 60.0])
def test_a_freed_arm_goes_on_or_goes_to_safety_where_it_was_given_up(freed_s: float) -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        robot.kernel.after(to_us(9), lambda: setattr(changer, "arm_stuck", True))
        robot.kernel.after(to_us(freed_s), lambda: setattr(changer, "arm_stuck", False))
        if freed_s < 30.0:
            await changer.load(FIRST)
            assert changer.on_goniometer == FIRST
        else:
            with pytest.raises(DeviceError, match="the arm did not move"):
                await changer.load(FIRST)
            await trio.sleep_until(freed_s + 5.0)
        assert await changer.is_still()
        assert is_consistent(changer)
        await robot.kernel.wait(to_us(100))  # its limit, long past, tells nobody anything
        assert await changer.is_still()

    robot.run(body)


def test_one_whose_controller_starts_afresh_goes_to_safety_and_holds_what_it_holds() -> None:
    robot = Robot()

    async def body(changer: SampleChanger) -> None:
        changer.reset()
        assert await changer.is_still()
        robot.kernel.after(to_us(9), changer.reset)
        with pytest.raises(DeviceError, match=r"started afresh during 'load 1:5'; 1:5 is in the gripper"):
            await changer.load(FIRST)
        assert await changer.is_still()
        assert changer.in_gripper == FIRST

    robot.run(body)
