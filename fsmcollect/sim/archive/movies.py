"""Synthetic files, computed where they are read: a valid header, then noise. No file is ever held in memory.

Owns the bytes of every file of the pretend archive, as a function of its key (seed, path, version) and its shape. Owns
no name, no folder and no request.

Noise is laid out in blocks of 64 KiB: 64 bytes that are the digest of (key, number of the block), then a piece of one
tile of noise, from a place that the digest tells. So any range costs what copying it costs, and no two blocks of the
archive are equal: a block in the wrong place, or of another version, never goes unnoticed.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from functools import cache, lru_cache

import attrs

NOISE_BLOCK_BYTES = 64 * 1024
#: Assumed: twice a block, so that a block has 65,536 places to begin at.
_TILE_BYTES = 2 * NOISE_BLOCK_BYTES
_DIGEST_BYTES = 64
#: Of every movie. Assumed: a usual one.
PIXEL_SIZE_A = 0.885
#: What `sha256` takes at once.
_HASHED_AT_ONCE_BYTES = 1024 * 1024
_TIFF_MAX_BYTES = 2**32


@attrs.frozen
class Format:
    """A file format: how its files are called, and what the archive's metadata says of them.

    Attributes
    ----------
    pixel_bits : int
        0 where a frame's size does not follow from its dimensions (EER).
    """

    suffix: str
    data_format: str
    voxel_type: str
    pixel_bits: int


#: By the name that `Archive` takes.
FORMATS = {
    "mrc": Format(".mrc", "MRC", "UNSIGNED 16 BIT INTEGER", 16),
    "mrcs": Format(".mrcs", "MRCS", "UNSIGNED 16 BIT INTEGER", 16),
    "tiff": Format(".tif", "TIFF", "UNSIGNED BYTE", 8),
    "bigtiff": Format(".tif", "TIFF", "UNSIGNED BYTE", 8),
    "eer": Format(".eer", "EER", "BIT", 0),
}


@attrs.frozen
class Shape:
    """What a movie is: one of `FORMATS`, its frames and their size."""

    format: str
    width_px: int
    height_px: int
    frames: int


@attrs.frozen(repr=False)
class SyntheticFile:
    """A file of the archive, at one version of it.

    Attributes
    ----------
    prefix : bytes
        The header.
    noise_bytes : int
        What follows it.
    key : str
        Another key, other noise.
    is_float : bool
        The noise is 32-bit floating point, between 0.5 and 2: a gain reference.
    """

    prefix: bytes
    noise_bytes: int
    key: str
    seed: int
    is_float: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.prefix) + self.noise_bytes

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (excluded), cut off at the file's end."""
        stop = min(stop, self.size_bytes)
        if start >= stop:
            return b""
        header = len(self.prefix)
        pieces: list[bytes | memoryview] = [self.prefix[start:stop]]
        at = max(start - header, 0)
        end = stop - header
        while at < end:
            number, begin = divmod(at, NOISE_BLOCK_BYTES)
            until = min(NOISE_BLOCK_BYTES, begin + end - at)
            pieces += self._block(number, begin, until)
            at += until - begin
        return b"".join(pieces)

    def blocks(self, start: int, stop: int, block_bytes: int) -> Iterator[bytes]:
        """`read`, in pieces of `block_bytes`."""
        for at in range(start, stop, block_bytes):
            yield self.read(at, min(at + block_bytes, stop))

    def sha256(self) -> str:
        """Hexadecimal, of the whole file: takes as long as hashing it takes."""
        digest = hashlib.sha256()
        for block in self.blocks(0, self.size_bytes, _HASHED_AT_ONCE_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def _block(self, number: int, begin: int, until: int) -> list[bytes | memoryview]:
        """Bytes `begin` to `until` of one block of noise."""
        digest = hashlib.blake2b(f"{self.key}#{number}".encode(), digest_size=_DIGEST_BYTES).digest()
        place = int.from_bytes(digest[:2], "little")
        tile = memoryview(_tile(self.seed))
        pieces: list[bytes | memoryview] = [
            digest[begin:until],
            tile[place + max(begin - _DIGEST_BYTES, 0) : place + max(until - _DIGEST_BYTES, 0)],
        ]
        if self.is_float:
            values = bytearray().join(pieces)
            first = (3 - begin) % 4
            values[first::4] = b"\x3f" * len(range(first, len(values), 4))
            return [bytes(values)]
        return pieces


def movie(shape: Shape, seed: int, key: str, *, is_corrupt: bool = False) -> SyntheticFile:
    """A movie; a corrupt one has a header that promises one frame more than there is."""
    promised = attrs.evolve(shape, frames=shape.frames + 1) if is_corrupt else shape
    if shape.format in ("mrc", "mrcs"):
        return SyntheticFile(_mrc_header(promised, mode=6), _frame_bytes(shape) * shape.frames, key, seed)
    # Readers of classic TIFF have 32 bits for a place in the file; the headers are far smaller than two frames.
    is_big = shape.format != "tiff" or _frame_bytes(shape) * (promised.frames + 2) >= _TIFF_MAX_BYTES
    header = _tiff_header(shape, promised.frames, is_big=is_big, compression=65001 if shape.format == "eer" else 1)
    return SyntheticFile(header, _frame_bytes(shape) * shape.frames, key, seed)


def gain(shape: Shape, seed: int, key: str) -> SyntheticFile:
    """The gain reference of such movies: MRC, 32-bit floating point, one section."""
    one = attrs.evolve(shape, frames=1)
    return SyntheticFile(_mrc_header(one, mode=2), 4 * shape.width_px * shape.height_px, key, seed, is_float=True)


def plain(text: bytes, noise_bytes: int, seed: int, key: str) -> SyntheticFile:
    """Something that is no image: a note, metadata, an archive."""
    return SyntheticFile(text, noise_bytes, key, seed)


@cache
def _tile(seed: int) -> bytes:
    return random.Random(f"{seed}/noise").randbytes(_TILE_BYTES)


def _frame_bytes(shape: Shape) -> int:
    pixels = shape.width_px * shape.height_px
    bits = FORMATS[shape.format].pixel_bits
    # An EER frame lists its electrons: assumed, one in 40 pixels, at 10 bits each.
    return pixels * bits // 8 if bits else max(1, pixels // 32)


@lru_cache(maxsize=8)
def _mrc_header(shape: Shape, mode: int) -> bytes:
    """MRC2014, little-endian: 1,024 bytes (Cheng et al. 2015, doi:10.1016/j.jsb.2015.04.002, table 1)."""
    header = bytearray(1024)
    size = (shape.width_px, shape.height_px, shape.frames)
    struct.pack_into("<3i i 3i 3i", header, 0, *size, mode, 0, 0, 0, shape.width_px, shape.height_px, 1)
    cell_a = (shape.width_px * PIXEL_SIZE_A, shape.height_px * PIXEL_SIZE_A, PIXEL_SIZE_A)
    struct.pack_into("<3f 3f 3i", header, 40, *cell_a, 90, 90, 90, 1, 2, 3)
    # DMAX < DMIN, DMEAN below both and RMS < 0: not determined.
    struct.pack_into("<3f", header, 76, 0.0, -1.0, -2.0)
    struct.pack_into("<4s i", header, 104, b"", 20140)
    struct.pack_into("<4s 4s f i", header, 208, b"MAP ", bytes((0x44, 0x44, 0, 0)), -1.0, 1)
    label = b"fsmcollect: a synthetic file, it shows nothing"
    header[224 : 224 + len(label)] = label
    return bytes(header)


@lru_cache(maxsize=8)
def _tiff_header(shape: Shape, frames: int, *, is_big: bool, compression: int) -> bytes:
    """TIFF 6.0 or BigTIFF, little-endian: all directories first, then one strip a frame.

    The directory of a frame that is promised and not there points behind the file's end.
    """
    strip_bytes = _frame_bytes(shape)
    entries = 9
    directory_bytes = 8 + 20 * entries + 8 if is_big else 2 + 12 * entries + 4
    first_directory = 16 if is_big else 8
    first_strip = first_directory + frames * directory_bytes
    number, entry, link, offset_type = ("<Q", "<HHQQ", "<Q", 16) if is_big else ("<H", "<HHII", "<I", 4)
    pieces = [struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if is_big else struct.pack("<2sHI", b"II", 42, 8)]
    for frame in range(frames):
        pieces.append(struct.pack(number, entries))
        pieces += [
            struct.pack(entry, tag, kind, 1, value)
            for tag, kind, value in (
                (256, 4, shape.width_px),
                (257, 4, shape.height_px),
                (258, 3, FORMATS[shape.format].pixel_bits or 1),
                (259, 3, compression),
                (262, 3, 1),
                (273, offset_type, first_strip + frame * strip_bytes),
                (277, 3, 1),
                (278, 4, shape.height_px),
                (279, offset_type, strip_bytes),
            )
        ]
        is_last = frame == frames - 1
        pieces.append(struct.pack(link, 0 if is_last else first_directory + (frame + 1) * directory_bytes))
    return b"".join(pieces)
