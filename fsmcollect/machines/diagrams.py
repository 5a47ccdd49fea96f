"""Pictures and pages of the tables, straight from their rows: Mermaid, DOT and Markdown.

Owns how a table looks. It sees tables and nothing that runs, so what it draws is what may happen, never what did.

So that a picture can be read, edges that several states share are drawn once, out of a box around those states; several
events that lead the same way are one arrow; a row that stays is a line inside its state. The Markdown table below the
picture leaves nothing out.
"""

from __future__ import annotations

import difflib
import enum
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from fsmcollect.machines.table import Row, Table

AnyTable = Table[Any, Any]
AnyRow = Row[Any, Any]
#: A row's label and where it leads.
Exit = tuple[str, enum.Enum]

#: The first words of every page made here: only such a page may be found stale, and removed.
_MARK = "<!-- Made by `fsmcollect diagrams`"

#: Graphviz draws a chart of this size in well under a second; a `dot` that hangs must not hang the command.
_DOT_TIMEOUT_S = 30.0


@attrs.frozen(kw_only=True)
class _Picture:
    """A table arranged for drawing. Orders are those of the table's enums and rows, so equal tables draw equally.

    Attributes
    ----------
    box : tuple of state
        States that share edges; empty where no two edges can be saved.
    shared : mapping of state to labels
        Where the box's shared edges lead.
    edges : mapping of (state, state) to labels
        All other edges that go somewhere else.
    stays : mapping of state to labels
        What a state hears without leaving.
    """

    box: tuple[enum.Enum, ...]
    shared: Mapping[enum.Enum, Sequence[str]]
    edges: Mapping[tuple[enum.Enum, enum.Enum], Sequence[str]]
    stays: Mapping[enum.Enum, Sequence[str]]


def _arrange(table: AnyTable) -> _Picture:
    box, common = _most_shared(table)
    shared: dict[enum.Enum, list[str]] = {}
    edges: dict[tuple[enum.Enum, enum.Enum], list[str]] = {}
    stays: dict[enum.Enum, list[str]] = {}
    for row in table.rows:
        if row.stays:
            stays.setdefault(row.source, []).append(_label(row))
        elif row.source in box and _exit(row) in common:
            if row.source is box[0]:
                shared.setdefault(row.dest, []).append(_label(row))
        else:
            edges.setdefault((row.source, row.dest), []).append(_label(row))
    return _Picture(box=box, shared=shared, edges=edges, stays=stays)


def _most_shared(table: AnyTable) -> tuple[tuple[enum.Enum, ...], set[Exit]]:
    """The group of states whose common edges, drawn once, save the most arrows' labels; and those edges."""
    exits: dict[enum.Enum, set[Exit]] = {state: set() for state in table.states}
    for row in table.rows:
        if not row.stays:
            exits[row.source].add(_exit(row))
    best: tuple[tuple[enum.Enum, ...], set[Exit]] = ((), set())
    best_saving = 1
    for row in table.rows:
        group: tuple[enum.Enum, ...] = tuple(state for state in table.states if _exit(row) in exits[state])
        if len(group) < 2:
            continue
        common = {edge for edge in exits[group[0]] if all(edge in exits[state] for state in group)}
        # An arrow into the box's own states would start where it ends.
        common = {edge for edge in common if edge[1] not in group}
        saving = (len(group) - 1) * len(common)
        if saving > best_saving:
            best, best_saving = (group, common), saving
    return best


def _exit(row: AnyRow) -> Exit:
    return _label(row), row.dest


def _label(row: AnyRow) -> str:
    return f"{row.event.name} [{row.guard}]" if row.guard else str(row.event.name)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------------------------------


def mermaid(table: AnyTable) -> str:
    """The table as a Mermaid state diagram, which GitHub and most documentation tools draw."""
    picture = _arrange(table)
    inner: list[str] = []
    outer: list[str] = []
    for (source, dest), labels in picture.edges.items():
        place = inner if source in picture.box and dest in picture.box else outer
        place.append(f"{source.name} --> {dest.name} : {'<br/>'.join(labels)}")
    outer += [f"any_of_these --> {dest.name} : {'<br/>'.join(labels)}" for dest, labels in picture.shared.items()]
    lines = ["stateDiagram-v2", f"    [*] --> {table.initial.name}"]
    if picture.box:
        lines.append('    state "any of these" as any_of_these {')
        for state in picture.box:
            lines += [f"        {line}" for line in _mermaid_state(picture, state)]
        lines += [f"        {edge}" for edge in inner]
        lines.append("    }")
    for state in table.states:
        if state not in picture.box:
            lines += [f"    {line}" for line in _mermaid_state(picture, state)]
    lines += [f"    {edge}" for edge in outer]
    lines += [f"    {state.name} --> [*]" for state in table.states if state in table.final]
    if table.safety is not None:
        # Only the line's width: colours would fight with the reader's light or dark page.
        lines += ["    classDef safety stroke-width:3px", f"    class {table.safety.name} safety"]
    return "\n".join(lines) + "\n"


def _mermaid_state(picture: _Picture, state: enum.Enum) -> Iterable[str]:
    """A name of its own, or (two descriptions) a title with what the state hears without leaving below it."""
    if state not in picture.stays:
        yield state.name
        return
    yield f"{state.name} : {state.name}"
    yield f"{state.name} : stays on {', '.join(picture.stays[state])}"


def dot(table: AnyTable) -> str:
    """The table in Graphviz's language."""
    picture = _arrange(table)
    lines = [
        f"digraph {_quoted(table.name)} {{",
        "    rankdir=TB; compound=true; nodesep=0.5; ranksep=0.55; bgcolor=white;",
        '    node [shape=box, style="rounded,filled", fillcolor="#f6f8fa", color="#57606a", penwidth=1.2];',
        '    node [fontname="Helvetica", fontsize=12, margin="0.18,0.09"];',
        '    edge [color="#57606a", fontcolor="#24292f", fontname="Helvetica", fontsize=10, arrowsize=0.7];',
        '    begin [shape=circle, label="", width=0.16, style=filled, fillcolor="#24292f", color="#24292f"];',
    ]
    lines += [f"    {_node(table, picture, state)}" for state in table.states if state not in picture.box]
    if picture.box:
        lines += [
            "    subgraph cluster_any_of_these {",
            '        label="any of these"; labeljust=r; fontname="Helvetica"; fontsize=10; fontcolor="#57606a";',
            '        style="rounded,dashed"; color="#8c959f"; margin=14;',
            *(f"        {_node(table, picture, state)}" for state in picture.box),
            "    }",
        ]
    lines.append(f"    begin -> {_quoted(table.initial.name)};")
    for (source, dest), labels in picture.edges.items():
        # Going back to an earlier state must not turn the ranks round.
        back = ", constraint=false" if _position(table, dest) < _position(table, source) else ""
        lines.append(f"    {_quoted(source.name)} -> {_quoted(dest.name)} [label={_stacked(labels)}{back}];")
    for dest, labels in picture.shared.items():
        # An arrow needs a state to start at; `ltail` cuts it off where it leaves the box.
        last = picture.box[-1].name
        lines.append(
            f"    {_quoted(last)} -> {_quoted(dest.name)} [label={_stacked(labels)}, ltail=cluster_any_of_these];"
        )
    return "\n".join([*lines, "}"]) + "\n"


def svg(dot_text: str) -> bytes | None:
    """`dot_text` drawn by Graphviz, or None where its ``dot`` is not installed."""
    program = shutil.which("dot")
    if program is None:
        return None
    drawn = subprocess.run(
        [program, "-Tsvg"], input=dot_text.encode(), capture_output=True, check=True, timeout=_DOT_TIMEOUT_S
    )
    return drawn.stdout


def _node(table: AnyTable, picture: _Picture, state: enum.Enum) -> str:
    label = _quoted(state.name)
    if state in picture.stays:
        events = "<br/>".join(_html(event) for event in picture.stays[state])
        label = f'<{_html(state.name)}<br/><font point-size="9" color="#57606a">stays on<br/>{events}</font>>'
    marks = [f"label={label}"]
    if state in table.final:
        marks.append("peripheries=2")
    if state is table.safety:
        marks.append('penwidth=2.4, fillcolor="#ddf4ff", color="#0969da"')
    return f"{_quoted(state.name)} [{', '.join(marks)}];"


def _position(table: AnyTable, state: enum.Enum) -> int:
    return table.states.index(state)


def _stacked(labels: Iterable[str]) -> str:
    # The blanks keep the words off the arrow's line.
    return _quoted("\n".join(f" {label} " for label in labels)).replace("\n", "\\n")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ---------------------------------------------------------------------------------------------------------------------
# Pages
# ---------------------------------------------------------------------------------------------------------------------


def render_page(table: AnyTable) -> str:
    """The whole Markdown page of one table."""
    initial: enum.Enum = table.initial
    kind = type(initial)
    about = (kind.__doc__ or "").strip().splitlines()
    lines = [
        f"{_MARK} from {kind.__module__}: change the table there, not this page. -->",
        "",
        f"# The {table.name} machine",
        "",
        *([about[0], ""] if about else []),
        _in_a_sentence(table),
        "",
        "```mermaid",
        mermaid(table).rstrip("\n"),
        "```",
        "",
        *_facts(table),
        "",
        "## Rows",
        "",
        "Every edge there is. In brackets, a stay: the event is heard and recorded, the activity goes on.",
        "",
        "| source | event | destination | outcome | guard | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for state in table.states:
        lines += [_row_line(row) for row in table.rows if row.source is state]
    return "\n".join(lines) + "\n"


def write(out: Path, tables: Iterable[AnyTable], others: Mapping[str, str] | None = None) -> list[Path]:
    """Write a page for each table into `out`, and its picture where Graphviz is installed.

    Pages that were made here for tables that exist no longer are removed.

    Parameters
    ----------
    out : Path
    tables : iterable of Table
    others : mapping of str to str, optional
        Further pages that are made of what is declared, by their names; they have no picture.

    Returns
    -------
    list of Path
        The files written: pages, and SVG pictures. The pictures differ between releases of Graphviz, so nobody checks
        them for drift.
    """
    pages = _pages(tables, others)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for table_name, (page, dot_text) in pages.items():
        path = out / f"{table_name}.md"
        path.write_text(page, encoding="utf-8", newline="\n")
        written.append(path)
        drawn = svg(dot_text) if dot_text else None
        if drawn is not None:
            picture = path.with_suffix(".svg")
            picture.write_bytes(drawn)
            written.append(picture)
    for path in _stale(out, pages):
        path.unlink()
    return written


def check(out: Path, tables: Iterable[AnyTable], others: Mapping[str, str] | None = None) -> str:
    """How the pages in `out` differ from what the tables say: a unified diff, empty where they do not."""
    pages = _pages(tables, others)
    diff: list[str] = []
    for table_name, (page, _) in pages.items():
        path = out / f"{table_name}.md"
        present = path.read_text(encoding="utf-8") if path.is_file() else None
        diff += _difference(path, present, page)
    for path in _stale(out, pages):
        diff += _difference(path, path.read_text(encoding="utf-8"), None)
    return "".join(diff)


def _pages(tables: Iterable[AnyTable], others: Mapping[str, str] | None) -> dict[str, tuple[str, str]]:
    """By name: the page, and its picture's text (empty where it has none)."""
    drawn = {table.name: (render_page(table), dot(table)) for table in tables}
    return drawn | {name: (page, "") for name, page in (others or {}).items()}


def _stale(out: Path, pages: Mapping[str, object]) -> list[Path]:
    return [
        path
        for path in sorted(out.glob("*.md"))
        if path.stem not in pages and path.read_text(encoding="utf-8").startswith(_MARK)
    ]


def _difference(path: Path, present: str | None, wanted: str | None) -> Iterable[str]:
    return difflib.unified_diff(
        (present or "").splitlines(keepends=True),
        (wanted or "").splitlines(keepends=True),
        fromfile="/dev/null" if present is None else f"{path.as_posix()} (as it is)",
        tofile="/dev/null" if wanted is None else f"{path.as_posix()} (as the table says)",
    )


def _in_a_sentence(table: AnyTable) -> str:
    ends = " or ".join(f"`{state.name}`" for state in table.states if state in table.final)
    way = (
        "It is a child: it never makes safe by itself, the machine around it does."
        if table.safety is None
        else f"However it is left, the way out leads through `{table.safety.name}`."
    )
    return f"A run begins in `{table.initial.name}` with `{table.start.name}` and ends in {ends}. {way}"


def _facts(table: AnyTable) -> Iterable[str]:
    yield f"- Final states: {_names(state for state in table.states if state in table.final)}"
    yield f"- Safety state: {f'`{table.safety.name}`' if table.safety is not None else 'none (a child machine)'}"
    yield f"- Fired when the task is cancelled from outside: `{table.cancelled.name}`"
    yield f"- Fired when an activity has a bug: `{table.crashed.name}`"
    if not table.urgent:
        yield "- Urgent events: none"
        return
    yield "- Urgent events, the most urgent first, and the states that must answer them:"
    for event, group in table.urgent.items():
        yield f"    - `{event.name}`: {_names(state for state in table.states if state in group)}"


def _names(states: Iterable[enum.Enum]) -> str:
    return ", ".join(f"`{state.name}`" for state in states)


def _row_line(row: AnyRow) -> str:
    dest = f"({row.dest.name})" if row.stays else row.dest.name
    outcome = "" if row.outcome is None else str(row.outcome)
    cells = (row.source.name, row.event.name, dest, outcome, row.guard or "", row.why)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
