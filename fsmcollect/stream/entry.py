"""What the archive says of one entry, from its JSON: tolerant of every oddity seen, strict about what matters.

Owns accessions, the shape of the archive's answer and the summary a person reads. What nobody can use is read as None
or left out; what would lead a stream astray (another entry, an unsafe directory, a page of HTML) is an `EntryError`.
Which imagesets are streamed is `choice`'s; nothing here asks the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

import attrs

from fsmcollect.errors import FsmCollectError, InvalidRequest, Problem
from fsmcollect.request.fields import printable, shown
from fsmcollect.stream.paths import check_path
from fsmcollect.stream.stopping import size_in_bytes

#: Where an imageset is that names no directory: below an entry there is this folder and its XML.
DATA_FOLDER = "data"
#: Longer texts are no titles or names; they are cut. Assumed; a real title has some hundred characters.
MAX_TEXT_CHARACTERS = 10_000
#: Larger counts and dimensions are a slip of somebody's hand. Assumed.
MAX_COUNT = 10**9
#: So many authors are named before "and N more".
AUTHORS_SHOWN = 4

_ACCESSION = re.compile(r"(?:EMPIAR-)?([1-9][0-9]{0,8})", re.IGNORECASE)
_MULTIFRAME = re.compile(r"multi[\s_-]*frame", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,300}(?:\.[0-9]{0,300})?(?:[eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,3}|[0-9]{1,10}(?:\.0{1,9})?")

#: More imagesets are an attack. Assumed; the largest entries have some hundred.
MAX_IMAGESETS = 10_000


class EntryError(FsmCollectError):
    """The archive has no such entry, or what it says of it is no description: look at the entry's page."""


class NoDescription(EntryError):
    """The answer is no JSON at all: a page of maintenance, or a description that was cut off. The next may be one."""


@attrs.frozen(kw_only=True)
class Imageset:
    """One imageset of an entry. Texts are on one line and printable; empty where the archive says nothing.

    Attributes
    ----------
    directory : str
        Below the entry's folder, a safe path (`check_path`): ``data/Movies``. Several imagesets may share one.
    images : int or None
        Movies, images or tilt series, as the depositor counted them.
    pixel_size_a : float or None
        Angstrom.
    """

    name: str
    directory: str
    category: str = ""
    data_format: str = ""
    header_format: str = ""
    images: int | None = None
    frames_per_image: int | None = None
    pixel_size_a: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    voxel_type: str = ""
    details: str = ""

    @property
    def is_multiframe(self) -> bool:
        """Whether its images are movies, says the archive; stacks of particles have several frames too."""
        is_of_particles = self.category.strip().lower().startswith("picked")
        return _MULTIFRAME.search(self.category) is not None and not is_of_particles


@attrs.frozen(kw_only=True)
class Entry:
    """One entry of the archive.

    Attributes
    ----------
    accession : str
        ``10200``.
    status : str
        ``REL`` where it is released.
    organisation : str or None
        The corresponding author's, where the archive tells.
    size_text : str
        As the archive writes it: ``305.5 GB``.
    size_bytes : int or None
        The same as a number: rounded, never exact.
    cross_references : tuple of str
        ``EMD-3061``: there are dose, voltage and Cs.
    """

    accession: str
    title: str
    status: str = ""
    authors: tuple[str, ...] = ()
    organisation: str | None = None
    deposition_date: str | None = None
    release_date: str | None = None
    size_text: str = ""
    size_bytes: int | None = None
    doi: str = ""
    imagesets: tuple[Imageset, ...] = ()
    cross_references: tuple[str, ...] = ()


def accession(text: str) -> str:
    """The number of an entry as a person writes it: ``10200``, ``EMPIAR-10200``.

    Raises
    ------
    InvalidRequest
        It is none.
    """
    read = _ACCESSION.fullmatch(text.strip())
    if read is None:
        allowed = "must be the number of an EMPIAR entry, up to 9 digits: 10200 or EMPIAR-10200"
        raise InvalidRequest([Problem(field="ENTRY", value=printable(text), allowed=allowed)])
    return read[1]


def read_entry(data: bytes, accession: str) -> Entry:
    """What the archive's answer says of the entry that was asked for.

    Raises
    ------
    NoDescription
        It is no JSON.
    EntryError
        It is no description of that entry, or the entry is withdrawn.
    """
    asked = f"EMPIAR-{accession}"
    plain = _named(_json(data, asked), accession)
    status = _text(plain.get("status"))
    if status.upper() == "OBS":
        since = _text(plain.get("obsolete_date"))
        raise EntryError(f"{asked} is obsolete{f' since {since}' if since else ''}: its data are withdrawn")
    size_text = _text(plain.get("dataset_size"))
    return Entry(
        accession=accession,
        title=_text(plain.get("title")),
        status=status,
        authors=tuple(filter(None, map(_person, _several(plain.get("authors"))))),
        organisation=_organisation(plain),
        deposition_date=_text(plain.get("deposition_date")) or None,
        release_date=_text(plain.get("release_date")) or None,
        size_text=size_text,
        size_bytes=size_in_bytes(size_text),
        doi=re.sub(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", "", _text(plain.get("entry_doi")), flags=re.IGNORECASE),
        imagesets=tuple(_imagesets(plain.get("imagesets"), accession)),
        cross_references=tuple(filter(None, map(_person, _several(plain.get("cross_references"))))),
    )


def summary(entry: Entry) -> list[tuple[str, str]]:
    """The entry in rows of a label and a text; what the archive does not tell has no row."""
    more = len(entry.authors) - AUTHORS_SHOWN
    authors = ", ".join(entry.authors[:AUTHORS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    dates = (("deposited", entry.deposition_date), ("released", entry.release_date))
    rows = [
        ("entry", f"EMPIAR-{entry.accession}"),
        ("title", entry.title),
        ("authors", authors),
        ("organisation", entry.organisation or ""),
        ("dates", ", ".join(f"{what} {date}" for what, date in dates if date)),
        ("size", entry.size_text),
        ("DOI", entry.doi),
        ("see also", ", ".join(entry.cross_references)),
        *((f"imageset {number}", _in_words(imageset)) for number, imageset in enumerate(entry.imagesets, 1)),
    ]
    return [(label, text) for label, text in rows if text]


def _in_words(imageset: Imageset) -> str:
    """``"Movies" in data/Movies: micrographs - multiframe, MRC, 203 images, 4096 x 4096 px, 10 frames, 1.06 A``."""
    pixels = ("?" if size is None else str(size) for size in (imageset.width_px, imageset.height_px))
    facts = [
        imageset.category,
        imageset.data_format,
        "" if imageset.images is None else _counted(imageset.images, "image"),
        "" if imageset.width_px is imageset.height_px is None else f"{' x '.join(pixels)} px",
        "" if imageset.frames_per_image is None else _counted(imageset.frames_per_image, "frame"),
        "" if imageset.pixel_size_a is None else f"{imageset.pixel_size_a:g} A",
    ]
    where = f'"{imageset.name}" in {imageset.directory}' if imageset.name else f"in {imageset.directory}"
    return f"{where}: {', '.join(filter(None, facts))}".removesuffix(": ")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# ---------------------------------------------------------------------------------------------------------------------
# From bytes to the object of the entry
# ---------------------------------------------------------------------------------------------------------------------


def _json(data: bytes, asked: str) -> object:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        page = f"a web page instead of a description in JSON{_title(data)}"
        raise NoDescription(f"{asked}: the archive answers with {page}")
    no_json = f"{asked}: the archive's description is no JSON"
    try:
        # NaN and Infinity, which JSON does not have, tell as much as null.
        return json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
    except RecursionError as error:
        raise EntryError(f"{no_json}: it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise NoDescription(f"{no_json}: it is not UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise NoDescription(f"{no_json}: {where if data.strip() else 'it is empty'}") from error
    except ValueError as error:  # int() refuses more than 4,300 digits
        raise EntryError(f"{no_json}: it holds a number with too many digits") from error


def _title(page: bytes) -> str:
    """What a page of HTML calls itself, as the end of a sentence."""
    title = re.search(rb"<title[^<>]{0,200}>([^<]{1,500})</title", page[:100_000], re.IGNORECASE)
    words = " ".join(title[1].decode(errors="replace").split()) if title else ""
    return f": {shown(words)}" if words else ""


def _named(answer: object, accession: str) -> Mapping[str, Any]:
    """The object of the entry in ``{"EMPIAR-10200": {...}}``."""
    asked = f"EMPIAR-{accession}"
    if not _is_object(answer):
        raise EntryError(f"{asked}: the archive's description is {_kind(answer)} instead of an object with one entry")
    keys = [key for key in answer if _same(key, accession)] or list(answer)
    if len(keys) != 1:
        found = f"{len(keys)} keys ({printable(', '.join(keys))})" if keys else "nothing"
        raise EntryError(f"{asked}: the archive's description holds {found} instead of one entry")
    key, entry = keys[0], answer[keys[0]]
    other = _ACCESSION.fullmatch(key.strip())
    if other is not None and other[1] != accession:
        raise EntryError(f"{asked}: the archive describes another entry, EMPIAR-{other[1]}")
    if not _is_object(entry):
        raise EntryError(f"{asked}: the archive's description holds {shown(key)}: {_kind(entry)} instead of an entry")
    return entry


def _same(key: str, accession: str) -> bool:
    read = _ACCESSION.fullmatch(key.strip())
    return read is not None and read[1] == accession


def _imagesets(value: object, accession: str) -> Iterator[Imageset]:
    asked = f"EMPIAR-{accession}"
    if _is_object(value) and "imageset" in value:  # as writers do who think in XML
        value = value["imageset"]
    if _is_object(value) and "directory" in value:  # one alone, without its list
        value = [value]
    if value is None or value == "":
        value = []
    if not _is_list(value):
        raise EntryError(f"{asked}: the description's imagesets are {_kind(value)} instead of a list")
    if len(value) > MAX_IMAGESETS:
        raise EntryError(
            f"{asked}: the description has {len(value):,} imagesets; {MAX_IMAGESETS:,} at most are believed"
        )
    for number, plain in enumerate(value, 1):
        if not _is_object(plain):
            raise EntryError(f"{asked}: imageset {number} of the description is {_kind(plain)} instead of an object")
        yield Imageset(
            name=_text(plain.get("name")),
            directory=_directory(plain.get("directory"), accession, number),
            category=_text(plain.get("category")),
            data_format=_text(plain.get("data_format")),
            header_format=_text(plain.get("header_format")),
            images=_count(plain.get("num_images_or_tilt_series")),
            frames_per_image=_count(plain.get("frames_per_image")),
            pixel_size_a=_positive(plain.get("pixel_width")),
            width_px=_count(plain.get("image_width")),
            height_px=_count(plain.get("image_height")),
            voxel_type=_text(plain.get("voxel_type")),
            details=_text(plain.get("details")),
        )


def _directory(value: object, accession: str, number: int) -> str:
    whose = f"EMPIAR-{accession}: the directory of imageset {number}"
    if value is not None and not isinstance(value, str):
        raise EntryError(f"{whose} is {_kind(value)} instead of text")
    parts = [part for part in (value or "").strip().split("/") if part not in ("", ".")]
    if parts[:1] == [accession]:
        del parts[0]
    path = "/".join(parts) or DATA_FOLDER
    if (reason := check_path(path)) is not None:
        raise EntryError(f"{whose}, {shown(value)}, {reason}: it cannot be trusted")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# From whatever the archive writes to what we can use
# ---------------------------------------------------------------------------------------------------------------------


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _kind(value: object) -> str:
    """What kind of JSON value it is, with the value where it is short."""
    if _is_object(value):
        return "an object"
    if _is_list(value):
        return "a list"
    return "null" if value is None else f"the value {shown(value)}"


def _several(value: object) -> Iterable[object]:
    """A list, or the one thing that stands where a list of one should."""
    if _is_list(value):
        return value
    return () if value is None else (value,)


def _text(value: object) -> str:
    """On one line and harmless on a terminal and in a file; numbers as text; empty for what is no text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return shown(value)
    if not isinstance(value, str):
        return ""
    words = " ".join(value[:MAX_TEXT_CHARACTERS].split())
    return words if words.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in words)


def _person(value: object) -> str:
    """``{"author": {"name": ...}}``, ``{"name": ...}`` or plain text: authors come so, and sometimes references."""
    for _ in range(3):
        if not _is_object(value):
            break
        inner = value.get("author")
        value = inner if inner is not None else value.get("name") or _full_name(value)
    return _text(value)


def _full_name(plain: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (_text(plain.get("first_name")), _text(plain.get("last_name")))))


def _organisation(plain: Mapping[str, Any]) -> str | None:
    """The corresponding author's, else the first principal investigator's that has one."""
    for person in (*_several(plain.get("corresponding_author")), *_several(plain.get("principal_investigator"))):
        inner = person.get("author", person) if _is_object(person) else None
        if _is_object(inner):
            for key in ("organization", "organisation", "institution", "affiliation"):
                if words := _person(inner.get(key)):
                    return words
    return None


def _positive(value: object) -> float | None:
    """A number greater than 0, written as a number or as text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e300:
        return None
    return float(value)


def _count(value: object) -> int | None:
    """A whole number, 1 or more, written as a number or as text."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = float(value.replace(",", ""))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= MAX_COUNT:
        return None
    return int(value) if value == int(value) else None
