"""What a mutant is: one place of the package where the code says something dangerous instead of what it says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs

FOLDER = Path(__file__).parent
#: The sources as they are.
PACKAGE = FOLDER.parents[1] / "fsmcollect"


@attrs.frozen(kw_only=True)
class Mutant:
    """A mistake that somebody could make.

    Attributes
    ----------
    name : str
        What was done, in a few words; unique.
    file : str
        Relative to the package.
    old, new : str
        What the sources say, exactly once in that file, and what they say instead.
    danger : str
        What would come of it at a beamline.
    worst : bool
        One of the few that the default tests show to be caught.
    equal : str
        Why it changes nothing that anybody could see; empty for one that has to be caught.
    """

    name: str
    file: str
    old: str
    new: str
    danger: str
    worst: bool = False
    equal: str = ""

    def defect(self, package: Path = PACKAGE) -> str:
        """Why it is no mutant of these sources; empty where it is one."""
        path = package / self.file
        if not path.is_file():
            return f"{self.name}: there is no {self.file}"
        if self.old == self.new:
            return f"{self.name}: changes nothing"
        text = path.read_text()
        if (times := text.count(self.old)) != 1:
            return f"{self.name}: its text is {times} times in {self.file}, not once"
        try:
            compile(text.replace(self.old, self.new), self.file, "exec")
        except SyntaxError as error:
            return f"{self.name}: is no Python: {error}"
        return ""

    def apply(self, package: Path) -> None:
        """Change the copy of the package in this folder.

        Raises
        ------
        ValueError
            The text is not there exactly once.
        """
        if defect := self.defect(package):
            raise ValueError(defect)
        path = package / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


def read_mutants() -> tuple[Mutant, ...]:
    """Every mutant that was made by hand, from the TOML files beside this one."""
    return tuple(
        Mutant(**entry)
        for path in sorted(FOLDER.glob("*.toml"))
        for entry in tomllib.loads(path.read_text())["mutants"]
    )
