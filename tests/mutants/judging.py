"""What was asked for, by plain arithmetic on the request, and whether a run has given just that."""

from __future__ import annotations

from collections.abc import Iterator

from fsmcollect.events import ImagesTaken
from fsmcollect.request import Request
from tests.collecting.rehearsing import (
    SECOND_US,
    Play,
    ask,
)

OVERLAPPING = ask(sweep={"images": 20, "wedge_images": 6, "overlap_deg": 1.0})
BACKWARDS = ask(sweep={"images": 20, "wedge_images": 6, "overlap_deg": 1.0, "image_width_deg": -0.5})
ONE_BY_ONE = ask(sweep={"images": 6, "wedge_images": 3, "shutterless": False, "passes": 2, "exposure_s": 0.2})
LONG_SLOW = ask(sweep={"images": 400, "exposure_s": 0.01, "image_width_deg": 0.5})
#: Read out when it is over, or in a pause: so short a wedge is not stored while it is being exposed.
SHORT_WEDGE = ask(sweep={"images": 100, "exposure_s": 0.02, "image_width_deg": 0.1})
OTHER = {"overlapping": OVERLAPPING, "backwards": BACKWARDS, "one by one": ONE_BY_ONE, "fast": LONG_SLOW}


def asked_images(request: Request) -> Iterator[tuple[tuple[str, int], float]]:
    """Every image asked for, in the order of collection, and the angle at which it begins."""
    sweep, size, stem = request.sweep, request.wedge_images, f"{request.files.prefix}_{request.files.run_number}"
    width_deg = float(sweep.image_width_deg)
    overlap_deg = float(sweep.overlap_deg) * (-1 if width_deg < 0 else 1)
    end = sweep.first_image + sweep.images
    for first in range(sweep.first_image, end, size):
        for name, turn_deg in ((stem, 0.0), (f"{stem}_inverse", 180.0)):
            if turn_deg and request.inverse_beam is None:
                continue
            for number in range(first, min(first + size, end)):
                before = number - sweep.first_image
                angle_deg = float(sweep.omega_start_deg) + turn_deg + before * width_deg
                yield (name, number), angle_deg - overlap_deg * (before // size)


def check_images(play: Play) -> None:
    """All that was asked for was reported, once, in order, at its angle."""
    asked = dict(asked_images(play.request))
    assert play.reported == list(asked), "other images than those asked for, or in another order"
    for event in play.of(ImagesTaken):
        angle_deg = asked[event.series, event.first_image]
        assert abs(event.omega_recorded_deg - angle_deg) <= 0.01, f"an image at {event.omega_recorded_deg} deg"


def check_done(play: Play) -> None:
    assert play.raised is None, f"raised {play.raised!r}"
    play.check("done")
    check_images(play)


def check_dose(play: Play) -> None:
    """The crystal was in the beam for its images and the shutter's travel, and no longer."""
    sweep = play.request.sweep
    images_us = len(play.reported) * sweep.exposure_s * SECOND_US
    openings = sum(text == "gate open" for _, text in play.commands("fast_shutter"))
    allowed_us = openings * SECOND_US * (play.simulated.fast_shutter.opening_s + play.simulated.fast_shutter.closing_s)
    exposed_us = play.simulated.dose.exposed_us
    assert 0.999 * images_us <= exposed_us <= images_us + allowed_us, f"in the beam for {exposed_us / 1e6} s"
