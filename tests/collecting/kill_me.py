"""A collection with files in a process of its own, to be killed: ``kill_me.py DIRECTORY WAY`` says when it begins."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.collecting.rehearsing import WAYS, Play

if __name__ == "__main__":
    play = Play(WAYS[sys.argv[2]], directory=Path(sys.argv[1]))
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    play.run()
    sys.stdout.write(play.outcome + "\n")
