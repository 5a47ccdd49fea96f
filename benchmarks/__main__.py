"""Measure promised figures against their limits: ``python -m benchmarks [--json] [NAME ...]``, from the repository.

Without a NAME, every group is measured but those that take minutes: ``python -m benchmarks movies`` streams an entry of
100,000 small movies to its end, ``python -m benchmarks sweep`` strikes the inverse-beam scenario at all its points.

Each figure is the median of several runs, because machines are noisy; a baseline that does the same work without this
project (where there is one) is measured in the same run. Exit code 1 where a limit is missed.
"""

from __future__ import annotations

import json
import sys

import attrs
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks import collecting, proving, streaming

GROUPS = {
    "plan": collecting.plan,
    "shutterless": collecting.shutterless,
    "wedges": collecting.single_image_wedges,
    "transitions": collecting.transitions_per_second,
    "import": collecting.importing,
    "abort": collecting.abort,
    "fetch": streaming.fetching,
    "listing": streaming.listing,
    "movies": streaming.many_movies,
    "scenarios": proving.scenarios,
    "sweep": proving.whole_sweep,
}
#: Only where they are named.
LONG = ("movies", "sweep")


def main(arguments: list[str]) -> int:
    """Measure the named groups, or all but the long ones."""
    as_json = "--json" in arguments
    names = [name for name in arguments if name != "--json"] or [name for name in GROUPS if name not in LONG]
    unknown = sorted(set(names) - set(GROUPS))
    if unknown:
        Console(stderr=True).print(f"no such figures: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
        return 2
    figures = [figure for name in names for figure in GROUPS[name]()]
    if as_json:
        print(json.dumps([{**attrs.asdict(f), "median": f.median, "is_met": f.is_met} for f in figures]))
    else:
        table = RichTable(box=None)
        for heading in ("figure", "median", "min", "max", "limit", ""):
            table.add_column(heading, justify="left" if heading in ("figure", "") else "right", no_wrap=True)
        for f in figures:
            limit = f"< {f.at_most:g}" if f.at_most is not None else f">= {f.at_least:,g}" if f.at_least else ""
            numbers = [
                f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"
                for value in (f.median, min(f.values), max(f.values))
            ]
            verdict = "" if not limit else "met" if f.is_met else "MISSED"
            table.add_row(f"{f.name} [{f.unit}]".replace("[", r"\["), *numbers, limit, verdict)
        Console(width=120).print(table)
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
