"""What the command prints: for people, for programs, and when nobody reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fsmcollect
from fsmcollect.console.amounts import pace
from tests.cli.commanding import LYSO, SMALL, Command, lyso, mxcube, program, run, tree

COMMANDS = ("plan", "simulate", "scenarios", "sweep", "stream", "archive", "diagrams")
HELPS = [("--help",), *((name, "--help") for name in COMMANDS), ("simulate", "-h")]


@pytest.mark.parametrize(
    "simulated_s, wall_s, words",
    [
        (7200.0, 0.5, "7,200.0 s in 0.50 s, 14,400 times as fast"),
        (1.9, 1.0, "1.9 s in 1.00 s, 1.9 times as fast"),
        (0.3, 0.72, "0.3 s in 0.72 s, 0.42 times as fast"),
        (0.0, 0.5, "0.0 s in 0.50 s"),
        (3.0, 0.0, "3.0 s in 0.00 s"),
    ],
)
def test_simulated_time_is_told_beside_real_time(simulated_s: float, wall_s: float, words: str) -> None:
    assert pace(simulated_s, wall_s) == words


@pytest.fixture
def small(work: Path) -> Path:
    path = work / "r.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# plan
# ---------------------------------------------------------------------------------------------------------------------


def test_plan_for_programs(command: Command, small: Path) -> None:
    ran = command("plan", "r.toml", "--json")
    assert (ran.code, ran.err) == (0, "")
    rows = [
        (0, "lyso_1", "direct", 0.0, 1),
        (1, "lyso_1_inverse", "inverse", 180.0, 1),
        (2, "lyso_1", "direct", 0.2, 3),
        (3, "lyso_1_inverse", "inverse", 180.2, 3),
    ]
    assert list(ran.json) == ["images", "duration_s", "wedges"]
    assert ran.json["images"] == 8
    assert ran.json["wedges"] == [
        {
            "index": index,
            "series": series,
            "pass": which,
            "omega_start_deg": start,
            "image_width_deg": 0.1,
            "images": 2,
            "first_image": first,
        }
        for index, series, which, start, first in rows
    ]


def test_plan_for_people(command: Command, small: Path) -> None:
    ran = command("plan", "r.toml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "wedge  pass     omega (deg)     images  numbers\n"
        "    0  direct   0 to 0.2             2  1 to 2\n"
        "    1  inverse  180 to 180.2         2  1 to 2\n"
        "    2  direct   0.2 to 0.4           2  3 to 4\n"
        "    3  inverse  180.2 to 180.4       2  3 to 4\n"
        "\n"
        "images      8 of 0.1 deg and 0.01 s, in 4 wedges\n"
        "series      lyso_1, lyso_1_inverse\n"
        "duration    6.2 s on the simulated beamline, mounting and centring not counted\n"
        "Friedel     mates are recorded 1.9 s apart\n"
    )


def test_a_long_plan_shows_its_beginning_and_its_end(command: Command, work: Path) -> None:
    (work / "r.toml").write_text(LYSO, encoding="utf-8")
    lines = command("plan", "r.toml").out.splitlines()
    assert lines[10:13] == [
        "    9  inverse  220 to 230      100  401 to 500",
        "  ...",
        "   17  inverse  260 to 270      100  801 to 900",
    ]
    assert len(command("plan", "r.toml", "--json").json["wedges"]) == 18


def test_plan_of_stills(command: Command, work: Path) -> None:
    text = lyso(("image_width_deg = 0.1", "image_width_deg = 0"), ("images = 900", "images = 1"))
    (work / "r.toml").write_text(text[: text.index("[inverse_beam]")], encoding="utf-8")
    lines = command("plan", "r.toml").out.splitlines()
    assert lines[1] == "    0  direct  0                 1  1"
    assert lines[3] == "images      1 of 0 deg and 0.01 s, in 1 wedge"


@pytest.mark.parametrize("text", [SMALL, json.dumps([mxcube()], indent=1)], ids=["TOML", "JSON"])
def test_plan_reads_standard_input(work: Path, text: str) -> None:
    assert run("plan", "-", "--json", cwd=work, stdin=text).json["wedges"][0]["series"] == "lyso_1"


def test_plan_of_several_collections_is_one_list(command: Command, work: Path) -> None:
    document = [mxcube(), mxcube(fileinfo__run_number=2)]
    (work / "m.json").write_text(json.dumps(document), encoding="utf-8")
    told = command("plan", "m.json", "--json").json
    assert told["images"] == 20
    assert [(wedge["index"], wedge["series"]) for wedge in told["wedges"]] == [(0, "lyso_1"), (1, "lyso_2")]
    assert "Collection 2 of 2\n\nwedge  pass" in command("plan", "m.json").out


# ---------------------------------------------------------------------------------------------------------------------
# simulate
# ---------------------------------------------------------------------------------------------------------------------


def test_simulate_for_programs(command: Command, work: Path, small: Path) -> None:
    ran = command("simulate", "r.toml", "--out", "out", "--json")
    assert list(ran.json) == ["outcome", "images", "simulated_s", "wall_s", "trace_sha256", "violations", "files"]
    assert re.fullmatch(r"[0-9a-f]{64}", ran.json["trace_sha256"])
    assert ran.json["files"] == [f"{work}/out/data/lyso/{name}_master.h5" for name in ("lyso_1", "lyso_1_inverse")]


def test_simulate_for_people(command: Command, work: Path, small: Path) -> None:
    ran = command("simulate", "r.toml", "--out", "out")
    labels = [line[:12].rstrip() for line in ran.out.splitlines()]
    assert labels == ["outcome", "images", "simulated", "trace", "violations", "file", "file"]
    assert [line.split(" s  ")[1] for line in ran.err.splitlines()] == [
        "mounting (start)",
        "centring (mounted)",
        "oscillating (centred)",
        "closing (collected)",
        "idle (safe)",
    ]
    assert "\x1b" not in ran.out + ran.err


def test_equal_seeds_give_equal_traces(command: Command, small: Path) -> None:
    """100 runs in processes of their own are a long proof; here two, and another seed."""
    traces = [command("simulate", "r.toml", "--seed", seed, "--json").json["trace_sha256"] for seed in "778"]
    assert traces[0] == traces[1] != traces[2]


def test_without_out_every_simulation_gets_a_folder_of_its_own(command: Command, work: Path, small: Path) -> None:
    for _ in range(2):
        assert command("simulate", "r.toml", "--json").code == 0
    assert sorted(path.name for path in work.iterdir()) == ["r.toml", "simulated-1", "simulated-2"]


def test_names_in_any_script_and_paths_with_spaces(command: Command, work: Path) -> None:
    (work / "my requests").mkdir()
    text = SMALL.replace('prefix = "lyso"', 'prefix = "лизоцим Ω 結晶"').replace(
        "[sample]", '[sample]\nname = "Kristall Nº 5, Größe ½"'
    )
    (work / "my requests" / "r é.toml").write_text(text, encoding="utf-8")
    ran = command("simulate", "my requests/r é.toml", "--out", "out of sight", "--json")
    assert ran.json["files"][0] == f"{work}/out of sight/data/lyso/лизоцим Ω 結晶_1_master.h5"
    assert all(Path(file).exists() for file in ran.json["files"])


def test_an_ascii_terminal_is_no_reason_to_fail(work: Path) -> None:
    (work / "r.toml").write_text(SMALL.replace('prefix = "lyso"', 'prefix = "Ω"'), encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run("plan", "r.toml", cwd=work, env=environment).code == 0


def test_mxcubes_absolute_directories_stay_below_out(command: Command, work: Path) -> None:
    document = [mxcube(), mxcube(fileinfo__directory="/data/elsewhere")]
    (work / "m.json").write_text(json.dumps(document), encoding="utf-8")
    ran = command("simulate", "m.json", "--out", "out", "--json")
    assert (ran.code, ran.json["outcome"], ran.json["images"]) == (0, "done", 20)
    directories = [Path(file).parent.relative_to(work) for file in ran.json["files"]]
    assert directories == [Path("out/data/visitor/proposal/RAW_DATA/lyso"), Path("out/data/elsewhere")]


def test_a_list_of_which_a_part_was_missing_is_done(command: Command, work: Path) -> None:
    (work / "m.json").write_text(json.dumps(mxcube()), encoding="utf-8")
    assert command("simulate", "m.json", "--out", "out", "--json").json["outcome"] == "done"
    (work / "m.json").write_text(json.dumps([mxcube(), mxcube(fileinfo__run_number=2)]), encoding="utf-8")
    told = command("simulate", "m.json", "--out", "out", "--json").json
    assert (told["outcome"], told["images"]) == ("done", 10)
    told = command("simulate", "m.json", "--out", "out", "--json").json
    assert (told["outcome"], told["images"]) == ("skipped", 0)


# ---------------------------------------------------------------------------------------------------------------------
# Help, version, diagrams
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_has_examples_and_fits_a_terminal(command: Command, work: Path, arguments: tuple[str, ...]) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "\nExamples:\n  fsmcollect " in ran.out
    assert "\\b" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_tells_the_exit_codes(command: Command) -> None:
    assert "\n  4  it could not be verified that the beamline is safe\n" in command("--help").out


def test_version(work: Path) -> None:
    assert run("--version", cwd=work).out == f"fsmcollect, version {fsmcollect.__version__}\n"


def test_the_installed_command_is_the_module(work: Path) -> None:
    installed = Path(sys.executable).with_name("fsmcollect")
    ran = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == run("--version", cwd=work).out


def test_every_public_name_can_be_had() -> None:
    for name in fsmcollect.__all__:
        assert getattr(fsmcollect, name) is not None


def test_diagrams_are_written_and_checked(command: Command, work: Path) -> None:
    ran = command("diagrams", "--out", "pages")
    assert (ran.code, ran.err) == (0, "")
    assert {"pages/collection.md", "pages/wedge.md"} <= set(ran.out.splitlines())
    before = tree(work)
    assert command("diagrams", "--check", "--out", "pages").code == 0
    page = work / "pages" / "wedge.md"
    page.write_text(page.read_text(encoding="utf-8").replace("ARMING", "WAITING"), encoding="utf-8")
    ran = command("diagrams", "--check", "--out", "pages")
    assert ran.code == 1
    assert "-" in ran.out
    assert ran.err == "fsmcollect: pages does not agree with the tables; run: fsmcollect diagrams\n"
    assert tree(work).keys() == before.keys()


# ---------------------------------------------------------------------------------------------------------------------
# When nobody reads it
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("plan", "r.toml"), ("plan", "r.toml", "--json"), ("simulate", "r.toml")])
def test_a_reader_that_has_gone_away_is_no_failure(work: Path, small: Path, arguments: tuple[str, ...]) -> None:
    """As ``fsmcollect ... | head -1``; standard error too, for ``2>&1``."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [*program(), *arguments], cwd=work, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
        both = subprocess.run([*program(), *arguments], cwd=work, stdout=writing, stderr=writing, check=False)
    finally:
        os.close(writing)
    assert (ran.returncode, both.returncode) == (0, 0)
    assert "Error" not in ran.stderr
    assert "Exception" not in ran.stderr


def test_a_full_disk_under_standard_output_is_said(work: Path, small: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*program(), "plan", "r.toml"], cwd=work, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ran.returncode, ran.stderr) == (1, "fsmcollect: cannot print the result: No space left on device\n")


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_failure(work: Path, small: Path, closing: str) -> None:
    command = f'"{sys.executable}" -m fsmcollect simulate r.toml --out out {closing}'
    ran = subprocess.run(["sh", "-c", command], cwd=work, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
