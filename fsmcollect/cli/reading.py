"""What a command was given to collect or to play: a file, standard input, or the name of a bundled scenario.

Owns where the text comes from and what it is taken for: a request, MXCuBE's parameters, a scenario. Owns no key and no
rule of any of them (`fsmcollect.request`, `fsmcollect.sim.scenario`).
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fsmcollect.errors import InvalidRequest, Problem

if TYPE_CHECKING:
    from fsmcollect.request import Written
    from fsmcollect.sim.scenario.values import Scenario

EXAMPLE = "inverse_beam.toml"
#: Larger files are no requests. Assumed: room for ten thousand collections of MXCuBE's.
MAX_REQUEST_BYTES = 20_000_000
#: A line that begins with a key of scenarios. A text without one is none, and nothing of scenarios is imported.
_MAY_BE_SCENARIO = re.compile(
    r"""^\s*\[{0,2}\s*["']?(?:requests?|faults|operator|happens|strike|expect)\b""", re.MULTILINE
)


@attrs.frozen(kw_only=True)
class Source:
    """A text, and where it comes from.

    Attributes
    ----------
    text : str
    where : str
        What refusals call it.
    name : str
        What a scenario in it is called.
    is_json : bool
        It is MXCuBE's.
    bundled : bool
        It came with the package.
    """

    text: str
    where: str
    name: str
    is_json: bool = False
    bundled: bool = False


@attrs.frozen
class Asked:
    """A scenario to be played, and how each of its requests was written down.

    Attributes
    ----------
    is_disturbed : bool
        It is stopped by a sweep, or something was added to it: what it plans itself may not come to pass then.
    """

    scenario: Scenario
    written: tuple[Written, ...]
    is_disturbed: bool = False


# ---------------------------------------------------------------------------------------------------------------------
# Texts
# ---------------------------------------------------------------------------------------------------------------------


def from_file(name: str, field: str = "REQUEST") -> Source:
    """The text of a file, or of standard input; `field` is what the command calls it.

    Raises
    ------
    InvalidRequest
        It cannot be read, or is no text.
    """
    try:
        data = _bytes(name, field)
        text = data.decode()
    except OSError as error:
        raise _unreadable(field, name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(field, name, f"is no text in UTF-8 (byte {error.start}): is it a request at all?") from error
    if len(data) > MAX_REQUEST_BYTES:
        raise _unreadable(field, name, f"is larger than {MAX_REQUEST_BYTES / 1e6:g} MB: is it a request at all?")
    is_json = name.lower().endswith(".json") or (name == "-" and _looks_like_json(text))
    if name == "-":
        return Source(text=text, where="standard input", name="standard_input", is_json=is_json)
    return Source(text=text, where=name, name=Path(name).stem, is_json=is_json)


def from_file_or_library(name: str, field: str = "REQUEST") -> Source:
    """As `from_file`; where there is no such file, the bundled scenario of that name.

    Raises
    ------
    InvalidRequest
        There is neither, or the file cannot be read.
    """
    if not name:
        raise _unreadable(field, name, "must be the name of a file, or of a bundled scenario")
    path = Path(name)
    if name == "-" or (path.exists() and not path.is_dir()):
        return from_file(name, field)
    from fsmcollect.sim.scenario import library

    title, known = as_title(name), library.names()
    if title in known:
        return Source(text=library.text(title), where=f"{title}.toml", name=title, bundled=True)
    try:
        return from_file(name, field)
    except InvalidRequest as refusal:
        if path.exists():
            raise
        near = difflib.get_close_matches(title, known, 1, 0.5)
        advice = f"did you mean {near[0]}?" if near else "they are listed by: fsmcollect scenarios"
        (problem,) = refusal.problems
        allowed = f"{problem.allowed}, and no bundled scenario is called so; {advice}"
        raise InvalidRequest([attrs.evolve(problem, allowed=allowed)]) from refusal


def as_title(name: str) -> str:
    """How the library would write a scenario's name: ``Gripper-stuck.toml`` is ``gripper_stuck``."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower().removesuffix(".toml"))


def example() -> Source:
    """The bundled request."""
    text = (resources.files("fsmcollect.sim") / EXAMPLE).read_text("utf-8")
    return Source(text=text, where=EXAMPLE, name=Path(EXAMPLE).stem)


def _bytes(name: str, field: str) -> bytes:
    """The beginning of a file, long enough to see that it is too long."""
    if name != "-":
        with Path(name).open("rb") as file:
            return file.read(MAX_REQUEST_BYTES + 1)
    if sys.stdin is None:
        raise _unreadable(field, name, "standard input is closed")
    return sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)


def _unreadable(field: str, name: str, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field=field, value=name, allowed=allowed)])


def _looks_like_json(text: str) -> bool:
    """TOML may begin with a bracket too, but not with a brace behind it."""
    return text.lstrip("\ufeff \t\r\n[").startswith("{")


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------


def requests_in(source: Source) -> Sequence[Written]:
    """The requests of a text. A TOML document holds one, MXCuBE's JSON may hold a list."""
    from fsmcollect.request import written_in_mxcube, written_in_toml

    if not source.is_json:
        return [written_in_toml(source.text, source.where)]
    return [_below_out(written) for written in written_in_mxcube(source.text, source.where)]


def _below_out(written: Written) -> Written:
    """MXCuBE names a facility's absolute directories; a simulation keeps them below --out."""
    files = written.request.files

    def relative(directory: str) -> str:
        return str(Path(directory).relative_to(Path(directory).anchor)) if directory else ""

    try:
        files = attrs.evolve(
            files, directory=relative(files.directory), process_directory=relative(files.process_directory)
        )
    except InvalidRequest as refusal:
        raise written.retold(refusal) from None
    return attrs.evolve(written, request=attrs.evolve(written.request, files=files))


# ---------------------------------------------------------------------------------------------------------------------
# Scenarios
# ---------------------------------------------------------------------------------------------------------------------


def is_scenario(source: Source) -> bool:
    """Whether it is meant for a scenario, and not for a request."""
    if source.is_json or _MAY_BE_SCENARIO.search(source.text) is None:
        return False
    from fsmcollect.sim.scenario import reading

    return reading.is_scenario(source.text)


def scenario_in(source: Source, additions: Sequence[str] = (), *, seed: int | None = None) -> Asked:
    """The scenario of a text, with what was added to it; a plain request is made one.

    Parameters
    ----------
    additions : sequence of str
        TOML, merged into it in order.
    seed : int or None
        In place of the scenario's own.

    Raises
    ------
    InvalidRequest
        Everything that is wrong with it.
    """
    from fsmcollect.sim.scenario import reading, writing
    from fsmcollect.sim.scenario.values import Scenario

    written: Sequence[Written] = ()
    if is_scenario(source):
        scenario = reading.parse_scenario(source.text, source.where, name=source.name, additions=additions)
    else:
        written = requests_in(source)
        scenario = Scenario(name=source.name, requests=tuple(one.request for one in written))
        if additions:
            text = writing.to_toml(scenario)
            scenario = reading.parse_scenario(text, name=source.name, additions=additions)
    if seed is not None:
        scenario = attrs.evolve(scenario, seed=seed)
    if [one.request for one in written] != list(scenario.requests):  # an addition may have changed them
        written = _written_in(source, scenario)
    strike = scenario.strike
    is_stopped = strike.cancel_at is not None or strike.abort_at is not None
    is_another = any(reading.makes_another_run(reading.read_addition(addition)) for addition in additions)
    return Asked(scenario, tuple(written), is_disturbed=is_stopped or is_another)


def _written_in(source: Source, scenario: Scenario) -> list[Written]:
    """The requests of a scenario, each with where its settings stand."""
    from fsmcollect.request.documents import place, setting_lines
    from fsmcollect.request.reading import Written

    lines = setting_lines(source.text)
    is_list = "requests" in lines or "requests[0]" in lines or len(scenario.requests) > 1

    def placed(index: int, problem: Problem) -> Problem:
        field = f"{f'requests[{index}]' if is_list else 'request'}.{problem.field}"
        return attrs.evolve(problem, field=field, where=place(source.where, field, lines))

    return [Written(request, partial(placed, index)) for index, request in enumerate(scenario.requests)]
