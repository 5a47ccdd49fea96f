"""Disks that refuse, for tests: small ones, read-only ones, and what a user meets who is not root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: The user that root becomes to meet a permission: nobody.
NOBODY = 65534


@contextlib.contextmanager
def mounted(directory: Path, options: str) -> Iterator[bool]:
    """A small disk of its own, where this user may mount one; yields whether it is there."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    here = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield here
    finally:
        if here:
            subprocess.run(["umount", str(directory)], check=True)


def remount(directory: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(directory)], check=True)


@contextlib.contextmanager
def as_a_user(directory: Path) -> Iterator[None]:
    """Root may write everywhere: it becomes nobody for a while, who can reach `directory`. Others are users already."""
    if os.getuid():
        yield
        return
    for parent in (directory, *directory.parents):
        if parent.stat().st_mode & 0o777 == 0o700:  # pytest keeps its directories to their owner
            parent.chmod(0o755)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
