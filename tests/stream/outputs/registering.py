"""Registered movies for the tests of the outputs, and the ways a killed run can leave a file behind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from fsmcollect.stream.values import Header, Movie, Optics, SetFacts

HEADER = Header(format="MRC", width_px=4096, height_px=3072, frames=10, mode="uint8")
OPTICS = Optics(voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.1, dose_per_frame_e_per_a2=1.25)
FACTS = SetFacts(
    accession="10200",
    title="Beta-galactosidase",
    pixel_size_a=1.06,
    optics=OPTICS,
    gains=("gain/data/Movies/CountRef.mrc",),
)
#: What is known where the entry says nothing and the user says nothing either.
BARE = SetFacts(accession="10200", title="", pixel_size_a=None, optics=Optics())


def movie(number: int, name: str = "", *, pixel_size_a: float | None = 1.06, sha256: str | None = "") -> Movie:
    path = f"data/Movies/{name or f'{number:03}.mrc'}"
    return Movie(
        number=number,
        file=f"movies/{path}",
        path=path,
        size_bytes=1024 + 4096 * 3072 * 10,
        sha256=f"{number:064x}" if sha256 == "" else sha256,
        header=HEADER,
        imageset="Movies",
        pixel_size_a=pixel_size_a,
        registered_at=f"2026-11-21T03:{number // 60 % 60:02}:{number % 60:02}Z",
    )


def movies(count: int) -> list[Movie]:
    return [movie(number) for number in range(1, count + 1)]


def named(*names: str) -> list[Movie]:
    return [movie(number, name) for number, name in enumerate(names, start=1)]


def unknown(several: Sequence[Movie]) -> list[Movie]:
    """The same movies of an imageset whose pixel size nobody has stated."""
    return [attrs.evolve(one, pixel_size_a=None) for one in several]
