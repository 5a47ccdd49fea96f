"""How real entries lay out their files, as data: the shapes of fifteen entries, with a few made-up files each.

The entries' numbers, folders and ways of naming are the archive's; which files there are, and how many, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

FileKind = Literal["movie", "gain", "defects", "archive", "other"]

MULTIFRAME = "micrographs - multiframe"


@attrs.frozen
class ImagesetOf:
    """An imageset as the archive's description names it.

    Attributes
    ----------
    directory : str
        Below the entry's folder; with slashes at its ends where depositors wrote them.
    count : int or None
        Of movies, as the description has it.
    """

    directory: str
    category: str = MULTIFRAME
    count: int | None = None


@attrs.frozen
class Layout:
    """One entry's tree.

    Attributes
    ----------
    files : mapping of str to FileKind
        Path below the entry's folder, and what the file is for.
    """

    entry: str
    imagesets: tuple[ImagesetOf, ...]
    files: Mapping[str, FileKind]

    @property
    def movies(self) -> list[str]:
        return [path for path, kind in self.files.items() if kind == "movie"]


def _each(kind: FileKind, *paths: str) -> dict[str, FileKind]:
    return dict.fromkeys(paths, kind)


LAYOUTS = (
    # The gain reference lies among the movies and has their extension.
    Layout(
        "10200",
        (ImagesetOf("/data/Movies", count=3),),
        _each("movie", *(f"data/Movies/FoilHole_24681_Data_{i}_20260101_1200.mrc" for i in (1, 2, 10)))
        | _each("gain", "data/Movies/CountRef_FoilHole_24681_Data.mrc"),
    ),
    # Flat, and "gc" (gain corrected) in every movie's name.
    Layout(
        "10002",
        (ImagesetOf("data", count=3),),
        _each("movie", *(f"data/{i:03d}_movie_gc.mrcs" for i in (1, 2, 3)))
        | _each("other", "data/run1_data.star", "data/particles.txt"),
    ),
    # Movies (.mrcs) and single frames (.mrc) in numbered parts.
    Layout(
        "10028",
        (ImagesetOf("data/Micrographs", count=4),),
        _each(
            "movie",
            "data/Micrographs/Micrographs_part1/001.mrc",
            "data/Micrographs/Micrographs_part1/002.mrc",
            "data/Micrographs/Micrographs_part2/003_movie.mrcs",
            "data/Micrographs/Micrographs_part2/004_movie.mrcs",
        ),
    ),
    Layout(
        "10061",
        (ImagesetOf("data/Movies", count=2),),
        _each("movie", "data/Movies/EMD-2984_0000_frames.mrc", "data/Movies/EMD-2984_0001_frames.mrc"),
    ),
    # A tilt series: no movies at all.
    Layout(
        "10064",
        (ImagesetOf("data", "tilt series", count=2),),
        _each("movie", "data/mixedCTEM_tomo3.mrc", "data/mixedCTEM_tomo4.mrc"),
    ),
    Layout(
        "10196",
        (ImagesetOf("data/Dataset0", count=3),),
        _each("movie", *(f"data/Dataset0/Dataset0_{i:04d}_movie.tif" for i in (1, 2, 3)))
        | _each("gain", "data/Dataset0/SuperRef_Dataset0_0001_movie.mrc")
        | _each("other", "data/NOTE"),
    ),
    Layout(
        "10288",
        (ImagesetOf("data", count=2),),
        _each("movie", "data/CB1__00004_Feb18_23.25.26.tif", "data/CB1__00005_Feb18_23.28.17.tif")
        | _each("gain", "data/CountRef_CB1__00000_Feb18_22.32.31.dm4"),
    ),
    Layout(
        "10309",
        (ImagesetOf("data/Movies", count=2),),
        _each("movie", *(f"data/Movies/FoilHole_{i}_Fractions.tif" for i in (7, 8))),
    ),
    # Files of the same names in several folders.
    Layout(
        "10340",
        (ImagesetOf("data/Movies", count=5),),
        _each(
            "movie",
            "data/Movies/001_Fractions.tif",
            "data/Movies/Case1/001_Fractions.tif",
            "data/Movies/Case2/001_Fractions.tif",
            "data/Movies/Case3/001_Fractions.tif",
            "data/Movies/Case3/002.tif",
        ),
    ),
    Layout(
        "10314",
        (ImagesetOf("data/data/micrographs", count=3),),
        _each(
            "movie",
            "data/data/micrographs/Part1/20260101_0001.tif",
            "data/data/micrographs/Part1/20260101_0002.tif",
            "data/data/micrographs/Part2/20260101_0001.tif",
        ),
    ),
    Layout(
        "10317",
        (ImagesetOf("data/Micrographs", count=2), ImagesetOf("data/Particles", "picked particles - multiframe", 1)),
        _each("movie", "data/Micrographs/stack_0001_frames.mrcs", "data/Micrographs/stack_0002_frames.mrcs")
        | _each("other", "data/Particles/picks.star"),
    ),
    # The directory is `data` itself.
    Layout(
        "10511",
        (ImagesetOf("data", count=4),),
        _each("movie", *(f"data/20260101_{i}.mrc" for i in (1, 2, 10, 100))) | _each("gain", "data/gain-reference.mrc"),
    ),
    # Nothing but archives.
    Layout(
        "11190",
        (ImagesetOf("data", count=1200),),
        _each("archive", "data/movies_1.tar", "data/movies_2.tar"),
    ),
    # The gain reference lies in a folder of its own, beside the movies'.
    Layout(
        "11306",
        (ImagesetOf("data/HeLa_argon", count=2),),
        _each("movie", "data/HeLa_argon/pos1_001_EER.eer", "data/HeLa_argon/pos1_002_EER.eer")
        | _each("gain", "data/gain_ref/20260101_EER_GainReference.gain")
        | _each("other", "data/HeLa_argon/pos1.mdoc"),
    ),
    # The imageset's directory is above the movies'.
    Layout(
        "11561",
        (ImagesetOf("data/211206/data", count=2),),
        _each("movie", "data/211206/data/frames/tilt_001_0.0.tif", "data/211206/data/frames/tilt_002_3.0.tif")
        | _each("defects", "data/211206/data/frames/defects_20211206.txt")
        | _each("other", "data/211206/data/mdoc/tilt_001.mrc.mdoc"),
    ),
)


def layout(entry: str) -> Layout:
    return next(each for each in LAYOUTS if each.entry == entry)
