"""Pixels into bytes: the compressed images of a simulated detector, and snapshots of the sample.

Owns the encodings. Owns no series and no angle.
"""

# ruff: noqa: PLC0415 - h5py, hdf5plugin and numpy take longer to import than the rest of fsmcollect together
# h5py ships no types and what pyright infers from its source is wrong; mypy --strict holds all else here.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from fsmcollect.beamline import DetectorInfo
from fsmcollect.images.series import stored_bits
from fsmcollect.storage import replacing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Mean background of a simulated image. Assumed: air and solvent scatter in a 10 ms image at 10^12 photons/s.
NOISE_COUNTS_PER_PIXEL = 0.05
#: How finely the distribution of counts is looked up.
_STEPS = 65_536


def compress(image: npt.NDArray[np.unsignedinteger]) -> bytes:
    """One image as a bitshuffle-LZ4 chunk, byte for byte what HDF5 would store and a DECTRIS detector would send.

    The library that readers decode with also encodes: HDF5 writes the image into memory and hands out the chunk.
    """
    import h5py
    import hdf5plugin

    shape = (1, *image.shape)
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset(
            "image", shape=shape, dtype=image.dtype, chunks=shape, **hdf5plugin.Bitshuffle(cname="lz4")
        )
        dataset[0] = image
        _, chunk = dataset.id.read_direct_chunk((0, 0, 0))
    return bytes(chunk)


def noise_chunks(seed: int, info: DetectorInfo, count: int = 8) -> list[bytes]:
    """A pool of blank images with counting noise, compressed, for a simulated detector to hand out in turn.

    Parameters
    ----------
    seed : int
        Equal seeds give equal images, on any machine.
    info : DetectorInfo
        Size and depth of the images.
    count : int
        How many different images.
    """
    import numpy as np

    # Counts by 16-bit uniform noise through the inverse of Poisson's distribution: many times faster than drawing
    # each pixel, and wrong only where fewer than one pixel in 131,072 lies.
    steps = (np.arange(_STEPS) + 0.5) / _STEPS
    terms = (math.exp(-NOISE_COUNTS_PER_PIXEL) * NOISE_COUNTS_PER_PIXEL**k / math.factorial(k) for k in range(8))
    counts = np.searchsorted(np.cumsum(list(terms)), steps).astype(f"<u{stored_bits(info) // 8}")
    generator = np.random.Generator(np.random.PCG64(seed))
    shape = (info.pixels_slow, info.pixels_fast)
    return [compress(counts[generator.integers(0, _STEPS, shape, dtype=np.uint16)]) for _ in range(count)]


def write_snapshot(path: Path, picture: npt.NDArray[np.uint8]) -> Path:
    """Write a grey picture, shape (rows, columns), as PNG; it appears whole or not at all.

    Raises
    ------
    StorageError
        The disk refused.
    """
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    with replacing(path) as sink:
        sink.write(png.getvalue())
    return path
