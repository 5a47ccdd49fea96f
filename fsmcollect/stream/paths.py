"""Names and paths from somebody else's listing: which may become files of ours, and which of them a glob means.

Owns the rules of one name and of a path, and globs. Touches no disk: that no symbolic link leads astray is the
workspace's business.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import unicodedata
from collections.abc import Callable, Sequence

#: NAME_MAX of every file system that matters here: bytes of one name.
_NAME_MAX_BYTES = 255
#: What `fsmcollect.storage.temporary_path` puts around a name: a file that is not yet complete.
_PARTIAL = (".", ".part")
#: So that the hidden partial file's name fits too.
MAX_NAME_BYTES = _NAME_MAX_BYTES - sum(map(len, _PARTIAL))
#: Assumed: below Linux's PATH_MAX of 4,096 with room for the directory in front.
MAX_PATH_BYTES = 3_000


def check_name(name: str) -> str | None:
    """What is wrong with a decoded name as ONE part of a path of ours.

    Returns
    -------
    str or None
        None where it is safe; else the reason, to be read behind the name: ``leads out of its folder``.
    """
    if not name:
        return "is empty"
    if name == "..":
        return "leads out of its folder"
    if name == ".":
        return "means its own folder"
    if "/" in name:
        return "holds a slash: it is more than one name"
    if not name.isascii() or not name.isprintable():
        for character in name:
            category = unicodedata.category(character)
            if category == "Cs":
                return "is not UTF-8"
            if category in ("Cc", "Zl", "Zp"):
                return f"holds a control character, U+{ord(character):04X}"
    if (size_bytes := len(name.encode())) > MAX_NAME_BYTES:
        return f"is {size_bytes:,} bytes long, and {MAX_NAME_BYTES} are allowed"
    before, behind = _PARTIAL
    if name.startswith(before) and name.endswith(behind):
        return "is what a file of ours is called before it is complete"
    return None


def check_path(path: str) -> str | None:
    """What is wrong with a decoded path below an entry's folder, parts divided by ``/``; None where it is safe."""
    if path.startswith("/"):
        return "is absolute"
    for part in path.split("/"):
        if (reason := check_name(part)) is not None:
            return f"is empty or has an empty part: {part!r}" if not part else f"has a part that {reason}"
    if (size_bytes := len(path.encode())) >= MAX_PATH_BYTES:
        return f"is {size_bytes:,} bytes long, and fewer than {MAX_PATH_BYTES:,} are allowed"
    return None


def matches(path: str, pattern: str) -> bool:
    """Whether a glob means this path; upper and lower case differ.

    Parameters
    ----------
    pattern : str
        ``*``, ``?``, ``[a-z]`` and ``[!a-z]`` within one part. Without ``/`` it is held against the last part; with
        one, against the whole path or the end of it from any folder on; with one in front, against the whole path
        only. ``**`` as a part spans any number of folders, ``**.mrc`` behind a folder means ``**/*.mrc``.
    """
    if "/" not in pattern:
        return _part(pattern)(path[path.rfind("/") + 1 :]) is not None
    return _spans(_folders(pattern), path.split("/"))


#: In a list of a pattern's parts: any number of folders.
_ANY = "**"


@functools.lru_cache(maxsize=256)
def _part(pattern: str) -> Callable[[str], re.Match[str] | None]:
    # fnmatch makes its stars atomic: no pattern, however starry, takes more than a few passes over a name.
    return re.compile(fnmatch.translate(pattern)).match


@functools.lru_cache(maxsize=256)
def _folders(pattern: str) -> tuple[str, ...]:
    parts: list[str] = [] if pattern.startswith("/") else [_ANY]
    for part in pattern.strip("/").split("/"):
        if part.startswith(_ANY) and part != _ANY:
            parts += (_ANY, "*" + part.lstrip("*"))
        else:
            parts.append(part)
    if parts[-1] == _ANY:  # `a/**` means what is in `a`
        parts.append("*")
    return tuple(parts)


def _spans(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """The classical match of stars, on parts: only the last ``**`` need ever be tried again."""
    at = tried = 0
    star = -1
    of = 0
    while at < len(path):
        if of < len(pattern) and pattern[of] == _ANY:
            star, tried = of, at
            of += 1
        elif of < len(pattern) and _part(pattern[of])(path[at]) is not None:
            of += 1
            at += 1
        elif star >= 0:
            tried += 1
            of, at = star + 1, tried
        else:
            return False
    return of == len(pattern)
