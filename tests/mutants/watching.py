"""The checkers' verdict on the package that this process imports.

`main` prints one line of JSON: which look complained, and of what; both empty where all is well. It refuses to judge
another package than the one in the folder that it is given.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(folder: str) -> None:
    """Look until a look complains."""
    began_s = time.perf_counter()
    by, what = "", ""
    seconds: dict[str, float] = {}
    try:
        import fsmcollect

        there = Path(fsmcollect.__file__).resolve()
        if not there.is_relative_to(Path(folder).resolve()):
            raise SystemExit(f"{there} was imported, which is not in {folder}")
        from tests.mutants import looks

        to_look_at = looks.LOOKS
    except Exception as error:  # a table that refuses to be built, a name that is gone
        by, what = "import", repr(error)
        to_look_at = ()
    for look in to_look_at:
        started_s = time.perf_counter()
        try:
            look()
        except Exception as error:
            by, what = look.__name__.replace("_", " "), str(error).strip().split("\n")[0] or repr(error)
        seconds[look.__name__] = round(time.perf_counter() - started_s, 2)
        if by:
            break
    sys.stdout.write(
        json.dumps({"by": by, "what": what, "seconds": time.perf_counter() - began_s, "looks": seconds}) + "\n"
    )
