"""Every layout of real entries, served by a real nginx (with Apache's pages and its own) and a real FTP server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import pytest

from fsmcollect.stream.sources import NotThere, Source
from fsmcollect.stream.sources.ftp import FtpSource
from fsmcollect.stream.sources.http import Http, HttpSource
from tests.stream.layouts import LAYOUTS, Layout
from tests.stream.sources.scripted import Sink
from tests.stream.sources.serving import ftp, nginx, plant

Served = Literal["apache", "autoindex", "ftp", "ftp without MLSD"]
each_server = pytest.mark.parametrize("served", ["apache", "autoindex", "ftp", "ftp without MLSD"])
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.entry)


@contextlib.asynccontextmanager
async def serving(tree: Path, served: Served, folder: str) -> AsyncGenerator[Source]:
    source: Source
    if served == "ftp" or served == "ftp without MLSD":
        with ftp(tree, without=["MLSD"] if served != "ftp" else []) as server:
            source = FtpSource(server.url + folder)
            yield source
            await source.aclose()
    else:
        with nginx(tree, served) as url:
            async with Http() as http:
                yield HttpSource(http, url + folder)


async def walk(source: Source, folder: str = "") -> list[str]:
    found: list[str] = []
    for row in await source.folder(folder):
        path = f"{folder}/{row.name}" if folder else row.name
        found += await walk(source, path) if row.is_folder else [path]
    return found


@each_server
@each_layout
async def test_every_file_of_a_layout_is_found_and_fetched(tmp_path: Path, layout: Layout, served: Served) -> None:
    contents = {f"{layout.entry}/{path}": path.encode() * 50 for path in layout.files}
    plant(tmp_path, contents | {f"{layout.entry}/{layout.entry}.xml": b"<xml/>", "10001/data/a.mrc": b"another entry"})
    async with serving(tmp_path, served, layout.entry) as source:
        found = await walk(source)
        assert sorted(found) == sorted([*layout.files, f"{layout.entry}.xml"])
        for path in layout.files:
            sink = Sink()
            await source.download(path, await source.head(path), 0, sink)
            assert bytes(sink.data) == contents[f"{layout.entry}/{path}"]


@each_server
async def test_a_file_goes_on_where_it_stopped(tmp_path: Path, served: Served) -> None:
    data = os.urandom(5 << 20)
    plant(tmp_path, {"10200/data/a.mrc": data})
    async with serving(tmp_path, served, "10200/") as source:
        remote = await source.head("data/a.mrc")
        for offset in (0, 1, 3 << 20, len(data) - 1):
            sink = Sink(bytearray(data[:offset]))
            await source.download("data/a.mrc", remote, offset, sink)
            assert bytes(sink.data) == data
            assert sink.begun == [offset]


@each_server
async def test_what_is_not_there_is_told(tmp_path: Path, served: Served) -> None:
    plant(tmp_path, {"10200/data/a.mrc": b""})
    async with serving(tmp_path, served, "10200") as source:
        with pytest.raises(NotThere):
            await source.folder("data/none")
        with pytest.raises(NotThere):
            await source.head("data/none.mrc")
        assert [row.name for row in await source.folder("data")] == ["a.mrc"]


@each_server
async def test_names_of_every_kind_are_found_again(tmp_path: Path, served: Served) -> None:
    names = [
        "a b.mrc",
        "a%20b.mrc",
        "a&amp;b.mrc",
        "ü.mrc",
        "#1.mrc",
        "what?.mrc",
        "x+y=z;.mrc",
        "[1].mrc",
        "'\".mrc",
        "10:45",
    ]
    plant(tmp_path, {f"10200/{name}/{name}": name.encode() for name in names})
    async with serving(tmp_path, served, "10200") as source:
        assert sorted(await walk(source)) == sorted(f"{name}/{name}" for name in names)
        for name in names:
            assert (await source.head(f"{name}/{name}")).size_bytes == len(name.encode())
