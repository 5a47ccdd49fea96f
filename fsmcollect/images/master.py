"""The master file: one NXmx description over all data files of a series.

Owns the NXmx layout. Owns no image: `/entry/data/data` is virtual, by relative names, so a directory can be moved.

Decisions
---------
Nominal and recorded angles
    ``/entry/sample/transformations/omega`` is NOMINAL: NXtransformations takes an exposure's start there, readers
    (DIALS, nxmx) take the scan from it, and DIALS makes one step of all, which must be the exact one that was asked
    for. NeXus has a place for a motor that was told one thing and did another: an NXpositioner with ``target_value``
    (commanded) and ``value`` (best known). So ``/entry/sample/sample_omega/target_value`` is omega itself (a link)
    and ``/entry/sample/sample_omega/value`` the RECORDED angle, NaN where there is none.
Negative rotation
    ``omega`` still holds the goniometer's own angles, falling. XDS and DIALS know only scans with rising angles, and
    handle others as the same turn about the opposite axis (cctbx_project issue 206); dxtbx refuses the file
    otherwise. So ``depends_on`` of the sample then leads to ``omega_reversed``: minus omega, about minus its axis.
Numbering
    Index i is image ``first_image + i``, always, with no image left out: readers know the angle of an image from its
    index. A finished master ends with the last image that exists; images missing before it have the masked value
    (the type's largest), which no reader takes for a count, and are listed in ``/entry/series/missing_images``.
Kappa and phi
    are NXpositioner groups, not links of the ``depends_on`` chain: a chain needs the axes' directions, which nobody
    has given, and a wrong direction is worse than none. Crystal orientations are then relative to that setting.
Overlapping wedges
    have angles that are not one arithmetic series. nxmx reads every image's own angle; DIALS makes one step of all,
    so such a series is processed wedge by wedge.

References
----------
NXmx: https://manual.nexusformat.org/classes/applications/NXmx.html; Bernstein et al. (2020), IUCrJ 7, 784,
doi:10.1107/S2052252520008672. NXpositioner, NXtransformations: https://manual.nexusformat.org/classes/base_classes/
What DIALS asks: cctbx/dxtbx, src/dxtbx/format/FormatNXmx.py and src/dxtbx/nexus/__init__.py.
"""

# ruff: noqa: PLC0415 - h5py, hdf5plugin and numpy take longer to import than the rest of fsmcollect together
# h5py ships no types and what pyright infers from its source is wrong; mypy --strict holds all else here.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsmcollect.beamline import wavelength_a
from fsmcollect.images.data_file import DATASET
from fsmcollect.images.series import Experiment, Part, Series, check_parts, data_file_name, omega_degrees
from fsmcollect.storage import remove, replacing

if TYPE_CHECKING:
    import h5py

_DET_Z = "/entry/instrument/detector/transformations/det_z"
_MODULE_OFFSET = "/entry/instrument/detector/module/module_offset"


def write_master(series: Series, parts: Sequence[Part], *, finished: bool, end_time: str | None = None) -> Path | None:
    """Write the master, or write it again; readers see the old one or the new one, never half of either.

    Parameters
    ----------
    series : Series
        The plan.
    parts : sequence of Part
        What exists, in any order.
    finished : bool
        False: images that do not exist yet are expected in their planned files and appear as those appear. A wedge
        that was interrupted leaves a file shorter than planned: write the master again then, for HDF5 refuses to
        read the images that the short file lacks.
        True: only what exists is listed, up to the last image that exists.
    end_time : str or None
        ISO 8601. NXmx asks to leave it out where it was not observed, as after an abort.

    Returns
    -------
    Path or None
        The master; None where a series finished without any image. It has no master then, and one written at its
        start is removed.

    Raises
    ------
    StorageError
        The disk refused, or a part does not belong to this series (`check_parts`). The old master still stands.
    """
    ordered = check_parts(series, parts)
    if finished and not ordered:
        remove(series.master_path)
        return None

    import h5py

    stop = ordered[-1].stop if finished else series.stop
    with replacing(series.master_path) as sink, h5py.File(sink, "w") as file:
        file.attrs["default"] = "entry"
        entry = _group(file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        entry["definition"] = "NXmx"
        _write_times(entry, series, end_time)
        _write_data(entry, series, ordered, stop, finished=finished)
        _write_sample(entry, series, ordered, stop)
        _write_instrument(entry, series.experiment)
        _write_detector(entry["instrument"], series.experiment)
        _write_series(entry, series, ordered, stop, finished=finished)
        # Links, so that every reader finds a thing where it looks for it.
        entry["data/omega"] = entry["sample/transformations/omega"]
        entry["instrument/detector/data"] = entry["data/data"]
        entry["sample/beam"] = entry["instrument/beam"]
    return series.master_path


def _write_times(entry: h5py.Group, series: Series, end_time: str | None) -> None:
    experiment = series.experiment
    estimated = experiment.end_time_estimated
    if estimated is None:
        exposed = dt.timedelta(seconds=series.images * experiment.exposure_s)
        estimated = _nexus_time((dt.datetime.fromisoformat(experiment.start_time) + exposed).isoformat())
    entry["start_time"] = _nexus_time(experiment.start_time)
    entry["end_time_estimated"] = _nexus_time(estimated)
    if end_time is not None:
        entry["end_time"] = _nexus_time(end_time)


def _write_data(entry: h5py.Group, series: Series, parts: tuple[Part, ...], stop: int, *, finished: bool) -> None:
    import h5py
    import numpy as np

    slow, fast = series.experiment.detector.pixels_slow, series.experiment.detector.pixels_fast
    dtype = np.dtype(f"<u{series.experiment.stored_bits // 8}")
    data = _group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    data.attrs["axes"] = ["omega", ".", "."]
    data.attrs["omega_indices"] = 0
    # The high-level VirtualLayout takes twenty times as long, which 3,600 single-image files would feel.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_fill_value(np.array(series.experiment.masked_value, dtype))
    space = h5py.h5s.create_simple((stop - series.first_image, slow, fast))
    sources = [(part.file, part.first_image, part.stop) for part in parts]
    if not finished:
        sources += [
            (data_file_name(series.stem, first), first, end)
            for gap_first, gap_stop in _gaps(parts, series.first_image, stop)
            for first, end in series.blocks(gap_first, gap_stop)
        ]
    for name, first, end in sources:
        shape = (end - first, slow, fast)
        space.select_hyperslab((first - series.first_image, 0, 0), shape)
        layout.set_virtual(space, name.encode(), DATASET.encode(), h5py.h5s.create_simple(shape))
    space.select_all()
    h5py.h5d.create(data.id, b"data", h5py.h5t.py_create(dtype), space, layout)


def _write_sample(entry: h5py.Group, series: Series, parts: tuple[Part, ...], stop: int) -> None:
    import numpy as np

    experiment = series.experiment
    sample = _group(entry, "sample", "NXsample")
    sample["name"] = experiment.sample_name
    if experiment.temperature_k is not None:
        _value(sample, "temperature", experiment.temperature_k, "K")

    starts_deg: list[float] = []
    ends_deg: list[float] = []
    for wedge in series.wedges:
        images = min(wedge.stop, stop) - wedge.first_image
        starts_deg += omega_degrees(wedge.omega_start_deg, series.image_width_deg, images)
        ends_deg += omega_degrees(wedge.omega_start_deg + series.image_width_deg, series.image_width_deg, images)
    axes = _group(sample, "transformations", "NXtransformations")
    omega = _axis(axes, "omega", starts_deg, "deg", "rotation", experiment.omega_axis, ".")
    _value(axes, "omega_end", ends_deg, "deg")
    _value(axes, "omega_increment_set", float(series.image_width_deg), "deg")
    scan_axis = omega
    if series.image_width_deg < 0:
        x, y, z = experiment.omega_axis
        scan_axis = _axis(axes, "omega_reversed", np.negative(starts_deg), "deg", "rotation", (-x, -y, -z), ".")
        _value(axes, "omega_reversed_end", np.negative(ends_deg), "deg")
        _value(axes, "omega_reversed_increment_set", -float(series.image_width_deg), "deg")
    sample["depends_on"] = scan_axis.name

    recorded_deg = np.full(len(starts_deg), np.nan)
    for part in parts:
        begin = part.first_image - series.first_image
        recorded_deg[begin : begin + part.images] = part.omega_recorded_deg
    positioner = _group(sample, "sample_omega", "NXpositioner")
    positioner["name"] = "omega"
    positioner["description"] = "omega at the start of each image: value as recorded, target_value as planned"
    _value(positioner, "value", recorded_deg, "deg")
    positioner["target_value"] = omega
    for name, angle_deg in (("kappa", experiment.kappa_deg), ("phi", experiment.phi_deg)):
        if angle_deg is not None:
            fixed = _group(sample, f"sample_{name}", "NXpositioner")
            fixed["name"] = name
            _value(fixed, "value", angle_deg, "deg")


def _write_instrument(entry: h5py.Group, experiment: Experiment) -> None:
    source = _group(entry, "source", "NXsource")
    source["name"] = experiment.beamline.synchrotron_name
    instrument = _group(entry, "instrument", "NXinstrument")
    instrument["name"] = experiment.beamline.name
    instrument["name"].attrs["short_name"] = experiment.beamline.instrument_short_name
    beam = _group(instrument, "beam", "NXbeam")
    _value(beam, "incident_wavelength", wavelength_a(experiment.energy_ev), "angstrom")
    if experiment.flux_ph_s is not None:
        _value(beam, "total_flux", experiment.flux_ph_s, "Hz")
    if experiment.beam_size_um is not None:
        _value(beam, "incident_beam_size", [size * 1e-6 for size in experiment.beam_size_um], "m")
    if experiment.transmission_frac is not None:
        attenuator = _group(instrument, "attenuator", "NXattenuator")
        attenuator["attenuator_transmission"] = float(experiment.transmission_frac)


def _write_detector(instrument: h5py.Group, experiment: Experiment) -> None:
    import numpy as np

    info = experiment.detector
    distance_m = experiment.detector_distance_mm * 1e-3
    detector = _group(instrument, "detector", "NXdetector")
    detector["depends_on"] = _DET_Z
    detector["type"] = "Pixel"
    detector["description"] = info.description
    detector["serial_number"] = info.serial_number
    detector["sensor_material"] = info.sensor_material
    detector["saturation_value"] = info.saturation_value
    detector["underload_value"] = 0
    detector["bit_depth_readout"] = info.bit_depth
    detector["bit_depth_image"] = experiment.stored_bits
    for name, value, units in (
        ("sensor_thickness", info.sensor_thickness_m, "m"),
        ("x_pixel_size", info.pixel_size_m, "m"),
        ("y_pixel_size", info.pixel_size_m, "m"),
        ("beam_center_x", info.beam_centre_px[0], "pixel"),
        ("beam_center_y", info.beam_centre_px[1], "pixel"),
        ("distance", distance_m, "m"),
        ("detector_distance", distance_m, "m"),
        ("frame_time", experiment.exposure_s, "s"),
        ("count_time", experiment.exposure_s - info.dead_time_s, "s"),
        ("detector_readout_time", info.dead_time_s, "s"),
    ):
        _value(detector, name, float(value), units)
    # No pixel is known to be bad; the mask is there because readers look for one. It is all fill value: a compressed
    # one would need the bitshuffle plugin where a reader only wants the geometry (`dials.import`).
    size = (info.pixels_slow, info.pixels_fast)
    detector.create_dataset("pixel_mask", shape=size, dtype="<u4", fillvalue=0)

    # NeXus frame: x to the left when looking along the beam, y up, z along the beam. Rows of pixels run to the right
    # (-x), columns down (-y); the first pixel's outer corner lies the beam centre away from the beam.
    axes = _group(detector, "transformations", "NXtransformations")
    _axis(axes, "det_z", [experiment.detector_distance_mm], "mm", "translation", (0.0, 0.0, 1.0), ".")
    module = _group(detector, "module", "NXdetector_module")
    module["data_origin"] = np.array([0, 0], "<i4")
    module["data_size"] = np.array([info.pixels_slow, info.pixels_fast], "<i4")
    size_m = info.pixel_size_m
    corner_m = (info.beam_centre_px[0] * size_m, info.beam_centre_px[1] * size_m, 0.0)
    _axis(module, "module_offset", 0.0, "m", "translation", (1.0, 0.0, 0.0), _DET_Z, offset_m=corner_m)
    _axis(module, "fast_pixel_direction", size_m, "m", "translation", (-1.0, 0.0, 0.0), _MODULE_OFFSET)
    _axis(module, "slow_pixel_direction", size_m, "m", "translation", (0.0, -1.0, 0.0), _MODULE_OFFSET)


def _write_series(entry: h5py.Group, series: Series, parts: tuple[Part, ...], stop: int, *, finished: bool) -> None:
    """What NXmx has no field for, in a group of the class that NeXus keeps for such things."""
    import numpy as np

    missing = [image for first, end in _gaps(parts, series.first_image, stop) for image in range(first, end)]
    group = _group(entry, "series", "NXcollection")
    group["first_image"] = series.first_image
    group["planned_images"] = series.images
    group["finished"] = finished
    group.create_dataset("missing_images", data=np.array(missing, "<i8"))


def _gaps(parts: Sequence[Part], first: int, stop: int) -> list[tuple[int, int]]:
    """What the parts, in order, leave out of ``first`` to ``stop - 1``: half-open ranges."""
    gaps: list[tuple[int, int]] = []
    for part in parts:
        if part.first_image > first:
            gaps.append((first, part.first_image))
        first = part.stop
    return [*gaps, (first, stop)] if first < stop else gaps


def _group(parent: h5py.Group, name: str, nexus_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nexus_class
    return group


def _value(group: h5py.Group, name: str, value: object, units: str) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=value, dtype="<f8")
    dataset.attrs["units"] = units
    return dataset


def _axis(
    group: h5py.Group,
    name: str,
    value: object,
    units: str,
    kind: str,
    vector: tuple[float, float, float],
    depends_on: str,
    *,
    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> h5py.Dataset:
    dataset = _value(group, name, value, units)
    dataset.attrs["transformation_type"] = kind
    dataset.attrs["vector"] = vector
    dataset.attrs["offset"] = offset_m
    dataset.attrs["offset_units"] = "m"
    dataset.attrs["depends_on"] = depends_on
    return dataset


def _nexus_time(text: str) -> str:
    """UTC with a Z, as NXmx asks, whatever zone it was given in."""
    moment = dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
