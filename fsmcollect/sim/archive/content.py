"""An entry of the pretend archive: its files and folders, and the metadata that goes with them.

Owns which paths exist and what lies behind each. Movies are counted, not listed: an entry of 100,000 costs no more
than one of ten. Owns no HTTP and no page.
"""

from __future__ import annotations

import email.utils
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from fsmcollect.sim.archive.faults import Fault
from fsmcollect.sim.archive.layouts import Imageset, Layout
from fsmcollect.sim.archive.movies import FORMATS, PIXEL_SIZE_A, Shape, SyntheticFile, gain, movie, plain

#: Of an archive that nobody opens. Assumed.
_PACKED_BYTES = 3_000_000
#: 2026-01-05, and how long it took to bring the files: assumed.
_DEPOSITED_S = 1_767_571_200
_MINUTES_OF_DEPOSITION = 20_000


@attrs.frozen
class Row:
    """One row of a folder's listing."""

    name: str
    size_bytes: int | None
    """None for a folder."""


@attrs.frozen(repr=False)
class Series:
    """The movies of one folder, by their number."""

    pattern: str
    suffix: str
    count: int
    imageset: int
    _name: re.Pattern[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self.pattern.rpartition("/")[2]
        before, _, after = re.sub(r"\{n(:\w+)?\}", "\0", name).replace("{suffix}", self.suffix).partition("\0")
        object.__setattr__(self, "_name", re.compile(re.escape(before) + "([0-9]{1,9})" + re.escape(after)))

    @property
    def folder(self) -> str:
        return _folder_of(self.path(1))

    def path(self, number: int) -> str:
        return self.pattern.format(n=number, suffix=self.suffix)

    def paths(self) -> Iterator[str]:
        return (self.path(number) for number in range(1, self.count + 1))

    def has(self, path: str) -> bool:
        match = self._name.fullmatch(path.rpartition("/")[2])
        return match is not None and 1 <= int(match[1]) <= self.count and self.path(int(match[1])) == path


@attrs.define(eq=False, repr=False)
class Entry:
    """The files of one entry.

    Parameters
    ----------
    folders : sequence of str
        Where its movies lie instead of where the layout has them; dealt over these.
    corrupting : sequence of Fault
        Which movies have a wrong header: each fault means the first `times` that match, after `skip`.
    """

    accession: str
    layout: Layout
    shape: Shape
    movies: int
    has_gain: bool
    seed: int
    folders: Sequence[str] = ()
    corrupting: Sequence[Fault] = ()
    series: tuple[Series, ...] = attrs.field(init=False)
    #: How often a path has become another file.
    versions: dict[str, int] = attrs.field(init=False, factory=dict[str, int])
    _others: dict[str, Callable[[str], SyntheticFile]] = attrs.field(init=False)
    #: Every folder, ending with ``/`` (the entry's own is empty), and the folders in it.
    _folders: dict[str, list[str]] = attrs.field(init=False)
    _movie_bytes: int = attrs.field(init=False)
    #: By the number of the fault.
    _corrupt: dict[int, frozenset[str]] = attrs.field(init=False, factory=dict[int, frozenset[str]])

    def __attrs_post_init__(self) -> None:
        suffix = FORMATS[self.shape.format].suffix
        patterns = [(pattern, i) for i, chosen in enumerate(self.layout.imagesets) for pattern in chosen.movies]
        if self.folders and patterns:
            name = patterns[0][0].rpartition("/")[2]
            literal = [folder.strip("/").replace("{", "{{").replace("}", "}}") for folder in self.folders]
            patterns = [(f"{folder}/{name}", patterns[0][1]) for folder in literal]
        each, more = divmod(self.movies, len(patterns) or 1)
        self.series = tuple(
            Series(pattern, suffix, each + (number < more), imageset)
            for number, (pattern, imageset) in enumerate(patterns)
        )
        self._movie_bytes = movie(self.shape, self.seed, "").size_bytes
        self._others = {f"{self.accession}.xml": self._metadata_file}
        for imageset in self.layout.imagesets:
            gains = [path.format(suffix=suffix) for path in imageset.gains] if self.has_gain else []
            self._others |= dict.fromkeys(gains, self._gain) | dict.fromkeys(imageset.notes, self._note)
            self._others |= dict.fromkeys(imageset.archives, self._packed)
        self._folders = {"": []}
        for path in (*self._others, *(series.path(1) for series in self.series)):
            self._add_folders(path)
        for imageset in self.layout.imagesets:
            self._add_folders(imageset.directory + "/")

    @property
    def paths(self) -> Iterator[str]:
        """The movies, folder by folder."""
        return (path for series in self.series for path in series.paths())

    @property
    def gain_paths(self) -> tuple[str, ...]:
        return tuple(path for path, make in self._others.items() if make == self._gain)

    @property
    def other_paths(self) -> tuple[str, ...]:
        return tuple(path for path, make in self._others.items() if make != self._gain)

    def is_movie(self, path: str) -> bool:
        folder = path.rpartition("/")[0] + "/"
        return any(series.folder == folder and series.has(path) for series in self.series)

    def is_corrupt(self, path: str) -> bool:
        """Whether it is a movie whose header promises more than there is."""
        return any(self._corrupts(number, fault, path) for number, fault in enumerate(self.corrupting))

    def file(self, path: str) -> SyntheticFile | None:
        """What lies there now; None if nothing does."""
        if path in self._others:
            return self._others[path](path)
        if self.is_movie(path):
            return movie(self.shape, self.seed, self._key(path), is_corrupt=self.is_corrupt(path))
        return None

    def change(self, path: str) -> None:
        """Another file lies there from now on, as long as the one before."""
        self.versions[path] = self.versions.get(path, 0) + 1

    def validators(self, path: str) -> tuple[str, str]:
        """ETag (a strong one) and Last-Modified of what lies there now."""
        digest = hashlib.blake2b(self._key(path).encode(), digest_size=8)
        minutes = zlib.crc32(path.encode()) % _MINUTES_OF_DEPOSITION + self.versions.get(path, 0) * 60
        return f'"{digest.hexdigest()}"', email.utils.formatdate(_DEPOSITED_S + 60 * minutes, usegmt=True)

    def has_folder(self, folder: str) -> bool:
        return folder in self._folders

    def holds_movies(self, folder: str) -> bool:
        return any(series.folder == folder and series.count for series in self.series)

    def rows(self, folder: str) -> Iterator[Row]:
        """What a folder holds: folders first, then files, movies last."""
        for below in self._folders[folder]:
            yield Row(below, None)
        for path in self._others:
            if _folder_of(path) == folder:
                yield Row(path[len(folder) :], self._others[path](path).size_bytes)
        for series in self.series:
            if series.folder == folder:
                for path in series.paths():
                    odd = self.file(path) if self.is_corrupt(path) else None
                    yield Row(path[len(folder) :], self._movie_bytes if odd is None else odd.size_bytes)

    def metadata(self) -> bytes:
        """What the API answers: the shape of the real one, with its oddities (``image_width`` is text)."""
        return json.dumps({f"EMPIAR-{self.accession}": self._document()}, indent=1).encode()

    def _document(self) -> dict[str, object]:
        size_gb = (self._movie_bytes * sum(series.count for series in self.series)) / 1e9
        author = {"author": {"name": "Specimen P", "author_orcid": None}}
        return {
            "imagesets": [self._imageset(i, imageset) for i, imageset in enumerate(self.layout.imagesets)],
            "workflow_file": None,
            "grant_references": [],
            "version_history": [],
            "title": f"A pretended data set of {self.movies} movies that show nothing but noise",
            "principal_investigator": [],
            "status": "REL",
            "deposition_date": "2026-01-05",
            "release_date": "2026-02-03",
            "obsolete_date": None,
            "update_date": "2026-02-03",
            "corresponding_author": {
                "author": {
                    **author["author"],
                    "organization": "Laboratory of Pretended Microscopy",
                    "email": "nobody [at] archive.invalid",
                }
            },
            "authors": [author, {"author": {"name": "Example Q", "author_orcid": None}}],
            "cross_references": [],
            "biostudies_references": [],
            "idr_references": [],
            "empiar_references": [],
            "citation": [],
            "dataset_size": f"{size_gb:.1f} GB" if size_gb >= 0.1 else f"{size_gb * 1000:.1f} MB",
            "experiment_type": "EMDB",
            "scale": "molecule",
            "entry_doi": f"10.6019/EMPIAR-{self.accession}",
        }

    def _imageset(self, index: int, imageset: Imageset) -> dict[str, object]:
        count = sum(series.count for series in self.series if series.imageset == index)
        form = FORMATS[self.shape.format]
        return {
            "segmentations": [],
            "name": imageset.name,
            "directory": imageset.directory,
            "category": imageset.category,
            "header_format": form.data_format,
            "data_format": form.data_format,
            "num_images_or_tilt_series": count or len(imageset.notes + imageset.archives),
            "frames_per_image": self.shape.frames,
            "frame_range_min": None,
            "frame_range_max": None,
            "voxel_type": form.voxel_type,
            "pixel_width": PIXEL_SIZE_A,
            "pixel_height": None,
            "micrographs_file_pattern": "",
            "picked_particles_file_pattern": "",
            "picked_particles_directory": "",
            "details": "Synthetic files of a pretended archive.",
            "image_width": str(self.shape.width_px),
            "image_height": str(self.shape.height_px),
        }

    def _corrupts(self, number: int, fault: Fault, path: str) -> bool:
        if not fault.matches(path) or not self.is_movie(path):
            return False
        if fault.times is None and not fault.skip:
            return True
        if number not in self._corrupt:
            meant = (movie_path for movie_path in self.paths if fault.matches(movie_path))
            stop = None if fault.times is None else fault.skip + fault.times
            self._corrupt[number] = frozenset(itertools.islice(meant, fault.skip, stop))
        return path in self._corrupt[number]

    def _add_folders(self, path: str) -> None:
        folder = _folder_of(path)
        if folder in self._folders:
            return
        self._add_folders(folder[:-1])
        self._folders[folder] = []
        parent = _folder_of(folder[:-1])
        self._folders[parent].append(folder[len(parent) :])

    def _key(self, path: str) -> str:
        return f"{self.seed}/{self.accession}/{path}@{self.versions.get(path, 0)}"

    def _gain(self, path: str) -> SyntheticFile:
        return gain(self.shape, self.seed, self._key(path))

    def _note(self, path: str) -> SyntheticFile:
        version = self.versions.get(path, 0)
        return plain(f"A note of the pretended archive: {path} {version}\n".encode(), 0, self.seed, "")

    def _packed(self, path: str) -> SyntheticFile:
        return plain(b"", _PACKED_BYTES, self.seed, self._key(path))

    def _metadata_file(self, path: str) -> SyntheticFile:
        del path
        text = f'<?xml version="1.0"?>\n<entry empiar_id="EMPIAR-{self.accession}"/>\n'
        return plain(text.encode(), 0, self.seed, "")


def _folder_of(path: str) -> str:
    """With its ``/``; empty for the entry's own."""
    before, slash, _ = path.rpartition("/")
    return before + slash
