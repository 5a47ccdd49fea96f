"""Whole trees of an archive for real servers: entries with real small movies, and their descriptions as the API writes.

Below the tree's root, ``api/<number>.json`` and ``world_availability/<number>/``.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import attrs

from tests.stream import making
from tests.stream.layouts import FileKind, ImagesetOf, Layout
from tests.stream.sources.serving import plant

FILES = "world_availability"
#: What nginx needs to be told to answer as the API does: with a slash behind the number or without.
API_OF_NGINX = (
    r"location ^~ /api/ { default_type application/json; rewrite ^/api/(?:EMPIAR-)?(\d+)/?$ /api/$1.json break; }"
)

#: A movie that takes a while: 4 MiB and a header.
LARGE_BYTES = 1024 + (4 << 20)


@attrs.frozen
class Planted:
    """One entry as it lies in a tree.

    Attributes
    ----------
    files : mapping of str to bytes
        Path below the entry's folder, and what is there.
    """

    layout: Layout
    files: Mapping[str, bytes]

    @property
    def entry(self) -> str:
        return self.layout.entry

    @property
    def title(self) -> str:
        return f"Movies of {self.entry}"

    def of(self, *kinds: FileKind) -> dict[str, bytes]:
        return {path: self.files[path] for path, kind in self.layout.files.items() if kind in kinds}

    @property
    def movies(self) -> dict[str, bytes]:
        return self.of("movie")

    @property
    def gains(self) -> dict[str, bytes]:
        return self.of("gain")


def planted(tree: Path, layout: Layout, files: Mapping[str, bytes] | None = None) -> Planted:
    """Make an entry's files and its description."""
    made = Planted(layout, {path: content(path, kind) for path, kind in layout.files.items()} | dict(files or {}))
    plant(tree / FILES / layout.entry, dict(made.files))
    plant(tree / FILES / layout.entry, {f"{layout.entry}.xml": b"<?xml version='1.0'?><entry/>\n"})
    plant(tree / "api", {f"{layout.entry}.json": json.dumps(description(made), indent=1).encode()})
    return made


def content(path: str, kind: FileKind) -> bytes:
    """A real file of the kind and the format that its name says, unlike any other's."""
    seed = zlib.crc32(path.encode()) % 251
    name = path.lower()
    if name.endswith(".tar"):
        return _tar(making.mrc(seed=seed))
    if name.endswith((".mrc", ".mrcs")):
        return making.mrc(frames=1 if kind == "gain" else 3, mode=2 if kind == "gain" else 1, seed=seed)
    if name.endswith((".tif", ".tiff")):
        return making.tiff(compression=8 if seed % 2 else 1, seed=seed)
    if name.endswith(".eer"):
        return making.eer(sum_at="last" if seed % 2 else "", seed=seed)
    if name.endswith(".gain"):
        return making.tiff(frames=1, bits=32, sample_format=3, seed=seed)
    if name.endswith(".dm4"):
        return struct.pack(">I", 4) + making.pixels(2000, seed)
    return f"{path}\n".encode()


def large_movie(seed: int) -> bytes:
    """An MRC file of `LARGE_BYTES`."""
    header = bytearray(making.mrc(2048, 1024, 0))
    struct.pack_into("<i", header, 8, 2)
    struct.pack_into("<i", header, 36, 2)
    return bytes(header) + Random(seed).randbytes(LARGE_BYTES - len(header))


def _tar(movie: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("a.mrc")
        member.size = len(movie)
        tar.addfile(member, io.BytesIO(movie))
    return packed.getvalue()


def description(entry: Planted) -> dict[str, Any]:
    """What the API answers, oddities included: widths as text, absent as null or as nothing at all."""
    return {
        f"EMPIAR-{entry.entry}": {
            "imagesets": [_imageset(number, one) for number, one in enumerate(entry.layout.imagesets, 1)],
            "workflow_file": None,
            "grant_references": [],
            "version_history": [],
            "title": entry.title,
            "principal_investigator": [],
            "status": "REL",
            "deposition_date": "2024-05-25",
            "release_date": "2025-02-04",
            "obsolete_date": None,
            "update_date": "2025-02-04",
            "corresponding_author": {"author": {"name": "Test", "author_orcid": None, "email": "test [at] test"}},
            "authors": [{"author": {"name": "Test", "author_orcid": None}}],
            "cross_references": ["EMD-2984"],
            "biostudies_references": [],
            "idr_references": [],
            "empiar_references": [],
            "citation": [],
            "dataset_size": "305.5 GB",
            "experiment_type": "EMDB",
            "scale": "molecule",
            "entry_doi": f"10.6019/EMPIAR-{entry.entry}",
        }
    }


def _imageset(number: int, imageset: ImagesetOf) -> dict[str, Any]:
    return {
        "segmentations": [],
        "name": f"Set {number}",
        "directory": imageset.directory,
        "category": imageset.category,
        "header_format": "MRC",
        # Often enough wrong in the archive, and nothing may depend on it.
        "data_format": "MRC",
        "num_images_or_tilt_series": imageset.count,
        "frames_per_image": 3,
        "frame_range_min": None,
        "frame_range_max": None,
        "voxel_type": "UNSIGNED BYTE",
        "pixel_width": 1.06 * number,
        "pixel_height": None,
        "micrographs_file_pattern": "",
        "picked_particles_file_pattern": "",
        "picked_particles_directory": "",
        "details": "",
        "image_width": "5760",
        "image_height": "4092",
    }
