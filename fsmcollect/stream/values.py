"""What the rooms of `stream` hand to each other: frozen values, no behaviour, no files, no network.

A file is known by its path below the entry's folder, as the archive has it: ``data/Movies/a.mrc``, decoded, parts
divided by ``/``. Nothing else identifies it, so files of nested folders never collide.
"""

from __future__ import annotations

import enum

import attrs


class Kind(enum.Enum):
    """What a file of an entry is for."""

    MOVIE = "movie"
    #: A gain reference.
    GAIN = "gain"
    #: A defect map.
    DEFECTS = "defects"
    #: A ``.tar`` and its like: told of, never opened.
    ARCHIVE = "archive"
    #: Metadata and everything else.
    OTHER = "other"


@attrs.frozen
class Listed:
    """One row of a folder's listing.

    Attributes
    ----------
    name : str
        Decoded, without ``/``.
    size_bytes : int or None
        Only where the listing states it exactly; Apache's ``543M`` is not exact.
    about_bytes : int or None
        As near as the listing tells.
    """

    name: str
    is_folder: bool = False
    size_bytes: int | None = None
    about_bytes: int | None = None


@attrs.frozen
class RemoteFile:
    """One file of the archive, as the listing knows it.

    Attributes
    ----------
    path : str
        Below the entry's folder.
    imageset : int
        Index into `Entry.imagesets`.
    """

    path: str
    kind: Kind
    imageset: int
    size_bytes: int | None = None
    about_bytes: int | None = None


@attrs.frozen
class Remote:
    """What the server says of one file, at one time.

    Attributes
    ----------
    size_bytes : int
        Exact.
    validator : str or None
        A strong ETag, else Last-Modified (FTP: the modification time of MDTM), as the server wrote it: the same
        validator, the same bytes. None where the server gives none: then a partial file cannot be continued.
    """

    size_bytes: int
    validator: str | None


@attrs.frozen(kw_only=True)
class Header:
    """What a file's own header says, once it agrees with the file's size.

    Attributes
    ----------
    format : str
        ``MRC``, ``TIFF``, ``BigTIFF`` or ``EER``.
    mode : str
        Of a pixel: ``int8``, ``uint8``, ``int16``, ``uint16``, ``float32``, ``uint4`` (two pixels a byte) ...
    """

    format: str
    width_px: int
    height_px: int
    frames: int
    mode: str


@attrs.frozen(kw_only=True)
class Verified:
    """A file that is complete and is what it says: ready to be registered.

    Attributes
    ----------
    sha256 : str or None
        Hexadecimal; None where no checksum was asked for.
    header : Header or None
        None for a gain reference in a format whose header is not read (DM4).
    pixel_size_a : float or None
        Of its imageset, angstrom; None where the entry does not say.
    """

    path: str
    kind: Kind
    size_bytes: int
    sha256: str | None
    header: Header | None
    imageset: str
    pixel_size_a: float | None


@attrs.frozen(kw_only=True)
class Movie:
    """A registered movie, as every output is told of it.

    Attributes
    ----------
    number : int
        1, 2, 3, ... in the order of registration, without gaps.
    file : str
        Where it lies below the output directory: ``movies/data/Movies/a.mrc``.
    """

    number: int
    file: str
    path: str
    size_bytes: int
    sha256: str | None
    header: Header
    imageset: str
    pixel_size_a: float | None
    #: When it was registered, ISO 8601 in UTC with seconds: ``2026-11-21T03:04:05Z``.
    registered_at: str


@attrs.frozen(kw_only=True)
class Optics:
    """What the archive does not know and only the user can say. None stays empty everywhere: never invented."""

    voltage_kv: float | None = None
    spherical_aberration_mm: float | None = None
    amplitude_contrast: float | None = None
    dose_per_frame_e_per_a2: float | None = None


@attrs.frozen(kw_only=True)
class SetFacts:
    """What holds for the whole live set.

    Attributes
    ----------
    accession : str
        ``10200``.
    pixel_size_a : float or None
        Of the first chosen imageset that has one.
    gains : tuple of str
        The gain references that arrived, below the output directory: ``gain/data/Movies/CountRef.mrc``.
    """

    accession: str
    title: str
    pixel_size_a: float | None
    optics: Optics
    gains: tuple[str, ...] = ()
