"""Synthetic files are valid, are the same however they are read, and are never alike where they should not be."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
import tracemalloc
from functools import cache

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from fsmcollect.sim.archive.movies import (
    FORMATS,
    NOISE_BLOCK_BYTES,
    Shape,
    SyntheticFile,
    gain,
    movie,
    plain,
)

each_format = pytest.mark.parametrize("name", FORMATS)


def made(
    name: str = "mrc", width_px: int = 300, height_px: int = 200, frames: int = 5, key: str = "a"
) -> SyntheticFile:
    return movie(Shape(name, width_px, height_px, frames), 1, key)


def content(file: SyntheticFile) -> bytes:
    return file.read(0, file.size_bytes)


@cache
def whole(name: str) -> tuple[SyntheticFile, bytes]:
    file = gain(Shape("mrc", 300, 200, 1), 1, "gain") if name == "gain" else made(name)
    return file, content(file)


@given(st.sampled_from([*FORMATS, "gain"]), st.integers(0, 700_000), st.integers(0, 700_000))
def test_any_range_is_a_slice_of_the_whole(name: str, start: int, stop: int) -> None:
    file, everything = whole(name)
    assert file.read(start, stop) == everything[start:stop]


@given(st.sampled_from([*FORMATS, "gain"]), st.integers(1_000, 200_000), st.integers(0, 300_000))
def test_blocks_of_any_size_make_the_whole(name: str, block_bytes: int, start: int) -> None:
    file, everything = whole(name)
    blocks = list(file.blocks(start, file.size_bytes, block_bytes))
    assert b"".join(blocks) == everything[start:]
    assert all(len(block) == block_bytes for block in blocks[:-1])


@each_format
def test_size_and_checksum_are_those_of_the_bytes(name: str) -> None:
    file, everything = whole(name)
    assert len(everything) == file.size_bytes
    assert file.sha256() == hashlib.sha256(everything).hexdigest()


@pytest.mark.parametrize("name", ["mrc", "mrcs"])
def test_an_mrc_movie_is_as_large_as_its_header_says(name: str) -> None:
    everything = content(made(name, 300, 200, 5))
    nx, ny, nz, mode = struct.unpack_from("<4i", everything)
    ispg, nsymbt = struct.unpack_from("<2i", everything, 88)
    assert (nx, ny, nz, mode, ispg, nsymbt) == (300, 200, 5, 6, 0, 0)
    assert everything[208:216] == b"MAP \x44\x44\x00\x00"
    assert len(everything) == 1024 + nx * ny * nz * 2


def test_a_gain_reference_is_finite_and_near_1() -> None:
    _file, everything = whole("gain")
    assert struct.unpack_from("<4i", everything) == (300, 200, 1, 2)
    values = np.frombuffer(everything, "<f4", offset=1024)
    assert values.size == 300 * 200
    assert 0.5 <= values.min() <= values.max() < 2.0
    assert len(set(values.tolist())) > 10_000


@pytest.mark.parametrize(("name", "version"), [("tiff", 42), ("bigtiff", 43)])
def test_pillow_reads_every_frame_of_a_tiff(name: str, version: int) -> None:
    file = made(name, 300, 200, 5)
    everything = content(file)
    assert struct.unpack_from("<2sH", everything) == (b"II", version)
    with Image.open(io.BytesIO(everything)) as image:
        assert sum(1 for _ in ImageSequence.Iterator(image)) == 5
        for frame in range(5):
            image.seek(frame)
            assert image.size == (300, 200)
            begin = len(file.prefix) + frame * 60_000
            assert image.tobytes() == everything[begin : begin + 60_000]


def test_a_classic_tiff_that_would_be_too_large_becomes_a_big_one() -> None:
    small, large = made("tiff", 8192, 8192, 61), made("tiff", 8192, 8192, 70)
    assert [file.read(2, 4) for file in (small, large)] == [b"\x2a\x00", b"\x2b\x00"]
    assert large.size_bytes > 2**32


@pytest.mark.parametrize("name", ["bigtiff", "eer"])
def test_every_strip_of_a_big_tiff_lies_inside_the_file(name: str) -> None:
    everything = content(made(name, 300, 200, 5))
    (directory,) = struct.unpack_from("<Q", everything, 8)
    strips = []
    while directory:
        (entries,) = struct.unpack_from("<Q", everything, directory)
        tags = dict[int, int]()
        for entry in range(entries):
            tag, _, count, value = struct.unpack_from("<HHQQ", everything, directory + 8 + 20 * entry)
            assert count == 1
            tags[tag] = value
        assert list(tags) == sorted(tags)
        assert tags[259] == (65001 if name == "eer" else 1)
        strips.append((tags[273], tags[273] + tags[279]))
        (directory,) = struct.unpack_from("<Q", everything, directory + 8 + 20 * entries)
    assert len(strips) == 5
    assert all(stop == begin for (_, stop), (begin, _) in itertools.pairwise(strips))
    assert strips[-1][1] == len(everything)


@each_format
def test_a_corrupt_movie_promises_a_frame_that_is_not_there(name: str) -> None:
    shape = Shape(name, 300, 200, 5)
    file, good = movie(shape, 1, "a", is_corrupt=True), movie(attrs.evolve(shape, frames=6), 1, "a")
    assert file.prefix == good.prefix
    assert file.size_bytes < good.size_bytes


@pytest.mark.parametrize("other", [{"key": "b"}, {"seed": 2}])
def test_another_key_or_seed_gives_other_bytes_in_every_block(other: dict[str, object]) -> None:
    file = plain(b"", 10 * NOISE_BLOCK_BYTES, 1, "a")
    changed = attrs.evolve(file, **other)  # type: ignore[arg-type]
    for start in range(0, file.size_bytes, NOISE_BLOCK_BYTES // 2):
        stop = start + NOISE_BLOCK_BYTES // 2
        assert file.read(start, stop) != changed.read(start, stop)


def test_no_block_comes_twice_so_a_misplaced_one_is_noticed() -> None:
    file = plain(b"", 3000 * NOISE_BLOCK_BYTES, 1, "a")
    blocks = {hash(file.read(at, at + NOISE_BLOCK_BYTES)) for at in range(0, file.size_bytes, NOISE_BLOCK_BYTES)}
    assert len(blocks) == 3000


def test_a_file_of_terabytes_is_read_anywhere_and_costs_nothing() -> None:
    tracemalloc.start()
    file = made("mrc", 16384, 16384, 2000)
    middle = file.read(5 * 10**11, 5 * 10**11 + 1000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.size_bytes > 10**12
    assert len(middle) == 1000
    assert peak_bytes < 1_000_000
