"""Image files: NXmx masters over data files of compressed images, found again and completed after any interruption.

Owns what lies in a series' directory: names, layout, durability, and how it is read back. Owns no thread, no device
and no decision about what to collect: all of it is synchronous and meant for a worker thread. Importing this package
costs nothing; h5py, hdf5plugin and numpy are imported where they are used.

What holds for every file, whatever kills the process:

- A file that has its name is complete. It was written under a hidden name, synced, and renamed.
- A master never says more than its data files: images that do not exist read as the masked value, never as 0 counts.
- The data files alone are enough to write their master again (`series_from_files`).
"""

from __future__ import annotations

from fsmcollect.images.data_file import existing_images, existing_parts, series_from_files, write_data_file
from fsmcollect.images.master import write_master
from fsmcollect.images.pixels import compress, noise_chunks, write_snapshot
from fsmcollect.images.series import (
    Experiment,
    Part,
    PlannedWedge,
    Series,
    check_experiment,
    check_parts,
    clashes,
    expected_bytes,
    remove_leftovers,
)

__all__ = [
    "Experiment",
    "Part",
    "PlannedWedge",
    "Series",
    "check_experiment",
    "check_parts",
    "clashes",
    "compress",
    "existing_images",
    "existing_parts",
    "expected_bytes",
    "noise_chunks",
    "remove_leftovers",
    "series_from_files",
    "write_data_file",
    "write_master",
    "write_snapshot",
]
