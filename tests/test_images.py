"""Image files, as nxmx, fabio, h5py and (where installed) DIALS read them."""

# What pyright infers from the sources of h5py, fabio and nxmx is wrong; mypy --strict holds all else here.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false

import errno
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import attrs
import fabio
import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
import nxmx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fsmcollect import images, storage
from fsmcollect.beamline import BeamlineConfig, DetectorInfo, wavelength_a
from fsmcollect.errors import DeviceError, StorageError
from fsmcollect.images import Experiment, Part, PlannedWedge, Series

WIDTH = Fraction(1, 10)
MASKED = 65535
DETECTOR = DetectorInfo(
    description="SIM Eiger, 24 x 16 pixels",
    serial_number="SIM-1",
    pixels_fast=24,
    pixels_slow=16,
    pixel_size_m=75e-6,
    sensor_material="Si",
    sensor_thickness_m=450e-6,
    saturation_value=60000,
    bit_depth=16,
    beam_centre_px=(11.5, 8.25),
    dead_time_s=1e-5,
    min_frame_time_s=1e-3,
)
EXPERIMENT = Experiment(
    sample_name="lysozyme",
    detector=DETECTOR,
    beamline=BeamlineConfig(
        name="SIM BEAMLINE", synchrotron_name="Simulated", instrument_short_name="SIM", shutter_opening_s=0.0
    ),
    detector_distance_mm=150.0,
    energy_ev=12700.0,
    exposure_s=0.01,
    start_time="2026-01-01T13:00:00+01:00",
    transmission_frac=0.2,
    flux_ph_s=1e12,
    beam_size_um=(20.0, 10.0),
    temperature_k=100.0,
    kappa_deg=30.0,
    phi_deg=0.0,
)


def plan(
    directory: Path,
    *lengths: int,
    first_image: int = 1,
    omega_start_deg: Fraction = Fraction(0),
    width_deg: Fraction = WIDTH,
    stem: str = "lyso_1",
    images_per_file: int = 10,
) -> Series:
    """Wedges of these lengths, one after the other in number and in angle."""
    wedges: list[PlannedWedge] = []
    for length in lengths:
        number = wedges[-1].stop if wedges else first_image
        start_deg = omega_start_deg + (number - first_image) * width_deg
        wedges.append(PlannedWedge(first_image=number, images=length, omega_start_deg=start_deg))
    return Series(
        directory=directory,
        stem=stem,
        image_width_deg=width_deg,
        wedges=tuple(wedges),
        experiment=EXPERIMENT,
        images_per_file=images_per_file,
    )


@cache
def chunk_of(number: int) -> bytes:
    return images.compress(picture_of(number))


def picture_of(number: int) -> npt.NDArray[np.uint16]:
    """An image that says which one it is."""
    picture = np.zeros((DETECTOR.pixels_slow, DETECTOR.pixels_fast), "<u2")
    picture[3, 5] = number + 1
    picture[-1, -1] = 7
    return picture


def recorded_deg(series: Series, number: int) -> float:
    """What the goniometer might really have done: late by a little, differently for each image."""
    return float(series.omega_start_deg(number)) + 1e-3 + number * 1e-6


def take(series: Series, first: int, stop: int) -> list[Part]:
    """Write images first to stop - 1 into the files that they belong into."""
    return [
        images.write_data_file(
            series,
            begin,
            [chunk_of(number) for number in range(begin, end)],
            [recorded_deg(series, number) for number in range(begin, end)],
        )
        for begin, end in series.blocks(first, stop)
    ]


def take_all(series: Series) -> list[Part]:
    return take(series, series.first_image, series.stop)


def entry_of(file: h5py.File) -> nxmx.NXentry:
    (entry,) = nxmx.NXmx(file).entries  # type: ignore[no-untyped-call]
    return entry


def nominal_as_nxmx_reads_it(path: Path) -> list[float]:
    with h5py.File(path) as file:
        entry = entry_of(file)
        omega = entry.samples[0].transformations[0].axes["omega"]
        return [float(value) for value in omega[()].to("deg").magnitude]


def frames_as_fabio_reads_them(path: Path) -> list[npt.NDArray[np.uint16]]:
    opened = fabio.open(str(path))
    try:
        return [opened.get_frame(index).data for index in range(opened.nframes)]
    finally:
        opened.close()


def assert_readers_see(series: Series, numbers: Sequence[int], missing: Sequence[int] = ()) -> None:
    """Every image's content by fabio; every image's angles by nxmx and h5py."""
    path = series.master_path
    frames = frames_as_fabio_reads_them(path)
    assert len(frames) == len(numbers)
    for number, frame in zip(numbers, frames, strict=True):
        if number in missing:
            assert (frame == MASKED).all()
        else:
            np.testing.assert_array_equal(frame, picture_of(number))

    assert nominal_as_nxmx_reads_it(path) == [float(series.omega_start_deg(number)) for number in numbers]
    with h5py.File(path) as file:
        entry = entry_of(file)
        axis = entry.samples[0].transformations[0].axes["omega"]
        ends_deg = [float(series.omega_start_deg(number) + series.image_width_deg) for number in numbers]
        assert axis.end is not None
        assert np.all(axis.end[()] == nxmx.ureg.Quantity(ends_deg, "deg"))
        assert axis.increment_set is not None
        assert axis.increment_set.to("deg").magnitude == float(series.image_width_deg)
        expected_deg = [np.nan if number in missing else recorded_deg(series, number) for number in numbers]
        np.testing.assert_array_equal(file["entry/sample/sample_omega/value"][()], expected_deg)
        assert file["entry/sample/sample_omega/target_value"] == file["entry/sample/transformations/omega"]
        assert file["entry/series/missing_images"][()].tolist() == list(missing)
        assert file["entry/series/first_image"][()] == series.first_image


# ---------------------------------------------------------------------------------------------------------------------
# What readers see
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_image", [0, 1, 101])
@pytest.mark.parametrize(
    "lengths", [(1,), (7,), (10,), (25,), (10, 10, 3), (1, 1, 1, 1)], ids=lambda lengths: "+".join(map(str, lengths))
)
def test_nxmx_and_fabio_read_back_every_image_and_both_its_angles(
    tmp_path: Path, lengths: tuple[int, ...], first_image: int
) -> None:
    series = plan(tmp_path, *lengths, first_image=first_image)
    assert images.write_master(series, take_all(series), finished=True) == series.master_path
    assert_readers_see(series, range(series.first_image, series.stop))


@pytest.mark.parametrize(
    "start_deg, width_deg",
    [
        (Fraction(180), WIDTH),
        (Fraction(90), -WIDTH),
        (Fraction(30), Fraction(0)),
        (Fraction(-1, 3), Fraction(1, 7)),
        (Fraction("359.95"), WIDTH),
    ],
    ids=["inverse beam", "negative rotation", "stills", "rationals that no decimal holds", "across a full turn"],
)
def test_any_start_and_direction_reads_back(tmp_path: Path, start_deg: Fraction, width_deg: Fraction) -> None:
    series = plan(tmp_path, 12, 5, omega_start_deg=start_deg, width_deg=width_deg)
    images.write_master(series, take_all(series), finished=True)
    assert_readers_see(series, range(1, 18))


def test_direct_and_inverse_series_share_a_directory_without_seeing_each_other(tmp_path: Path) -> None:
    direct = plan(tmp_path, 12, stem="lyso_1")
    inverse = plan(tmp_path, 12, stem="lyso_1_inverse", omega_start_deg=Fraction(180))
    for series in (direct, inverse):
        assert images.existing_images(tmp_path, series.stem) == []
        images.write_master(series, take_all(series), finished=True)
    for series in (direct, inverse):
        assert_readers_see(series, range(1, 13))
        assert images.existing_images(tmp_path, series.stem) == [(1, 13)]
        assert len(images.clashes(tmp_path, series.stem)) == 3


def test_wedges_that_overlap_keep_their_own_angles(tmp_path: Path) -> None:
    series = attrs.evolve(
        plan(tmp_path, 8),
        wedges=(
            PlannedWedge(first_image=1, images=4, omega_start_deg=Fraction(0)),
            PlannedWedge(first_image=5, images=4, omega_start_deg=Fraction(3, 10)),
        ),
    )
    images.write_master(series, take_all(series), finished=True)
    assert nominal_as_nxmx_reads_it(series.master_path) == [0.0, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]


def test_a_negative_rotation_leads_readers_to_a_rising_angle_about_the_opposite_axis(tmp_path: Path) -> None:
    series = plan(tmp_path, 5, omega_start_deg=Fraction(90), width_deg=-WIDTH)
    images.write_master(series, take_all(series), finished=True)
    with h5py.File(series.master_path) as file:
        sample = entry_of(file).samples[0]
        assert sample.depends_on is not None
        axes = nxmx.get_rotation_axes(nxmx.get_dependency_chain(sample.depends_on))
        assert axes.names.tolist() == ["omega_reversed"]
        # The same movement of the crystal, image by image.
        turned = sample.depends_on.matrix
        np.testing.assert_allclose(turned, sample.transformations[0].axes["omega"].matrix, atol=1e-12)


def test_a_growing_series_shows_what_exists_and_masks_the_rest(tmp_path: Path) -> None:
    series = plan(tmp_path, 25)
    images.write_master(series, [], finished=False)
    assert nominal_as_nxmx_reads_it(series.master_path) == [float(i * WIDTH) for i in range(25)]
    assert all((frame == MASKED).all() for frame in frames_as_fabio_reads_them(series.master_path))
    take(series, 1, 11)
    # Nothing was written to the master since, and the images of the new file are there.
    frames = frames_as_fabio_reads_them(series.master_path)
    assert [int(frame[3, 5]) for frame in frames] == [*range(2, 12), *[MASKED] * 15]


def test_an_aborted_series_ends_with_its_last_image(tmp_path: Path) -> None:
    series = plan(tmp_path, 25)
    images.write_master(series, take(series, 1, 15), finished=True)
    assert_readers_see(series, range(1, 15))


def test_images_missing_in_between_are_masked_and_listed_and_shift_no_other(tmp_path: Path) -> None:
    series = plan(tmp_path, 10, 10, 10, first_image=101)
    images.write_master(series, take(series, 121, 125) + take(series, 105, 111), finished=True)
    assert_readers_see(series, range(101, 125), missing=[*range(101, 105), *range(111, 121)])


def test_a_series_that_ended_without_an_image_leaves_no_master(tmp_path: Path) -> None:
    series = plan(tmp_path, 5)
    images.write_master(series, [], finished=False)
    assert images.write_master(series, [], finished=True) is None
    assert images.write_master(series, [], finished=True) is None
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_wedge_is_completed_in_the_planned_files(tmp_path: Path) -> None:
    series = plan(tmp_path, 25)
    parts = take(series, 1, 14)
    images.write_master(series, parts, finished=False)
    assert [part.file[-9:-3] for part in parts] == ["000001", "000011"]
    parts += take(series, 14, 26)
    assert [part.file[-9:-3] for part in parts[2:]] == ["000014", "000021"]
    assert images.existing_images(tmp_path, "lyso_1") == [(1, 26)]
    # The master written after the interruption already names the files in which the rest appeared.
    assert [int(frame[3, 5]) for frame in frames_as_fabio_reads_them(series.master_path)] == list(range(2, 27))
    images.write_master(series, parts, finished=True)
    assert_readers_see(series, range(1, 26))


def test_a_directory_can_be_moved(tmp_path: Path) -> None:
    series = plan(tmp_path / "here", 12)
    series.directory.mkdir()
    images.write_master(series, take_all(series), finished=True)
    series.directory.rename(tmp_path / "there")
    assert_readers_see(attrs.evolve(series, directory=tmp_path / "there"), range(1, 13))


def test_a_data_file_opens_by_itself(tmp_path: Path) -> None:
    series = plan(tmp_path, 3)
    take_all(series)
    frames = frames_as_fabio_reads_them(series.data_path(1))
    assert [int(frame[3, 5]) for frame in frames] == [2, 3, 4]
    with h5py.File(series.data_path(1)) as file:
        assert file["entry/data/omega"][()].tolist() == [0.0, 0.1, 0.2]
        assert file["entry/data/omega_recorded"][()].tolist() == [recorded_deg(series, n) for n in (1, 2, 3)]


def test_the_master_describes_the_experiment(tmp_path: Path) -> None:
    series = plan(tmp_path, 3)
    images.write_master(series, take_all(series), finished=True, end_time="2026-01-01T12:00:09Z")
    with h5py.File(series.master_path) as file:
        entry = entry_of(file)
        assert entry.start_time.isoformat() == "2026-01-01T12:00:00+00:00"
        assert entry.end_time_estimated.isoformat() == "2026-01-01T12:00:00.030000+00:00"
        assert entry.end_time is not None
        assert entry.end_time.isoformat() == "2026-01-01T12:00:09+00:00"
        assert entry.source.name == "Simulated"
        assert entry.data[0].signal == "data"
        sample = entry.samples[0]
        assert sample.name == "lysozyme"
        assert sample.temperature is not None
        assert sample.temperature.magnitude == 100.0
        assert file["entry/sample/sample_kappa/value"][()] == 30.0
        instrument = entry.instruments[0]
        assert (instrument.name, instrument.short_name) == ("SIM BEAMLINE", "SIM")
        beam = instrument.beams[0]
        assert beam.incident_wavelength.to("angstrom").magnitude == pytest.approx(wavelength_a(12700.0))
        assert beam.total_flux is not None
        assert beam.incident_beam_size is not None
        assert beam.incident_beam_size.to("um").magnitude.tolist() == pytest.approx([20.0, 10.0])
        assert instrument.attenuators[0]["attenuator_transmission"][()] == 0.2
        detector = instrument.detectors[0]
        assert detector.count_time is not None
        assert detector.count_time.to("s").magnitude == pytest.approx(0.00999)
        assert detector.frame_time is not None
        assert detector.frame_time.to("s").magnitude == 0.01
        assert detector.saturation_value == 60000
        assert detector.sensor_material == "Si"
        assert detector.serial_number == "SIM-1"
        assert not detector["pixel_mask"][()].any()
        module = detector.modules[0]
        assert module.data_size.tolist() == [16, 24]
        corner = nxmx.get_cumulative_transformation(nxmx.get_dependency_chain(module.fast_pixel_direction))[0, :3, 3]
        # The first pixel lies to the left of the beam and above it, one pixel's step along the rows already made.
        assert corner.tolist() == pytest.approx([11.5 * 0.075 - 0.075, 8.25 * 0.075, 150.0])


@pytest.mark.parametrize("bits, masked", [(8, 255), (12, 65535), (16, 65535), (32, 4294967295)])
def test_the_stored_type_follows_the_detector(tmp_path: Path, bits: int, masked: int) -> None:
    info = attrs.evolve(DETECTOR, bit_depth=bits)
    series = attrs.evolve(plan(tmp_path, 2), experiment=attrs.evolve(EXPERIMENT, detector=info))
    (chunk,) = images.noise_chunks(1, info, count=1)
    images.write_master(series, [images.write_data_file(series, 2, [chunk], [0.1])], finished=True)
    first, second = frames_as_fabio_reads_them(series.master_path)
    assert (first == masked).all()
    assert second.max() < 8


def test_metadata_that_nobody_knows_is_left_out(tmp_path: Path) -> None:
    bare = attrs.evolve(
        EXPERIMENT, transmission_frac=None, flux_ph_s=None, beam_size_um=None, temperature_k=None, kappa_deg=None
    )
    series = attrs.evolve(plan(tmp_path, 2), experiment=bare)
    images.write_master(series, take_all(series), finished=True)
    with h5py.File(series.master_path) as file:
        assert "attenuator" not in list(file["entry/instrument"])
        assert list(file["entry/sample/beam"]) == ["incident_wavelength"]
        assert "sample_kappa" not in list(file["entry/sample"])
        assert entry_of(file).end_time is None


@pytest.mark.long
@pytest.mark.skipif(shutil.which("dials.import") is None, reason="DIALS is not installed")
@pytest.mark.parametrize(
    "width_deg, oscillation, axis", [(WIDTH, "{90,0.1}", "{1,0,0}"), (-WIDTH, "{-90,0.1}", "{-1,0,0}")]
)
def test_dials_imports_a_series_and_its_scan(tmp_path: Path, width_deg: Fraction, oscillation: str, axis: str) -> None:
    series = plan(tmp_path, 25, omega_start_deg=Fraction(90), width_deg=width_deg)
    images.write_master(series, take(series, 1, 15), finished=True)
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    run("dials.import", str(series.master_path))
    shown = run("dials.show", "imported.expt")
    assert "image range:" in shown
    assert "{1,14}" in shown
    assert oscillation in shown
    assert axis in shown


# ---------------------------------------------------------------------------------------------------------------------
# Found again
# ---------------------------------------------------------------------------------------------------------------------


@st.composite
def wedges_and_parts(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], int, Fraction, Fraction, int]:
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    first_image = draw(st.integers(0, 2_000_000))
    cuts = sorted(draw(st.sets(st.integers(first_image, first_image + sum(lengths)), min_size=2)))
    ranges = draw(st.permutations(list(zip(cuts[::2], cuts[1::2], strict=False))))
    angle = st.fractions(-720, 720, max_denominator=10_000)
    width = st.fractions(-1, 1, max_denominator=1000)
    return lengths, list(ranges), first_image, draw(angle), draw(width), draw(st.integers(1, 7))


@given(case=wedges_and_parts())
def test_parts_in_any_order_are_found_again_and_read_back(
    case: tuple[list[int], list[tuple[int, int]], int, Fraction, Fraction, int],
) -> None:
    lengths, ranges, first_image, start_deg, width_deg, images_per_file = case
    with tempfile.TemporaryDirectory() as directory:
        series = plan(
            Path(directory),
            *lengths,
            first_image=first_image,
            omega_start_deg=start_deg,
            width_deg=width_deg,
            images_per_file=images_per_file,
        )
        for first, stop in ranges:
            chunks = [chunk_of(0)] * (stop - first)
            for begin, end in series.blocks(first, stop):
                assert end - begin <= images_per_file
                images.write_data_file(series, begin, chunks[: end - begin], [0.0] * (end - begin))

        taken = {number for first, stop in ranges for number in range(first, stop)}
        found = images.existing_images(series.directory, series.stem)
        assert {number for first, stop in found for number in range(first, stop)} == taken
        assert found == sorted(found)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(found))

        images.write_master(series, images.existing_parts(series.directory, series.stem), finished=True)
        nominal = nominal_as_nxmx_reads_it(series.master_path)
        assert nominal == [float(start_deg + index * width_deg) for index in range(max(taken) - first_image + 1)]


def test_no_directory_holds_no_images(tmp_path: Path) -> None:
    assert images.existing_images(tmp_path / "nowhere", "lyso_1") == []
    assert images.clashes(tmp_path / "nowhere", "lyso_1") == []


def test_other_stems_and_other_names_are_not_this_series(tmp_path: Path) -> None:
    take_all(plan(tmp_path, 3, stem="lyso_11"))
    take_all(plan(tmp_path, 3, stem="lyso.1"))
    (tmp_path / "lyso_1_data_1.h5").touch()
    (tmp_path / "lyso_1_data_000001.h5.bak").touch()
    assert images.existing_images(tmp_path, "lyso_1") == []
    assert images.clashes(tmp_path, "lyso_1") == []
    # A full stop in a stem is no pattern.
    assert images.existing_images(tmp_path, "lyso.1") == [(1, 4)]


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _plain_text(path: Path) -> None:
    path.write_text("not HDF5")


def _foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((3, 16, 24))


def _renumbered(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        attributes = file["entry"].attrs
        attributes["fsmcollect"] = attributes["fsmcollect"].replace('"first_image": 1,', '"first_image": 2,')


@pytest.mark.parametrize("spoil", [_truncate, _plain_text, _foreign_hdf5, _renumbered, Path.touch])
def test_a_damaged_or_foreign_file_is_named_and_never_counted(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    series = plan(tmp_path, 3)
    take_all(series)
    path = series.data_path(1)
    if spoil is Path.touch:
        path.unlink()
    spoil(path)
    for look in (images.existing_images, images.existing_parts, images.series_from_files):
        with pytest.raises(StorageError, match="move it away") as caught:
            look(tmp_path, "lyso_1")
        assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_no_damaged_file(tmp_path: Path) -> None:
    path = plan(tmp_path, 3).data_path(1)
    path.mkdir()
    for look in (images.existing_images, images.series_from_files):
        with pytest.raises(StorageError, match=r"cannot read .*_data_000001\.h5: Is a directory"):
            look(tmp_path, "lyso_1")


def test_an_experiment_that_does_not_read_back_makes_no_series(tmp_path: Path) -> None:
    series = plan(tmp_path, 3)
    take_all(series)
    with h5py.File(series.data_path(1), "r+") as file:
        attributes = file["entry"].attrs
        attributes["fsmcollect"] = attributes["fsmcollect"].replace('"energy_ev"', '"energy_kev"')
    assert images.existing_images(tmp_path, "lyso_1") == [(1, 4)]
    with pytest.raises(StorageError, match=r"_data_000001\.h5"):
        images.series_from_files(tmp_path, "lyso_1")


def test_an_image_in_two_files_is_refused(tmp_path: Path) -> None:
    take(plan(tmp_path, 10), 1, 6)
    take(plan(tmp_path, 10), 5, 8)
    with pytest.raises(StorageError, match=r"image 5 is in lyso_1_data_000001\.h5 and in lyso_1_data_000005\.h5"):
        images.existing_images(tmp_path, "lyso_1")


@pytest.mark.parametrize(
    "other, words",
    [
        ({"omega_start_deg": Fraction(5)}, "asked for are 5.0 deg"),
        ({"width_deg": Fraction(1, 5)}, "in steps of 0.1 deg"),
        ({"first_image": 4}, "has 4 to 9"),
    ],
)
def test_existing_images_of_another_plan_are_refused(tmp_path: Path, other: dict[str, Fraction], words: str) -> None:
    parts = take_all(plan(tmp_path, 6))
    series = plan(tmp_path, 6, **other)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="choose another prefix") as caught:
        images.write_master(series, parts, finished=False)
    assert words in str(caught.value)
    assert not series.master_path.exists()


def test_a_finer_division_into_wedges_accepts_existing_images(tmp_path: Path) -> None:
    parts = take_all(plan(tmp_path, 12))
    assert images.check_parts(plan(tmp_path, 5, 5, 2), reversed(parts)) == tuple(parts)


def test_the_data_files_alone_are_enough_to_write_the_master_again(tmp_path: Path) -> None:
    series = plan(tmp_path, 10, 10, 10, first_image=7, omega_start_deg=Fraction(1, 3))
    images.write_master(series, take(series, 10, 17) + take(series, 30, 37), finished=True)
    before = series.master_path.read_bytes()
    series.master_path.unlink()
    found, parts = images.series_from_files(tmp_path, "lyso_1")
    assert found.experiment == EXPERIMENT
    images.write_master(attrs.evolve(found, wedges=series.wedges), parts, finished=True)
    assert series.master_path.read_bytes() == before
    images.write_master(found, parts, finished=True)
    assert_readers_see(series, range(7, 37), missing=[7, 8, 9, *range(17, 30)])


def test_no_data_file_makes_no_series(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no image file of lyso_1"):
        images.series_from_files(tmp_path, "lyso_1")


# ---------------------------------------------------------------------------------------------------------------------
# Whole or not at all
# ---------------------------------------------------------------------------------------------------------------------


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    series = plan(tmp_path, 3)
    kept = [tmp_path / part.file for part in take_all(series)]
    kept += [tmp_path / ".lyso_11_master.h5.part", tmp_path / ".lyso_1_notes.part"]
    left = [tmp_path / ".lyso_1_data_000004.h5.part", tmp_path / ".lyso_1_master.h5.part"]
    for path in [*kept[1:], *left]:
        path.touch()
    assert images.clashes(tmp_path, "lyso_1") == [series.data_path(1)]
    assert images.remove_leftovers(tmp_path, "lyso_1") == left
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert images.remove_leftovers(tmp_path, "lyso_1") == []


def test_a_process_killed_while_it_writes_leaves_only_whole_files(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        import test_images as t
        series = t.plan(Path(sys.argv[1]), 100_000, images_per_file=20)
        print("writing", flush=True)
        t.take_all(series)
        """
    )
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(here)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not images.existing_images(tmp_path, "lyso_1"):
            assert process.poll() is None
        process.kill()
    images.remove_leftovers(tmp_path, "lyso_1")
    ((first, stop),) = images.existing_images(tmp_path, "lyso_1")
    assert first == 1
    assert (stop - 1) % 20 == 0
    series = plan(tmp_path, 100_000, images_per_file=20)
    images.write_master(series, images.existing_parts(tmp_path, "lyso_1"), finished=True)
    assert_readers_see(series, range(1, stop))


def test_existing_images_are_never_overwritten(tmp_path: Path) -> None:
    series = plan(tmp_path, 3)
    take_all(series)
    before = series.data_path(1).read_bytes()
    with pytest.raises(StorageError, match="exists already"):
        take_all(series)
    assert series.data_path(1).read_bytes() == before


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes the disk refuse every write beyond an offset with an error number."""

    def refuse(beyond: int, number: int) -> None:
        def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
            if offset + len(data) > beyond:
                raise OSError(number, os.strerror(number))
            return real(descriptor, data, offset)

        real = os.pwrite
        monkeypatch.setattr(os, "pwrite", pwrite)

    return refuse


@pytest.mark.parametrize("beyond", [0, 50, 400, 2100, 2500, 4000, 6000])
def test_a_disk_that_fills_at_any_byte_leaves_no_part_of_a_file(
    tmp_path: Path, refused: Callable[[int, int], None], beyond: int
) -> None:
    series = plan(tmp_path, 10)
    parts = take(series, 1, 3)
    images.write_master(series, parts, finished=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused(beyond, errno.ENOSPC)
    for attempt in (
        lambda: take(series, 3, 11),
        lambda: images.write_master(series, parts, finished=True),
    ):
        with pytest.raises(StorageError, match="No space left on device; free space there") as caught:
            attempt()
        assert str(tmp_path) in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "number, advice",
    [
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "writable for this user"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "mend the disk"),
    ],
)
def test_a_refusal_says_what_to_do(
    tmp_path: Path, refused: Callable[[int, int], None], number: int, advice: str
) -> None:
    refused(0, number)
    with pytest.raises(StorageError, match=advice):
        images.write_snapshot(tmp_path / "view.png", np.zeros((4, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [*storage._ADVICE, errno.EIO])
def test_what_to_do_is_true_of_collections_and_of_streams(number: int) -> None:
    said = str(storage.storage_error("write", Path("x"), OSError(number, "")))
    assert re.search("collect|image|prefix|movie", said) is None


def test_a_missing_directory_and_a_file_in_its_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*nowhere.*make the directory"):
        take_all(plan(tmp_path / "nowhere", 3))
    (tmp_path / "file").touch()
    for look in (images.existing_images, images.clashes):
        with pytest.raises(StorageError, match=r"cannot read .*part of the path is a file"):
            look(tmp_path / "file", "lyso_1")


def test_a_limit_on_the_size_of_files_is_a_refusal_like_any_other(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        import test_images as t
        series = t.plan(Path(sys.argv[1]), 100, images_per_file=100)
        t.chunk_of(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        try:
            t.take_all(series)
        except t.StorageError as error:
            print(error)
        """
    )
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(here)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )
    assert "File too large; it is larger than" in run.stdout
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount a disk")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_really_full_disk_keeps_what_it_has_and_takes_the_rest_once_there_is_space(small_disk: Path) -> None:
    series = plan(small_disk, 100)
    with pytest.raises(StorageError, match="free space there, then go on"):
        take_all(series)
    ((first, stop),) = images.existing_images(small_disk, "lyso_1")
    assert first == 1
    assert stop > 11
    assert images.remove_leftovers(small_disk, "lyso_1") == []
    series.data_path(1).unlink()
    take(series, stop, stop + 1)
    assert images.existing_images(small_disk, "lyso_1") == [(11, stop + 1)]


def test_a_bug_while_a_file_is_written_is_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fsmcollect.images.data_file._fill", bug)
    with pytest.raises(ZeroDivisionError):
        take_all(plan(tmp_path, 3))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------------------
# What is refused at the door
# ---------------------------------------------------------------------------------------------------------------------


def test_an_image_of_another_size_is_the_detectors_fault(tmp_path: Path) -> None:
    other = images.compress(np.zeros((16, 24), np.uint32))
    with pytest.raises(DeviceError, match=r"image 2 unpacks to 1536 bytes; .* have 768 bytes"):
        images.write_data_file(plan(tmp_path, 3), 1, [chunk_of(1), other], [0.0, 0.1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first, chunks, angles", [(1, 0, 0), (1, 2, 1), (9, 3, 3), (0, 1, 1), (16, 1, 1)], ids=str)
def test_images_that_do_not_fit_a_wedge_are_a_bug_of_the_caller(
    tmp_path: Path, first: int, chunks: int, angles: int
) -> None:
    series = plan(tmp_path, 10, 5)
    with pytest.raises(ValueError, match="image"):
        images.write_data_file(series, first, [chunk_of(1)] * chunks, [0.0] * angles)


@pytest.mark.parametrize("stem", ["", ".hidden", "a/b", "..", "a\0b"])
def test_a_stem_cannot_leave_its_directory(tmp_path: Path, stem: str) -> None:
    with pytest.raises(ValueError, match="cannot begin a file name"):
        plan(tmp_path, 3, stem=stem)


def test_a_series_is_contiguous_from_its_first_image(tmp_path: Path) -> None:
    wedge = PlannedWedge(first_image=1, images=3, omega_start_deg=Fraction(0))
    for wedges in ((), (attrs.evolve(wedge, images=0),), (attrs.evolve(wedge, first_image=-1),), (wedge, wedge)):
        with pytest.raises(ValueError, match="image"):
            attrs.evolve(plan(tmp_path, 3), wedges=wedges)


def test_a_time_without_its_zone_and_a_detector_of_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        attrs.evolve(EXPERIMENT, start_time="2026-01-01T12:00:00")
    with pytest.raises(ValueError, match="bit depth 64"):
        _ = attrs.evolve(EXPERIMENT, detector=attrs.evolve(DETECTOR, bit_depth=64)).stored_bits


# ---------------------------------------------------------------------------------------------------------------------
# Pixels and sizes
# ---------------------------------------------------------------------------------------------------------------------


def test_a_compressed_image_is_a_bitshuffle_lz4_chunk_as_dectris_streams_it() -> None:
    chunk = chunk_of(3)
    assert int.from_bytes(chunk[:8], "big") == 16 * 24 * 2
    assert 0 < int.from_bytes(chunk[8:12], "big") <= 8192 * 2


def test_noise_is_reproducible_varied_and_of_the_stated_strength() -> None:
    info = attrs.evolve(DETECTOR, pixels_fast=1030, pixels_slow=514)
    pool = images.noise_chunks(7, info, count=3)
    assert pool == images.noise_chunks(7, info, count=3)
    assert pool != images.noise_chunks(8, info, count=3)
    assert len(set(pool)) == 3
    assert all(len(chunk) < 0.3 * 1030 * 514 for chunk in pool)
    with tempfile.TemporaryDirectory() as directory:
        series = attrs.evolve(plan(Path(directory), 3), experiment=attrs.evolve(EXPERIMENT, detector=info))
        images.write_data_file(series, 1, pool, [0.0, 0.1, 0.2])
        frames = frames_as_fabio_reads_them(series.data_path(1))
    assert np.mean(frames) == pytest.approx(0.05, rel=0.05)
    assert np.var(frames) == pytest.approx(0.05, rel=0.1)


def test_a_snapshot_reads_back_as_it_was(tmp_path: Path) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(6, 8)
    path = images.write_snapshot(tmp_path / "view.png", picture)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(opened), picture)


def test_the_expected_size_is_not_less_than_what_noise_takes(tmp_path: Path) -> None:
    info = attrs.evolve(DETECTOR, pixels_fast=515, pixels_slow=257)
    for lengths in ((50,), (1,) * 20):
        directory = tmp_path / str(len(lengths))
        directory.mkdir()
        series = attrs.evolve(plan(directory, *lengths), experiment=attrs.evolve(EXPERIMENT, detector=info))
        pool = images.noise_chunks(1, info, count=1)
        parts = [
            images.write_data_file(series, begin, pool * (end - begin), [0.0] * (end - begin))
            for begin, end in series.blocks(series.first_image, series.stop)
        ]
        images.write_master(series, parts, finished=True)
        assert sum(path.stat().st_size for path in directory.iterdir()) < images.expected_bytes(series)


def test_importing_the_package_loads_neither_hdf5_nor_numpy() -> None:
    program = "import sys, fsmcollect.images; print({'h5py', 'hdf5plugin', 'numpy', 'PIL', 'trio'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
