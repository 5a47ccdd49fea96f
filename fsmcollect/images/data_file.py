"""Data files: the images of one block, as the detector compressed them, with both angles of each.

Owns the layout of one data file, writing it and reading back what it holds. Owns no master and no plan.

Layout (version 1), readable on its own by fabio, h5py and NeXus viewers::

    /entry                    NXentry; attribute `fsmcollect`: one JSON object (one attribute, because each costs HDF5
                              as much time as a small image) with version, stem, first_image, series_first_image,
                              omega_start_deg and image_width_deg (exact, "1/10"), experiment
    /entry/data               NXdata, signal "data", axes omega
    /entry/data/data          (images, slow, fast), one bitshuffle-LZ4 chunk an image
    /entry/data/omega         NOMINAL angle at the start of each image, deg
    /entry/data/omega_recorded  RECORDED angle at the start of each image, deg
"""

# ruff: noqa: PLC0415 - h5py, hdf5plugin and numpy take longer to import than the rest of fsmcollect together
# h5py ships no types and what pyright infers from its source is wrong; mypy --strict holds all else here.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fsmcollect.errors import DeviceError, StorageError
from fsmcollect.images.series import (
    Experiment,
    Part,
    PlannedWedge,
    Series,
    data_files,
    omega_degrees,
    refuse_doubles,
)
from fsmcollect.storage import replacing, storage_error

if TYPE_CHECKING:
    import h5py

#: Where every data file keeps its images; the master's virtual dataset points there.
DATASET = "/entry/data/data"
_VERSION = 1


def write_data_file(
    series: Series, first_image: int, chunks: Sequence[bytes], omega_recorded_deg: Sequence[float]
) -> Part:
    """Write consecutive images of one wedge; they exist, durably, when this returns.

    Parameters
    ----------
    series : Series
        Gives the name and the NOMINAL angles.
    first_image : int
        Number of the first image.
    chunks : sequence of bytes
        One bitshuffle-LZ4 image each, as a DECTRIS stream delivers it (`compress` makes them).
    omega_recorded_deg : sequence of float
        RECORDED omega at the start of each image.

    Raises
    ------
    ValueError
        No images, unequal numbers of images and angles, or images of more than one wedge: a bug of the caller.
    DeviceError
        An image that does not have the detector's size. Nothing is written.
    StorageError
        The disk refused, or the file exists already. Nothing is left behind.
    """
    wedge = series.wedge_of(first_image)
    stop = first_image + len(chunks)
    if not chunks or len(chunks) != len(omega_recorded_deg) or stop > wedge.stop:
        raise ValueError(
            f"{len(chunks)} images with {len(omega_recorded_deg)} angles, from image {first_image} of a wedge that "
            f"ends before {wedge.stop}"
        )
    _check_sizes(series.experiment, first_image, chunks)
    path = series.data_path(first_image)
    if path.exists():
        raise StorageError(f"{path} exists already and is kept: move it away, or let existing images be skipped")
    part = Part(
        first_image=first_image,
        omega_start_deg=series.omega_start_deg(first_image),
        image_width_deg=series.image_width_deg,
        omega_recorded_deg=tuple(map(float, omega_recorded_deg)),
        file=path.name,
    )

    import h5py

    with replacing(path) as sink, h5py.File(sink, "w") as file:
        _fill(file, series, part, chunks)
    return part


def _check_sizes(experiment: Experiment, first_image: int, chunks: Sequence[bytes]) -> None:
    # A bitshuffle-LZ4 chunk begins with its unpacked size, 8 bytes big-endian. A chunk of another size would only
    # be found out by whoever reads it, weeks later.
    for index, chunk in enumerate(chunks):
        if int.from_bytes(chunk[:8], "big") != experiment.image_bytes:
            raise DeviceError(
                "detector",
                f"image {first_image + index} unpacks to {int.from_bytes(chunk[:8], 'big')} bytes; "
                f"{experiment.detector.description} images have {experiment.image_bytes} bytes",
            )


def _fill(file: h5py.File, series: Series, part: Part, chunks: Sequence[bytes]) -> None:
    import hdf5plugin

    detector = series.experiment.detector
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    entry.attrs["fsmcollect"] = json.dumps(
        {
            "version": _VERSION,
            "stem": series.stem,
            "first_image": part.first_image,
            "series_first_image": series.first_image,
            "omega_start_deg": str(part.omega_start_deg),
            "image_width_deg": str(part.image_width_deg),
            "experiment": attrs.asdict(series.experiment),
        },
        ensure_ascii=False,
        allow_nan=False,
    )
    data = entry.create_group("data")
    data.attrs["NX_class"] = "NXdata"
    data.attrs["signal"] = "data"
    data.attrs["axes"] = ["omega", ".", "."]
    images = data.create_dataset(
        "data",
        shape=(part.images, detector.pixels_slow, detector.pixels_fast),
        dtype=f"<u{series.experiment.stored_bits // 8}",
        chunks=(1, detector.pixels_slow, detector.pixels_fast),
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )
    for index, chunk in enumerate(chunks):
        images.id.write_direct_chunk((index, 0, 0), chunk)
    nominal_deg = omega_degrees(part.omega_start_deg, part.image_width_deg, part.images)
    for name, values in (("omega", nominal_deg), ("omega_recorded", part.omega_recorded_deg)):
        data.create_dataset(name, data=values, dtype="<f8").attrs["units"] = "deg"


# ---------------------------------------------------------------------------------------------------------------------
# Reading back
# ---------------------------------------------------------------------------------------------------------------------


def existing_parts(directory: Path, stem: str) -> tuple[Part, ...]:
    """What of a series exists, from its data files alone, by image number; empty where there is nothing.

    Raises
    ------
    StorageError
        A file has the name of a data file and is none, is damaged, or cannot be read; or two hold the same image.
        It names the file and what to do. Nothing is guessed: an image counted as taken is never taken again.
    """
    parts = tuple(_read_part(path, stem, number) for number, path in data_files(directory, stem))
    refuse_doubles(directory, parts)
    return parts


def existing_images(directory: Path, stem: str) -> list[tuple[int, int]]:
    """Which images of a series exist: half-open ranges ``(first, stop)``, in order, as few as possible.

    Raises
    ------
    StorageError
        As `existing_parts`.
    """
    ranges: list[tuple[int, int]] = []
    for part in existing_parts(directory, stem):
        if ranges and ranges[-1][1] == part.first_image:
            ranges[-1] = (ranges[-1][0], part.stop)
        else:
            ranges.append((part.first_image, part.stop))
    return ranges


def series_from_files(directory: Path, stem: str) -> tuple[Series, tuple[Part, ...]]:
    """A series as its data files know it, to write its master again when nothing else is left.

    It ends with the last image that exists. Images between two files, whose plan is lost, are taken to continue the
    angles of the file before them (of the first file, for images before it): they have no data, so this only says
    where they would have been.

    Raises
    ------
    StorageError
        There is no data file, or as `existing_parts`.
    """
    parts = existing_parts(directory, stem)
    if not parts:
        raise StorageError(f"{directory} holds no image file of {stem}: there is nothing to make a master from")
    next_image, experiment = _read_origin(directory / parts[0].file)
    width_deg = parts[0].image_width_deg
    omega_deg = parts[0].omega_start_deg - (parts[0].first_image - next_image) * width_deg
    wedges: list[PlannedWedge] = []
    for part in parts:
        hole = part.first_image - next_image
        if hole > 0:
            wedges.append(PlannedWedge(first_image=next_image, images=hole, omega_start_deg=omega_deg))
        wedges.append(
            PlannedWedge(first_image=part.first_image, images=part.images, omega_start_deg=part.omega_start_deg)
        )
        next_image = part.stop
        omega_deg = part.omega_start_deg + part.images * width_deg
    series = Series(
        directory=directory, stem=stem, image_width_deg=width_deg, wedges=tuple(wedges), experiment=experiment
    )
    return series, parts


def _read_origin(path: Path) -> tuple[int, Experiment]:
    """The number with which the series begins, and the experiment."""
    import cattrs
    import h5py

    try:
        with h5py.File(path, "r") as file:
            about = json.loads(file["entry"].attrs["fsmcollect"])
        return int(about["series_first_image"]), cattrs.structure(about["experiment"], Experiment)
    except Exception as error:
        raise _unreadable(path, error) from error


def _read_part(path: Path, stem: str, number: int) -> Part:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            about = json.loads(file["entry"].attrs["fsmcollect"])
            images = file[DATASET]
            recorded_deg = file["entry/data/omega_recorded"][()]
            part = Part(
                first_image=int(about["first_image"]),
                omega_start_deg=Fraction(about["omega_start_deg"]),
                image_width_deg=Fraction(about["image_width_deg"]),
                omega_recorded_deg=tuple(recorded_deg.tolist()),
                file=path.name,
            )
            consistent = (
                about["version"] == _VERSION
                and about["stem"] == stem
                and part.first_image == number
                and images.ndim == 3
                and images.shape[0] == images.id.get_num_chunks() == part.images > 0
            )
    except Exception as error:
        raise _unreadable(path, error) from error
    if not consistent:
        raise _unreadable(path, ValueError("it contradicts its name or itself"))
    return part


def _unreadable(path: Path, error: Exception) -> StorageError:
    # h5py hands the number on only where the operating system refused; a damaged file has none.
    if isinstance(error, OSError) and error.errno:
        return storage_error("read", path, error)
    return StorageError(
        f"{path} has the name of an image file and is none that fsmcollect wrote whole ({error}): "
        "move it away, or choose another prefix or run number"
    )
