"""One thing goes wrong in each run: what comes of it, in which words, and that the beamline is safe."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
import trio.lowlevel

from fsmcollect import safing
from fsmcollect.beamline import Location, Question
from fsmcollect.collecting.collection import Collection
from fsmcollect.errors import BeamlineBusy, DeviceError
from fsmcollect.events import Failure, ImagesTaken, SafingStep, WedgeStarted
from fsmcollect.machines.table import Outcome
from fsmcollect.request import Request
from fsmcollect.sim.beamline import CONFIG
from fsmcollect.sim.person import NEVER, Answer
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SECOND_US, WAYS, Play, adapt, ask, simulate

BY_HAND = ask(sample={"location": None})
MANUAL = ask(centring={"method": "manual"})
VALIDATED = ask(centring={"validate": True})
PICTURED = ask(snapshots={"count": 2})
OPENED = ask(beam={"aperture_um": 20.0})


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, and what is to be read about it."""

    #: In the message, besides the device.
    words: str
    #: As the message names it.
    device: str
    request: Request = INVERSE
    #: Done to the play before it begins.
    prepare: Callable[[Play], object] = lambda play: None
    #: The state in which `strike` is done, so long after it was entered.
    state: str = ""
    after_us: int = 0
    strike: Callable[[Play], object] = lambda play: None
    #: Where it ends safe only once somebody has mended it.
    safe: bool = True
    exposes: bool = False
    #: What the fault itself makes of the beamline until the hardware has noticed: a crystal that does not turn.
    violates: tuple[str, ...] = ()


def _jam(role: str) -> Callable[[Play], None]:
    def jam(play: Play) -> None:
        getattr(play.simulated, role).actuator.jammed = True

    return jam


def _stick(role: str) -> Callable[[Play], None]:
    def stick(play: Play) -> None:
        getattr(play.simulated, role).axis.stuck = True

    return stick


def _answers(question: Question, answer: Answer) -> Callable[[Play], None]:
    def prepare(play: Play) -> None:
        play.simulated.person.answers = {**play.simulated.person.answers, question: answer}

    return prepare


def _set(path: str, value: object) -> Callable[[Play], None]:
    def prepare(play: Play) -> None:
        *way, last = path.split(".")
        part: object = play.simulated
        for name in way:
            part = getattr(part, name)
        setattr(part, last, value)

    return prepare


def _stick_axis(name: str) -> Callable[[Play], None]:
    def stick(play: Play) -> None:
        play.simulated.goniometer.axes[name].stuck = True

    return stick


FAULTS = {
    "empty pin": Fault(
        device="sample_changer",
        words="holds no sample",
        prepare=lambda play: setattr(play.simulated.sample_changer, "bare_pins", frozenset({Location(1, 5)})),
    ),
    "gripper stuck": Fault(
        device="sample_changer", words="the gripper did not move", prepare=_set("sample_changer.gripper_stuck", True)
    ),
    "nobody mounts": Fault(
        request=BY_HAND, device="mount", words="no answer", prepare=_answers(Question.MOUNT_BY_HAND, NEVER)
    ),
    "person cannot mount": Fault(
        request=BY_HAND, device="mount", words="no", prepare=_answers(Question.MOUNT_BY_HAND, Answer(5.0, False))
    ),
    "nobody centres": Fault(
        request=MANUAL, device="centre", words="no answer", prepare=_answers(Question.CENTRE_BY_HAND, NEVER)
    ),
    "person cannot centre": Fault(
        request=MANUAL, device="centre", words="no", prepare=_answers(Question.CENTRE_BY_HAND, Answer(5.0, False))
    ),
    "nobody validates": Fault(
        request=VALIDATED, device="centred", words="no answer", prepare=_answers(Question.VALIDATE_CENTRING, NEVER)
    ),
    "person says no": Fault(
        request=VALIDATED,
        device="centred",
        words="no",
        prepare=_answers(Question.VALIDATE_CENTRING, Answer(5.0, False)),
    ),
    "camera sees nothing": Fault(device="camera", words="sees no sample", prepare=_set("camera.field_um", 0.1)),
    "crystal never in place": Fault(
        device="crystal", words="still off the beam", prepare=_set("camera.noise_um", 60.0)
    ),
    "centring too slow": Fault(
        device="centred", words="centring.timeout_s = 120", prepare=_set("camera.processing_s", 100.0)
    ),
    "centring table stuck": Fault(device="goniometer", words="y_mm", prepare=_stick_axis("y_mm")),
    "backlight jammed": Fault(device="backlight", words="did not reach in", prepare=_jam("backlight")),
    "backlight stays in": Fault(
        device="backlight",
        words="did not reach out",
        state="CENTRING",
        after_us=2 * SECOND_US,
        strike=_jam("backlight"),
        safe=False,
    ),
    "omega stuck while centring": Fault(device="goniometer", words="omega", prepare=_stick_axis("omega_deg")),
    "detector stage stuck": Fault(device="detector_stage", words="stands at", prepare=_stick("detector_stage")),
    "monochromator stuck": Fault(
        request=ask(beam={"energy_ev": 9000.0}),
        device="monochromator",
        words="stands at",
        prepare=_stick("monochromator"),
    ),
    "attenuator jammed": Fault(device="attenuator", words="did not reach 0.2", prepare=_jam("attenuator")),
    "aperture jammed": Fault(request=OPENED, device="aperture", words="did not reach", prepare=_jam("aperture")),
    "cryo too warm": Fault(
        device="cryo_stream", words="at most 120 K", prepare=_set("cryo_stream.temperature_k", 150.0)
    ),
    "hutch not searched": Fault(
        device="interlock",
        words="not searched",
        state="CENTRING",
        strike=lambda play: play.simulated.interlock.open_door(),
    ),
    "cover jammed": Fault(device="detector_cover", words="did not reach open", prepare=_jam("detector_cover")),
    "safety shutter jammed closed": Fault(
        device="safety_shutter", words="was told to open", prepare=_set("safety_shutter.jammed", True)
    ),
    "door opened while exposing": Fault(
        request=LONG_WEDGE,
        device="safety_shutter",
        words="was the hutch opened?",
        state="wedge.EXPOSING",
        after_us=3 * SECOND_US,
        strike=lambda play: play.simulated.interlock.open_door(),
        exposes=True,
    ),
    "fast shutter jammed closed": Fault(
        device="fast_shutter",
        words="was not wholly open",
        state="wedge.ARMING",
        strike=_set("fast_shutter.jammed", True),
        exposes=True,
    ),
    "omega stuck at rest": Fault(
        device="goniometer", words="omega", state="wedge.ARMING", strike=_stick_axis("omega_deg"), exposes=True
    ),
    "omega stuck while exposing": Fault(
        device="goniometer",
        words="omega does not follow",
        state="wedge.EXPOSING",
        after_us=120_000,
        strike=_stick_axis("omega_deg"),
        exposes=True,
        violates=("omega runs at 0.0000 deg/s",),
    ),
    "detector fails while armed": Fault(
        device="detector",
        words="images came: the cooling failed",
        state="wedge.RUNNING_UP",
        strike=lambda play: play.simulated.detector.fail("the cooling failed"),
        exposes=True,
    ),
    "detector fails while exposing": Fault(
        request=LONG_WEDGE,
        device="detector",
        words="the cooling failed",
        state="wedge.EXPOSING",
        after_us=3 * SECOND_US,
        strike=lambda play: play.simulated.detector.fail("the cooling failed"),
        exposes=True,
    ),
    "detector fails while arming": Fault(
        device="detector",
        words="arm",
        state="wedge.ARMING",
        after_us=10_000,
        strike=lambda play: play.simulated.detector.fail("the cooling failed"),
        exposes=True,
    ),
    "fast shutter jammed open": Fault(
        device="fast_shutter",
        words="did not close at the end of the sweep",
        state="wedge.EXPOSING",
        after_us=100_000,
        strike=_set("fast_shutter.jammed", True),
        safe=False,
        exposes=True,
    ),
    "safety shutter jammed open": Fault(
        device="safety shutter closed",
        words="was told to close",
        state="wedge.EXPOSING",
        strike=_set("safety_shutter.jammed", True),
        safe=False,
        exposes=True,
    ),
    "cover jammed open": Fault(
        device="detector cover closed",
        words="no answer within 15 s",
        state="wedge.EXPOSING",
        strike=_jam("detector_cover"),
        safe=False,
        exposes=True,
    ),
    "robot hangs": Fault(
        device="sample_changer",
        words="no answer within 300 s",
        prepare=_set("sample_changer.gripper_time_limit_s", 10_000.0),
        state="MOUNTING",
        strike=_set("sample_changer.gripper_stuck", True),
    ),
}

#: 3,600 images are stored while they are exposed, so other tasks are at work when the fault strikes.
LONGEST = ask(sweep={"images": 3600, "exposure_s": 0.02, "image_width_deg": 0.1})
FAULTS |= {
    f"{name}, in a wedge of 3,600 images": attrs.evolve(fault, request=LONGEST)
    for name, fault in FAULTS.items()
    if fault.exposes
}
FAULTS["omega stuck while exposing, in a wedge of 3,600 images"] = attrs.evolve(
    FAULTS["omega stuck while exposing"],
    request=LONGEST,
    after_us=30 * SECOND_US,
    words="was taken at omega",
    # the images that are refused have been handed out by then
    violates=("omega runs at 0.0000 deg/s", "image 1499 was taken at 149.5000 deg instead of 149.9000 deg"),
)
FAULTS |= {
    f"{name}, in a short wedge": attrs.evolve(FAULTS[name], request=INVERSE, after_us=50_000)
    for name in ("door opened while exposing", "detector fails while exposing")
}


def strike(fault: Fault, play: Play) -> None:
    fault.prepare(play)
    if fault.state:
        play.enters(fault.state, lambda: fault.strike(play), after_us=fault.after_us)


@pytest.mark.parametrize("name", FAULTS)
def test_a_single_fault_ends_in_words_that_name_it_and_never_as_done(name: str) -> None:
    fault = FAULTS[name]
    play = Play(fault.request, simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0)))
    strike(fault, play)
    # nobody is there to mend anything: the program leaves
    play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
    assert play.raised is None
    result = play.result
    told = " | ".join(result.failures)
    assert result.outcome is Outcome.FAILED, told
    assert fault.device in told
    assert fault.words in told
    assert [failure for event in play.of(Failure) if fault.words in (failure := event.message)]
    assert result.safe is fault.safe
    assert bool(play.of(WedgeStarted)) == fault.exposes
    assert play.tasks_left == []
    if fault.violates:
        assert all(any(words in violation for words in fault.violates) for violation in play.violations)
        play.violations.clear()
    if fault.safe:
        play.check("failed")
    else:
        assert play.states[-2:] == ["FAULT", "ABANDONED"]
        assert not play.simulated.beamline.free


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.exposes and fault.safe])
def test_what_fails_before_the_first_wedge_opens_no_fast_shutter(name: str) -> None:
    fault = FAULTS[name]
    play = Play(fault.request, simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0)))
    strike(fault, play)
    play.run()
    assert all("open" not in text for _, text in play.commands("fast_shutter"))
    assert play.simulated.dose.exposed_us == 0


@pytest.mark.parametrize("abort", [False, True])
def test_a_jammed_shutter_is_a_fault_until_it_is_freed_and_acknowledged(abort: bool) -> None:
    fault = FAULTS["fast shutter jammed open"]
    play = Play(fault.request)
    strike(fault, play)
    answers: list[bool] = []
    fault_came = trio.Event()
    play.enters("FAULT", fault_came.set)

    async def mend() -> None:
        await fault_came.wait()
        with pytest.raises(BeamlineBusy):
            await Collection(beamline=play.simulated.beamline, request=INVERSE).run()
        answers.append(play.collection.resume())
        if abort:
            assert play.collection.abort()
        assert play.collection.acknowledge()  # too early: it is jammed still
        await trio.sleep(60.0)
        assert play.collection.state.name == "FAULT"
        play.simulated.fast_shutter.jammed = False
        assert play.collection.acknowledge()

    play.run(mend)
    assert answers == [False]
    result = play.result
    assert str(result.outcome) == ("aborted" if abort else "failed")
    assert result.safe
    assert play.states[-5:] == ["FAULT", "CLOSING", "FAULT", "CLOSING", "IDLE"]
    assert play.simulated.beamline.free
    assert play.tasks_left == []


def test_an_abandoned_fault_is_latched_on_the_beamline_until_acknowledged() -> None:
    fault = FAULTS["fast shutter jammed open"]
    play = Play(fault.request)
    strike(fault, play)
    play.enters("FAULT", play.scope.cancel).run()
    beamline = play.simulated.beamline
    assert not play.result.safe
    assert any("fast shutter closed" in failure for failure in play.result.failures)
    following = Collection(beamline=beamline, request=INVERSE)
    told = len(play.lines)
    with pytest.raises(BeamlineBusy, match=r"until acknowledged: .*fast shutter closed"):
        play.simulated.kernel.run(following.run)
    assert len(play.lines) == told
    kernel = play.simulated.kernel
    assert "fast shutter closed" in kernel.run(lambda: safing.acknowledge(beamline))[0]  # too early: it is jammed still
    assert not beamline.free
    play.simulated.fast_shutter.jammed = False
    assert kernel.run(lambda: safing.acknowledge(beamline)) == ()
    assert str(kernel.run(following.run).outcome) == "done"


def test_an_abort_while_the_shutter_is_jammed_open_tries_everything_else_and_says_so() -> None:
    play = Play(LONG_WEDGE)
    play.enters("wedge.EXPOSING", lambda: setattr(play.simulated.fast_shutter, "jammed", True), after_us=SECOND_US)
    play.enters("wedge.EXPOSING", play.collection.abort, after_us=2 * SECOND_US)
    play.enters("FAULT", play.scope.cancel).run()
    assert play.outcome == "aborted"
    assert not play.result.safe
    verified = {step.step: step.verified for step in play.of(SafingStep)}
    assert [step for step, well in verified.items() if not well] == ["fast shutter closed"]
    assert len(verified) == 10


def test_images_complete_before_the_door_was_opened_are_kept_and_later_ones_are_not() -> None:
    play = Play(LONG_WEDGE)
    fault = FAULTS["door opened while exposing"]
    strike(fault, play)
    play.run()
    play.check("failed")
    # 3 s after AT_SPEED, of which 0.16 s at most are run-up; 50 images a second
    assert 140 <= len(play.reported) <= 150


def test_images_of_a_rotation_that_went_wrong_are_not_kept() -> None:
    for name in ("omega stuck while exposing", "fast shutter jammed closed"):
        play = Play(FAULTS[name].request)
        strike(FAULTS[name], play)
        play.run()
        assert play.of(ImagesTaken) == []


@pytest.mark.parametrize("omega_deg", [float("nan"), 12.3])
def test_an_image_whose_recorded_angle_is_not_the_one_asked_for_is_never_reported(omega_deg: float) -> None:
    simulated = simulate()

    async def read_out(first: int, count: int, *, with_images: bool) -> object:
        block = await simulated.detector.read_out(first, count, with_images=with_images)
        return attrs.evolve(block, omega_deg=[omega_deg] * count)

    play = Play(INVERSE, adapt(simulated, "detector", read_out=read_out)).run()
    play.check("failed")
    assert play.of(ImagesTaken) == []
    assert "goniometer: image 1 of lyso_1 was taken at omega" in play.result.failures[0]


def test_a_detector_that_hands_out_too_few_images_is_not_believed() -> None:
    simulated = simulate()

    async def read_out(first: int, count: int, *, with_images: bool) -> object:
        return await simulated.detector.read_out(first, count - 1, with_images=with_images)

    play = Play(INVERSE, adapt(simulated, "detector", read_out=read_out)).run()
    play.check("failed")
    assert "detector: 9 images came of the 10" in play.result.failures[0]


@pytest.mark.parametrize("role", ["fast_shutter", "safety_shutter", "goniometer", "detector", "detector_cover"])
def test_a_device_that_lies_about_being_safe_is_a_fault(role: str) -> None:
    async def no() -> bool:
        return False

    question = {"goniometer": "is_still", "detector": "is_idle"}.get(role, "is_closed")
    play = Play(INVERSE, adapt(simulate(), role, **{question: no}))
    play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
    assert play.outcome == "failed"
    assert not play.result.safe
    assert "its read-back denies it" in " ".join(play.result.failures)


@pytest.mark.parametrize("way", WAYS)
def test_several_devices_failing_at_once_are_all_told(way: str) -> None:
    play = Play(WAYS[way])

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise DeviceError("attenuator", "burnt")

    adapt(play.simulated, "attenuator", set_transmission=fail)
    _stick("detector_stage")(play)
    play.run()
    play.check("failed")
    assert "attenuator: burnt" in play.result.failures[0]
