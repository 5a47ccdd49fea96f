"""How the kit is called, how it reads, and that it goes on whatever an adapter does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from fsmcollect.beamline import Question
from fsmcollect.sim.beamline import ROLES, SimulatedBeamline
from fsmcollect.testing import conformance
from fsmcollect.testing.conformance import NotConforming, Settings, conforms, examine
from fsmcollect.testing.conformance.cancelling import points
from fsmcollect.testing.conformance.findings import Breach, Examination, LeftOut
from fsmcollect.testing.conformance.roles import SUBJECTS
from fsmcollect.testing.conformance.rules import RULES
from fsmcollect.testing.conformance.settings import Wishes
from fsmcollect.testing.conformance.structure import ROLES as KNOWN_ROLES
from fsmcollect.testing.conformance.structure import role_of
from tests.testing.conformance.breaking import Wrapped
from tests.testing.conformance.broken_waiting import SwallowsCancelled
from tests.testing.conformance.simulated import Bench

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "conformance.md"


# -- which role --------------------------------------------------------------------------------------------------------


def test_every_role_of_a_beamline_is_known_to_the_kit() -> None:
    assert set(KNOWN_ROLES) == set(SUBJECTS) == set(ROLES)


def role_found(role: str, name: str) -> str:
    device = getattr(SimulatedBeamline(), role)

    def make() -> object:
        return device

    make.__name__ = name
    return role_of(device, make, None)


ALIKE = {"fast_shutter", "detector_cover"}


@pytest.mark.parametrize("role", sorted(ROLES - ALIKE))
def test_the_role_is_told_by_what_the_device_has(role: str) -> None:
    assert role_found(role, "new") == role


@pytest.mark.parametrize("name", ["make_fast_shutter", "make_detector_cover", "makeDetectorCover"])
def test_where_roles_look_alike_the_name_of_the_factory_tells(name: str) -> None:
    role = "detector_cover" if "over" in name else "fast_shutter"
    assert role_found(role, name) == role


def test_where_nothing_tells_the_role_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"may be fast_shutter or detector_cover: say which with role='fast_shutter'"):
        role_found("fast_shutter", "new")


def test_what_has_no_role_is_told_so() -> None:
    with pytest.raises(ValueError, match="object has what no role asks for: say with role= which of fast_shutter"):
        conforms(object)


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="role = 'shutter': no such role; there are fast_shutter, safety_shutter"):
        conforms(object, role="shutter")


def test_a_device_that_lacks_a_command_has_its_role_by_the_name_of_its_factory() -> None:
    class Half:
        async def open(self) -> None: ...

    def make_fast_shutter() -> object:
        return Half()

    examination = examine(make_fast_shutter)
    assert examination.names == ("has-all-commands",)
    assert examination.breaches[0].times == 2
    assert "most of the others" in str(examination)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_what_may_be_wished_is_what_there_is_to_set_and_the_page_lists_it() -> None:
    fields = {field.name for field in attrs.fields(Settings)}
    assert set(Wishes.__annotations__) == fields
    page = PAGE.read_text(encoding="utf-8")
    assert {name for name in fields if f"`{name}`" not in page} == set()


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="limit: no such setting; there are limit_s, prompt_s"):
        conforms(object, limit=3.0)  # type: ignore[call-arg]


def test_a_breach_that_is_accepted_is_left_out_and_listed() -> None:
    examination = Bench("fast_shutter", SwallowsCancelled).examine(leave_out=["open-lets-cancelled-through"])
    assert examination.conforms
    accepted = LeftOut(check="open-lets-cancelled-through", why="accepted by `leave_out`")
    assert examination.left_out == (accepted,)


def test_each_check_is_told_as_it_begins() -> None:
    told: list[str] = []
    examination = Bench("interlock").examine(tell=told.append)
    assert tuple(told) == examination.made


def test_the_device_may_be_made_by_an_async_function() -> None:
    bench = Bench("interlock")

    async def make_interlock() -> object:
        await trio.lowlevel.checkpoint()
        return bench.make()

    conforms(make_interlock, run=bench.run)


def test_what_making_the_device_raises_is_raised() -> None:
    def make_interlock() -> object:
        raise ConnectionRefusedError("no such host")

    with pytest.raises(ConnectionRefusedError, match="no such host"):
        conforms(make_interlock)


@pytest.mark.parametrize(
    ("checkpoints", "strikes", "struck"),
    [
        (0, 12, [0]),
        (3, 12, [0, 1, 2, 3]),
        (1000, 5, [0, 1, 251, 501, 750, 1000]),
        (100, 1, [0, 1]),
    ],
)
def test_the_first_the_last_and_some_between_are_struck(checkpoints: int, strikes: int, struck: list[int]) -> None:
    assert list(points(checkpoints, strikes)) == struck


# -- how it reads ------------------------------------------------------------------------------------------------------


def test_a_report_says_what_was_done_and_seen_what_is_allowed_and_what_to_do() -> None:
    bench = Bench("fast_shutter", SwallowsCancelled)
    with pytest.raises(NotConforming) as caught:
        conforms(bench.make, role="fast_shutter", run=bench.run)
    assert isinstance(caught.value, AssertionError)
    assert (
        str(caught.value)
        == """\
fast_shutter breaks the contract of its role in 1 point (23 checks made, 0 not)

open-lets-cancelled-through
  done:     open(), cancelled before it began
  seen:     trio.Cancelled was raised in it, and it returned (and 1 more such)
  allowed:  trio.Cancelled that is raised in open leaves it.
  to do:    Never catch BaseException or trio.Cancelled without raising it again."""
    )
    assert caught.value.examination.names == ("open-lets-cancelled-through",)


def test_a_report_says_what_was_not_tried_and_why() -> None:
    breach = Breach(name="open-works", done="open()", seen="it hung", allowed="It opens.", advice="Mend it.")
    left_out = tuple(LeftOut(check=check, why="open must be mended first") for check in ("close()", "two close()"))
    examination = Examination(role="fast_shutter", breaches=(breach,), made=("open() works",), left_out=left_out)
    assert str(examination).startswith("fast_shutter breaks the contract of its role in 1 point (1 check made, 2 not)")
    assert str(examination).endswith("  not made: close(); two close() - open must be mended first")


def test_a_device_that_conforms_is_told_so() -> None:
    examination = Bench("interlock").examine()
    assert str(examination) == f"interlock keeps the contract of its role ({len(examination.made)} checks made, 0 not)"


def test_every_rule_has_a_name_of_its_own_whole_sentences_and_a_line_in_the_page() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    page = PAGE.read_text(encoding="utf-8")
    for rule in RULES:
        shown = rule.name.replace("{command}", "X").replace("{other}", "Y")
        assert f"`{shown}`" in page, rule.name
        for sentence in (rule.allowed, rule.advice):
            assert re.fullmatch(r"[A-Za-z{].*\.\)?", sentence), sentence


def test_every_name_of_the_page_is_a_rule() -> None:
    names = {rule.name.replace("{command}", "X").replace("{other}", "Y") for rule in RULES}
    table = PAGE.read_text(encoding="utf-8").split("## What each name means")[1].split("## Simulated")[0]
    listed = set(re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE))))
    assert listed == names


def test_what_is_public_is_there() -> None:
    assert all(hasattr(conformance, name) for name in conformance.__all__)


# -- whatever an adapter does ------------------------------------------------------------------------------------------


class BusyForEver(Wrapped):
    """In simulated time it lets none go by."""

    async def open(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()


class DeafAndBusy(Wrapped):
    async def open(self) -> None:
        while True:
            try:
                await trio.sleep(0.01)
            except trio.Cancelled:
                continue


def test_a_call_that_lets_no_time_go_by_is_told_and_left_behind() -> None:
    examination = Bench("fast_shutter", BusyForEver).examine(prompt_s=0.05)
    assert examination.names == ("open-works",)
    assert "let no time go by" in examination.breaches[0].seen


def test_a_call_that_will_not_hear_is_told_and_left_behind() -> None:
    examination = Bench("fast_shutter", DeafAndBusy).examine(prompt_s=0.05)
    assert examination.names == ("open-works",)
    assert "cancelled then, it did not go away" in examination.breaches[0].seen


class Dialog:
    """A person before a screen."""

    def __init__(self) -> None:
        self.waiting: list[trio.Event] = []
        self.says = False

    async def ask(self, question: Question) -> bool:
        answered = trio.Event()
        self.waiting.append(answered)
        try:
            await answered.wait()
        finally:
            self.waiting.remove(answered)
        return self.says

    def click(self, says: bool) -> None:
        self.says = says
        for answered in self.waiting:
            answered.set()


class AnswersTheLastOne(Dialog):
    """Keeps the answer to a question that was given up."""

    async def ask(self, question: Question) -> bool:
        try:
            return await super().ask(question)
        except trio.Cancelled:
            self.kept = True
            raise

    def click(self, says: bool) -> None:
        super().click(says or getattr(self, "kept", False))


class NeverWaits(Dialog):
    async def ask(self, question: Question) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Dialog, ()), (AnswersTheLastOne, ("ask-gives-the-answer",)), (NeverWaits, ("ask-waits",))],
)
def test_a_person_is_asked_and_answers(kind: type[Dialog], names: tuple[str, ...]) -> None:
    def click(person: Any, says: bool) -> None:
        person.click(says)

    examination = examine(kind, role="person", answer=click, watch_s=0.01, limit_s=1.0)
    assert examination.names == names, str(examination)


class AtTheThirdCheckpoint(Wrapped):
    """Wrong at one checkpoint only."""

    async def set_transmission(self, transmission_frac: float) -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            raise KeyError("x") from None
        await self.device.set_transmission(transmission_frac)


def test_what_is_wrong_at_one_checkpoint_only_is_found() -> None:
    examination = Bench("attenuator", AtTheThirdCheckpoint).examine()
    assert examination.names == ("set-transmission-cancelled-raises-nothing-else",)
    assert examination.breaches[0].done == "set_transmission(0), cancelled at its 3rd checkpoint"


class DeafWhileItOpens(Wrapped):
    """Closes, but not while it opens."""

    async def close(self) -> None:
        if self.device.blade.value != "opening":
            await self.device.close()
        elif not await self.device.is_closed():
            await trio.sleep(0.1)


def test_a_close_that_is_lost_while_it_opens_is_found() -> None:
    examination = Bench("fast_shutter", DeafWhileItOpens).examine()
    assert {"close-while-open", "close-leaves-at-once"} <= set(examination.names)


def test_a_simulated_beamline_is_left_as_it_was_found() -> None:
    """`put_back`: motors where they were, what can be made safe is."""
    simulated = SimulatedBeamline()
    found_mm = simulated.detector_stage.distance_mm
    conforms(lambda: simulated.detector_stage, role="detector_stage", run=simulated.kernel.run)
    assert simulated.detector_stage.distance_mm == pytest.approx(found_mm)
