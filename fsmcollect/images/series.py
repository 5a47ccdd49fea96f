"""What a series of images is: its numbering, its exact angles, its file names, and what of it already exists.

Owns the values and the names; pure but for looking into a directory. Owns no file content (`data_file`, `master`).
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import attrs

from fsmcollect import limits
from fsmcollect.beamline import BeamlineConfig, DetectorInfo
from fsmcollect.errors import StorageError
from fsmcollect.storage import names_in, remove

#: Bytes a pixel takes once compressed. Assumed: sparse photon counts take 0.1 (0.05 counts a pixel, as measured in
#: tests/test_images.py) to 1 (strong background); the estimate is to warn early, so it takes the upper end.
COMPRESSED_BYTES_PER_PIXEL = 1.0
#: Header, symbol tables and angles of one data file, rounded up; measured: 12 kB.
DATA_FILE_OVERHEAD_BYTES = 16_384


def stored_bits(detector: DetectorInfo) -> int:
    """Bits that a pixel takes in the files, before compression: the smallest of 8, 16 and 32 that holds a count."""
    for bits in (8, 16, 32):
        if detector.bit_depth <= bits:
            return bits
    raise ValueError(f"{detector.description}: bit depth {detector.bit_depth} is more than the 32 bits of an image")


def _utc(_instance: object, attribute: attrs.Attribute[str], value: str | None) -> None:
    if value is not None and dt.datetime.fromisoformat(value).tzinfo is None:
        raise ValueError(f"{attribute.name} = {value}: must say its time zone, as 2026-01-31T12:00:00Z does")


@attrs.frozen(kw_only=True)
class Experiment:
    """What holds for every image of a series and stands in its master file.

    Attributes
    ----------
    sample_name : str
        As the user calls it.
    detector : DetectorInfo
        Its `bit_depth` decides the stored type: the smallest of 8, 16 and 32 bits that holds it.
    beamline : BeamlineConfig
        Names for the instrument and the source.
    detector_distance_mm : float
        Sample to sensor.
    energy_ev : float
        Photon energy.
    exposure_s : float
        Frame time: from the start of one image to the start of the next, dead time included.
    start_time : str
        ISO 8601 with a time zone; NXmx asks for UTC.
    end_time_estimated : str or None
        The plan's prediction. None: start plus all exposures, which is the least it can be.
    transmission_frac, flux_ph_s, beam_size_um, temperature_k : optional
        Left out of the file where None. Beam size is (horizontal, vertical).
    kappa_deg, phi_deg : float or None
        Where the other axes stood. None where the goniometer has no such axis.
    omega_axis : tuple of float
        Unit vector of the rotation axis in the NeXus (McStas) frame: x to the left when looking along the beam, y up,
        z along the beam. Assumed: horizontal, and a right-handed turn about -x, as at Diamond.
    """

    sample_name: str
    detector: DetectorInfo
    beamline: BeamlineConfig
    detector_distance_mm: float
    energy_ev: float
    exposure_s: float
    start_time: str = attrs.field(validator=_utc)
    end_time_estimated: str | None = attrs.field(default=None, validator=_utc)
    transmission_frac: float | None = None
    flux_ph_s: float | None = None
    beam_size_um: tuple[float, float] | None = None
    temperature_k: float | None = None
    kappa_deg: float | None = None
    phi_deg: float | None = None
    omega_axis: tuple[float, float, float] = (-1.0, 0.0, 0.0)

    @property
    def stored_bits(self) -> int:
        """Bits that a pixel takes in the files, before compression."""
        return stored_bits(self.detector)

    @property
    def masked_value(self) -> int:
        """The largest value of the stored type: how an EIGER marks a pixel without a measurement.

        DIALS masks it (dxtbx FormatNXmx.get_raw_data) and no reader can take it for a count.
        """
        return int(2**self.stored_bits - 1)

    @property
    def image_bytes(self) -> int:
        """Size of one image before compression."""
        return self.detector.pixels_fast * self.detector.pixels_slow * self.stored_bits // 8


@attrs.frozen(kw_only=True)
class PlannedWedge:
    """Images of one uninterrupted rotation: consecutive numbers, angles in equal exact steps."""

    first_image: int
    images: int
    omega_start_deg: Fraction

    @property
    def stop(self) -> int:
        """One past the last image's number."""
        return self.first_image + self.images


@attrs.frozen(kw_only=True)
class Part:
    """Images that exist: what one complete data file holds.

    Attributes
    ----------
    first_image : int
        Number of the first image.
    omega_start_deg, image_width_deg : Fraction
        NOMINAL angle of the first image, and step from each to the next (signed; 0 for stills). Exact.
    omega_recorded_deg : tuple of float
        RECORDED angle at the start of each image, as the detector's trigger saw it.
    file : str
        Name of the data file, without directory.
    """

    first_image: int
    omega_start_deg: Fraction
    image_width_deg: Fraction
    omega_recorded_deg: tuple[float, ...]
    file: str

    @property
    def images(self) -> int:
        return len(self.omega_recorded_deg)

    @property
    def stop(self) -> int:
        """One past the last image's number."""
        return self.first_image + self.images


def _contiguous(_instance: object, _attribute: object, wedges: tuple[PlannedWedge, ...]) -> None:
    if not wedges or any(wedge.images < 1 for wedge in wedges):
        raise ValueError("a series needs at least one wedge, and every wedge at least one image")
    if wedges[0].first_image < 0:
        raise ValueError(f"images are numbered from 0 or more, not from {wedges[0].first_image}")
    for before, after in itertools.pairwise(wedges):
        if after.first_image != before.stop:
            raise ValueError(f"image {before.stop} must follow {before.stop - 1}, not image {after.first_image}")


def _file_name(_instance: object, _attribute: object, stem: str) -> None:
    if not stem or Path(stem).name != stem or stem.startswith(".") or "\0" in stem:
        raise ValueError(f"{stem!r} cannot begin a file name")


@attrs.frozen(kw_only=True)
class Series:
    """A planned series: images numbered without a gap, one master file.

    Attributes
    ----------
    directory : Path
        Where its files go; it must exist.
    stem : str
        What its file names begin with: ``lyso_1``.
    image_width_deg : Fraction
        Rotation during one image, signed; 0 for stills.
    wedges : tuple of PlannedWedge
        All wedges in order of their image numbers (not of time), each beginning where the last one ended.
    experiment : Experiment
        What holds for every image.
    images_per_file : int
        A data file holds at most so many images, all of one wedge.
    """

    directory: Path
    stem: str = attrs.field(validator=_file_name)
    image_width_deg: Fraction
    wedges: tuple[PlannedWedge, ...] = attrs.field(validator=_contiguous)
    experiment: Experiment
    images_per_file: int = attrs.field(default=100, validator=attrs.validators.ge(1))

    @property
    def first_image(self) -> int:
        return self.wedges[0].first_image

    @property
    def stop(self) -> int:
        """One past the last image's number."""
        return self.wedges[-1].stop

    @property
    def images(self) -> int:
        return self.stop - self.first_image

    @property
    def master_path(self) -> Path:
        return self.directory / f"{self.stem}_master.h5"

    def data_path(self, first_image: int) -> Path:
        """Where the data file that begins with image `first_image` goes."""
        return self.directory / data_file_name(self.stem, first_image)

    def wedge_of(self, image: int) -> PlannedWedge:
        """The wedge that takes an image.

        Raises
        ------
        ValueError
            The series has no such image.
        """
        if not self.first_image <= image < self.stop:
            raise ValueError(f"image {image} is not one of {self.first_image} to {self.stop - 1} of {self.stem}")
        return self.wedges[bisect.bisect_right(self.wedges, image, key=lambda wedge: wedge.first_image) - 1]

    def omega_start_deg(self, image: int) -> Fraction:
        """NOMINAL omega at the start of an image, exact."""
        wedge = self.wedge_of(image)
        return wedge.omega_start_deg + (image - wedge.first_image) * self.image_width_deg

    def blocks(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """How images `first` to ``stop - 1`` are divided among data files: half-open ranges in order.

        A block never reaches beyond its wedge and never across a multiple of `images_per_file` counted from its
        wedge's first image, so that what is left of an interrupted wedge falls back into the planned files.
        """
        while first < stop:
            wedge = self.wedge_of(first)
            filled = (first - wedge.first_image) % self.images_per_file
            end = min(stop, wedge.stop, first + self.images_per_file - filled)
            yield first, end
            first = end


def omega_degrees(start_deg: Fraction, width_deg: Fraction, images: int) -> list[float]:
    """Every image's angle as the float nearest to the exact rational: no sum is ever rounded twice."""
    denominator = math.lcm(start_deg.denominator, width_deg.denominator)
    start = start_deg.numerator * (denominator // start_deg.denominator)
    width = width_deg.numerator * (denominator // width_deg.denominator)
    # Python divides integers with one correct rounding, like float(Fraction) and ten times faster.
    return [(start + index * width) / denominator for index in range(images)]


def check_parts(series: Series, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts in order, if they are images of this series and no image is there twice.

    Raises
    ------
    StorageError
        An existing file belongs to another plan: other numbers, other angles, or images twice. It names the file.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.first_image))
    for part in ordered:
        where = f"{series.directory / part.file} holds images {part.first_image} to {part.stop - 1}"
        if part.first_image < series.first_image or part.stop > series.stop:
            raise StorageError(
                f"{where}; the series {series.stem} has {series.first_image} to {series.stop - 1}: "
                "move the file away or choose another prefix or run number"
            )
        last = part.stop - 1
        ends = (part.omega_start_deg, part.omega_start_deg + (part.images - 1) * part.image_width_deg)
        planned = (series.omega_start_deg(part.first_image), series.omega_start_deg(last))
        if ends != planned or part.image_width_deg != series.image_width_deg:
            raise StorageError(
                f"{where}, taken from omega {float(ends[0])} deg in steps of {float(part.image_width_deg)} deg; asked "
                f"for are {float(planned[0])} deg and {float(series.image_width_deg)} deg: "
                "move the file away or choose another prefix or run number"
            )
    refuse_doubles(series.directory, ordered)
    return ordered


def check_experiment(series: Series, found: Experiment, *, distance_asked: bool, transmission_asked: bool) -> None:
    """Do nothing where images that exist were taken as the series is asked to be.

    Parameters
    ----------
    found : Experiment
        Of the images that exist, as `series_from_files` gives it: read back from devices, so not quite what was asked.
    distance_asked, transmission_asked : bool
        Compare these too.

    Raises
    ------
    StorageError
        They belong to another experiment: one master must not describe both.
    """
    asked = series.experiment
    # No narrower than what was accepted when they were taken: else nothing could be added to one's own images.
    compared = [
        ("energy_ev", asked.energy_ev, found.energy_ev, limits.ENERGY_TOLERANCE * asked.energy_ev, "eV"),
        ("exposure_s", asked.exposure_s, found.exposure_s, 1e-6 * asked.exposure_s, "s"),
    ]
    if distance_asked:
        distances_mm = asked.detector_distance_mm, found.detector_distance_mm
        compared.append(("detector_distance_mm", *distances_mm, limits.DISTANCE_TOLERANCE_MM, "mm"))
    if transmission_asked and asked.transmission_frac is not None and found.transmission_frac is not None:
        tolerance = limits.transmission_tolerance(asked.transmission_frac)
        compared.append(("transmission_frac", asked.transmission_frac, found.transmission_frac, tolerance, ""))
    for name, wanted, there, tolerance, unit in compared:
        if abs(wanted - there) > tolerance:
            raise StorageError(
                f"images of {series.stem} in {series.directory} were taken with {name} = {there:g} {unit}".rstrip()
                + f"; asked for is {wanted:g} {unit}".rstrip()
                + ": move the files away or choose another prefix or run number"
            )


def refuse_doubles(directory: Path, ordered: Sequence[Part]) -> None:
    """Raise StorageError where two files hold the same image: nobody can know which one is meant."""
    for before, after in itertools.pairwise(ordered):
        if after.first_image < before.stop:
            raise StorageError(
                f"image {after.first_image} is in {before.file} and in {after.file} of {directory}: "
                "move one of them away"
            )


# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------


def data_file_name(stem: str, first_image: int) -> str:
    """``lyso_1_data_000101.h5``; more than six digits where they are needed."""
    return f"{stem}_data_{first_image:06d}.h5"


def data_files(directory: Path, stem: str) -> list[tuple[int, Path]]:
    """First image number and path of every file that has the name of a data file of the series, by number."""
    pattern = re.compile(re.escape(stem) + r"_data_([0-9]{6,})\.h5")
    matches = ((pattern.fullmatch(name), name) for name in names_in(directory))
    return sorted((int(match[1]), directory / name) for match, name in matches if match)


def clashes(directory: Path, stem: str) -> list[Path]:
    """Files that already have a name which a series of this stem uses; to refuse a run that may not complete them."""
    master = directory / f"{stem}_master.h5"
    return [path for _, path in data_files(directory, stem)] + ([master] if master.exists() else [])


def remove_leftovers(directory: Path, stem: str) -> list[Path]:
    """Remove what a killed run was still writing; it never had a name that a reader looks for.

    Raises
    ------
    StorageError
        The disk refused.
    """
    pattern = re.compile(r"\." + re.escape(stem) + r"_(data_[0-9]{6,}|master)\.h5\.part")
    left = [directory / name for name in names_in(directory) if pattern.fullmatch(name)]
    for path in left:
        remove(path)
    return left


def expected_bytes(series: Series) -> int:
    """Disk space the whole series may take, for a check before anything moves.

    Assumes `COMPRESSED_BYTES_PER_PIXEL`; a series of single-image files counts `DATA_FILE_OVERHEAD_BYTES` for each.
    """
    detector = series.experiment.detector
    image = math.ceil(detector.pixels_fast * detector.pixels_slow * COMPRESSED_BYTES_PER_PIXEL)
    files = sum(-(-wedge.images // series.images_per_file) for wedge in series.wedges)
    return series.images * image + (files + 1) * DATA_FILE_OVERHEAD_BYTES
