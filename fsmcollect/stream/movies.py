"""Is a file what it says it is? Its own header must agree with its size before it is registered.

Owns the reading of MRC and TIFF headers (BigTIFF and EER are TIFF). Reads no pixel, so it takes well under a
millisecond for an MRC file of any size, and knows nothing of where the file came from. What is read is not trusted:
no size that a file claims makes this allocate, and no chain of tables makes it run for ever.

References
----------
MRC2014: Cheng et al., J. Struct. Biol. 192 (2015) 146-150, doi:10.1016/j.jsb.2015.04.002; modes 16 and 101 and the
stamp of unsigned bytes: IMOD, https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
TIFF Revision 6.0 (1992); BigTIFF: https://www.awaresystems.be/imaging/tiff/bigtiff.html.
EER: Guo et al., IUCrJ 7 (2020) 860-869, doi:10.1107/S205225252000929X.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import attrs

from fsmcollect.errors import FsmCollectError
from fsmcollect.storage import storage_error
from fsmcollect.stream.values import Header


class WrongFile(FsmCollectError):
    """A file is not what its name says, or not all of it: the message is the reason, without the file's name."""


_MRC_SUFFIXES = frozenset({".mrc", ".mrcs"})
_TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".eer", ".gain"})
#: What the headers of can be read, by extension in lower case. A ``.gain`` of a Falcon camera is a TIFF file.
READABLE = _MRC_SUFFIXES | _TIFF_SUFFIXES


def is_readable(name: str) -> bool:
    """Whether `check` knows the format that this name stands for."""
    return PurePosixPath(name).suffix.lower() in READABLE


def check(path: Path, name: str) -> Header:
    """Read the header of a file and hold it against the file's size.

    Parameters
    ----------
    path : Path
        Where the file lies, under whatever name.
    name : str
        Its path in the archive. Its extension says what the file should be; its content has to agree.

    Returns
    -------
    Header
        `Header.format` is what the content is: ``MRC``, ``TIFF``, ``BigTIFF`` or ``EER``.

    Raises
    ------
    WrongFile
        It is another format, or longer or shorter than its header says.
    StorageError
        The disk could not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _check(_Content(descriptor, os.fstat(descriptor).st_size), PurePosixPath(name).suffix.lower())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error("read", path, error) from error


@attrs.frozen
class _Content:
    descriptor: int
    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends, none where `offset` is no place in a file."""
        if offset >= self.size_bytes:
            return b""
        return os.pread(self.descriptor, min(length, self.size_bytes - offset), offset)


_TIFF_MAGIC = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}

_MARKUP = frozenset({b"<!doc", b"<html", b"<head", b"<?xml"})


def _check(content: _Content, suffix: str) -> Header:
    if suffix not in READABLE:
        raise WrongFile(f"{suffix or 'a name without extension'} is no format whose header is read here")
    if not content.size_bytes:
        raise WrongFile("it is empty")
    start = content.read(0, _MRC_HEADER_BYTES)
    is_tiff = start[:4] in _TIFF_MAGIC
    # Five letters: an MRC file may well begin with the byte `<`, it is 60 pixels wide then.
    if start.lstrip()[:5].lower() in _MARKUP:
        raise WrongFile("it is a page of HTML or XML")
    if suffix in _TIFF_SUFFIXES:
        if not is_tiff:
            raise WrongFile(f"it does not begin like a TIFF file, which {suffix} is")
        header = _check_tiff(content, *_TIFF_MAGIC[start[:4]])
        if suffix == ".eer" and header.format != "EER":
            raise WrongFile(f"it is a {header.format} file without a frame of electron events, which .eer is made of")
        return header
    if is_tiff:
        raise WrongFile(f"it is a TIFF file, not the MRC file that {suffix} says")
    return _check_mrc(start, content.size_bytes)


# ------------------------------------------------------------------------------------------------------------------ MRC

_MRC_HEADER_BYTES = 1024
#: Mode -> name, and bits a pixel.
_MRC_MODES = {
    0: ("int8", 8),
    1: ("int16", 16),
    2: ("float32", 32),
    3: ("complex int16", 32),
    4: ("complex64", 64),
    6: ("uint16", 16),
    12: ("float16", 16),
    16: ("uint8 RGB", 24),
    101: ("uint4", 4),
}
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1


@attrs.frozen
class _Mrc:
    """What an MRC header says when its numbers are read in one byte order."""

    width_px: int
    height_px: int
    frames: int
    mode: str
    extended_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        extended = f" and an extended header of {self.extended_bytes:,} bytes" if self.extended_bytes else ""
        return f"{self.width_px} x {self.height_px} x {self.frames} {self.mode}{extended} = {self.total_bytes:,} bytes"


def _read_mrc(start: bytes, byte_order: Literal["<", ">"]) -> _Mrc | None:
    """None where these numbers cannot be those of an image."""
    width_px, height_px, frames, mode = struct.unpack_from(f"{byte_order}4i", start, 0)
    (extended_bytes,) = struct.unpack_from(f"{byte_order}i", start, 92)
    if min(width_px, height_px, frames) < 1 or mode not in _MRC_MODES or extended_bytes < 0:
        return None
    name, bits = _MRC_MODES[mode]
    stamp, flags = struct.unpack_from(f"{byte_order}2i", start, 152)
    if mode == 0 and stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED_BYTES:
        name = "uint8"
    # A row begins with a whole byte: where two pixels share one, an odd row is padded.
    row_bytes = (width_px * bits + 7) // 8
    total_bytes = _MRC_HEADER_BYTES + extended_bytes + row_bytes * height_px * frames
    return _Mrc(width_px, height_px, frames, name, extended_bytes, total_bytes)


def _check_mrc(start: bytes, size_bytes: int) -> Header:
    if len(start) < _MRC_HEADER_BYTES:
        raise WrongFile(f"it has {size_bytes:,} bytes, fewer than the {_MRC_HEADER_BYTES:,} of an MRC header")
    # The machine stamp and the word MAP are missing in old files and wrong in some new ones; that the numbers give
    # exactly the file's size is better evidence of the byte order than both.
    readings = [reading for order in ("<", ">") if (reading := _read_mrc(start, order)) is not None]
    for reading in readings:
        if reading.total_bytes == size_bytes:
            return Header(
                format="MRC",
                width_px=reading.width_px,
                height_px=reading.height_px,
                frames=reading.frames,
                mode=reading.mode,
            )
    if not readings:
        raise WrongFile("it does not begin with the header of an MRC file")
    # In the wrong byte order a header that makes sense at all makes an absurd one.
    nearest = min(readings, key=lambda reading: abs(reading.total_bytes - size_bytes))
    raise WrongFile(f"its header says {nearest}, it has {size_bytes:,}")


# ----------------------------------------------------------------------------------------------------------------- TIFF

#: Bytes of a value, and how `struct` reads it where it is an unsigned integer, by the type of a field.
_FIELD_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_EER_COMPRESSIONS = frozenset({65000, 65001, 65002})
_SAMPLE_FORMATS = {1: "uint", 2: "int", 3: "float"}

#: Assumed: a minute of EER at 320 frames a second is 19,200 pages; a page has about twenty fields.
_MAX_PAGES = 200_000
_MAX_FIELDS = 4096
#: Assumed: those pages have 8 MB of tables, and 100 frames of 6,000 rows with a strip each have 10 MB.
_MAX_TABLE_BYTES = 64 * 2**20
#: How many values of a table are looked at together: keeps memory flat whatever a table claims to hold.
_BLOCK_VALUES = 16_384


@attrs.frozen
class _Field:
    """One field of a page: where its values lie, not the values."""

    type: int
    count: int
    offset: int

    @property
    def total_bytes(self) -> int:
        return self.count * _FIELD_BYTES[self.type]


@attrs.frozen
class _Page:
    width_px: int
    height_px: int
    mode: str
    is_eer: bool
    #: Also True for previews that say so: no frame of the movie.
    is_reduced: bool


class _Tiff:
    """A walk along the pages of a TIFF file that ends whatever the file holds.

    Every page is seen once, and what all its tables hold is limited, as tables that overlap could keep a reader busy.
    """

    def __init__(self, content: _Content, byte_order: str, is_big: bool) -> None:
        self.content = content
        self.byte_order = byte_order
        self.offset_format = byte_order + ("Q" if is_big else "I")
        self.count_format = byte_order + ("Q" if is_big else "H")
        self.field = struct.Struct(byte_order + ("HHQ8s" if is_big else "HHI4s"))
        self.first_at = 8 if is_big else 4
        self.read_bytes = 0

    def unpack(self, format_: str, offset: int, what: str) -> int:
        size = struct.calcsize(format_)
        data = self.content.read(offset, size)
        if len(data) < size:
            raise WrongFile(f"it ends before {what}: it is cut short")
        return int(struct.unpack(format_, data)[0])

    def spend(self, size_bytes: int) -> None:
        self.read_bytes += size_bytes
        # Twice: pages may share a table.
        if self.read_bytes > min(2 * self.content.size_bytes, _MAX_TABLE_BYTES):
            raise WrongFile(f"its tables of pages, strips and tiles hold more than {self.read_bytes:,} bytes")

    def pages(self) -> Iterator[dict[int, _Field]]:
        seen: set[int] = set()
        at = self.unpack(self.offset_format, self.first_at, "its first page")
        while at:
            if at in seen:
                raise WrongFile(f"page {len(seen) + 1} is one of the pages before: its pages run in a circle")
            seen.add(at)
            if len(seen) > _MAX_PAGES:
                raise WrongFile(f"it has more than {_MAX_PAGES:,} pages")
            fields, at = self.page(at, len(seen))
            yield fields

    def page(self, at: int, number: int) -> tuple[dict[int, _Field], int]:
        """Fields of a page, and where the next one is; 0 after the last."""
        count = self.unpack(self.count_format, at, f"page {number}")
        if not 0 < count <= _MAX_FIELDS:
            raise WrongFile(f"page {number} has {count:,} fields: that is no TIFF page")
        at += struct.calcsize(self.count_format)
        table = self.content.read(at, count * self.field.size)
        self.spend(len(table))
        if len(table) < count * self.field.size:
            raise WrongFile(f"it ends in page {number}: it is cut short")
        fields: dict[int, _Field] = {}
        value_at = at + self.field.size - len(self.field.unpack_from(table)[3])
        for tag, type_, values, raw in self.field.iter_unpack(table):
            # Types of later versions are to be skipped (TIFF 6.0, section 2).
            if type_ in _FIELD_BYTES:
                field = _Field(type_, values, value_at)
                if field.total_bytes > len(raw):
                    field = _Field(type_, values, struct.unpack(self.offset_format, raw)[0])
                if field.offset + field.total_bytes > self.content.size_bytes:
                    raise WrongFile(f"field {tag} of page {number} lies beyond its end: it is cut short")
                fields[tag] = field
            value_at += self.field.size
        return fields, self.unpack(self.offset_format, at + len(table), f"the end of page {number}")

    def values(self, field: _Field) -> Iterator[tuple[int, ...]]:
        """The values of a field, a block at a time."""
        if field.type not in _UNSIGNED:
            raise WrongFile(f"a field that has to hold whole numbers is of type {field.type}")
        item = _FIELD_BYTES[field.type]
        for first in range(0, field.count, _BLOCK_VALUES):
            count = min(_BLOCK_VALUES, field.count - first)
            self.spend(count * item)
            data = self.content.read(field.offset + first * item, count * item)
            yield struct.unpack(f"{self.byte_order}{count}{_UNSIGNED[field.type]}", data)

    def value(self, fields: dict[int, _Field], tag: int, default: int) -> int:
        """The first value of a field; fields of which a page has several agree in all that is asked here."""
        field = fields.get(tag)
        if field is None or not field.count:
            return default
        if field.type not in _UNSIGNED:
            raise WrongFile(f"field {tag} has to hold whole numbers and is of type {field.type}")
        return self.unpack(self.byte_order + _UNSIGNED[field.type], field.offset, f"the value of field {tag}")


def _check_tiff(content: _Content, byte_order: str, is_big: bool) -> Header:
    tiff = _Tiff(content, byte_order, is_big)
    first: _Page | None = None
    frames = number = 0
    for number, fields in enumerate(tiff.pages(), start=1):
        page = _check_page(tiff, fields, number)
        if page.is_reduced:
            continue
        if first is None or (page.is_eer and not first.is_eer):
            # The sum of an EER file is a page as well, before or after its frames.
            first, frames = page, 0
        if page == first:
            frames += 1
        elif not first.is_eer:
            raise WrongFile(
                f"page {number} is {page.width_px} x {page.height_px} {page.mode}, the first is {first.width_px} x "
                f"{first.height_px} {first.mode}: frames of one movie are alike"
            )
        elif page.is_eer:
            raise WrongFile(f"page {number} is a frame of another size than those before it")
    if first is None:
        raise WrongFile("it has no page" if not number else "it has previews only")
    name = "EER" if first.is_eer else "BigTIFF" if is_big else "TIFF"
    return Header(format=name, width_px=first.width_px, height_px=first.height_px, frames=frames, mode=first.mode)


def _check_page(tiff: _Tiff, fields: dict[int, _Field], number: int) -> _Page:
    width_px, height_px = tiff.value(fields, _WIDTH, 0), tiff.value(fields, _HEIGHT, 0)
    if not width_px or not height_px:
        raise WrongFile(f"page {number} is an image of {width_px} x {height_px} pixels")
    bits, samples = tiff.value(fields, _BITS, 1), tiff.value(fields, _SAMPLES, 1)
    planes = samples if tiff.value(fields, _PLANES, 1) == 2 else 1
    compression = tiff.value(fields, _COMPRESSION, 1)
    kind = _SAMPLE_FORMATS.get(tiff.value(fields, _SAMPLE_FORMAT, 1), "unknown")
    if _TILE_OFFSETS in fields:
        tile_width_px, tile_height_px = tiff.value(fields, _TILE_WIDTH, 0), tiff.value(fields, _TILE_HEIGHT, 0)
        if not tile_width_px or not tile_height_px:
            raise WrongFile(f"page {number} has tiles of no size")
        parts = -(-width_px // tile_width_px) * -(-height_px // tile_height_px) * planes
        row_px, rows = tile_width_px, -(-height_px // tile_height_px) * tile_height_px * -(-width_px // tile_width_px)
    else:
        rows_per_strip = min(tiff.value(fields, _ROWS_PER_STRIP, 0) or height_px, height_px)
        parts = -(-height_px // rows_per_strip) * planes
        row_px, rows = width_px, height_px
    offsets = fields.get(_TILE_OFFSETS, fields.get(_STRIP_OFFSETS))
    sizes = fields.get(_TILE_BYTES, fields.get(_STRIP_BYTES))
    if offsets is None or sizes is None:
        raise WrongFile(f"page {number} does not say where its pixels are")
    if offsets.count != parts or sizes.count != parts:
        raise WrongFile(
            f"page {number} needs {parts:,} strips or tiles for {width_px} x {height_px} pixels, it lists "
            f"{min(offsets.count, sizes.count):,}"
        )
    stored_bytes = _check_parts(tiff, offsets, sizes, number)
    needed_bytes = (row_px * bits * (samples // planes) + 7) // 8 * rows * planes
    if compression == 1 and stored_bytes < needed_bytes:
        raise WrongFile(
            f"page {number} is {width_px} x {height_px} {kind}{bits} = {needed_bytes:,} bytes, it has {stored_bytes:,}"
        )
    return _Page(
        width_px,
        height_px,
        mode=f"{kind}{bits}" + (f" x {samples}" if samples > 1 else ""),
        is_eer=compression in _EER_COMPRESSIONS,
        # Bit 0 of NewSubfileType: a smaller copy of another page.
        is_reduced=bool(tiff.value(fields, _SUBFILE, 0) & 1),
    )


def _check_parts(tiff: _Tiff, offsets: _Field, sizes: _Field, number: int) -> int:
    """Every strip or tile of a page lies inside the file; returns how many bytes they have together."""
    stored_bytes = 0
    for starts, lengths in zip(tiff.values(offsets), tiff.values(sizes), strict=True):
        if not min(starts) or not min(lengths):
            raise WrongFile(f"a part of page {number} is missing: it is listed with no bytes")
        end = max(map(int.__add__, starts, lengths))
        if end > tiff.content.size_bytes:
            raise WrongFile(
                f"page {number} reaches to byte {end:,}, it has {tiff.content.size_bytes:,}: it is cut short"
            )
        stored_bytes += sum(lengths)
    return stored_bytes
