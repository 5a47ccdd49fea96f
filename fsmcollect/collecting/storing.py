"""A run's files: checked before anything moves, opened when it begins, complete at every moment.

Owns where they go, which images exist already, and the threads in which they are written. Owns no format (that is
`images`) and no decision about what to take.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import math
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fsmcollect import images, limits
from fsmcollect.beamline import Beamline, FrameBlock
from fsmcollect.collecting.conditions import Conditions, read_conditions
from fsmcollect.collecting.exposing import images_together
from fsmcollect.errors import DeviceError, InvalidRequest, Problem, StorageError
from fsmcollect.journal import FILE_NAME
from fsmcollect.realwork import in_thread
from fsmcollect.request import Request
from fsmcollect.request.fields import shown
from fsmcollect.storage import make_directories, storage_error
from fsmcollect.wedges import ImageRanges, Plan, Wedge, missing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


#: Bytes in a file's name: of every file system in use (NAME_MAX).
_LONGEST_NAME = 255


@attrs.define(eq=False, kw_only=True)
class Store:
    """Keeps the images, snapshots and masters of one run under `directory`."""

    directory: Path
    process_directory: Path | None
    request: Request
    plan: Plan
    beamline: Beamline
    _series: dict[str, images.Series] = attrs.field(init=False, factory=dict[str, images.Series])
    #: What exists of each series, by first image; complete files only.
    _parts: dict[str, dict[int, images.Part]] = attrs.field(init=False, factory=dict[str, dict[int, images.Part]])
    #: A write that was given up by an abort may still be under way in its thread: one writer at a time.
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    #: The run is on its way out: an opening that an abort gave up must not begin any more.
    _finishing: bool = attrs.field(init=False, default=False)
    #: The directory, opened and locked while the run writes.
    _claim: int | None = attrs.field(init=False, default=None)
    #: When the first image began that exists already, and when the last one was stored; ISO 8601, empty for never.
    _first_began: str = attrs.field(init=False, default="")
    _last_stored: str = attrs.field(init=False, default="")

    @classmethod
    def checked(cls, base: Path, request: Request, plan: Plan, beamline: Beamline) -> Store:
        """The store of a request, if its files can be made. Looks, and changes nothing.

        Raises
        ------
        InvalidRequest
            The directory lies outside of `base`, cannot be written, is too full, or holds images of that name.
        """
        store = cls(
            directory=_inside(base, request.files.directory, "files.directory"),
            process_directory=(
                _inside(base, request.files.process_directory, "files.process_directory")
                if request.files.process_directory
                else None
            ),
            request=request,
            plan=plan,
            beamline=beamline,
        )
        problems = list(store._problems())
        if problems:
            raise InvalidRequest(problems)
        return store

    @property
    def journal_path(self) -> Path:
        return self.directory / FILE_NAME

    @property
    def masters(self) -> tuple[Path, ...]:
        """The master files that exist, in the order of the plan's series."""
        paths = (self._series[name].master_path for name, parts in self._parts.items() if parts)
        return tuple(path for path in paths if path.exists())

    # -- before anything moves ----------------------------------------------------------------------------------------

    def _problems(self) -> Iterator[Problem]:
        files = self.request.files
        for field, asked, path in (
            ("files.directory", files.directory, self.directory),
            ("files.process_directory", files.process_directory, self.process_directory),
        ):
            if path is not None and (reason := _unwritable(path)):
                yield Problem(field=field, value=shown(asked), allowed=reason)
                return
        longest = max(len(os.fsencode(f"{series.name}_data_0000000.h5.part")) for series in self.plan.series) + 1
        if longest > _LONGEST_NAME:
            yield Problem(
                field="files.prefix",
                value=shown(self.request.files.prefix),
                allowed=f"makes file names of {longest} bytes; at most {_LONGEST_NAME} are allowed: "
                f"shorten it by {longest - _LONGEST_NAME}",
            )
            return
        if self.directory.is_dir() and not self.request.files.skip_existing:
            existing = [path for series in self.plan.series for path in images.clashes(self.directory, series.name)]
            if existing:
                more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
                yield Problem(
                    field="files.run_number",
                    value=str(self.request.files.run_number),
                    allowed=f"{existing[0].name}{more} exist already in {self.directory}: choose another run number "
                    "or prefix, or set files.skip_existing = true to take only what is missing",
                )
        yield from self._space_problems()

    def _space_problems(self) -> Iterator[Problem]:
        described = self._described(Conditions()).values()
        needed = sum(map(images.expected_bytes, described))
        free = shutil.disk_usage(_nearest_existing(self.directory)).free
        if needed > free and self.request.files.skip_existing:
            needed = sum(math.ceil(images.expected_bytes(s) * self._missing_frac(s)) for s in described)
        if needed > free:
            yield Problem(
                field="files.directory",
                value=shown(self.request.files.directory),
                allowed=f"the disk of {self.directory} has {free / 1e6:,.0f} MB free, and {self.plan.images:,} images "
                f"may take {needed / 1e6:,.0f} MB: free space, or choose another disk",
            )

    def _missing_frac(self, series: images.Series) -> float:
        """How much of a series is still to be taken."""
        try:
            there = sum(stop - first for first, stop in images.existing_images(self.directory, series.stem))
        except StorageError:  # told when the run opens, in its own words
            there = 0
        return max(0.0, 1.0 - there / series.images)

    # -- during the run -----------------------------------------------------------------------------------------------

    async def open(self) -> tuple[Wedge, ...]:
        """Make the directories, find what exists, write the first masters; returns the wedges still to be taken.

        Raises
        ------
        StorageError
            The disk refused, or existing images belong to another plan or another experiment.
        """
        self._series = self._described(await read_conditions(self.beamline))
        return await in_thread(self._open_locked)

    async def describe(self) -> None:
        """The first image is about to begin: read back what holds now, and say that in the files.

        Raises
        ------
        DeviceError
            A device does not answer.
        StorageError
            The disk refused.
        """
        self._series = self._described(await read_conditions(self.beamline), began=self._first_began or _now())
        await self.refresh_masters()

    def _open_locked(self) -> tuple[Wedge, ...]:
        with self._lock:
            return () if self._finishing else self._open()

    def _open(self) -> tuple[Wedge, ...]:
        for path in (self.directory, self.process_directory):
            if path is not None:
                make_directories(path)
        self._claim_directory()
        existing: dict[str, ImageRanges] = {}
        found: dict[str, tuple[images.Part, ...]] = {}
        for name, series in self._series.items():
            images.remove_leftovers(self.directory, name)
            found[name] = images.check_parts(series, images.existing_parts(self.directory, name))
            if found[name]:
                self._check_experiment(series)
            existing[name] = ImageRanges((part.first_image, part.stop) for part in found[name])
        # Only now: the masters of another plan's images are never written over.
        self._parts = {name: {part.first_image: part for part in parts} for name, parts in found.items()}
        left = missing(self.plan, existing)
        if left:
            self._write_masters(finished=False)
        return left

    def _claim_directory(self) -> None:
        """Be the only run that writes here: two would take each other's files for leftovers."""
        try:
            self._claim = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error("read the directory", self.directory, error) from error
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{self.directory}: another run is writing here: wait for it, or choose another directory"
            ) from error
        except OSError:
            pass  # a file system without locks: nobody can know

    def close(self) -> None:
        """Let other runs write into the directory."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _check_experiment(self, series: images.Series) -> None:
        there = images.series_from_files(self.directory, series.stem)[0].experiment
        beam = self.request.beam
        images.check_experiment(
            series,
            there,
            distance_asked=beam.detector_distance_mm is not None or beam.resolution_a is not None,
            transmission_asked=beam.transmission_frac is not None,
        )
        self._first_began = min(self._first_began or there.start_time, there.start_time)

    def groups(self, wedge: Wedge, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """How images `first` to ``stop - 1`` of `wedge` (their numbers) are divided among files."""
        return self._series[wedge.series.name].blocks(first, stop)

    async def store(self, wedge: Wedge, first_image: int, block: FrameBlock) -> str:
        """Store consecutive images, the first of which has the number `first_image`; returns the file's name.

        Raises StorageError.
        """
        return await in_thread(self._store, wedge.series.name, first_image, block)

    def _store(self, name: str, first_image: int, block: FrameBlock) -> str:
        with self._lock:
            parts = self._parts[name]
            if first_image not in parts:  # else a write that an abort gave up has ended well after all
                parts[first_image] = images.write_data_file(
                    self._series[name], first_image, block.chunks, block.omega_deg
                )
                self._last_stored = _now()
            return parts[first_image].file

    async def store_snapshot(self, number: int, picture: npt.NDArray[np.uint8]) -> None:
        """Store a picture of the sample as PNG beside the images. Raises StorageError."""
        path = self.directory / f"{self.plan.series[0].name}_snapshot_{number}.png"
        await in_thread(self._store_snapshot, path, picture)

    def _store_snapshot(self, path: Path, picture: npt.NDArray[np.uint8]) -> None:
        with self._lock:
            images.write_snapshot(path, picture)

    async def refresh_masters(self) -> None:
        """Write the masters again with the files that exist: a short file of an interrupted wedge is among them."""
        await in_thread(self._write_masters_locked, False)

    async def finish(self) -> None:
        """Write the masters for good, after whatever an abort gave up. May be repeated. Raises StorageError."""
        self._finishing = True
        # Also where there is nothing to write: no thread may be in the middle of a file when the process ends.
        await in_thread(self._write_masters_locked, True)

    def _write_masters_locked(self, finished: bool) -> None:
        with self._lock:
            if self._parts:
                self._write_masters(finished=finished)

    def _write_masters(self, *, finished: bool) -> None:
        for name, series in self._series.items():
            parts = tuple(self._parts[name].values())
            whole = sum(part.images for part in parts) == series.images
            ended = (self._last_stored or None) if finished and whole else None
            images.write_master(series, parts, finished=finished, end_time=ended)

    def _described(self, conditions: Conditions, *, began: str = "") -> dict[str, images.Series]:
        """Each series of the plan as its files describe it.

        Before the first image (`began` is empty) what was asked goes before what the devices say, for they may still
        move; then what they say is what was there.
        """
        request, config, detector = self.request, self.beamline.config, self.beamline.detector
        if detector is None:
            raise DeviceError("beamline", "no detector")
        known = conditions if began else attrs.evolve(conditions, **self._asked())
        transmission = known.transmission_frac
        experiment = images.Experiment(
            sample_name=request.sample.name or request.files.prefix,
            detector=detector.info,
            beamline=config,
            detector_distance_mm=known.distance_mm or config.fixed_distance_mm or 0.0,
            energy_ev=known.energy_ev or limits.target_energy_ev(request, self.beamline),
            exposure_s=self.plan.exposure_s,
            start_time=began or _now(),
            transmission_frac=transmission,
            flux_ph_s=config.flux_ph_s(transmission, known.ring_current_ma),
            beam_size_um=(known.aperture_um, known.aperture_um) if known.aperture_um else config.beam_size_um,
            temperature_k=known.temperature_k,
            kappa_deg=known.kappa_deg,
            phi_deg=known.phi_deg,
            omega_axis=config.omega_axis,
        )
        described: dict[str, images.Series] = {}
        for series in self.plan.series:
            wedges = [wedge for wedge in self.plan.wedges if wedge.series is series]
            described[series.name] = images.Series(
                directory=self.directory,
                stem=series.name,
                image_width_deg=self.plan.image_width_deg,
                wedges=tuple(
                    images.PlannedWedge(
                        first_image=wedge.first_image, images=wedge.images, omega_start_deg=wedge.omega_start_deg
                    )
                    for wedge in wedges
                ),
                experiment=experiment,
                images_per_file=images_together(self.plan.exposure_s),
            )
        return described

    def _asked(self) -> dict[str, float]:
        """What the request says of the conditions."""
        beam, positions = self.request.beam, self.request.positions
        asked = {
            "distance_mm": limits.target_distance_mm(self.request, self.beamline),
            "energy_ev": beam.energy_ev,
            "transmission_frac": beam.transmission_frac,
            "aperture_um": beam.aperture_um,
            "kappa_deg": positions.get("kappa_deg"),
            "phi_deg": positions.get("phi_deg"),
        }
        return {name: value for name, value in asked.items() if value is not None}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def _inside(base: Path, directory: str, field: str) -> Path:
    """`directory` under `base`, or as it is where it is absolute.

    Raises
    ------
    InvalidRequest
        A relative directory that leads out of `base`, by dots or by a link.
    """
    if Path(directory).is_absolute():
        return Path(directory)
    # Not Path.resolve: before Python 3.13 it raises RuntimeError where links go round in a circle.
    path = Path(os.path.realpath(base / directory))
    if not path.is_relative_to(os.path.realpath(base)):
        allowed = f"leads out of the output directory {base} to {path}"
        raise InvalidRequest([Problem(field=field, value=shown(directory), allowed=allowed)])
    return path


def _nearest_existing(path: Path) -> Path:
    # Not Path.exists: before Python 3.12 it raises where a directory on the way cannot be searched or a name is long.
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _unwritable(path: Path) -> str:
    """Why no file can be made in `path`; empty where it can."""
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _LONGEST_NAME:
        return f"holds a name of {longest} bytes; at most {_LONGEST_NAME} are allowed"
    existing = _nearest_existing(path)
    if not os.path.isdir(existing):  # noqa: PTH112 - before Python 3.12 Path.is_dir raises behind a locked directory
        what = "a link that leads to no directory" if existing.is_symlink() else "a file"
        return f"{existing} is {what}: choose another directory"
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        return f"{existing} is on a disk that is mounted read-only: have it remounted, or choose another directory"
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return f"{existing} cannot be written by this user: make it writable, or choose another directory"
    return ""
