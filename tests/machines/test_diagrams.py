"""What is drawn is what the table says, and a page that has drifted is found."""

from __future__ import annotations

import enum
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fsmcollect.console.declaring import faults_page
from fsmcollect.machines import diagrams
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.stream import STREAM
from fsmcollect.machines.table import Row, Table
from fsmcollect.machines.transfer import TRANSFER
from fsmcollect.machines.wedge import WEDGE

AnyTable = Table[Any, Any]
TABLES: list[AnyTable] = [COLLECTION, WEDGE, STREAM, TRANSFER]
PAGES_BY_NAME = [f"{table.name}.md" for table in TABLES]
PAGES = Path(__file__).parents[2] / "docs" / "machines"

each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


class Lamp(enum.Enum):
    """A lamp."""

    OFF = enum.auto()
    ON = enum.auto()
    BROKEN = enum.auto()


class Hand(enum.Enum):
    """What is done to it."""

    PRESS = enum.auto()
    DROP = enum.auto()


LAMP = Table(
    name="lamp",
    initial=Lamp.OFF,
    start=Hand.PRESS,
    final=frozenset({Lamp.BROKEN}),
    urgent={},
    cancelled=Hand.DROP,
    crashed=Hand.DROP,
    rows=(
        Row(Lamp.OFF, Hand.PRESS, Lamp.ON, guard="powered", why="a press | a click"),
        Row(Lamp.ON, Hand.PRESS, Lamp.ON, why="it is on"),
        Row(Lamp.ON, Hand.DROP, Lamp.BROKEN, why="glass"),
    ),
)


Edges = set[tuple[str, str, str]]


def rows_of(table: AnyTable) -> Edges:
    return {
        (row.source.name, row.event.name + (f" [{row.guard}]" if row.guard else ""), row.dest.name)
        for row in table.rows
    }


def drawn(text: str, edge: str, split: str, inside: str, stays: Edges) -> Edges:
    """What a picture says: every arrow and every event on it, the box's arrows out of each state in the box."""
    box = re.findall(inside, text, re.MULTILINE)
    found = set(stays)
    for source, dest, label in re.findall(edge, text, re.MULTILINE):
        for event in label.split(split):
            found |= {(state, event.strip(), dest) for state in (box if source == "any_of_these" else [source])}
    return found


@each_table
def test_the_mermaid_picture_shows_every_row_and_no_other(table: AnyTable) -> None:
    text = diagrams.mermaid(table)
    stays = {
        (state, event, state)
        for state, events in re.findall(r"^ *(\w+) : stays on (.+)$", text, re.MULTILINE)
        for event in events.split(", ")
    }
    edge = r"^ *(\w+) --> (\w+) : (.+)$"
    assert drawn(text, edge, "<br/>", r"^ {8}(\w+)(?: : \w+)?$", stays) == rows_of(table)
    assert re.findall(r"\[\*\] --> (\w+)", text) == [table.initial.name]
    assert set(re.findall(r"(\w+) --> \[\*\]", text)) == {state.name for state in table.final}


@each_table
def test_the_dot_picture_shows_every_row_and_no_other(table: AnyTable) -> None:
    text = diagrams.dot(table)
    stays = {
        (state, event, state)
        for state, events in re.findall(r'^ *"(\w+)" \[label=<.*?stays on<br/>(.+?)</font>', text, re.MULTILINE)
        for event in events.split("<br/>")
    }
    text = re.sub(
        r'^ *"\w+" -> (.*), ltail=cluster_any_of_these', r'    "any_of_these" -> \1', text, flags=re.MULTILINE
    )
    edge = r'^ *"(\w+)" -> "(\w+)" \[label="(.+?)"'
    assert drawn(text, edge, "\\n", r'^ {8}"(\w+)" \[', stays) == rows_of(table)
    assert text.count("peripheries=2") == len(table.final)


@each_table
def test_the_page_lists_every_row_with_its_reason(table: AnyTable) -> None:
    lines = diagrams.render_page(table).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")][2:]
    wanted = [
        [
            row.source.name,
            row.event.name,
            f"({row.dest.name})" if row.stays else row.dest.name,
            str(row.outcome) if row.outcome is not None else "",
            row.guard or "",
            row.why,
        ]
        for row in table.rows
    ]
    assert sorted(cells) == sorted(wanted)


@each_table
def test_the_page_names_final_states_urgent_events_and_the_safety_state(table: AnyTable) -> None:
    page = diagrams.render_page(table)
    for state in table.final:
        assert f"`{state.name}`" in page
    for event in table.urgent:
        assert f"- `{event.name}`: " in page
    assert ("Safety state: none" in page) is (table.safety is None)


def test_a_bar_in_a_reason_does_not_break_the_table() -> None:
    assert "| OFF | PRESS | ON |  | powered | a press \\| a click |" in diagrams.render_page(LAMP)


def test_a_guard_is_written_beside_its_event() -> None:
    assert "OFF --> ON : PRESS [powered]" in diagrams.mermaid(LAMP)
    assert '"OFF" -> "ON" [label=" PRESS [powered] "]' in diagrams.dot(LAMP)


def test_a_table_whose_states_share_no_edges_is_drawn_without_a_box() -> None:
    assert "any_of_these" not in diagrams.mermaid(LAMP) + diagrams.dot(LAMP)


def test_what_was_written_has_not_drifted(tmp_path: Path) -> None:
    written = diagrams.write(tmp_path / "deep" / "machines", TABLES)
    assert [path.name for path in written if path.suffix == ".md"] == PAGES_BY_NAME
    assert diagrams.check(tmp_path / "deep" / "machines", TABLES) == ""


def test_a_changed_page_is_shown_as_a_diff(tmp_path: Path) -> None:
    diagrams.write(tmp_path, TABLES)
    page = tmp_path / "wedge.md"
    page.write_text(page.read_text(encoding="utf-8").replace("TAKEN", "GIVEN"), encoding="utf-8")
    diff = diagrams.check(tmp_path, TABLES)
    assert "wedge.md (as it is)" in diff
    assert "-    DRAINING --> GIVEN : DRAINED" in diff
    assert "+    DRAINING --> TAKEN : DRAINED" in diff
    assert "collection.md" not in diff


def test_a_missing_page_is_reported(tmp_path: Path) -> None:
    diagrams.write(tmp_path, [COLLECTION])
    diff = diagrams.check(tmp_path, TABLES)
    assert diff.startswith("--- /dev/null")
    assert "+# The wedge machine" in diff


def test_a_page_of_a_table_that_is_gone_is_reported_and_removed_by_the_next_writing(tmp_path: Path) -> None:
    diagrams.write(tmp_path, TABLES)
    diff = diagrams.check(tmp_path, [COLLECTION])
    assert "+++ /dev/null" in diff
    assert "-# The wedge machine" in diff
    diagrams.write(tmp_path, [COLLECTION])
    assert not (tmp_path / "wedge.md").exists()
    assert diagrams.check(tmp_path, [COLLECTION]) == ""


def test_a_page_that_a_person_wrote_beside_them_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("By hand.\n", encoding="utf-8")
    diagrams.write(tmp_path, TABLES)
    assert diagrams.check(tmp_path, TABLES) == ""
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "By hand.\n"


def test_the_pages_in_the_documentation_have_not_drifted() -> None:
    assert diagrams.check(PAGES, TABLES, {"faults": faults_page()}) == ""


def test_without_graphviz_there_are_pages_and_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert diagrams.svg("digraph {}") is None
    assert [path.name for path in diagrams.write(tmp_path, TABLES)] == PAGES_BY_NAME


def test_with_graphviz_each_page_has_its_picture_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for `dot`, so that this is tested where Graphviz is not installed."""
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\necho "<svg>$(head -c 7)</svg>"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    written = diagrams.write(tmp_path / "out", TABLES)
    assert [path.name for path in written] == [f"{table.name}.{suffix}" for table in TABLES for suffix in ("md", "svg")]
    assert (tmp_path / "out" / "wedge.svg").read_bytes() == b"<svg>digraph</svg>\n"


@each_table
def test_graphviz_where_it_is_installed_draws_every_state(table: AnyTable) -> None:
    picture = diagrams.svg(diagrams.dot(table))
    if picture is None:
        assert shutil.which("dot") is None
        return
    words = {(element.text or "").strip() for element in ET.fromstring(picture).iter()}
    assert {state.name for state in table.states} <= words
