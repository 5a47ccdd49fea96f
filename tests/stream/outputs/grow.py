"""Registers movies into a Scipion set until it is killed: ``python -m tests.stream.outputs.grow DIRECTORY NUMBER``."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from fsmcollect.stream.outputs.scipion import Scipion
from tests.stream.outputs.registering import FACTS, movie, movies


def main() -> None:
    directory, first = Path(sys.argv[1]), int(sys.argv[2])
    output = Scipion(directory)
    output.open(FACTS, movies(first))
    for number in itertools.count(first + 1):
        output.append(movie(number))
        print(number, flush=True)  # noqa: T201 - whoever kills this reads it


if __name__ == "__main__":
    main()
