"""Where entries keep their movies, gains and everything else: the ways that real entries do, as data.

Owns names and folders. Owns no byte of a file.
"""

from __future__ import annotations

import attrs

MULTIFRAME = "micrographs - multiframe"


@attrs.frozen(kw_only=True)
class Imageset:
    """An imageset of an entry, and the files in it.

    Attributes
    ----------
    directory : str
        As the metadata says; below the entry's folder.
    movies : tuple of str
        One pattern a folder: ``{n}`` is the movie's number in that folder, from 1, ``{suffix}`` the format's.
        The entry's movies are dealt over all folders of its multiframe imagesets, the first ones getting one more
        where they do not come out even.
    gains : tuple of str
        Paths; ``{suffix}`` as above.
    notes, archives : tuple of str
        Small text files; large ones that nobody opens.
    """

    name: str
    directory: str
    category: str = MULTIFRAME
    movies: tuple[str, ...] = ()
    gains: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Layout:
    """The imagesets of an entry.

    Attributes
    ----------
    like : str
        The entry that is laid out so.
    """

    like: str
    imagesets: tuple[Imageset, ...]


#: By the name that `Archive` takes.
LAYOUTS = {
    "Movies": Layout(
        like="10200",
        imagesets=(
            Imageset(
                name="Unaligned movies",
                directory="data/Movies",
                movies=("data/Movies/grid1_{n:06d}_frames{suffix}",),
                gains=("data/Movies/CountRef_grid1.mrc",),
                notes=("data/Movies/NOTE", "data/Movies/grid1.mdoc"),
            ),
        ),
    ),
    "flat": Layout(
        like="10002, 10288",
        imagesets=(
            Imageset(
                name="Movies, gain corrected",
                directory="data",
                movies=("data/{n:03d}_movie_gc{suffix}",),
                notes=("data/README.txt",),
            ),
        ),
    ),
    "nested": Layout(
        like="10028: the same base names in every folder",
        imagesets=(
            Imageset(
                name="Micrographs, two parts",
                directory="data/Micrographs",
                movies=(
                    "data/Micrographs/Micrographs_part1/{n:03d}_movie{suffix}",
                    "data/Micrographs/Micrographs_part2/{n:03d}_movie{suffix}",
                ),
            ),
        ),
    ),
    "datasets": Layout(
        like="10196, 10340: several imagesets of movies",
        imagesets=(
            Imageset(
                name="Dataset 0",
                directory="data/Dataset0",
                movies=("data/Dataset0/{n:04d}_movie{suffix}",),
                gains=("data/Dataset0/SuperRef_dataset0.mrc",),
                notes=("data/NOTE",),
            ),
            Imageset(
                name="Dataset 1",
                directory="data/Dataset1",
                movies=("data/Dataset1/{n:04d}_movie{suffix}",),
                gains=("data/Dataset1/SuperRef_dataset1.mrc",),
            ),
            Imageset(
                name="Particles",
                directory="data/Particles",
                category="picked particles - single frame - processed",
                notes=("data/Particles/particles.star",),
            ),
        ),
    ),
    "deep": Layout(
        like="10314, 10309",
        imagesets=(
            Imageset(
                name="Micrographs",
                directory="data/data/micrographs",
                movies=(
                    "data/data/micrographs/Part1/grid_{n:05d}{suffix}",
                    "data/data/micrographs/Part2/more/grid_{n:05d}{suffix}",
                ),
                gains=("data/data/micrographs/gain_ref/gain.mrc",),
            ),
        ),
    ),
    "tilt": Layout(
        like="11561: movies below the imageset's directory, its aligned tilt series beside it",
        imagesets=(
            Imageset(
                name="Unaligned multi-frame micrographs",
                directory="data/211206/data",
                movies=("data/211206/data/frames/TS_001_{n:03d}{suffix}",),
                gains=("data/211206/data/CountRef.mrc",),
                notes=("data/211206/data/mdoc/TS_001.mdoc",),
            ),
            Imageset(
                name="Tilt series and alignment",
                directory="data/211206/alignment",
                category="tilt series",
                notes=("data/211206/alignment/TS_001.mrc/TS_001.mrc.st",),
            ),
        ),
    ),
    "archives": Layout(
        like="11190: only archives",
        imagesets=(
            Imageset(
                name="Movies, packed",
                directory="data",
                archives=("data/session1.tar", "data/session2.tar"),
            ),
        ),
    ),
    "no movies": Layout(
        like="10064",
        imagesets=(
            Imageset(
                name="Tomograms",
                directory="data",
                category="reconstructed volumes",
                archives=("data/mixedCTEM_tomo1.mrc", "data/mixedCTEM_tomo3.mrc"),
            ),
        ),
    ),
    "awkward": Layout(
        like="none, but every one of these characters has been seen in some archive",
        imagesets=(
            Imageset(
                name='Movies "with" names & <signs>',
                directory="data/some movies (1)",
                movies=(
                    "data/some movies (1)/a b%23&c;=+'_{n}{suffix}",
                    "data/some movies (1)/100 % #2/{n} Krümel ?{suffix}",
                ),
                gains=("data/some movies (1)/gain ref/Gain #1 [x].mrc",),
            ),
        ),
    ),
}
