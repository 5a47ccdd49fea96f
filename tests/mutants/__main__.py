"""Try mutants and print the table: ``python -m tests.mutants [--checkers] [WORDS OF A NAME OR FILE ...]``.

With ``--checkers`` no tests are asked where the checkers see nothing. JOBS says how many at a time.
"""

from __future__ import annotations

import os
import sys

from tests.mutants.mutant import read_mutants
from tests.mutants.trying import TESTS, Verdict, judge_all, row, score


def main(words: list[str]) -> int:
    tests = () if "--checkers" in words else TESTS
    words = [word for word in words if not word.startswith("--")]
    wanted = [
        mutant
        for mutant in read_mutants()
        if not words or any(word in f"{mutant.file} {mutant.name}" for word in words)
    ]
    verdicts: list[Verdict] = []
    for verdict in judge_all(wanted, tests=tests, jobs=int(os.environ.get("JOBS", os.cpu_count() or 1))):
        verdicts.append(verdict)
        sys.stdout.write(row(verdict).rstrip() + "\n")
        sys.stdout.flush()
    sys.stdout.write(score(verdicts) + "\n")
    return any(bool(verdict.by) is bool(verdict.mutant.equal) for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
