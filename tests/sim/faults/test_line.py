"""Each effect on each kind of command: what the sequencer is told, and what the device has heard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trio

from fsmcollect.beamline import FillMode, FrameBlock, Location, Offset
from fsmcollect.errors import DeviceError
from fsmcollect.sim.faults.commands import COMMANDS, Kind, applies
from fsmcollect.sim.faults.line import AdapterBug
from fsmcollect.sim.faults.misreading import wrong
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect
from tests.sim.faults.faulting import ACQUISITION, ARGUMENTS, EVERY_COMMAND, Bench, at_call, expose, of_device

#: What the line itself answers takes so long.
ROUND_TRIP_S = 0.001
every_command = pytest.mark.parametrize("device, command", EVERY_COMMAND)
#: Commands that are answered on a beamline at rest, within the hour.
AT_REST = [
    (device, command)
    for device, command in EVERY_COMMAND
    if (device, command)
    not in {
        ("goniometer", "begin_sweep"),
        ("goniometer", "finish_sweep"),
        ("detector", "read_out"),
        ("ring", "wait_for_loss"),
        ("diodes", "adjust_gains"),
    }
]


def of_kinds(*kinds: Kind) -> list[tuple[str, str]]:
    return [(device, command) for device, command in AT_REST if COMMANDS[device][command] in kinds]


def took_s(device: str, command: str) -> float:
    """How long a command takes on a healthy beamline."""
    healthy = Bench(())
    healthy.run(lambda: healthy.call(device, command))
    return healthy.now_s


@every_command
def test_one_that_refuses_says_so_and_does_nothing(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.REFUSES),))

    async def body() -> None:
        with pytest.raises(DeviceError, match=f"{device}: refuses to {command}") as caught:
            await bench.call(device, command)
        assert caught.value.device == device
        assert bench.now_s == ROUND_TRIP_S

    bench.run(body)
    assert bench.noted(device) == []


@every_command
def test_a_bug_of_the_adapter_is_no_device_error_and_does_nothing(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.RAISES),))

    async def body() -> None:
        with pytest.raises(AdapterBug, match=f"{device}.{command}"):
            await bench.call(device, command)

    bench.run(body)
    assert not issubclass(AdapterBug, DeviceError)
    assert bench.noted(device) == []


@every_command
def test_one_that_hangs_never_answers_and_does_nothing(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.HANGS),))

    async def body() -> None:
        assert not await bench.answers_within(86_400.0, device, command)

    bench.run(body)
    assert bench.noted(device) == []


@pytest.mark.parametrize("device, command", AT_REST)
def test_one_that_hangs_for_a_while_goes_to_the_device_after_it(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.HANGS, lasts_s=30.0),))
    bench.run(lambda: bench.call(device, command))
    assert bench.now_s == pytest.approx(30.0 + took_s(device, command), abs=1e-6)


@pytest.mark.parametrize("device, command", AT_REST)
def test_one_that_is_late_comes_so_much_later(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.DELAYED, delay_s=7.0),))
    bench.run(lambda: bench.call(device, command))
    assert bench.now_s == pytest.approx(7.0 + took_s(device, command), abs=1e-6)
    assert all(t_us >= 7_000_000 for t_us, source, _ in bench.lines if source == device)


@pytest.mark.parametrize("effect", [Effect.HANGS, Effect.DELAYED])
def test_a_call_that_is_cancelled_before_it_came_is_simply_cancelled(effect: Effect) -> None:
    bench = Bench((at_call("detector_stage", "move", effect, lasts_s=60.0),))

    async def body() -> None:
        assert not await bench.answers_within(1.0, "detector_stage", "move")
        await trio.sleep(100.0)

    bench.run(body)
    assert bench.noted("detector_stage") == []


@pytest.mark.parametrize("device, command", of_kinds(Kind.ACT, Kind.MAKE_SAFE, Kind.ASK))
def test_where_the_answer_is_lost_the_device_has_acted_all_the_same(device: str, command: str) -> None:
    healthy = Bench(())
    healthy.run(lambda: healthy.call(device, command))
    bench = Bench((at_call(device, command, Effect.ANSWER_LOST),))

    async def body() -> None:
        assert not await bench.answers_within(3600.0, device, command)

    bench.run(body)
    assert bench.noted(device) == healthy.noted(device)


def test_an_answer_that_is_lost_for_a_while_comes_when_that_is_over() -> None:
    bench = Bench((at_call("fast_shutter", "open", Effect.ANSWER_LOST, lasts_s=20.0),))
    bench.run(lambda: bench.call("fast_shutter", "open"))
    assert bench.now_s == 20.0
    assert bench.simulated.fast_shutter.wholly_open


def test_an_answer_that_takes_longer_than_the_fault_comes_when_it_is_there() -> None:
    bench = Bench((at_call("detector_cover", "open", Effect.ANSWER_LOST, lasts_s=1.0),))
    bench.run(lambda: bench.call("detector_cover", "open"))
    assert bench.now_s == 3.0


def test_a_refusal_is_an_answer_that_can_be_lost_too() -> None:
    bench = Bench((at_call("aperture", "select", Effect.ANSWER_LOST, lasts_s=20.0),))

    async def body() -> None:
        with pytest.raises(DeviceError, match="no aperture of 3 um"):
            await bench.call("aperture", "select", 3.0)
        assert bench.now_s == 20.0

    bench.run(body)


@pytest.mark.parametrize("device, command", [pair for pair in EVERY_COMMAND if applies(*pair, Effect.NO_ACTION)])
def test_one_without_action_answers_at_once_and_has_done_nothing(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.NO_ACTION),))

    async def body() -> None:
        assert await bench.call(device, command) is None
        assert bench.now_s == ROUND_TRIP_S

    bench.run(body)
    assert bench.noted(device) == []


@pytest.mark.parametrize("device, command", of_kinds(Kind.READ))
def test_a_wrong_read_back_is_another_value_of_the_same_kind(device: str, command: str) -> None:
    answers: list[object] = []
    for faults in ((), (at_call(device, command, Effect.WRONG_READ_BACK),)):
        bench = Bench(faults)

        async def body(bench: Bench = bench) -> None:
            answers.append(await bench.call(device, command))

        bench.run(body)
    true, false = answers
    assert not np.array_equal(np.asarray(true), np.asarray(false))
    if true is not None:
        assert false is None or type(false) is type(true)


def test_read_out_records_angles_that_are_off_and_the_images_are_the_same() -> None:
    bench = Bench((at_call("detector", "read_out", Effect.WRONG_READ_BACK),))
    blocks: list[FrameBlock] = []

    async def body() -> None:
        await expose(bench)
        blocks.extend([await bench.call("detector", "read_out"), await bench.call("detector", "read_out")])

    bench.run(body)
    false, true = blocks
    assert (false.first, len(false.omega_deg)) == (true.first, ACQUISITION.images)
    assert all(abs(one - other) > 5.0 for one, other in zip(false.omega_deg, true.omega_deg, strict=True))


@pytest.mark.parametrize(
    "command, answer, lie",
    [
        ("is_closed", True, False),
        ("is_in", False, True),
        ("read_loaded", None, Location(5, 16)),
        ("read_loaded", Location(1, 5), None),
        ("locate", Offset(3.0, -4.0), Offset(153.0, 146.0)),
        ("locate", None, Offset(150.0, 150.0)),
        ("read_fill_mode", FillMode.DECAY, FillMode.NO_BEAM),
        ("read_fill_mode", FillMode.NO_BEAM, FillMode.DECAY),
        ("read_gains", (6, 4), (5, 5)),
        ("read_transmission_frac", 0.2, 0.75),
        ("read_transmission_frac", 1.0, 0.25),
        ("read_distance_mm", 200.0, 301.0),
        ("read_positions", {"omega_deg": 0.0, "x_mm": -1.0}, {"omega_deg": 1.0, "x_mm": -2.5}),
    ],
)
def test_lies_are_plain_to_see_by_comparing(command: str, answer: object, lie: object) -> None:
    assert wrong(command, answer) == lie


def test_a_lie_about_something_unheard_of_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="no wrong read-back is known"):
        wrong("read_mood", "good")


def test_two_faults_at_one_call_are_both_there() -> None:
    late = at_call("detector_stage", "read_distance_mm", Effect.DELAYED, delay_s=3.0)
    lies = at_call("detector_stage", "read_distance_mm", Effect.WRONG_READ_BACK)
    bench = Bench((late, lies))

    async def body() -> None:
        assert await bench.call("detector_stage", "read_distance_mm") == 751.0
        assert bench.now_s == 3.0
        assert await bench.call("detector_stage", "read_distance_mm") == 500.0

    bench.run(body)
    assert [fault for _, fault in bench.injector.struck] == [late, lies]


def test_what_is_no_command_is_the_devices_own() -> None:
    bench = Bench((at_call("detector", "arm", Effect.REFUSES), of_device("goniometer", Effect.RESETS)))
    beamline, simulated = bench.simulated.beamline, bench.simulated
    assert beamline.detector is not None
    assert beamline.goniometer is not None
    assert beamline.detector.info is simulated.detector.info
    assert beamline.goniometer.limits == simulated.goniometer.limits
    assert beamline.detector.frames_complete == 0
    assert beamline.fast_shutter is simulated.fast_shutter  # nothing befalls it: no line is in between
    with pytest.raises(AttributeError, match="colour"):
        beamline.detector.colour  # type: ignore[attr-defined]  # noqa: B018


@every_command
def test_a_call_that_nothing_befalls_is_the_devices_own_coroutine(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.HANGS, call=2),))
    method: Callable[..., object] = getattr(getattr(bench.simulated.beamline, device), command)
    keywords = {"with_images": False} if command == "read_out" else {}
    coroutine = method(*ARGUMENTS.get((device, command), ()), **keywords)
    assert coroutine.cr_code is getattr(getattr(bench.simulated, device), command).__func__.__code__  # type: ignore[attr-defined]
    coroutine.close()  # type: ignore[attr-defined]


def test_calls_are_counted_command_by_command() -> None:
    bench = Bench((at_call("fast_shutter", "close", Effect.REFUSES, call=3, lasts_s=FOR_EVER_S),))

    async def body() -> None:
        for _ in range(2):
            await bench.call("fast_shutter", "close")
            await bench.call("fast_shutter", "open")
        for _ in range(2):
            with pytest.raises(DeviceError, match="refuses"):
                await bench.call("fast_shutter", "close")

    bench.run(body)
    sockets = bench.injector.lines["fast_shutter"].sockets
    assert {name: socket.count for name, socket in sockets.items()} == {"open": 2, "close": 4, "is_closed": 0}
