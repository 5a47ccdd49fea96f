"""The writing half of `read_sets.py`, with fsmcollect's own Python: does what is asked of it, a line at a time.

``open N``, ``append N`` (so many more), ``close``; each is answered with how many movies the set has. The movies are
real files, so that the reader can open them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import attrs

from fsmcollect.stream.outputs.scipion import Scipion
from fsmcollect.stream.values import Movie
from tests.stream import making
from tests.stream.outputs.registering import BARE, FACTS, movie


def registered(directory: Path, number: int) -> Movie:
    data = making.mrc(24, 16, 5, 6, seed=number)
    one = movie(number)
    path = directory / one.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    header = attrs.evolve(one.header, width_px=24, height_px=16, frames=5, mode="uint16")
    return attrs.evolve(one, header=header, size_bytes=len(data))


def main() -> None:
    directory = Path(sys.argv[1])
    facts = BARE if sys.argv[2:] == ["bare"] else FACTS
    output = Scipion(directory)
    count = 0
    for line in sys.stdin:
        command, _, number = line.strip().partition(" ")
        if command == "open":
            count = int(number)
            output.open(facts, [registered(directory, one) for one in range(1, count + 1)])
        elif command == "append":
            for _ in range(int(number)):
                count += 1
                output.append(registered(directory, count))
        else:
            output.close("done")
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
