"""Makes small, valid movies: MRC, TIFF, BigTIFF and EER. Deterministic, and every byte of a file counts.

Written apart from the code that reads them and by another way of thinking (each file is a list of pieces), so that one
mistake is not made twice; Pillow reads the TIFF files in the tests too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal

ByteOrder = Literal["<", ">"]

#: Mode -> bits a pixel.
MRC_BITS = {0: 8, 1: 16, 2: 32, 3: 32, 4: 64, 6: 16, 12: 16, 16: 24, 101: 4}
#: Mode -> as `Header.mode` has it.
MRC_NAMES = {
    0: "int8",
    1: "int16",
    2: "float32",
    3: "complex int16",
    4: "complex64",
    6: "uint16",
    12: "float16",
    16: "uint8 RGB",
    101: "uint4",
}


def pixels(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes without a short period, the same for the same seed."""
    return bytes((number * 31 + (number >> 8) * 17 + seed * 101) & 0xFF for number in range(size_bytes))


def mrc(
    width_px: int = 12,
    height_px: int = 8,
    frames: int = 3,
    mode: int = 0,
    *,
    byte_order: ByteOrder = "<",
    extended_bytes: int = 0,
    is_old: bool = False,
    imod_flags: int | None = None,
    seed: int = 0,
) -> bytes:
    """An MRC file; `is_old` leaves out the word MAP and the machine stamp, which came in the year 2000."""
    header = bytearray(1024)
    struct.pack_into(
        f"{byte_order}10i", header, 0, width_px, height_px, frames, mode, 0, 0, 0, width_px, height_px, frames
    )
    struct.pack_into(f"{byte_order}6f3i", header, 40, 1.0, 1.0, 1.0, 90.0, 90.0, 90.0, 1, 2, 3)
    struct.pack_into(f"{byte_order}i", header, 92, extended_bytes)
    if imod_flags is not None:
        struct.pack_into(f"{byte_order}2i", header, 152, 1146047817, imod_flags)
    if not is_old:
        header[208:216] = b"MAP " + (b"\x44\x44\0\0" if byte_order == "<" else b"\x11\x11\0\0")
    row_bytes = -(-width_px * MRC_BITS[mode] // 8)
    return bytes(header) + bytes(extended_bytes) + pixels(row_bytes * height_px * frames, seed)


Fields = dict[int, tuple[int, Sequence[int]]]
_SHORT, _LONG, _LONG8 = 3, 4, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


class TiffWriter:
    """Puts a TIFF file together, page by page; what a test wants to be wrong it hands in."""

    def __init__(self, byte_order: ByteOrder = "<", *, big: bool = False) -> None:
        self.byte_order = byte_order
        self.big = big
        self.offset_code = "Q" if big else "I"
        magic = b"II" if byte_order == "<" else b"MM"
        self.data = bytearray(magic + (self.pack("HHH", 43, 8, 0) if big else self.pack("H", 42)))
        #: Where the offset of the next page has to be written.
        self.link_at = len(self.data)
        self.data += self.pack(self.offset_code, 0)

    def pack(self, codes: str, *values: int) -> bytes:
        return struct.pack(self.byte_order + codes, *values)

    def add(self, data: bytes) -> int:
        at = len(self.data)
        self.data += data
        return at

    def page(self, fields: Fields) -> int:
        """Add a page, its long values in front of it; returns where it begins."""
        inline = 8 if self.big else 4
        entries = b""
        for tag, (type_, values) in sorted(fields.items()):
            raw = b"".join(self.pack(_CODES[type_], value) for value in values)
            if len(raw) > inline:
                raw = self.pack(self.offset_code, self.add(raw))
            entries += self.pack("HH" + self.offset_code, tag, type_, len(values)) + raw.ljust(inline, b"\0")
        at = self.add(self.pack("Q" if self.big else "H", len(fields)) + entries)
        struct.pack_into(self.byte_order + self.offset_code, self.data, self.link_at, at)
        self.link_at = self.add(self.pack(self.offset_code, 0))
        return at


def image(
    writer: TiffWriter,
    width_px: int,
    height_px: int,
    *,
    bits: int = 16,
    strips: int = 2,
    tile_px: int = 0,
    compression: int = 1,
    sample_format: int = 1,
    extra: Fields | None = None,
    seed: int = 0,
) -> int:
    """Add one image with its page; `tile_px` makes tiles of that size instead of strips. Returns where its page is."""
    if tile_px:
        count = -(-width_px // tile_px) * -(-height_px // tile_px)
        lengths = [tile_px * tile_px * bits // 8] * count
        offsets_tag, bytes_tag = 324, 325
        shape: Fields = {322: (_SHORT, [tile_px]), 323: (_SHORT, [tile_px])}
    else:
        rows = -(-height_px // strips)
        heights = [min(rows, height_px - first) for first in range(0, height_px, rows)]
        lengths = [-(-width_px * bits // 8) * height for height in heights]
        offsets_tag, bytes_tag = 273, 279
        shape = {278: (_SHORT, [rows])}
    if compression != 1:
        # What a compressor would make of it: anything but nothing.
        lengths = [max(length // 3, 1) for length in lengths]
    offsets = [writer.add(pixels(length, seed + number)) for number, length in enumerate(lengths)]
    wide = _LONG8 if writer.big else _LONG
    return writer.page(
        {
            256: (_SHORT, [width_px]),
            257: (_SHORT, [height_px]),
            258: (_SHORT, [bits]),
            259: (_LONG if compression > 65535 else _SHORT, [compression]),
            262: (_SHORT, [1]),
            277: (_SHORT, [1]),
            339: (_SHORT, [sample_format]),
            offsets_tag: (wide, offsets),
            bytes_tag: (wide, lengths),
            **shape,
            **(extra or {}),
        }
    )


def tiff(
    width_px: int = 12,
    height_px: int = 8,
    frames: int = 3,
    *,
    byte_order: ByteOrder = "<",
    big: bool = False,
    bits: int = 16,
    strips: int = 2,
    tile_px: int = 0,
    compression: int = 1,
    sample_format: int = 1,
    seed: int = 0,
) -> bytes:
    writer = TiffWriter(byte_order, big=big)
    for frame in range(frames):
        image(
            writer,
            width_px,
            height_px,
            bits=bits,
            strips=strips,
            tile_px=tile_px,
            compression=compression,
            sample_format=sample_format,
            seed=seed + frame,
        )
    return bytes(writer.data)


def eer(
    width_px: int = 16,
    height_px: int = 16,
    frames: int = 5,
    *,
    compression: int = 65001,
    sum_at: str = "",
    seed: int = 0,
) -> bytes:
    """A BigTIFF file of electron events; the summed image, where there is one, is ``first`` or ``last``."""
    writer = TiffWriter(big=True)
    if sum_at == "first":
        image(writer, width_px, height_px, bits=32, seed=seed)
    for frame in range(frames):
        image(writer, width_px, height_px, bits=1, strips=1, compression=compression, seed=seed + frame)
    if sum_at == "last":
        image(writer, width_px, height_px, bits=32, seed=seed)
    return bytes(writer.data)
