"""What befalls the devices themselves: they start afresh, drift, stop half-way, and are themselves again after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.detector import State
from fsmcollect.sim.faults.commands import COMMANDS, Kind, applies
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect
from tests.sim.faults.faulting import EVERY_COMMAND, Bench, at_call, expose, of_device

RESETTING = [device for device in COMMANDS if applies(device, "", Effect.RESETS)]
DRIFTING = [device for device in COMMANDS if applies(device, "", Effect.DRIFTS)]
#: What each one that drifts is about, physically.
WHAT_DRIFTS: dict[str, Callable[[SimulatedBeamline], float]] = {
    "goniometer": lambda simulated: simulated.goniometer.axes["y_mm"].position(),
    "detector_stage": lambda simulated: simulated.detector_stage.distance_mm,
    "monochromator": lambda simulated: simulated.monochromator.energy_ev,
    "attenuator": lambda simulated: simulated.attenuator.transmission_frac,
    "ring": lambda simulated: (
        simulated.ring.current_ma(0) and simulated.ring.current_ma() - 300.0 * 0.9 ** (simulated.kernel.now_us / 600e6)
    ),
}
#: A command that puts it where it was, and what it is told.
PUTS_BACK: dict[str, tuple[str, object]] = {
    "goniometer": ("move", {"omega_deg": 0.0, "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}),
    "detector_stage": ("move", 500.0),
    "monochromator": ("move", 12_700.0),
    "attenuator": ("set_transmission", 0.2),
}


# -- starting afresh ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", RESETTING)
def test_one_that_starts_afresh_at_rest_answers_as_before(device: str) -> None:
    bench = Bench((of_device(device, Effect.RESETS),))

    async def body() -> None:
        await trio.sleep(2.0)
        for command, kind in COMMANDS[device].items():
            if kind is Kind.MAKE_SAFE:
                await bench.call(device, command)

    bench.run(body)
    assert "reset" in bench.noted(device)
    assert bench.injector.in_force() == ()


@pytest.mark.parametrize("device", RESETTING)
def test_one_that_starts_afresh_for_a_while_refuses_everything_meanwhile(device: str) -> None:
    bench = Bench((of_device(device, Effect.RESETS, lasts_s=10.0),))

    async def body() -> None:
        await trio.sleep(2.0)
        for command in COMMANDS[device]:
            with pytest.raises(DeviceError, match="its controller is starting afresh"):
                await bench.call(device, command)
        await trio.sleep_until(11.0)
        for command, kind in COMMANDS[device].items():
            if kind is Kind.READ and command != "read_out":
                await bench.call(device, command)

    bench.run(body)


@pytest.mark.parametrize(
    "device, command, words",
    [
        ("goniometer", "move", "was stopped on its way"),
        ("detector", "take_dark", "could not take a dark image: it started afresh"),
        ("safety_shutter", "open", "was told to close before it was open"),
        ("detector_stage", "move", "was stopped on its way"),
        ("monochromator", "move", "was stopped on its way"),
        ("attenuator", "set_transmission", "started afresh on its way"),
        ("aperture", "select", "started afresh on its way"),
        ("detector_cover", "open", "started afresh on its way"),
        ("backlight", "move_in", "started afresh on its way"),
        ("sample_changer", "load", "started afresh during 'load 1:5'"),
    ],
)
def test_what_was_under_way_when_it_started_afresh_has_failed(device: str, command: str, words: str) -> None:
    bench = Bench((of_device(device, Effect.RESETS, at_s=0.5),))

    async def body() -> None:
        with pytest.raises(DeviceError, match=words):
            await bench.call(device, command)

    bench.run(body)


def test_a_goniometer_that_starts_afresh_has_forgotten_its_sweep() -> None:
    bench = Bench((of_device("goniometer", Effect.RESETS, at_s=2.0),))

    async def body() -> None:
        await bench.call("detector", "arm")
        await bench.call("goniometer", "prepare_sweep")
        await trio.sleep_until(3.0)
        with pytest.raises(DeviceError, match="no sweep is prepared"):
            await bench.call("goniometer", "begin_sweep")

    bench.run(body)


@pytest.mark.parametrize("device", ["goniometer", "fast_shutter"])
def test_what_is_lost_within_a_sweep_is_told_at_once_and_the_shutter_is_closed(device: str) -> None:
    bench = Bench((of_device(device, Effect.RESETS, at_s=1.0),))

    async def body() -> None:
        with pytest.raises(DeviceError, match=r"the sweep was stopped|closed before the end of the sweep"):
            await expose(bench)
        assert bench.now_s == 1.0
        await trio.sleep(0.03)
        assert bench.simulated.fast_shutter.closed

    bench.run(body)
    assert bench.simulated.checkers.violations == []


def test_a_detector_that_starts_afresh_has_lost_what_was_not_read_out() -> None:
    bench = Bench((of_device("detector", Effect.RESETS, at_s=5.0),))

    async def body() -> None:
        await expose(bench)
        await trio.sleep_until(6.0)
        assert bench.simulated.detector.frames_complete == 0
        with pytest.raises(DeviceError, match="images 0 to 9 of 0 cannot be read"):
            await bench.call("detector", "read_out")

    bench.run(body)


# -- drifting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", WHAT_DRIFTS)
def test_what_drifts_goes_away_evenly_and_stays_there_when_that_is_over(device: str) -> None:
    what = WHAT_DRIFTS[device]
    bench = Bench((of_device(device, Effect.DRIFTS, at_s=10.0, lasts_s=20.0),))

    async def body() -> None:
        simulated = bench.simulated
        if device == "attenuator":
            await bench.call(device, "set_transmission", 0.2)
        at: dict[int, float] = {}
        for at_s in (10, 15, 20, 30, 40):
            await trio.sleep_until(at_s)
            at[at_s] = what(simulated)
        assert at[15] != at[10]
        assert at[20] - at[10] == pytest.approx(2 * (at[15] - at[10]))
        if device == "ring":
            assert at[40] == pytest.approx(at[10], abs=0.01)  # made good
        else:
            assert at[40] == pytest.approx(at[30], abs=1e-9)

    bench.run(body)


@pytest.mark.parametrize("device", PUTS_BACK)
def test_once_it_drifts_until_it_is_commanded_again(device: str) -> None:
    command, argument = PUTS_BACK[device]
    what = WHAT_DRIFTS[device]
    bench = Bench((of_device(device, Effect.DRIFTS, at_s=10.0),))

    async def body() -> None:
        await bench.call(device, command, argument)
        put = what(bench.simulated)
        await trio.sleep_until(20.0)
        assert abs(what(bench.simulated) - put) > 1e-3
        await bench.call(device, command, argument)
        for _ in range(2):
            assert what(bench.simulated) == put
            await trio.sleep(10.0)

    bench.run(body)


@pytest.mark.parametrize("device", PUTS_BACK)
def test_for_ever_it_arrives_and_leaves_again(device: str) -> None:
    command, argument = PUTS_BACK[device]
    what = WHAT_DRIFTS[device]
    bench = Bench((of_device(device, Effect.DRIFTS, at_s=10.0, lasts_s=FOR_EVER_S),))

    async def body() -> None:
        await bench.call(device, command, argument)
        put = what(bench.simulated)
        await trio.sleep_until(20.0)
        for _ in range(2):
            await bench.call(device, command, argument)
            assert what(bench.simulated) == put
            await trio.sleep(10.0)
            assert abs(what(bench.simulated) - put) > 1e-3

    bench.run(body)


def test_a_cold_stream_that_drifts_gets_warm_and_once_is_one_reading() -> None:
    bench = Bench((of_device("cryo_stream", Effect.DRIFTS, at_s=10.0),))

    async def body() -> None:
        for at_s, about_k in ((5.0, 100.0), (60.0, 150.0), (61.0, 100.0)):
            await trio.sleep_until(at_s)
            assert await bench.call("cryo_stream", "read_temperature_k") == pytest.approx(about_k, abs=1.0)

    bench.run(body)


def test_an_omega_that_drifts_in_a_sweep_is_noticed_by_the_gate() -> None:
    bench = Bench((of_device("goniometer", Effect.DRIFTS, at_s=0.0, lasts_s=FOR_EVER_S),))

    async def body() -> None:
        with pytest.raises(DeviceError, match="omega does not follow"):
            await expose(bench)

    bench.run(body)


# -- stopping half-way -------------------------------------------------------------------------------------------------

HALF_WAY = [
    (device, command)
    for device, command in EVERY_COMMAND
    if applies(device, command, Effect.STOPS_HALF_WAY) and command not in ("begin_sweep", "close", "move_out", "unload")
]
#: Commands of which a device at rest has nothing to do: what goes before, and takes it away from there.
BEFORE = {
    ("fast_shutter", "close"): "open",
    ("safety_shutter", "close"): "open",
    ("detector_cover", "close"): "open",
    ("backlight", "move_out"): "move_in",
    ("sample_changer", "unload"): "load",
}


async def stops_half_way(bench: Bench, device: str, command: str) -> None:
    if (device, command) in BEFORE:
        await bench.call(device, BEFORE[device, command])
    with pytest.raises(DeviceError):
        await bench.call(device, command)


@pytest.mark.parametrize("device, command", [*HALF_WAY, *BEFORE])
def test_one_that_stops_half_way_says_so_and_once_does_it_when_told_again(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.STOPS_HALF_WAY),))

    async def body() -> None:
        await stops_half_way(bench, device, command)
        assert bench.injector.in_force() == bench.faults
        if device == "sample_changer":
            await bench.call(device, "stop")
        await bench.call(device, command)
        assert bench.injector.in_force() == ()

    bench.run(body)


@pytest.mark.parametrize("device, command", [*HALF_WAY, *BEFORE])
def test_one_that_stops_half_way_for_ever_never_does_it(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.STOPS_HALF_WAY, lasts_s=FOR_EVER_S),))

    async def body() -> None:
        await stops_half_way(bench, device, command)
        for _ in range(2):
            await trio.sleep(100.0)
            with pytest.raises(DeviceError):
                await bench.call(device, command)

    bench.run(body)


@pytest.mark.parametrize("device, command", [*HALF_WAY, *BEFORE])
def test_one_that_stops_half_way_for_a_while_can_do_it_after_that(device: str, command: str) -> None:
    bench = Bench((at_call(device, command, Effect.STOPS_HALF_WAY, lasts_s=200.0),))

    async def body() -> None:
        await stops_half_way(bench, device, command)
        assert bench.now_s < 200.0
        await trio.sleep_until(300.0)
        assert bench.injector.in_force() == ()
        await bench.call(device, command)

    bench.run(body)


def test_half_way_is_where_it_says() -> None:
    stops = {
        command: at_call(*command, Effect.STOPS_HALF_WAY)
        for command in (("detector_stage", "move"), ("fast_shutter", "open"), ("goniometer", "move"))
    }
    bench = Bench(tuple(stops.values()))

    async def body() -> None:
        for device, command in stops:
            await stops_half_way(bench, device, command)
        simulated = bench.simulated
        assert 440.0 < simulated.detector_stage.distance_mm < 460.0
        assert simulated.fast_shutter.aperture_frac() == 0.5
        assert 20.0 < simulated.goniometer.omega.position() < 70.0

    bench.run(body)


def test_an_omega_that_stops_in_the_middle_of_a_sweep_is_told_at_its_end_with_the_shutter_closed() -> None:
    bench = Bench((at_call("goniometer", "begin_sweep", Effect.STOPS_HALF_WAY),))

    async def body() -> None:
        with pytest.raises(DeviceError, match="omega does not follow: it is at 5 deg"):
            await expose(bench)
        assert bench.simulated.fast_shutter.closed
        await bench.call("goniometer", "stop")
        await bench.call("detector", "disarm")
        await expose(bench)

    bench.run(body)


def test_what_has_nothing_to_do_does_not_stop_half_way_of_it() -> None:
    bench = Bench((at_call("fast_shutter", "close", Effect.STOPS_HALF_WAY, lasts_s=FOR_EVER_S),))

    async def body() -> None:
        await bench.call("fast_shutter", "close")
        await bench.call("fast_shutter", "open")
        with pytest.raises(DeviceError, match="50 % open"):
            await bench.call("fast_shutter", "close")

    bench.run(body)


def test_a_stop_that_is_still_to_come_when_the_fault_is_over_does_not_come() -> None:
    bench = Bench((at_call("detector_cover", "open", Effect.STOPS_HALF_WAY, lasts_s=1.0),))
    bench.run(lambda: bench.call("detector_cover", "open"))
    assert bench.now_s == 3.0


def test_a_detector_that_stopped_is_in_error_until_it_is_mended() -> None:
    bench = Bench((at_call("detector", "arm", Effect.STOPS_HALF_WAY),))

    async def body() -> None:
        await stops_half_way(bench, "detector", "arm")
        assert bench.simulated.detector.state is State.ERROR
        await bench.call("detector", "disarm")
        assert bench.simulated.detector.state is State.IDLE

    bench.run(body)
