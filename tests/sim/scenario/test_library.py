"""The bundled scenarios: each ends exactly as it expects, and is a file that a person can read."""

from __future__ import annotations

from importlib import resources

import attrs
import pytest

from fsmcollect.errors import InvalidRequest
from fsmcollect.request import parse_toml
from fsmcollect.sim import beamline
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.reading import is_scenario, parse_scenario
from fsmcollect.sim.scenario.values import Does, Strike, What
from fsmcollect.sim.scenario.writing import to_toml
from fsmcollect.simulate.playing import play

each = pytest.mark.parametrize("name", library.names())


@each
def test_it_ends_exactly_as_it_expects(name: str) -> None:
    played = play(library.read(name))
    assert played.violations == ()
    assert played.unmet == ()
    assert played.never == ()


@each
def test_it_is_the_same_run_every_time_in_whatever_order_tasks_wake(name: str) -> None:
    scenario = library.read(name)
    first = play(scenario).trace_sha256
    for seed in (1, 2):
        again = play(attrs.evolve(scenario, strike=Strike(schedule=seed)))
        assert again.as_expected
        assert again.trace_sha256 == first


@each
def test_it_reads_back_as_it_is_written(name: str) -> None:
    scenario = library.read(name)
    assert parse_scenario(to_toml(scenario), name=name) == scenario


@each
def test_a_person_is_told_what_happens_and_what_must_come_of_it(name: str) -> None:
    text, scenario = library.text(name), library.read(name)
    assert text.startswith("# ")
    assert is_scenario(text)
    assert scenario.name == name
    assert scenario.summary.endswith(".")
    assert len(scenario.summary) <= 100
    assert scenario.expect.outcome is not None
    assert scenario.expect.ends_in is not None
    assert scenario.strike == Strike()
    assert max(map(len, text.splitlines())) <= 120


def test_there_are_many_and_they_do_everything_that_can_be_done() -> None:
    scenarios = [library.read(name) for name in library.names()]
    assert len(scenarios) >= 24
    assert {deed.does for scenario in scenarios for deed in scenario.operator} == set(Does)
    assert {it.what for scenario in scenarios for it in scenario.happenings} == set(What)
    assert {scenario.expect.outcome for scenario in scenarios} == {"done", "failed", "aborted", "skipped"}


def test_the_inverse_beam_is_the_request_that_is_simulated_without_an_argument() -> None:
    simulated = (resources.files("fsmcollect.sim") / "inverse_beam.toml").read_text(encoding="utf-8")
    assert library.read("inverse_beam").requests == (parse_toml(simulated),)


def test_the_bare_beamline_lacks_every_device_that_it_can_do_without() -> None:
    exposing = {"goniometer", "detector", "fast_shutter"}
    assert library.read("bare_beamline").beamline.without == beamline.ROLES - exposing


@pytest.mark.parametrize("name", ["gripper_stuk", "../inverse_beam", "", "gripper_stuck.toml"])
def test_a_name_that_there_is_not_is_told_with_what_may_be_meant(name: str) -> None:
    with pytest.raises(InvalidRequest, match="no bundled scenario has this name"):
        library.read(name)


def test_a_misspelt_name_is_told_what_may_be_meant() -> None:
    with pytest.raises(InvalidRequest, match='did you mean "gripper_stuck"'):
        library.text("gripper_stuk")
