"""Which imagesets of an entry are streamed, and which of their files.

Owns the choice and what a person should know about it. What a file is for is told by its name (`naming`); whether it is
what its name says is found out once it is there (`movies`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.request.fields import printable, shown
from fsmcollect.stream.entry import Entry, EntryError
from fsmcollect.stream.listing import naming
from fsmcollect.stream.paths import matches
from fsmcollect.stream.stopping import size_in_words
from fsmcollect.stream.values import Kind, Listed, RemoteFile


class NoMovies(EntryError):
    """The entry has no imageset of movies: choose one by hand, or another entry."""


@attrs.frozen(kw_only=True)
class Chosen:
    """What there is to fetch from the chosen imagesets.

    Attributes
    ----------
    movies : tuple of RemoteFile
        In natural order of their paths, 2 before 10; those that ``--pattern`` and ``--exclude`` leave.
    gains : tuple of RemoteFile
        Gain references and defect maps.
    notices : tuple of str
        What a person should know, a sentence each.
    found : mapping of int to int
        How many movies each chosen imageset has, before ``--pattern`` and ``--exclude``.
    """

    movies: tuple[RemoteFile, ...] = ()
    gains: tuple[RemoteFile, ...] = ()
    notices: tuple[str, ...] = ()
    found: Mapping[int, int] = attrs.field(factory=dict[int, int])


# ---------------------------------------------------------------------------------------------------------------------
# Imagesets
# ---------------------------------------------------------------------------------------------------------------------

#: So many imagesets are listed in a message; some entries have hundreds.
_LISTED = 12


def choose_imagesets(entry: Entry, wanted: Sequence[str] = ()) -> tuple[int, ...]:
    """The imagesets to stream, as indices into `Entry.imagesets`.

    Parameters
    ----------
    wanted : sequence of str
        Numbers from 1 on, names, or any part of a name that only one has; none: every multiframe imageset.

    Raises
    ------
    InvalidRequest
        One of `wanted` names no imageset, or several.
    NoMovies
        None was asked for, and none is of movies.
    """
    if not wanted:
        chosen = tuple(index for index, imageset in enumerate(entry.imagesets) if imageset.is_multiframe)
        if not chosen:
            raise NoMovies(_why_none(entry))
        return chosen
    problems: list[Problem] = []
    found: dict[int, None] = {}
    for words in wanted:
        named = _named(entry, words.strip())
        if len(named) == 1:
            found[named[0]] = None
        else:
            those = _listed(entry, named or range(len(entry.imagesets))) or "none at all"
            allowed = f"names {'several' if named else 'none'} of the entry's imagesets: {those}"
            problems.append(Problem(field="--imageset", value=printable(words), allowed=allowed))
    if problems:
        raise InvalidRequest(problems)
    return tuple(found)


def _named(entry: Entry, words: str) -> list[int]:
    """The imagesets that a person may mean: by number, by their whole name, by a part of it."""
    if re.fullmatch("[0-9]{1,9}", words) and 1 <= int(words) <= len(entry.imagesets):
        return [int(words) - 1]
    names = [imageset.name.casefold() for imageset in entry.imagesets]
    folded = " ".join(words.split()).casefold()
    whole = [index for index, name in enumerate(names) if folded and name == folded]
    return whole or [index for index, name in enumerate(names) if folded and folded in name]


def _listed(entry: Entry, indices: Sequence[int]) -> str:
    words: list[str] = []
    for index in indices[:_LISTED]:
        imageset = entry.imagesets[index]
        category = f" ({printable(imageset.category)})" if imageset.category else ""
        words.append(f"{index + 1} {shown(imageset.name)}{category}")
    more = len(indices) - _LISTED
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _why_none(entry: Entry) -> str:
    name = f"EMPIAR-{entry.accession}"
    if not entry.imagesets:
        return f"{name} names no imagesets: there is nothing to stream"
    offered = _listed(entry, range(len(entry.imagesets)))
    return f"{name} has no imageset of movies (multiframe), only {offered}; --imageset 1 takes one all the same"


def folders(entry: Entry, chosen: Sequence[int]) -> list[tuple[str, int]]:
    """The folders to walk, each with the imageset that named it; none lies in another."""
    wanted: dict[str, int] = {}
    for index in chosen:
        wanted.setdefault(entry.imagesets[index].directory, index)
    return [(directory, index) for directory, index in wanted.items() if not _is_inside(directory, wanted)]


def _is_inside(directory: str, others: Mapping[str, int]) -> bool:
    """Whether one of the others is above it."""
    while above := directory.rpartition("/")[0]:
        if above in others:
            return True
        directory = above
    return False


def _owners(entry: Entry, chosen: Sequence[int]) -> dict[str, int | None]:
    """Whose each imageset's directory is: of several with the same, the first chosen one's."""
    owners: dict[str, int | None] = {imageset.directory: None for imageset in entry.imagesets}
    for index in reversed(chosen):
        owners[entry.imagesets[index].directory] = index
    return owners


def _owner(folder: str, owners: Mapping[str, int | None]) -> int | None:
    """The chosen imageset that a folder's files are of: that of the deepest directory around it, if it is chosen."""
    while folder:
        if folder in owners:
            return owners[folder]
        folder = folder.rpartition("/")[0]
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------

#: More doubtful references than this, and than movies beside them, are no references. Assumed: real sets have 1 to 3.
MANY_REFERENCES = 10
_NUMBERS = re.compile(r"([0-9]+)")


def natural_order(path: str) -> tuple[str, str]:
    """A key that sorts paths as people do: folder by folder, runs of digits as numbers. No two paths have the same."""
    # A number is "0", how many digits it has, and the digits: shorter ones first, and among equals digit by digit.
    runs = _NUMBERS.split(path.replace("/", "\0"))
    runs[1::2] = [f"0{chr(len(digits))}{digits}" for run in runs[1::2] for digits in (run.lstrip("0"),)]
    return "".join(runs), path


@attrs.define(eq=False)
class _Found:
    """The files of one imageset."""

    movies: list[RemoteFile] = attrs.field(factory=list[RemoteFile])
    gains: list[RemoteFile] = attrs.field(factory=list[RemoteFile])
    archives: list[RemoteFile] = attrs.field(factory=list[RemoteFile])
    #: How many others, by extension.
    others: Counter[str] = attrs.field(factory=Counter[str])


def choose(
    entry: Entry,
    chosen_imagesets: Sequence[int],
    files: Iterable[tuple[str, Listed]],
    patterns: Sequence[str] = (),
    excludes: Sequence[str] = (),
) -> Chosen:
    """Tell movies from all else among what a walk has found; what is in no chosen imageset is passed over.

    Parameters
    ----------
    files : iterable of (path, row)
        In any order.
    patterns, excludes : sequence of str
        Globs (`paths.matches`) on movies: those to take (none: all), those to leave out.
    """
    sets = {index: _Found() for index in chosen_imagesets}
    owners = _owners(entry, chosen_imagesets)
    known: dict[str, tuple[int | None, Kind]] = {}
    for path, row in files:
        folder = path.rpartition("/")[0]
        if (told := known.get(folder)) is None:
            index = _owner(folder, owners)
            around = Kind.OTHER if index is None else naming.kind_in(folder, entry.imagesets[index].directory)
            told = known[folder] = index, around
        index, around = told
        if index is None:
            continue
        found = sets[index]
        file = RemoteFile(path, naming.kind_of(row.name, around), index, row.size_bytes, row.about_bytes)
        if file.kind is Kind.MOVIE:
            found.movies.append(file)
        elif file.kind is Kind.ARCHIVE:
            found.archives.append(file)
        elif file.kind is Kind.OTHER:
            found.others[naming.extension(row.name)] += 1
        else:
            found.gains.append(file)

    notices = [said for index, found in sets.items() for said in _believing_movies(index, found)]
    movies = _sorted(file for found in sets.values() for file in found.movies)
    wanted = tuple(file for file in movies if _is_wanted(file.path, patterns, excludes))
    archives = _sorted(file for found in sets.values() for file in found.archives)
    notices += _notices(entry, sets, archives)
    if movies and not wanted:
        globs = [*(f"--pattern {words}" for words in patterns), *(f"--exclude {words}" for words in excludes)]
        notices.append(f"none of {_counted(len(movies), 'movie')} is left by {' '.join(map(printable, globs))}")
    return Chosen(
        movies=wanted,
        gains=_sorted(file for found in sets.values() for file in found.gains),
        notices=tuple(notices),
        found=dict(Counter(file.imageset for file in movies)),
    )


def count_disagrees(entry: Entry, chosen_imagesets: Sequence[int], chosen: Chosen) -> str | None:
    """Where there are more or fewer movies than the entry's description says, in words; None where it agrees.

    What the depositor did not count is not compared, nor what shares its folder with an imageset that is not chosen.
    ``--pattern`` and ``--exclude`` change nothing.
    """
    said: list[str] = []
    by_folder: dict[str, list[int]] = {}
    for index, imageset in enumerate(entry.imagesets):
        by_folder.setdefault(imageset.directory, []).append(index)
    for indices in by_folder.values():
        counts = [entry.imagesets[index].images for index in indices]
        if not set(indices) <= set(chosen_imagesets) or None in counts:
            continue
        found, stated = sum(chosen.found.get(index, 0) for index in indices), sum(filter(None, counts))
        if found != stated:
            names = " and ".join(str(index + 1) for index in indices)
            which = f"imageset {names} has" if len(indices) == 1 else f"imagesets {names} have"
            said.append(f"{which} {_counted(found, 'movie')} in the archive, and {stated:,} by the description")
    return "; ".join(said) or None


def _is_wanted(path: str, patterns: Sequence[str], excludes: Sequence[str]) -> bool:
    if patterns and not any(matches(path, pattern) for pattern in patterns):
        return False
    return not any(matches(path, pattern) for pattern in excludes)


def _sorted(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """In natural order, each path once."""
    return tuple({file.path: file for file in sorted(files, key=lambda file: natural_order(file.path))}.values())


def _believing_movies(index: int, found: _Found) -> Iterator[str]:
    """There are never more references than movies: then the word in their names means something else."""
    sure: list[RemoteFile] = []
    doubtful: list[RemoteFile] = []
    for file in found.gains:
        (doubtful if naming.is_doubtful(file) else sure).append(file)
    if len(doubtful) > max(MANY_REFERENCES, len(found.movies)):
        found.movies += [attrs.evolve(file, kind=Kind.MOVIE) for file in doubtful]
        found.gains = sure
        names = f"{_counted(len(doubtful), 'file')} of imageset {index + 1}, such as {shown(doubtful[0].path)},"
        yield f"{names} are named like gain references or defect maps, but are so many that they are taken for movies"


def _notices(entry: Entry, sets: Mapping[int, _Found], archives: Sequence[RemoteFile]) -> Iterator[str]:
    if archives:
        yield _about(archives)
    owners: dict[str, int] = {}
    for index, found in sets.items():
        directory = entry.imagesets[index].directory
        if owners.setdefault(directory, index) == index and not found.movies:
            others = [f"{count:,} {f'.{name}' if name else 'other'}" for name, count in found.others.most_common(3)]
            but = f", but {', '.join(others)}" if others else ""
            endings = ", ".join(f".{ending}" for ending in naming.MOVIES)
            yield f"imageset {index + 1} has no movies ({endings}) in {directory}{but}"
    for index, imageset in enumerate(entry.imagesets):
        if index not in sets and imageset.directory in owners:
            whose = f"imageset {index + 1} is in the same folder as imageset {owners[imageset.directory] + 1}"
            yield f"{whose}, {imageset.directory}: their files cannot be told apart, and all are taken"
    sizes = {
        index: size
        for index in sets
        if sets[owners[entry.imagesets[index].directory]].movies
        and (size := entry.imagesets[index].pixel_size_a) is not None
    }
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{index + 1} has {size:g} A" for index, size in sizes.items())
        yield f"the imagesets' pixel sizes differ: {each}; every movie keeps its own"


def _about(archives: Sequence[RemoteFile]) -> str:
    """``7 .tar archives, about 1.2 TB, are not opened: ...``."""
    named = Counter(naming.extension(file.path.rpartition("/")[2]) for file in archives)
    exact = all(file.size_bytes is not None for file in archives)
    sizes = [file.about_bytes if file.size_bytes is None else file.size_bytes for file in archives]
    known = sum(size for size in sizes if size is not None)
    size = "" if None in sizes else f", {'' if exact else 'about '}{size_in_words(known)},"
    are = "archive{} is" if len(archives) == 1 else "archives{} are"
    what = ", ".join(f"{count:,} .{name}" for name, count in named.most_common())
    return f"{what} {are.format(size)} not opened: what is inside is not streamed"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
