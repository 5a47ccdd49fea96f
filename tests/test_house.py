"""Rules of the house that import-linter cannot say. What it can say is in pyproject.toml."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fsmcollect"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: Floors 1 and 2: import-linter forbids them the clock and the network; here, what else is not pure.
PURE = ("errors", "events", "limits", "timing")
TABLES = ("collection", "wedge", "stream", "transfer")
PURE_OF_STREAM = ("entry", "listing/choice", "listing/naming", "paths", "stopping", "values")
PURE_SOURCES = [
    *(PACKAGE / f"{name}.py" for name in (*PURE, "wedges")),
    *sorted((PACKAGE / "beamline").glob("*.py")),
    *sorted((PACKAGE / "request").glob("*.py")),
    *(PACKAGE / "machines" / f"{name}.py" for name in ("table", *TABLES)),
    *(PACKAGE / "stream" / f"{name}.py" for name in PURE_OF_STREAM),
]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_source = pytest.mark.parametrize("path", SOURCES, ids=named)


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a file imports; the name is empty for a plain import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", PURE_SOURCES, ids=named)
def test_a_pure_module_touches_no_file(path: Path) -> None:
    """A path may be reckoned with (PurePosixPath), never opened."""
    for module, name in imports_of(path):
        assert module != "pathlib" or name.startswith("Pure"), f"{named(path)} imports pathlib.{name}"
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in ("open", "print", "input")] == []


def test_diagrams_see_only_tables() -> None:
    seen = {module for module, _ in imports_of(PACKAGE / "machines" / "diagrams.py") if module.startswith("fsmcollect")}
    assert seen == {"fsmcollect.machines.table"}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_data_and_sees_only_the_shape_of_tables(name: str) -> None:
    assert {module for module, _ in imports_of(PACKAGE / "machines" / f"{name}.py")} == {
        "__future__",
        "enum",
        "fsmcollect.machines.table",
    }


@each_source
def test_nothing_public_is_imported_from_a_private_name(path: Path) -> None:
    for module, name in imports_of(path):
        if module.startswith("fsmcollect") and name != "__version__":
            assert not name.startswith("_"), f"{named(path)} imports {module}.{name}"
        assert not any(
            part.startswith("_") and part not in {"__future__", "_typeshed"} for part in module.split(".")
        ), f"{named(path)} imports the private module {module}"


@each_source
def test_no_file_is_a_drawer_for_leftovers(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


@each_source
def test_every_module_that_holds_something_says_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), f"{named(path)} has no docstring"


@each_source
def test_no_machines_own_path_is_in_the_package(path: Path) -> None:
    assert re.search(r"(^|[^A-Za-z0-9_.])/(home|root|work|Users)/", path.read_text(encoding="utf-8")) is None
