"""The bundled example, through the real command: what other people's readers see in every file that it lists."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import fabio
import h5py
import numpy as np
import nxmx
import pytest

from tests.cli.commanding import events, run

#: The bundled example: half a degree an image, 180 images in each pass.
WIDTH_DEG, IMAGES = 0.5, 180
STARTS_DEG = {"lyso_1_master.h5": 0.0, "lyso_1_inverse_master.h5": 180.0}


@attrs.frozen
class Example:
    """The plan, the simulation as JSON, and the directory of its files."""

    plan: dict[str, Any]
    simulation: dict[str, Any]
    directory: Path


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    directory = tmp_path_factory.mktemp("example")
    bundled = resources.files("fsmcollect.sim") / "inverse_beam.toml"
    planned = run("plan", "-", "--json", cwd=directory, stdin=bundled.read_text(encoding="utf-8"))
    simulated = run("simulate", "--out", "out", "--json", cwd=directory)
    assert (planned.code, simulated.code, simulated.err) == (0, 0, "")
    return Example(planned.json, simulated.json, directory / "out" / "data" / "lyso")


def test_it_is_done_and_breaks_no_rule(example: Example) -> None:
    assert (example.simulation["outcome"], example.simulation["violations"]) == ("done", [])
    assert example.simulation["images"] == example.plan["images"] == 2 * IMAGES


def test_it_lists_one_master_a_series(example: Example) -> None:
    assert example.simulation["files"] == [str(example.directory / name) for name in STARTS_DEG]


@pytest.mark.parametrize("name", STARTS_DEG)
def test_nxmx_reads_every_images_angle(example: Example, name: str) -> None:
    nominal_deg = STARTS_DEG[name] + WIDTH_DEG * np.arange(IMAGES)
    with h5py.File(example.directory / name) as file:
        (entry,) = nxmx.NXmx(file).entries  # type: ignore[no-untyped-call]
        (sample,) = entry.samples
        omega = sample.transformations[0].axes["omega"]
        np.testing.assert_array_equal(omega[()].to("deg").magnitude, nominal_deg)
        assert omega.end is not None
        assert np.all(omega.end[()] == nxmx.ureg.Quantity(nominal_deg + WIDTH_DEG, "deg"))
        (data,) = entry.data
        assert data["data"].shape == (IMAGES, 1065, 1030)


@pytest.mark.parametrize("name", STARTS_DEG)
def test_fabio_reads_every_image(example: Example, name: str) -> None:
    with fabio.open(str(example.directory / name)) as opened:
        assert opened.nframes == IMAGES
        for index in range(IMAGES):
            frame = opened.get_frame(index).data
            assert frame.shape == (1065, 1030)
            assert frame.any(), f"image {index + 1} is empty"


def test_the_predicted_duration_is_the_simulated_one(example: Example) -> None:
    """From the second wedge on, to a microsecond a wedge.

    A prediction begins with omega at the first run-up. In the simulation it is wherever centring left it: the first
    wedge waits for that slew, here 0.7 s, and with it the whole is predicted to 1 %.
    """
    told = events(example.directory)
    began_us = [event["t_us"] for event in told if event["event"] == "wedge_started"]
    (ended_us,) = (event["t_us"] for event in told if event.get("on") == "COLLECTED")
    first_wedge_s = plan_of_first_wedge_s(example)
    wedges = len(example.plan["wedges"])
    later_s = example.plan["duration_s"] - first_wedge_s
    assert (ended_us - began_us[1]) / 1e6 == pytest.approx(later_s, abs=wedges * 1e-6)
    assert (ended_us - began_us[0]) / 1e6 == pytest.approx(example.plan["duration_s"], rel=0.01)


def plan_of_first_wedge_s(example: Example) -> float:
    """What `plan` says of a collection that is the first wedge alone."""
    bundled = (resources.files("fsmcollect.sim") / "inverse_beam.toml").read_text(encoding="utf-8")
    alone = bundled[: bundled.index("[inverse_beam]")].replace("images = 180", "images = 10")
    planned = run("plan", "-", "--json", cwd=example.directory, stdin=alone)
    assert len(planned.json["wedges"]) == 1
    duration_s: float = planned.json["duration_s"]
    return duration_s
