"""A file is taken for what it says only if its header agrees with its size."""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from fsmcollect.errors import StorageError
from fsmcollect.stream.movies import READABLE, WrongFile, check, is_readable
from fsmcollect.stream.values import Header
from tests.stream import making
from tests.stream.making import MRC_NAMES, ByteOrder, TiffWriter, image


def checked(directory: Path, data: bytes, name: str) -> Header:
    path = directory / ".movie.part"
    path.write_bytes(data)
    return check(path, f"data/Movies/{name}")


def refusal(directory: Path, data: bytes, name: str) -> str:
    with pytest.raises(WrongFile) as caught:
        checked(directory, data, name)
    return str(caught.value)


def reading(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes are asked of the disk from now on, one number a call."""
    lengths: list[int] = []
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        lengths.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    return lengths


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("movies")


byte_orders: st.SearchStrategy[ByteOrder] = st.sampled_from(["<", ">"])
sizes = st.integers(1, 20)
mrc_files = st.builds(
    making.mrc,
    sizes,
    sizes,
    st.integers(1, 5),
    st.sampled_from(sorted(MRC_NAMES)),
    byte_order=byte_orders,
    extended_bytes=st.sampled_from([0, 1024, 128 * 7]),
    is_old=st.booleans(),
)
tiff_files = st.builds(
    making.tiff,
    sizes,
    sizes,
    st.integers(1, 4),
    byte_order=byte_orders,
    big=st.booleans(),
    bits=st.sampled_from([8, 16, 32]),
    strips=st.integers(1, 5),
    tile_px=st.sampled_from([0, 0, 16]),
    compression=st.sampled_from([1, 5, 8]),
)
eer_files = st.builds(
    making.eer,
    sizes,
    sizes,
    st.integers(1, 4),
    compression=st.sampled_from([65000, 65001, 65002]),
    sum_at=st.sampled_from(["", "first", "last"]),
)
movies = st.one_of(
    st.tuples(mrc_files, st.sampled_from(["a.mrc", "a.MRCS"])),
    st.tuples(tiff_files, st.sampled_from(["a.tif", "a.TIFF"])),
    st.tuples(eer_files, st.just("a.eer")),
)


# ------------------------------------------------------------------------------------------------------------------ MRC


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("mode", sorted(MRC_NAMES))
@pytest.mark.parametrize("is_old", [False, True], ids=["with MAP", "without MAP"])
def test_every_mode_of_mrc_is_read_in_both_byte_orders(
    tmp_path: Path, mode: int, byte_order: ByteOrder, is_old: bool
) -> None:
    data = making.mrc(13, 7, 5, mode, byte_order=byte_order, is_old=is_old)
    assert checked(tmp_path, data, "a.mrc") == Header(
        format="MRC", width_px=13, height_px=7, frames=5, mode=MRC_NAMES[mode]
    )


def test_a_movie_of_one_frame_is_a_movie(tmp_path: Path) -> None:
    assert checked(tmp_path, making.mrc(frames=1), "a.mrcs").frames == 1


def test_the_stamp_of_imod_tells_unsigned_bytes_from_signed_ones(tmp_path: Path) -> None:
    assert checked(tmp_path, making.mrc(imod_flags=0), "a.mrc").mode == "uint8"
    assert checked(tmp_path, making.mrc(imod_flags=1), "a.mrc").mode == "int8"


def test_rows_of_half_bytes_are_padded_to_whole_ones(tmp_path: Path) -> None:
    assert len(making.mrc(5, 2, 1, 101)) == 1024 + 3 * 2
    assert checked(tmp_path, making.mrc(5, 2, 1, 101), "a.mrc").width_px == 5


def test_an_mrc_file_that_is_short_is_refused_with_both_sizes(tmp_path: Path) -> None:
    data = making.mrc(100, 50, 4, 1, extended_bytes=1024)
    assert refusal(tmp_path, data[:-1], "a.mrc") == (
        "its header says 100 x 50 x 4 int16 and an extended header of 1,024 bytes = 42,048 bytes, it has 42,047"
    )


@pytest.mark.parametrize(
    "at, value, reason",
    [
        (0, 0, "does not begin with the header of an MRC file"),
        (4, -5, "does not begin with the header of an MRC file"),
        (12, 7, "does not begin with the header of an MRC file"),
        (92, -1, "does not begin with the header of an MRC file"),
        (8, 2**31 - 1, "its header says 12 x 8 x 2147483647 int8 = 206,158,431,136 bytes, it has 1,312"),
    ],
)
def test_an_mrc_header_that_makes_no_sense_is_refused(tmp_path: Path, at: int, value: int, reason: str) -> None:
    data = bytearray(making.mrc())
    struct.pack_into("<i", data, at, value)
    assert reason in refusal(tmp_path, bytes(data), "a.mrc")


def test_an_mrc_file_60_pixels_wide_is_not_taken_for_markup(tmp_path: Path) -> None:
    assert making.mrc(60)[:1] == b"<"
    assert checked(tmp_path, making.mrc(60), "a.mrc").width_px == 60


def test_of_an_mrc_file_of_any_size_only_the_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mrc"
    with path.open("wb") as file:
        file.write(making.mrc(1, 1, 1)[:1024])
        file.seek(0)
        file.write(struct.pack("<4i", 5120, 5120, 2, 0))
        file.truncate(1024 + 5120 * 5120 * 2)
    lengths = reading(monkeypatch)
    assert check(path, "a.mrc").height_px == 5120
    assert lengths == [1024]


# ----------------------------------------------------------------------------------------------------------------- TIFF


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("tile_px", [0, 16], ids=["strips", "tiles"])
def test_tiff_is_read_in_every_shape(tmp_path: Path, byte_order: ByteOrder, big: bool, tile_px: int) -> None:
    data = making.tiff(40, 24, 6, byte_order=byte_order, big=big, tile_px=tile_px)
    assert checked(tmp_path, data, "a.tif") == Header(
        format="BigTIFF" if big else "TIFF", width_px=40, height_px=24, frames=6, mode="uint16"
    )


@pytest.mark.parametrize("sample_format, mode", [(1, "uint32"), (2, "int32"), (3, "float32"), (4, "unknown32")])
def test_the_kind_of_a_tiff_pixel_is_told(tmp_path: Path, sample_format: int, mode: str) -> None:
    assert checked(tmp_path, making.tiff(bits=32, sample_format=sample_format), "a.tif").mode == mode


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("big", [False, True])
def test_what_pillow_writes_is_accepted_and_what_making_writes_pillow_reads(
    tmp_path: Path, compression: str, big: bool
) -> None:
    buffer = io.BytesIO()
    frames = [Image.frombytes("L", (64, 48), making.pixels(64 * 48, seed)) for seed in range(5)]
    frames[0].save(buffer, "TIFF", compression=compression, save_all=True, append_images=frames[1:], big_tiff=big)
    # Asked for BigTIFF, Pillow writes it where it does not compress.
    assert checked(tmp_path, buffer.getvalue(), "a.tiff") == Header(
        format="BigTIFF" if buffer.getvalue()[2] == 43 else "TIFF", width_px=64, height_px=48, frames=5, mode="uint8"
    )
    for end in (len(buffer.getvalue()) // 2, len(buffer.getvalue()) // 3):
        refusal(tmp_path, buffer.getvalue()[:end], "a.tiff")

    with Image.open(io.BytesIO(making.tiff(40, 24, 6, bits=8, big=big))) as ours:
        assert isinstance(ours, TiffImagePlugin.TiffImageFile)
        assert (ours.size, ours.n_frames) == ((40, 24), 6)
        ours.seek(5)
        assert ours.tobytes() == making.pixels(40 * 12, 5) + making.pixels(40 * 12, 6)


def test_a_colour_image_of_pillow_tells_its_samples(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, "TIFF")
    assert checked(tmp_path, buffer.getvalue(), "a.tif").mode == "uint8 x 3"


@pytest.mark.parametrize("sum_at", ["", "first", "last"])
@pytest.mark.parametrize("compression", [65000, 65001, 65002])
def test_the_frames_of_an_eer_file_are_counted_without_its_sum(tmp_path: Path, compression: int, sum_at: str) -> None:
    data = making.eer(16, 16, 9, compression=compression, sum_at=sum_at)
    assert checked(tmp_path, data, "a.eer") == Header(format="EER", width_px=16, height_px=16, frames=9, mode="uint1")


def test_an_eer_file_without_events_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, making.tiff(big=True), "a.eer") == (
        "it is a BigTIFF file without a frame of electron events, which .eer is made of"
    )


def test_frames_of_different_sizes_are_refused_and_a_preview_is_no_frame(tmp_path: Path) -> None:
    writer = TiffWriter()
    image(writer, 12, 8)
    image(writer, 6, 4, extra={254: (4, [1])})
    image(writer, 12, 8)
    assert checked(tmp_path, bytes(writer.data), "a.tif").frames == 2
    image(writer, 6, 4)
    assert refusal(tmp_path, bytes(writer.data), "a.tif").startswith(
        "page 4 is 6 x 4 uint16, the first is 12 x 8 uint16"
    )
    mixed = TiffWriter(big=True)
    image(mixed, 16, 16, bits=1, compression=65001)
    image(mixed, 8, 16, bits=1, compression=65001)
    assert "another size" in refusal(tmp_path, bytes(mixed.data), "a.eer")


def test_a_file_of_previews_only_is_refused(tmp_path: Path) -> None:
    writer = TiffWriter()
    assert refusal(tmp_path, bytes(writer.data), "a.tif") == "it has no page"
    image(writer, 6, 4, extra={254: (4, [1])})
    assert refusal(tmp_path, bytes(writer.data), "a.tif") == "it has previews only"


def test_a_tiff_file_whose_last_strip_is_cut_short_is_refused(tmp_path: Path) -> None:
    """Pages first, pixels last: the walk along the pages alone finds nothing wrong."""
    writer = TiffWriter()
    at = len(writer.data) + 2 + 12 * 8 + 4
    shape: making.Fields = {256: (3, [10]), 257: (3, [10]), 258: (3, [8]), 277: (3, [1]), 278: (3, [10])}
    fields: making.Fields = {**shape, 259: (3, [5]), 273: (4, [at]), 279: (4, [60])}
    writer.page(fields)
    writer.add(making.pixels(60))
    assert checked(tmp_path, bytes(writer.data), "a.tif").frames == 1
    assert refusal(tmp_path, bytes(writer.data[:-1]), "a.tif") == (
        f"page 1 reaches to byte {at + 60:,}, it has {at + 59:,}: it is cut short"
    )


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({256: (3, [0])}, "page 1 is an image of 0 x 8 pixels"),
        ({273: (4, [8])}, "needs 2 strips or tiles for 12 x 8 pixels, it lists 1"),
        ({279: (4, [96, 0])}, "a part of page 1 is missing"),
        ({273: (4, [0, 8])}, "a part of page 1 is missing"),
        ({279: (4, [20, 20])}, "page 1 is 12 x 8 uint16 = 192 bytes, it has 40"),
        ({322: (3, [0]), 323: (3, [0]), 324: (4, [8]), 325: (4, [8])}, "tiles of no size"),
    ],
)
def test_a_tiff_page_that_contradicts_itself_is_refused(tmp_path: Path, changes: making.Fields, reason: str) -> None:
    writer = TiffWriter()
    image(writer, 12, 8, extra=changes)
    assert reason in refusal(tmp_path, bytes(writer.data), "a.tif")


def test_a_tiff_page_that_does_not_say_where_its_pixels_are_is_refused(tmp_path: Path) -> None:
    writer = TiffWriter()
    writer.page({256: (3, [10]), 257: (3, [10])})
    assert refusal(tmp_path, bytes(writer.data), "a.tif") == "page 1 does not say where its pixels are"


# ---------------------------------------------------------------------------------------------- hostile and other files


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    writer = TiffWriter()
    first = image(writer, 12, 8)
    image(writer, 12, 8)
    struct.pack_into("<I", writer.data, writer.link_at, first)
    assert refusal(tmp_path, bytes(writer.data), "a.tif") == (
        "page 3 is one of the pages before: its pages run in a circle"
    )


@pytest.mark.parametrize("count", [0, 5000, 2**63])
def test_an_absurd_number_of_fields_is_refused(tmp_path: Path, count: int) -> None:
    data = bytearray(making.tiff(big=True))
    (at,) = struct.unpack_from("<Q", data, 8)
    struct.pack_into("<Q", data, at, count)
    assert "that is no TIFF page" in refusal(tmp_path, bytes(data), "a.tif")


@pytest.mark.parametrize("count", [2**31, 2**61, 2**64 - 1])
def test_a_table_of_absurd_length_is_refused_without_reading_it(tmp_path: Path, count: int) -> None:
    data = bytearray(making.tiff(big=True, frames=1))
    entry = data.index(struct.pack("<HH", 273, 16))
    struct.pack_into("<Q", data, entry + 4, count)
    assert refusal(tmp_path, bytes(data), "a.tif") == "field 273 of page 1 lies beyond its end: it is cut short"


def test_tables_that_overlap_are_not_read_over_and_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of pages that share one table of strips: a small file that would be walked for hours."""
    writer = TiffWriter()
    strips = 60_000
    table = writer.add(struct.pack("<I", 8) * strips)
    for _ in range(3000):
        at = writer.page(
            {256: (3, [10]), 257: (3, [strips]), 259: (3, [5]), 273: (4, [0]), 278: (3, [1]), 279: (4, [0])}
        )
        for tag in (273, 279):
            entry = writer.data.index(struct.pack("<HH", tag, 4), at)
            struct.pack_into("<II", writer.data, entry + 4, strips, table)
    path = tmp_path / "a.tif"
    path.write_bytes(writer.data)
    lengths = reading(monkeypatch)
    tracemalloc.start()
    with pytest.raises(WrongFile, match="its tables of pages, strips and tiles hold more than"):
        check(path, "a.tif")
    assert sum(lengths) < 2 * len(writer.data) + 2**20
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def with_type(data: bytes, tag: int, old: int, new: int) -> bytes:
    return data.replace(struct.pack("<HH", tag, old), struct.pack("<HH", tag, new))


def test_a_field_of_a_type_that_is_not_known_is_passed_over_and_one_that_cannot_be_a_number_refused(
    tmp_path: Path,
) -> None:
    data = making.tiff()
    assert checked(tmp_path, with_type(data, 262, 3, 99), "a.tif").frames == 3
    assert refusal(tmp_path, with_type(data, 256, 3, 2), "a.tif") == (
        "field 256 has to hold whole numbers and is of type 2"
    )
    assert "of type 11" in refusal(tmp_path, with_type(data, 273, 4, 11), "a.tif")


def test_pages_without_end_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsmcollect.stream.movies._MAX_PAGES", 5)
    assert checked(tmp_path, making.tiff(frames=5), "a.tif").frames == 5
    assert refusal(tmp_path, making.tiff(frames=6), "a.tif") == "it has more than 5 pages"


def test_a_long_movie_costs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.eer"
    path.write_bytes(making.eer(4, 4, 5000))
    tracemalloc.start()
    assert check(path, "a.eer").frames == 5000
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.mrc", "a.mrcs", "a.tif", "a.tiff", "a.eer", "a.gain"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n<html><body>", b"<?xml version='1.0'?>"])
def test_a_page_is_no_movie(tmp_path: Path, name: str, page: bytes) -> None:
    assert refusal(tmp_path, page + bytes(2000), name) == "it is a page of HTML or XML"


def test_a_file_of_another_format_than_its_name_says_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, making.tiff(), "a.mrc") == "it is a TIFF file, not the MRC file that .mrc says"
    assert refusal(tmp_path, making.mrc(), "a.tif") == "it does not begin like a TIFF file, which .tif is"
    assert refusal(tmp_path, making.mrc(), "a.dm4") == ".dm4 is no format whose header is read here"
    assert refusal(tmp_path, making.mrc(), "movie") == "a name without extension is no format whose header is read here"
    assert refusal(tmp_path, b"", "a.mrc") == "it is empty"
    assert refusal(tmp_path, bytes(100), "a.mrc") == "it has 100 bytes, fewer than the 1,024 of an MRC header"


def test_which_names_can_be_checked_is_known_beforehand() -> None:
    assert [name for name in ("a.mrc", "B.MRCS", "gain_ref/x.gain", "c.dm4", "NOTE") if is_readable(name)] == [
        "a.mrc",
        "B.MRCS",
        "gain_ref/x.gain",
    ]
    assert all(suffix == suffix.lower() for suffix in READABLE)


def test_a_file_that_cannot_be_read_is_the_disks_failure_not_the_files(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=re.escape(f"cannot read {tmp_path / 'gone'}: No such file")):
        check(tmp_path / "gone", "a.mrc")


# ----------------------------------------------------------------------------------------------------------- properties


@given(movie=movies)
def test_what_is_whole_is_accepted(scratch: Path, movie: tuple[bytes, str]) -> None:
    header = checked(scratch, *movie)
    assert min(header.width_px, header.height_px, header.frames) >= 1


@given(movie=movies, data=st.data())
def test_whatever_is_cut_off_is_noticed(scratch: Path, movie: tuple[bytes, str], data: st.DataObject) -> None:
    content, name = movie
    end = data.draw(st.integers(0, len(content) - 1))
    refusal(scratch, content[:end], name)


@given(movie=movies, extra=st.binary(min_size=1, max_size=50))
def test_an_mrc_file_with_more_bytes_is_refused_and_a_tiff_file_may_have_them(
    scratch: Path, movie: tuple[bytes, str], extra: bytes
) -> None:
    content, name = movie
    if "mrc" in name.lower():
        refusal(scratch, content + extra, name)
    else:
        assert checked(scratch, content + extra, name) == checked(scratch, content, name)


names = st.sampled_from(["a.mrc", "a.mrcs", "a.tif", "a.eer", "a.gain", "a.txt"])
magic = st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"])


def either(directory: Path, content: bytes, name: str) -> None:
    with contextlib.suppress(WrongFile):
        checked(directory, content, name)


@given(start=magic, rest=st.binary(max_size=1500), name=names)
def test_random_bytes_are_refused_in_words_or_make_sense(scratch: Path, start: bytes, rest: bytes, name: str) -> None:
    either(scratch, start + rest, name)


@given(
    movie=movies,
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), max_size=6),
)
def test_a_movie_with_flipped_bytes_never_breaks_the_reader(
    scratch: Path, movie: tuple[bytes, str], edits: list[tuple[float, bytes]]
) -> None:
    content, name = bytearray(movie[0]), movie[1]
    for where, change in edits:
        at = int(where * len(content))
        content[at : at + len(change)] = change
    either(scratch, bytes(content), name)
