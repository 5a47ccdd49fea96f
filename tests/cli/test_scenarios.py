"""``fsmcollect scenarios``, and ``fsmcollect simulate`` with a scenario: which one is meant, and how it ended."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import attrs
import pytest

from fsmcollect.sim.scenario import library, reading
from fsmcollect.simulate import playing
from tests.cli.commanding import SMALL, Command, Running, run, tree
from tests.cli.test_terminal import lines_of, on_a_terminal

#: Played as a sweep plays it: no files are made, and the order of tasks is always the same.
NO_FILES = ("--with", "strike = {schedule = 1}")
SHORT = library.text("short")
STUCK = '[[faults]]\ndevice = "detector"\ncommand = "arm"\neffect = "refuses"\ncall = 1\n'


@pytest.fixture
def mine(work: Path) -> Path:
    path = work / "mine.toml"
    path.write_text(SHORT, encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Which there are
# ---------------------------------------------------------------------------------------------------------------------


def test_they_are_listed_with_a_line_each(command: Command) -> None:
    ran = command("scenarios")
    assert (ran.code, ran.err) == (0, "")
    shown = ran.out.splitlines()
    assert [line.split()[0] for line in shown] == list(library.names())
    assert any(
        line.endswith("  Two images, undisturbed: the smallest collection through every state.") for line in shown
    )


def test_the_list_is_one_line_of_json_for_programs(command: Command) -> None:
    ran = command("scenarios", "--json")
    told = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert [entry["name"] for entry in told] == list(library.names())
    assert all(set(entry) == {"name", "summary"} and entry["summary"] for entry in told)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_fits_a_terminal(work: Path, columns: int) -> None:
    assert max(map(len, lines_of(on_a_terminal(work, "scenarios", columns=columns)))) <= columns


@pytest.mark.parametrize("name", ["short", "Short.toml"])
def test_one_is_printed_as_it_is_written_to_be_copied(command: Command, work: Path, name: str) -> None:
    ran = command("scenarios", name)
    assert (ran.code, ran.err, ran.out) == (0, "", SHORT)


def test_one_that_is_not_there_is_refused_with_what_was_meant(command: Command) -> None:
    ran = command("scenarios", "grippr_stuck")
    assert (ran.code, ran.out) == (2, "")
    assert 'did you mean "gripper_stuck"?' in ran.err


# ---------------------------------------------------------------------------------------------------------------------
# Which one is meant
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gripper_stuck", "gripper_stuck.toml", "gripper-stuck", "gripper stuck", "Gripper Stuck.toml"]
)
def test_a_bundled_one_is_found_however_its_name_is_written(command: Command, name: str) -> None:
    ran = command("simulate", name, *NO_FILES, "--json")
    assert (ran.code, ran.err, ran.json["scenario"]) == (0, "", "gripper_stuck")


def test_a_file_of_that_name_wins_and_a_folder_does_not(command: Command, work: Path) -> None:
    (work / "gripper_stuck").mkdir()
    assert command("simulate", "gripper_stuck", *NO_FILES, "--json").json["outcome"] == "failed"
    (work / "gripper_stuck.toml").write_text(SHORT, encoding="utf-8")
    assert command("simulate", "gripper_stuck.toml", *NO_FILES, "--json").json["outcome"] == "done"


UNKNOWN = {
    "near": ("griper_stuck", "and no bundled scenario is called so; did you mean gripper_stuck?"),
    "far": ("xyzzy", "and no bundled scenario is called so; they are listed by: fsmcollect scenarios"),
    "file": ("none.toml", "REQUEST = none.toml: cannot be read: No such file or directory, and no bundled"),
    "path": ("no/where/short", "REQUEST = no/where/short: cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("name, says", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_one_is_refused_in_one_sentence(command: Command, work: Path, name: str, says: str) -> None:
    ran = command("simulate", name)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
    assert list(work.iterdir()) == []


WRONG = {
    "unknown device": (STUCK.replace("detector", "dtector"), "faults[0].device"),
    "unknown effect": (STUCK.replace("refuses", "explodes"), "faults[0].effect"),
    "beyond the limits": ("", "request.beam.energy_ev = 12.7: is beyond the beamline's limits"),
    "unknown key": ("[expects]\noutcome = 'done'\n", "expects: unknown key; did you mean"),
}


@pytest.mark.parametrize("more, says", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("options", [(), ("--json",), ("--explain",)])
def test_a_wrong_one_is_refused_with_file_line_and_key(
    command: Command, mine: Path, options: tuple[str, ...], more: str, says: str
) -> None:
    text = SHORT + more if more else SHORT.replace("12700", "12.7")
    mine.write_text(text, encoding="utf-8")
    before = tree(mine.parent)
    ran = command("simulate", "mine.toml", *options)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "(mine.toml, line " in ran.err
    assert tree(mine.parent) == before


def test_of_a_list_the_wrong_request_is_named(command: Command, work: Path) -> None:
    text = library.text("list_of_three_with_one_skipped")
    first, second, rest = text.split("[[requests]]", 2)
    (work / "r.toml").write_text(
        f"{first}[[requests]]{second.replace('12700', '12.7')}[[requests]]{rest}", encoding="utf-8"
    )
    ran = command("simulate", "r.toml")
    assert ran.code == 2
    assert "requests[0].beam.energy_ev = 12.7: is beyond" in ran.err


# ---------------------------------------------------------------------------------------------------------------------
# How it ended
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", library.names())
def test_every_bundled_one_ends_as_expected(command: Command, name: str) -> None:
    ran = command("simulate", name, *NO_FILES, "--json")
    assert (ran.code, ran.err) == (0, "")
    keys = ["outcome", "images", "simulated_s", "wall_s", "trace_sha256", "violations", "files"]
    assert list(ran.json) == [*keys, "scenario", "unmet", "never", "excused", "as_expected"]
    assert ran.json["as_expected"] is True
    assert (ran.json["violations"], ran.json["unmet"], ran.json["never"]) == ([], [], [])


def test_people_are_told_whether_it_was_as_expected(command: Command, mine: Path) -> None:
    ran = command("simulate", "mine.toml")
    labels = [line[:12].rstrip() for line in ran.out.splitlines()]
    assert labels == [
        "scenario", "outcome", "expected", "images", "dose", "simulated", "trace", "violations", "file",
    ]  # fmt: skip
    assert ran.out.splitlines()[:3] == ["scenario    mine", "outcome     done", "expected    yes"]
    assert ran.err.splitlines()[0].endswith("mounting (start)")
    assert (mine.parent / "simulated-1" / "data" / "short" / "short_1_master.h5").exists()


def test_what_is_not_met_is_said_with_its_place_and_ends_with_1(command: Command, mine: Path) -> None:
    mine.write_text(SHORT[: SHORT.index("[expect]")] + '[expect]\noutcome = "failed"\n', encoding="utf-8")
    ran = command("simulate", "mine.toml", *NO_FILES, "--json")
    assert (ran.code, ran.json["as_expected"]) == (1, False)
    assert ran.err == f"fsmcollect: {ran.json['unmet'][0]}\n"
    assert "expect.outcome = failed: it was done (mine.toml, line " in ran.err
    line = mine.read_text("utf-8").splitlines().index('outcome = "failed"') + 1
    assert f"(mine.toml, line {line})" in ran.err, "the line of the expectation itself"
    assert "\nexpected    no: 1 unmet\n" in command("simulate", "mine.toml", *NO_FILES).out


@pytest.mark.parametrize(
    "more, says",
    [
        (
            STUCK.replace("call = 1", "call = 99"),
            "faults[0] = detector.arm refuses (call 99, once): never triggered (mine.toml, line ",
        ),
        (
            '[[operator]]\ndoes = "abort"\nat_s = 9999.0\n',
            "operator[0] = abort at 9999 s: never came: the run ended after ",
        ),
        (
            '[[happens]]\nwhat = "beam back"\nat_s = 1.0\n',
            "happens[0] = beam back at 1 s: found nothing to do in MOUNTING (mine.toml, line ",
        ),
        ("[strike]\ncancel_at = 100000\n", " checkpoints (mine.toml, line "),
        ("[strike]\nabort_at = 100000\n", " events (mine.toml, line "),
    ],
    ids=["fault", "deed", "happening", "checkpoint", "event"],
)
def test_what_never_came_to_pass_is_said_and_ends_with_2(command: Command, mine: Path, more: str, says: str) -> None:
    mine.write_text(SHORT + more, encoding="utf-8")
    ran = command("simulate", "mine.toml", "--out", "out", "--json")
    assert (ran.code, ran.json["outcome"], len(ran.json["never"])) == (2, "done", 1)
    assert says in ran.err


def test_where_nothing_is_expected_the_run_itself_says_how_it_ended(command: Command, mine: Path) -> None:
    without = SHORT[: SHORT.index("[expect]")]
    mine.write_text(without + STUCK, encoding="utf-8")
    ran = command("simulate", "mine.toml", *NO_FILES)
    assert ran.code == 1
    assert "\nexpected    nothing in particular\n" in ran.out
    assert "fsmcollect: exposing: detector: " in ran.err
    mine.write_text(without + '[[operator]]\ndoes = "abort"\nevent = "OSCILLATING"\n', encoding="utf-8")
    assert command("simulate", "mine.toml", *NO_FILES).code == 3


def test_a_run_that_is_not_safe_and_not_expected_to_be_ends_with_4(command: Command, work: Path) -> None:
    text = library.text("shutter_does_not_close")
    (work / "open.toml").write_text(text[: text.index("[expect]")], encoding="utf-8")
    ran = command("simulate", "open.toml", *NO_FILES)
    assert ran.code == 4, ran.err
    assert "outcome     aborted; the beamline could not be verified safe\n" in ran.out


def test_a_run_without_a_crystal_has_no_dose_to_speak_of(command: Command, mine: Path) -> None:
    lines = command("simulate", "mine.toml", *NO_FILES).out.splitlines()
    assert {"images      2", "dose        none: no crystal was in the beam"} <= set(lines)
    assert " s in the beam, " in command("simulate", "inverse_beam", *NO_FILES).out


@pytest.mark.parametrize("event, is_partial", [("CLOSING", False), ("images_taken", True)])
def test_the_rest_is_spoken_of_where_images_are_missing(
    command: Command, mine: Path, event: str, is_partial: bool
) -> None:
    text = SHORT[: SHORT.index("[expect]")] + f'[[operator]]\ndoes = "abort"\nevent = "{event}"\n'
    mine.write_text(text.replace("images = 2", "images = 4\nwedge_images = 2"), encoding="utf-8")
    ran = command("simulate", "mine.toml", "--out", "out")
    assert ran.code == 3, ran.err
    assert ("\nimages      4\n" in ran.out) is not is_partial, ran.out
    assert ("can be collected with files.skip_existing" in ran.out) is is_partial


def test_one_that_a_sweep_stops_is_not_expected_to_end_as_undisturbed(command: Command, mine: Path) -> None:
    ran = command("simulate", "mine.toml", "--with", "strike = {abort_at = 8, schedule = 0}", "--json")
    assert (ran.code, ran.json["outcome"], ran.json["unmet"], ran.json["files"]) == (3, "aborted", [], [])
    assert [path.name for path in mine.parent.iterdir()] == ["mine.toml"], "a sweep makes no files"


def test_nor_to_come_as_far(command: Command) -> None:
    """The operator's abort comes later than the sweep's, and the fault that it has added is looked for."""
    strike = "strike = {abort_at = 5, schedule = 0}"
    ran = command("simulate", "operator_aborts_while_exposing", "--with", strike, "--json")
    assert (ran.code, ran.json["outcome"], ran.json["never"], ran.err) == (3, "aborted", [], "")
    fault = '{device = "detector", command = "arm", effect = "refuses", call = 99}'
    added = f"{{faults = [{fault}], strike = {{schedule = 0}}}}"
    ran = command("simulate", "short", "--with", added, "--json")
    assert (ran.code, len(ran.json["never"])) == (2, 1)


def test_what_an_addition_expects_is_judged_whatever_its_words(command: Command) -> None:
    expect = 'expect = {outcome = "failed", failure = "no faults, schedule ok"}'
    ran = command("simulate", "short", *NO_FILES, "--with", expect, "--json")
    assert (ran.code, len(ran.json["unmet"])) == (1, 2)
    fault = 'faults = [{device = "detector", command = "arm", effect = "refuses", call = 1}]  # on schedule'
    ran = command("simulate", "short", *NO_FILES, "--with", f"{fault}\nexpect = {{images = 2}}", "--json")
    assert (ran.code, len(ran.json["unmet"])) == (1, 1)


REFUSED = 'faults = [{ device = "fast_shutter", command = "close", effect = "refuses", call = 1, lasts = "for ever" }]'


@pytest.mark.parametrize(
    "added, code",
    [("strike = { cancel_at = 10, schedule = 0 }", 3), (f"{{{REFUSED}, strike = {{ schedule = 0 }}}}", 4)],
)
def test_a_saved_replay_ends_as_the_replay_and_expects_what_a_person_writes_into_it(
    command: Command, work: Path, added: str, code: int
) -> None:
    ran = command("simulate", "short", "--with", added, "--save", "kept.toml", "--json")
    again = command("simulate", "kept.toml", "--json")
    assert (ran.code, again.code, again.json["unmet"]) == (code, code, [])
    assert ran.json["trace_sha256"] == again.json["trace_sha256"]
    text = (work / "kept.toml").read_text(encoding="utf-8")
    assert "Two images, undisturbed" not in text
    assert "[expect]" not in text
    (work / "kept.toml").write_text(f'{text}\n[expect]\noutcome = "done"\n', encoding="utf-8")
    judged = command("simulate", "kept.toml", "--json")
    assert (judged.code, len(judged.json["unmet"])) == (1, 1)


def test_a_replayed_fault_ends_as_its_run_and_a_violation_ends_with_1(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = '{device = "detector", command = "arm", effect = "refuses", call = 1}'
    added = f"{{faults = [{fault}], strike = {{schedule = 0}}}}"
    ran = command("simulate", "short", "--with", added)
    assert (ran.code, "expected    nothing in particular" in ran.out) == (1, True)
    assert "expect." not in ran.err
    real = playing.play
    monkeypatch.setattr(
        playing, "play", lambda *a, **k: attrs.evolve(real(*a, **k), violations=("at 3 s: it was dark",))
    )
    ran = command("simulate", "short", *NO_FILES)
    assert (ran.code, "expected    no: 1 violated" in ran.out) == (1, True)
    assert ran.err.splitlines()[-1] == "fsmcollect: violated: at 3 s: it was dark"


# ---------------------------------------------------------------------------------------------------------------------
# What is changed and added
# ---------------------------------------------------------------------------------------------------------------------


def test_a_seed_takes_the_place_of_the_scenarios(command: Command, mine: Path) -> None:
    mine.write_text(SHORT.replace("[request.sample]", "seed = 5\n\n[request.sample]", 1), encoding="utf-8")
    traces = [
        command("simulate", "mine.toml", *NO_FILES, *options, "--json").json["trace_sha256"]
        for options in ((), ("--seed", "5"), ("--seed", "0"), ("--with", "seed = 0"))
    ]
    assert traces[0] == traces[1] != traces[2] == traces[3]


def test_a_fault_can_be_added_more_than_once(command: Command) -> None:
    one = 'faults = [{device = "detector", command = "arm", effect = "refuses", call = 1}]'
    other = 'faults = [{device = "fast_shutter", command = "close", effect = "no action", call = 99}]'
    ran = command("simulate", "short", *NO_FILES, "--with", one, "--with", other, "--json")
    assert (ran.code, ran.json["outcome"], len(ran.json["never"])) == (2, "failed", 1)
    assert "(--with, line 1)" in ran.err


def test_with_an_addition_a_plain_request_becomes_a_scenario(command: Command, work: Path) -> None:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    abort = 'operator = [{does = "abort", event = "wedge.EXPOSING", count = 2}]'
    ran = command("simulate", "r.toml", *NO_FILES, "--with", abort, "--json")
    assert (ran.code, ran.json["outcome"], ran.json["scenario"], ran.json["images"]) == (3, "aborted", "r", 2)


def test_it_is_saved_with_what_was_added_and_reads_back(command: Command, work: Path) -> None:
    ran = command("simulate", "short", *NO_FILES, "--seed", "8", "--save", "kept.toml")
    assert ran.code == 0
    assert "\nsaved       kept.toml\n" in ran.out
    text = (work / "kept.toml").read_text(encoding="utf-8")
    kept = reading.parse_scenario(text, name="short")
    assert (kept.seed, kept.strike.schedule, kept.expect.images) == (8, 1, 2)
    again = command("simulate", "kept.toml", "--json")
    assert again.json["trace_sha256"] in ran.out


@pytest.mark.parametrize(
    "file, says", [("mine.toml", "is there already, and is not overwritten"), ("no/where.toml", "cannot be written: ")]
)
def test_no_file_is_overwritten_and_nothing_is_played(command: Command, mine: Path, file: str, says: str) -> None:
    before = tree(mine.parent)
    ran = command("simulate", "short", "--save", file)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert tree(mine.parent) == before


@pytest.mark.parametrize("name, text", [("-", SHORT), ("-", SMALL)])
def test_standard_input_is_played(work: Path, name: str, text: str) -> None:
    ran = run("simulate", name, "--explain", *NO_FILES, cwd=work, stdin=text)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("standard_input, seed 0\n")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ctrl_c_ends_it_with_3_and_nothing_unmet_is_told(mine: Path, options: tuple[str, ...]) -> None:
    running = Running("simulate", "mine.toml", "--speed", "10", "--out", "out", *options, cwd=mine.parent)
    running.until("transition", mine.parent / "out" / "data" / "short" / "events.jsonl")
    running.send(signal.SIGINT)
    ran = running.ended()
    assert (ran.code, "unmet" in ran.err, "expect." in ran.err) == (3, False, False)
    assert "aborted" in ran.out


@pytest.mark.parametrize("table", ["faults", "operator", "happens", "strike", "expect"])
def test_a_file_with_a_table_of_scenarios_is_taken_for_one_though_its_request_is_missing(
    command: Command, mine: Path, table: str
) -> None:
    header = f"[{table}]" if table in ("strike", "expect") else f"[[{table}]]"
    mine.write_text(header + "\n", encoding="utf-8")
    ran = command("simulate", "mine.toml", "--json")
    assert ran.code == 2
    assert "request: is required: what is collected, [request.files] and [request.sweep] (mine.toml)" in ran.err


@pytest.mark.parametrize("words", [("simulate", ""), ("sweep", ""), ("simulate", "", "--explain")])
def test_an_empty_name_is_refused_as_one(command: Command, words: tuple[str, ...]) -> None:
    ran = command(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith(": must be the name of a file, or of a bundled scenario\n")
