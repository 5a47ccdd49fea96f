"""Whatever is wrong with what is asked: a sentence that a tired person understands, exit code 2, nothing touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commanding import LYSO, SMALL, Command, lyso, mxcube, run, tree

SWEEP = LYSO.index("[sweep]")
INVERSE = LYSO.index("[inverse_beam]")

#: What is asked, and what the refusal says: field, value, limit and unit, file and line.
WRONG_TOML = {
    "unknown key": (
        lyso(("exposure_s", "exposre_s")),
        "sweep.exposre_s: unknown setting; did you mean sweep.exposure_s? (r.toml, line 20)",
    ),
    "key of another section": (
        lyso(("energy_ev = 12700", "exposure_s = 1")),
        "beam.exposure_s: unknown setting; did you mean sweep.exposure_s? (r.toml, line 12)",
    ),
    "unknown section": (
        lyso(("[inverse_beam]", "[inverse]")),
        "inverse: unknown section; did you mean inverse_beam? (r.toml, line 23)",
    ),
    "missing section": (
        LYSO[:SWEEP] + LYSO[INVERSE:],
        "sweep: this section is required: it says what to collect (image_width_deg, images, exposure_s) (r.toml)",
    ),
    "missing key": (lyso(("exposure_s = 0.01", "")), "sweep.exposure_s: is required (r.toml, line 16)"),
    "text for a number": (
        lyso(("exposure_s = 0.01", 'exposure_s = "1"')),
        'sweep.exposure_s = "1": must be a number, not text: greater than 0 s and at most 86,400 s (r.toml, line 20)',
    ),
    "NaN": (
        lyso(("exposure_s = 0.01", "exposure_s = nan")),
        "sweep.exposure_s = NaN: must be a finite number: greater than 0 s and at most 86,400 s (r.toml, line 20)",
    ),
    "NaN for an angle": (
        lyso(("image_width_deg = 0.1", "image_width_deg = nan")),
        "sweep.image_width_deg = NaN: must be a finite number: -360 to 360 deg (r.toml, line 18)",
    ),
    "infinity": (
        lyso(("energy_ev = 12700", "energy_ev = inf")),
        "beam.energy_ev = Infinity: must be a finite number: greater than 0 eV (r.toml, line 12)",
    ),
    "negative exposure": (
        lyso(("exposure_s = 0.01", "exposure_s = -0.01")),
        "sweep.exposure_s = -0.01: must be greater than 0 s and at most 86,400 s (r.toml, line 20)",
    ),
    "0 images": (
        lyso(("images = 900", "images = 0")),
        "sweep.images = 0: must be 1 to 10,000,000 images a series (assumed limit) (r.toml, line 19)",
    ),
    "wedge of 0": (
        lyso(("wedge_images = 100", "wedge_images = 0")),
        "inverse_beam.wedge_images = 0: must be 1 to 10,000,000 images (r.toml, line 24)",
    ),
    "transmission 1.5": (
        lyso(("transmission_frac = 0.2", "transmission_frac = 1.5")),
        "beam.transmission_frac = 1.5: must be 0 to 1 (a fraction: 0.5 is 50 %) (r.toml, line 13)",
    ),
    "energy beyond the limits": (
        lyso(("energy_ev = 12700", "energy_ev = 50000")),
        "beam.energy_ev = 50000: is beyond the beamline's limits, 6000 to 20000 eV (r.toml, line 12)",
    ),
    "energy in keV": (lyso(("energy_ev = 12700", "energy_ev = 12.7")), "; 12.7 keV is 12700 eV (r.toml, line 12)"),
    "distance beyond the limits": (
        lyso(("detector_distance_mm = 200.0", "detector_distance_mm = 5000")),
        "beam.detector_distance_mm = 5000: is beyond the beamline's limits, 60 to 1000 mm (r.toml, line 14)",
    ),
    "resolution beyond the limits": (
        lyso(("detector_distance_mm = 200.0", "resolution_a = 60")),
        (
            "beam.resolution_a = 60: needs the detector at 2373.6 mm, which is beyond the beamline's limits, "
            "60 to 1000 mm: 1.74 to 25.3 A can be had at 12700 eV (r.toml, line 14)"
        ),
    ),
    "resolution that no distance gives": (
        lyso(("detector_distance_mm = 200.0", "resolution_a = 0.3")),
        (
            "beam.resolution_a = 0.3: 0.3 A cannot be recorded at 12700 eV by a flat detector facing the beam: "
            "1.74 to 25.3 A can be had at 12700 eV (r.toml, line 14)"
        ),
    ),
    "speed that the goniometer cannot reach": (
        lyso(("image_width_deg = 0.1", "image_width_deg = 5.0"), ("images = 900", "images = 18")),
        (
            "sweep.exposure_s = 0.01: turns omega at 500 deg/s, and it reaches 120 deg/s; sweep.exposure_s must be at "
            "least 0.0416667 s for this image width (r.toml, line 20)"
        ),
    ),
    "puck that is not there": (
        lyso(('"1:5"', '"40:5"')),
        (
            'sample.location = "40:5": there is no such place; the sample changer has pucks 1 to 5 with pins 1 to 16 '
            "(r.toml, line 4)"
        ),
    ),
    "pin that is not there": (lyso(('"1:5"', '"1:17"')), 'sample.location = "1:17": there is no such place; '),
    "prefix that escapes": (
        lyso(('prefix = "lyso"', 'prefix = "../lyso"')),
        'files.prefix = "../lyso": must not begin with "-", "." or "~", nor hold "..", "/"',
    ),
    "directory that escapes": (
        lyso(('"data/lyso"', '"data/../../lyso"')),
        'files.directory = "data/../../lyso": must not climb out of the output directory with ".." (r.toml, line 7)',
    ),
    "broken TOML": (
        lyso(("energy_ev = 12700", "energy_ev = = 12700")),
        "TOML: cannot be read: Invalid value (r.toml, line 12, column 13)",
    ),
    "empty": ("", "files: this section is required: it says where the images go (directory, prefix) (r.toml)"),
    "total width that is no whole number of images": (
        lyso(("images = 900", "total_width_deg = 90.05")),
        "900 images make 90 deg, 901 make 90.1 deg (r.toml, line 19)",
    ),
}

WRONG_MXCUBE = {
    "energy": (
        mxcube(energy=50.0),
        "energy = 50.0 (taken for 50000): is beyond the beamline's limits, 6000 to 20000 eV (r.json)",
    ),
    "transmission": (mxcube(transmission=150), "transmission = 150: must be 0 to 100 % (r.json)"),
    "NaN": (mxcube(osc__exposure_time=float("nan")), "oscillation_sequence[0].exposure_time = NaN: must be a finite "),
    "speed": (mxcube(osc__range=50), "oscillation_sequence[0].exposure_time must be at least 0.416667 s"),
    "directory that escapes": (mxcube(fileinfo__directory="/data/../../etc"), "fileinfo.directory = "),
    "two collections of one name": (
        [mxcube(), mxcube()],
        (
            '[1].fileinfo.prefix = "lyso": makes the same file names as [0] in this list: change prefix or run number '
            "(r.json)"
        ),
    ),
    "one of several": ([mxcube(), mxcube(energy=50.0, fileinfo__run_number=2)], "[1].energy = 50.0 (taken for "),
    "no collection": ([], "JSON: the list holds no collection (r.json)"),
    "no dictionary": (3, "JSON = 3: must be a dictionary of parameters, or a list of them (r.json)"),
}

BOTH = pytest.mark.parametrize("arguments", [("plan",), ("plan", "--json"), ("simulate",), ("simulate", "--json")])


def refused(command: Command, arguments: tuple[str, ...], file: str | Path, says: str) -> None:
    """The command refuses, on standard error alone, in lines that each name what is wrong, and has touched nothing."""
    before = tree(Path.cwd())
    ran = command(*arguments, file)
    assert says in ran.err
    assert (ran.code, ran.out) == (2, "")
    assert all(line.startswith("fsmcollect: ") for line in ran.err.splitlines())
    assert tree(Path.cwd()) == before


@BOTH
@pytest.mark.parametrize("text, says", WRONG_TOML.values(), ids=WRONG_TOML)
def test_a_wrong_toml_request(command: Command, work: Path, arguments: tuple[str, ...], text: str, says: str) -> None:
    (work / "r.toml").write_text(text, encoding="utf-8")
    refused(command, arguments, "r.toml", says)


@BOTH
@pytest.mark.parametrize("document, says", WRONG_MXCUBE.values(), ids=WRONG_MXCUBE)
def test_a_wrong_mxcube_dictionary(
    command: Command, work: Path, arguments: tuple[str, ...], document: Any, says: str
) -> None:
    (work / "r.json").write_text(json.dumps(document), encoding="utf-8")
    refused(command, arguments, "r.json", says)


@BOTH
def test_everything_that_is_wrong_is_said_at_once(command: Command, work: Path, arguments: tuple[str, ...]) -> None:
    text = lyso(("0.2", "1.5"), ("images = 900", "images = 0"), ("[centring]", "[centering]"))
    (work / "r.toml").write_text(text, encoding="utf-8")
    ran = command(*arguments, "r.toml")
    assert [line.split()[1] for line in ran.err.splitlines()] == [
        "beam.transmission_frac",
        "sweep.images",
        "centering:",
    ]


UNREADABLE = {
    "missing": ("none.toml", "REQUEST = none.toml: cannot be read: No such file or directory"),
    "a directory": ("folder.toml", "REQUEST = folder.toml: cannot be read: Is a directory"),
    "binary": ("binary.toml", "REQUEST = binary.toml: is no text in UTF-8 (byte 1): is it a request at all?"),
    "endless": ("/dev/zero", "REQUEST = /dev/zero: is larger than 20 MB: is it a request at all?"),
    "empty JSON": ("empty.json", "JSON: cannot be read: Expecting value (empty.json, line 1, column 1)"),
    "broken JSON": ("broken.json", "JSON: cannot be read: Expecting ',' delimiter (broken.json, line 2, column 7)"),
}


@BOTH
@pytest.mark.parametrize("name, says", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_request(
    command: Command, work: Path, arguments: tuple[str, ...], name: str, says: str
) -> None:
    (work / "folder.toml").mkdir()
    (work / "binary.toml").write_bytes(b"a\xff\x00b")
    (work / "empty.json").touch()
    (work / "broken.json").write_text('{"energy":\n 12.4 keV}', encoding="utf-8")
    refused(command, arguments, name, says)


WRONG_CALLS = {
    "unknown command": (("simulat", "r.toml"), "No such command 'simulat'. Did you mean 'simulate'?"),
    "unknown option": (("plan", "r.toml", "--jsn"), "No such option '--jsn'."),
    "no request": (("plan",), "Missing argument 'REQUEST'."),
    "too many requests": (("plan", "r.toml", "r.toml"), "unexpected extra argument (r.toml)"),
    "seed": (("simulate", "r.toml", "--seed", "x"), "Invalid value for '--seed': 'x' is not a valid integer range."),
    "speed": (("simulate", "r.toml", "--speed", "5"), "'5' is not one of 'max', '1', '10'."),
    "out": (("simulate", "r.toml", "--out", "r.toml"), "Invalid value for '--out': Directory 'r.toml' is a file."),
    "diagrams": (("diagrams", "--out", "r.toml/x"), "--out = r.toml/x: cannot be used: Not a directory"),
}


@pytest.mark.parametrize("arguments, says", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call(command: Command, work: Path, arguments: tuple[str, ...], says: str) -> None:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    before = tree(work)
    ran = command(*arguments)
    assert says in ran.err
    assert (ran.code, ran.out) == (2, "")
    assert tree(work) == before


@pytest.mark.parametrize("subcommand", ["plan", "simulate"])
def test_a_process_of_its_own_refuses_the_same_way(work: Path, subcommand: str) -> None:
    (work / "r.toml").write_text(lyso(("0.2", "1.5")), encoding="utf-8")
    before = tree(work)
    ran = run(subcommand, "r.toml", "--json", cwd=work)
    assert (ran.code, ran.out, ran.err) == (2, "", f"fsmcollect: {WRONG_TOML['transmission 1.5'][1]}\n")
    assert tree(work) == before
