"""From a request to its wedges: exact geometry in integers and rationals, and what is left of it to take.

Owns which images there are, in which order they are collected, at which angle each begins, and sets of images. Owns no
time (`timing`), no limit of any beamline (`limits`), and no file name beyond the stem of a series.

A wedge holds integers and a reference to what all wedges share; its angles are worked out when they are asked for. So
a sweep of any size is planned without a list of its images, and the last image begins where arithmetic says: the start
of image n is ``start + (n - first_image) * width - k * overlap`` in wedge k, and nothing is ever summed up.

A start is whatever was asked, 360 degrees and more too: whether a goniometer can go there is the beamline's matter.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import attrs

from fsmcollect.request import Request


class Pass(enum.Enum):
    """One of the two ways round an inverse-beam collection; any other is direct throughout."""

    DIRECT = "direct"
    INVERSE = "inverse"


@attrs.frozen(kw_only=True)
class Series:
    """Images that are numbered through and share the beginning of their file names.

    Attributes
    ----------
    name : str
        Stem of the file names, unique in the plan.
    pass_ : Pass
        Which way round.
    first_image, images : int
        Its images are ``first_image``, ``first_image + 1``, ...
    omega_start_deg : Fraction
        Where its first image begins.
    """

    name: str
    pass_: Pass
    first_image: int
    images: int
    omega_start_deg: Fraction

    @property
    def last_image(self) -> int:
        return self.first_image + self.images - 1


@attrs.frozen(kw_only=True)
class SweepGeometry:
    """What all wedges of a plan share.

    Attributes
    ----------
    image_width_deg : Fraction
        Signed; 0 for stills.
    exposure_s : float
        Of one image, all passes together.
    overlap_deg : Fraction
        How far each wedge begins before the end of the one before: signed as the rotation is.
    """

    image_width_deg: Fraction
    exposure_s: float
    overlap_deg: Fraction


@attrs.frozen
class Wedge:
    """Consecutive images of one series that are taken in one rotation.

    Attributes
    ----------
    index : int
        Place in the order of collection, from 0. The parts of a wedge keep it.
    series : Series
        Where its images belong.
    first_image, images : int
        Its images are ``first_image``, ``first_image + 1``, ...
    turn : int
        How many wedges of the same series go before it.
    sweep : SweepGeometry
        Shared with all wedges of the plan.
    """

    index: int
    series: Series
    first_image: int
    images: int
    turn: int
    sweep: SweepGeometry

    @property
    def last_image(self) -> int:
        return self.first_image + self.images - 1

    @property
    def image_width_deg(self) -> Fraction:
        return self.sweep.image_width_deg

    @property
    def exposure_s(self) -> float:
        """Of one image."""
        return self.sweep.exposure_s

    @property
    def omega_start_deg(self) -> Fraction:
        return self._edge_deg(self.first_image)

    @property
    def omega_end_deg(self) -> Fraction:
        """Where its last image ends."""
        return self._edge_deg(self.first_image + self.images)

    @property
    def width_deg(self) -> Fraction:
        """Signed; over all its images."""
        return self.sweep.image_width_deg * self.images

    def image_start_deg(self, image_number: int) -> Fraction:
        """Where one of its images begins, exactly.

        Raises
        ------
        ValueError
            The image is not in the wedge.
        """
        if not self.first_image <= image_number <= self.last_image:
            raise ValueError(f"image {image_number} is not in {self.series.name}, {self.first_image}-{self.last_image}")
        return self._edge_deg(image_number)

    def part(self, first_image: int, images: int) -> Wedge:
        """The same wedge restricted to some of its images, every one of them where it was.

        Raises
        ------
        ValueError
            They are none, or not all in the wedge.
        """
        if images < 1 or first_image < self.first_image or first_image + images > self.first_image + self.images:
            raise ValueError(
                f"{images} images from {first_image} are no part of {self.series.name}, "
                f"{self.first_image}-{self.last_image}"
            )
        return attrs.evolve(self, first_image=first_image, images=images)

    def _edge_deg(self, image_number: int) -> Fraction:
        images_before = image_number - self.series.first_image
        return (
            self.series.omega_start_deg
            + self.sweep.image_width_deg * images_before
            - self.sweep.overlap_deg * self.turn
        )


@attrs.frozen(kw_only=True)
class Plan:
    """A collection as it will be taken.

    Attributes
    ----------
    series : tuple of Series
        The direct one first.
    wedges : tuple of Wedge
        In order of collection.
    images : int
        Of all series.
    """

    series: tuple[Series, ...]
    wedges: tuple[Wedge, ...]
    images: int
    image_width_deg: Fraction
    exposure_s: float
    shutterless: bool
    passes: int


def make_plan(request: Request) -> Plan:
    """The wedges of a request, in order of collection.

    Inverse beam takes a wedge, the same wedge at +180 degrees, then the next wedge. A sweep's last wedge may be smaller
    than the others. Overlapping wedges begin early by ``overlap_deg`` against the direction of rotation, as MXCuBE's
    do (``start += wedge_size * range - overlap``); stills have no direction, and a negative overlap steps them upwards.
    """
    asked, size = request.sweep, request.wedge_images
    backwards = asked.image_width_deg < 0
    sweep = SweepGeometry(
        image_width_deg=asked.image_width_deg,
        exposure_s=asked.exposure_s,
        overlap_deg=-asked.overlap_deg if backwards else asked.overlap_deg,
    )
    stem = f"{request.files.prefix}_{request.files.run_number}"
    turned = [(stem, Pass.DIRECT, Fraction(0))]
    if request.inverse_beam is not None:
        turned.append((f"{stem}_inverse", Pass.INVERSE, Fraction(180)))
    series = tuple(
        Series(
            name=name,
            pass_=pass_,
            first_image=asked.first_image,
            images=asked.images,
            omega_start_deg=asked.omega_start_deg + turn_deg,
        )
        for name, pass_, turn_deg in turned
    )
    wedges: list[Wedge] = []
    end = asked.first_image + asked.images
    for turn, first in enumerate(range(asked.first_image, end, size)):
        images = min(size, end - first)
        for one in series:
            wedges.append(Wedge(len(wedges), one, first, images, turn, sweep))
    return Plan(
        series=series,
        wedges=tuple(wedges),
        images=asked.images * len(series),
        image_width_deg=asked.image_width_deg,
        exposure_s=asked.exposure_s,
        shutterless=asked.shutterless,
        passes=asked.passes,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Sets of images
# ---------------------------------------------------------------------------------------------------------------------


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted((start, stop) for start, stop in ranges if start < stop):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)


@attrs.frozen
class ImageRanges:
    """A set of image numbers that takes memory by its ranges, not by its images.

    Attributes
    ----------
    ranges : tuple of (int, int)
        ``start <= number < stop``; kept sorted, disjoint and not touching, whatever was given.
    """

    ranges: tuple[tuple[int, int], ...] = attrs.field(default=(), converter=_merged)

    @classmethod
    def from_numbers(cls, numbers: Iterable[int]) -> ImageRanges:
        """The set of some image numbers, in any order."""
        ordered = sorted(set(numbers))
        if not ordered:
            return cls()
        gaps = [(below + 1, above) for below, above in pairwise(ordered) if above > below + 1]
        starts = [ordered[0], *(above for _, above in gaps)]
        stops = [*(below for below, _ in gaps), ordered[-1] + 1]
        return cls(zip(starts, stops, strict=True))

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        place = bisect_right(self.ranges, number, key=_start)
        return place > 0 and number < self.ranges[place - 1][1]

    def __iter__(self) -> Iterator[int]:
        for start, stop in self.ranges:
            yield from range(start, stop)

    def add(self, start: int, stop: int) -> ImageRanges:
        """With the images from `start` up to but not including `stop`."""
        return ImageRanges((*self.ranges, (start, stop)))

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What is missing from `start` up to but not including `stop`, in order."""
        place = max(0, bisect_right(self.ranges, start, key=_start) - 1)
        while start < stop:
            taken = self.ranges[place] if place < len(self.ranges) else (stop, stop)
            if taken[0] > start:
                yield start, min(taken[0], stop)
            start = max(start, taken[1])
            place += 1


def _start(images: tuple[int, int]) -> int:
    return images[0]


def missing(plan: Plan, existing: Mapping[str, ImageRanges]) -> tuple[Wedge, ...]:
    """What is left to take when some images exist, image by image, in order of collection.

    Parameters
    ----------
    existing : mapping of str to ImageRanges
        By the name of the series; one that is not named has no image yet.
    """
    nothing = ImageRanges()
    left: list[Wedge] = []
    for wedge in plan.wedges:
        taken = existing.get(wedge.series.name, nothing)
        for start, stop in taken.gaps(wedge.first_image, wedge.first_image + wedge.images):
            whole = stop - start == wedge.images
            left.append(wedge if whole else wedge.part(start, stop - start))
    return tuple(left)


def as_json(plan: Plan, duration_s: float) -> dict[str, Any]:
    """The plan in plain values, as ``fsmcollect plan --json`` prints it."""
    width_deg = float(plan.image_width_deg)
    return {
        "images": plan.images,
        "duration_s": duration_s,
        "wedges": [
            {
                "index": wedge.index,
                "series": wedge.series.name,
                "pass": wedge.series.pass_.value,
                "omega_start_deg": float(wedge.omega_start_deg),
                "image_width_deg": width_deg,
                "images": wedge.images,
                "first_image": wedge.first_image,
            }
            for wedge in plan.wedges
        ],
    }
