"""The promise of the files: an image that was told is on disk, and what is on disk was told.

Looked at when a run that keeps files is over, as any reader would: by the names of complete data files. Owns the
sentences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from fsmcollect.collecting.collection import Collection
from fsmcollect.events import Event, ImagesTaken
from fsmcollect.images import existing_images


@attrs.define(eq=False)
class FilesMatchEvents:
    """Gathers what every collection says that it has taken.

    Attributes
    ----------
    directory : Path
        Where the requests' directories are.
    current : callable
        The collection under way.
    """

    directory: Path
    current: Callable[[], Collection]
    _told: dict[Collection, dict[str, set[int]]] = attrs.field(
        init=False, factory=lambda: defaultdict(lambda: defaultdict(set))
    )

    def hear(self, event: Event) -> None:
        if type(event) is ImagesTaken:
            numbers = range(event.first_image, event.first_image + event.images)
            self._told[self.current()][event.series].update(numbers)

    def differences(self, collections: Iterable[Collection]) -> Iterator[str]:
        """A sentence for each series whose files are not what was told."""
        for collection in collections:
            folder = self.directory / collection.request.files.directory
            may_have_more = collection.request.files.skip_existing
            for series in collection.plan.series:
                told = self._told[collection][series.name]
                found = {n for first, stop in existing_images(folder, series.name) for n in range(first, stop)}
                if lost := sorted(told - found):
                    yield f"{len(lost)} images of {series.name} were told as taken and are not on disk, first {lost[0]}"
                if not may_have_more and (more := sorted(found - told)):
                    yield f"{len(more)} images of {series.name} are on disk and were never told, first {more[0]}"
