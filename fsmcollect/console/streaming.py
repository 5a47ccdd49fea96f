"""What a person sees of a stream before and after it, and what programs are told of it. In between: `following`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fsmcollect.console import ROWS_SHOWN, coloured, complain, say, show_row, show_table
from fsmcollect.console.amounts import count, duration, plain
from fsmcollect.stream.stopping import size_in_words

if TYPE_CHECKING:
    from fsmcollect.stream.listing.dry_run import Survey
    from fsmcollect.stream.result import StreamResult
    from fsmcollect.stream.values import RemoteFile

#: Of an archive that has not been measured. Assumed: what one site sees of it over a good line.
ASSUMED_BYTES_PER_S = 50e6
#: Errors that a person is told one by one; ``--json`` has more of them.
_ERRORS_SHOWN = 12


# ---------------------------------------------------------------------------------------------------------------------
# Before it, for those who ask for a dry run
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Outlook:
    """What ``--dry-run`` says: what would be fetched, into which disk, and how long it may take.

    Attributes
    ----------
    free_bytes : int
        On the disk of `directory`.
    rate_bytes_per_s, time_s : float or None
        The limits that were asked for.
    """

    survey: Survey
    directory: Path
    free_bytes: int
    rate_bytes_per_s: float | None = None
    time_s: float | None = None

    @property
    def bytes_per_s(self) -> float:
        speed = self.survey.measured_bytes_per_s or ASSUMED_BYTES_PER_S
        return min(speed, self.rate_bytes_per_s or speed)

    @property
    def estimated_s(self) -> float:
        needed_s = self.survey.bytes_total / self.bytes_per_s
        return needed_s if self.time_s is None else min(needed_s, self.time_s)

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """In the order in which they are fetched."""
        return (*self.survey.gains, *self.survey.movies)


def show_outlook(outlook: Outlook) -> None:
    """Print what the entry is, what would be fetched of it, and what that takes."""
    from fsmcollect.stream.entry import summary

    survey, total = outlook.survey, outlook.survey.bytes_total
    about = summary(survey.entry)
    gains = f" and {count(len(survey.gains), 'gain file')}" if survey.gains else ""
    exact = f", {total:,} bytes" if total >= 1000 else ""
    lacking = "; that is not enough" if outlook.free_bytes < total else ""
    needs = [
        ("to fetch", f"{count(len(survey.movies), 'movie')}{gains}: {size_in_words(total)}{exact}"),
        ("free disk", f"{size_in_words(outlook.free_bytes)} for {outlook.directory}{lacking}"),
        ("duration", _about(outlook)),
        *(("note", notice) for notice in survey.notices),
    ]
    column = max(len(label) for label, _ in (*about, *needs)) + 2
    for label, text in about:
        show_row(plain(label), plain(text), column=column)
    say("")
    _show_files(outlook.files)
    for label, text in needs:
        show_row(label, plain(text), column=column)


def _about(outlook: Outlook) -> str:
    if outlook.time_s is not None and outlook.estimated_s == outlook.time_s:
        return f"{duration(outlook.time_s)}: that ends it by --until, before everything is there"
    speed = f"{size_in_words(outlook.bytes_per_s)}/s"
    if outlook.rate_bytes_per_s is not None and outlook.bytes_per_s == outlook.rate_bytes_per_s:
        how = f"{speed}, the --rate"
    elif outlook.survey.measured_bytes_per_s is None:
        how = f"{speed}, which is assumed: nothing was measured"
    else:
        how = f"{speed}, as measured on one connection"
    return f"about {duration(outlook.estimated_s)} at {how}"


def _show_files(files: Sequence[RemoteFile]) -> None:
    """The first and the last of them, like the wedges of a plan."""
    rows: list[tuple[str, ...]] = [("number", "kind", "bytes", "file")]
    shown = len(files) if len(files) <= ROWS_SHOWN else ROWS_SHOWN - 2
    rows += [_file_row(number, file) for number, file in enumerate(files[:shown], 1)]
    if shown < len(files):
        rows += [("...", "", "", ""), _file_row(len(files), files[-1])]
    if files:
        show_table(rows, numeric=("number", "bytes"))
        say("")


def _file_row(number: int, file: RemoteFile) -> tuple[str, ...]:
    exact = f"{file.size_bytes:,}" if file.size_bytes is not None else "unknown"
    return f"{number:,}", file.kind.value, exact, plain(file.path)


def outlook_json(outlook: Outlook) -> str:
    """One object of what would be fetched."""
    survey = outlook.survey
    return json.dumps(
        {
            "entry": f"EMPIAR-{survey.entry.accession}",
            "title": survey.entry.title,
            "movies": len(survey.movies),
            "gains": len(survey.gains),
            "bytes": survey.bytes_total,
            "free_bytes": outlook.free_bytes,
            "estimated_s": round(outlook.estimated_s, 3),
            "files": [{"path": file.path, "bytes": file.size_bytes, "kind": file.kind.value} for file in outlook.files],
            "notices": list(survey.notices),
        }
    )


# ---------------------------------------------------------------------------------------------------------------------
# After it
# ---------------------------------------------------------------------------------------------------------------------


def show_result(result: StreamResult, directory: Path) -> None:
    """Print what became of a stream."""
    show_row("outcome", coloured(str(result.outcome)))
    show_row("entry", plain(f"{result.entry}, {result.title}" if result.title else result.entry))
    show_row(
        "movies", f"{result.registered:,} registered, {size_in_words(result.bytes)}, in {duration(result.seconds)}"
    )
    if result.rejected:
        show_row("rejected", plain(f"{result.rejected:,}: see {directory / 'rejected'}"))
    if result.resumed_bytes:
        show_row("resumed", f"{size_in_words(result.resumed_bytes)} of files that an earlier run had begun")
    for name, path in result.outputs.items():
        show_row(name, plain(str(path)))


def tell_notices(notices: Sequence[str]) -> None:
    """Say on standard error what a person should know besides, where nothing has shown it when it came."""
    for notice in notices:
        complain(f"note: {plain(notice)}")


def complain_of(errors: Sequence[str]) -> None:
    """Say on standard error what failed, the first of it in full."""
    for error in errors[:_ERRORS_SHOWN]:
        complain(plain(error))
    if len(errors) > _ERRORS_SHOWN:
        complain(f"and {len(errors) - _ERRORS_SHOWN:,} more")


def result_json(result: StreamResult) -> str:
    """One object for a stream."""
    return json.dumps(
        {
            "outcome": str(result.outcome),
            "entry": result.entry,
            "title": result.title,
            "registered": result.registered,
            "rejected": result.rejected,
            "bytes": result.bytes,
            "seconds": round(result.seconds, 6),
            "resumed_bytes": result.resumed_bytes,
            "outputs": {name: str(path) for name, path in result.outputs.items()},
            "errors": list(result.errors),
        }
    )
