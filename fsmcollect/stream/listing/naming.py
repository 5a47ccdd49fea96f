"""What a file is for, as far as its name and its folders can tell: gain references and defect maps from movies.

It sees names only. A sum or an average beside its movie has a movie's name and is taken for one.
"""

from __future__ import annotations

import functools
import re

from fsmcollect.stream.entry import Imageset
from fsmcollect.stream.values import Kind, RemoteFile

#: The formats that `movies` can check.
MOVIES = ("mrc", "mrcs", "tif", "tiff", "eer")
#: What else may be by what the names, or those of the folders, say.
_EXTENSIONS = {
    Kind.MOVIE: frozenset(MOVIES),
    Kind.GAIN: frozenset({*MOVIES, "dm3", "dm4", "gain", "raw"}),
    Kind.DEFECTS: frozenset({*MOVIES, "dm3", "dm4", "txt"}),
    Kind.OTHER: frozenset[str](),
}
_ARCHIVES = frozenset({"tar", "tgz", "tbz", "tbz2", "txz", "zip", "7z", "gz", "bz2", "xz", "zst", "rar"})

# All of these look at words in small letters with `_` between, see `_words`.
#: What detectors' own software calls them: SerialEM, DigitalMicrograph, EPU.
_SURELY_GAIN = re.compile(r"(?<![a-z])(?:(?:count|super|hybrid)_?ref|gain_?ref(?:erence)?s?)(?![a-z])")
_GAIN = re.compile(_SURELY_GAIN.pattern + r"|(?<![a-z])gain(?:s|map|file|image)?(?![a-z])")
_REFERENCE = re.compile(r"(?:^|_)ref(?:erence)?s?$")
#: Movies whose names tell of a gain that was or was not applied, `again`, and genetics' gain of function.
_HARMLESS = re.compile(
    r"(?:^|_)(?:no|non|not|un|with|without|w|wo|pre|post|before|after)_(?:gain|ref)"
    r"|(?<![a-z])gain_?(?:ref(?:erence)?_?)?"
    r"(?:ed|(?:corr?(?:ected)?|norm(?:ali[sz]ed)?)(?!_?ref)|multiplied|divided|subtracted|removed|applied|fixed)(?![a-z])"
    r"|(?<![a-z])gain_of_"
)
_DARK = re.compile(r"^dark$|(?:^|_)dark(?:_?ref(?:erence)?s?|_?gain)(?![a-z])|(?<![a-z])(?:ref|gain)_?dark(?![a-z])")
_DEFECTS = re.compile(r"^defects?(?![a-z])|_defects?$|(?<![a-z])defects?_?(?:map|file|list|mask|ref)")
#: A folder with one of these in its name has movies in it, whatever else.
_OF_MOVIES = re.compile(r"movie|frame|micrograph|stack|fraction|image|tilt")

# ABCdef and abcDef are two words each, but GAIN is one.
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=(?:Gain|Ref|Defect|Dark)[a-z]*)|(?<=[A-Z]{2})(?=gain)")
_BETWEEN = re.compile(r"[^a-zA-Z0-9]+")
_DIGITS = re.compile(r"[0-9]+")


def kind(path: str, imageset: Imageset | None = None) -> Kind:
    """What a file is for, as far as its name, and the folders it is in, can tell.

    Parameters
    ----------
    imageset : Imageset or None
        Whose file it is: the folders above its directory tell nothing then. None: every folder tells.
    """
    folder, _, name = path.rpartition("/")
    return kind_of(name, kind_in(folder, "" if imageset is None else imageset.directory))


def kind_in(folder: str, directory: str) -> Kind:
    """What the names of the folders below an imageset's directory say of the files in them."""
    below = folder[len(directory) :] if directory else folder
    for part in reversed(below.split("/")):
        words = _words(part)
        if _OF_MOVIES.search(words) or _HARMLESS.search(words):
            continue
        if _GAIN.search(words):
            return Kind.GAIN
        if _DEFECTS.search(words):
            return Kind.DEFECTS
    return Kind.MOVIE


def kind_of(name: str, around: Kind) -> Kind:
    """What a file is for; `around` is what its folders say of files that could be it."""
    small = name.lower()
    stem, _, extension = small.rpartition(".")
    if extension in _ARCHIVES:
        return Kind.ARCHIVE
    # Hidden files are droppings of file managers: ._001.mrc is no movie.
    if not stem or small.startswith((".", "readme", "note")):
        return Kind.OTHER
    named = Kind.MOVIE
    if "gain" in small or "ref" in small or "defect" in small or "dark" in small:
        # The numbers in a hundred thousand names are what differs, and they tell nothing.
        named = _kind_by_name(_DIGITS.sub("0", name[: len(stem)]))
    if named is Kind.MOVIE:
        named = Kind.GAIN if extension == "gain" else around
    return named if extension in _EXTENSIONS[named] else Kind.OTHER


@functools.lru_cache(maxsize=1024)
def _kind_by_name(stem: str) -> Kind:
    words = _words(stem)
    if _HARMLESS.search(words):
        return Kind.MOVIE
    if _DARK.search(words):
        return Kind.OTHER  # never to be mistaken for the gain reference
    is_gain = _GAIN.search(words) or _REFERENCE.search(words)
    if _DEFECTS.search(words) or (is_gain and "defect" in words):
        return Kind.DEFECTS
    return Kind.GAIN if is_gain else Kind.MOVIE


def _words(name: str) -> str:
    """``CountRef-20.Aug`` as ``count_ref_20_aug``."""
    return _BETWEEN.sub("_", _HUMPS.sub("_", name)).lower()


def is_doubtful(file: RemoteFile) -> bool:
    """Taken for a reference by a word that a movie's name may hold too."""
    name = file.path.rpartition("/")[2]
    return extension(name) in MOVIES and not _is_surely_gain(_DIGITS.sub("0", name))


@functools.lru_cache(maxsize=1024)
def _is_surely_gain(name: str) -> bool:
    return _SURELY_GAIN.search(_words(name)) is not None


def extension(name: str) -> str:
    """In small letters; of a packed tar with both."""
    stem, _, extension = name.lower().rpartition(".")
    return f"tar.{extension}" if stem.endswith(".tar") else extension if stem else ""
