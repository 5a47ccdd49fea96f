"""Walking an entry's tree: every file below some folders, whatever the layout.

Owns the walk and its limits. Knows neither HTTP nor FTP (a source lists one folder) nor what a file is for (`choice`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import attrs
import trio

from fsmcollect.stream import paths
from fsmcollect.stream.sources import REFUSED_KEPT, Refused, Source
from fsmcollect.stream.values import Listed

#: Deeper or larger trees are a loop or an attack. Assumed; the largest entries have some hundred thousand files.
MAX_DEPTH = 24
MAX_FILES = 5_000_000

#: Lists one folder, patiently.
Lister = Callable[[str], Awaitable[list[Listed]]]


@attrs.frozen
class Tree:
    """What a walk has found: the files of each folder, and what was left out and why."""

    folders: dict[str, list[Listed]]
    notices: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, Listed]]:
        """Every file as its path and its row."""
        for folder, rows in self.folders.items():
            for row in rows:
                yield f"{folder}/{row.name}" if folder else row.name, row

    def joined(self, other: Tree) -> Tree:
        """What either walk has found."""
        folders = {
            folder: list(
                {row.name: row for row in (*self.folders.get(folder, ()), *other.folders.get(folder, ()))}.values()
            )
            for folder in {**self.folders, **other.folders}
        }
        return Tree(folders, tuple(dict.fromkeys((*self.notices, *other.notices))))


async def walk(source: Source, lister: Lister, folders: Sequence[str], *, jobs: int) -> Tree:
    """Every file below the folders; `jobs` folders are listed at once.

    Raises
    ------
    SourceError
        A folder could not be listed.
    Refused
        The tree is deeper or larger than any real entry.
    """
    send, receive = trio.open_memory_channel[str](float("inf"))  # bounded by MAX_FILES
    found: dict[str, list[Listed]] = {}
    notices: list[str] = []
    waiting = files = 0

    def enter(folder: str) -> None:
        nonlocal waiting
        if folder not in found:
            found[folder] = []
            waiting += 1
            send.send_nowait(folder)

    async def work() -> None:
        nonlocal waiting, files
        async for folder in receive:
            rows = await lister(folder)
            files += len(rows)
            if files > MAX_FILES:
                raise Refused(f"{source.url}: more than {MAX_FILES:,} files: this cannot be an entry")
            for row in rows:
                path = f"{folder}/{row.name}" if folder else row.name
                if (reason := paths.check_path(path)) is not None:
                    if len(notices) < REFUSED_KEPT:
                        notices.append(f"{path[:200]!r} is left out: {reason}")
                elif not row.is_folder:
                    found[folder].append(row)
                elif path.count("/") > MAX_DEPTH:
                    raise Refused(f"{source.url}: folders more than {MAX_DEPTH} deep, as in {path!r}: is it a loop?")
                else:
                    enter(path)
            waiting -= 1
            if waiting == 0:
                send.close()

    for folder in folders:
        enter(folder)
    if waiting:
        async with trio.open_nursery() as nursery:
            for _ in range(jobs):
                nursery.start_soon(work)
    return Tree(found, tuple(notices))
