"""A disk of a few megabytes that a test fills and frees again: a tmpfs, which only root may mount."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BALLAST = "ballast"
PIECE = 64 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """What lies in `folder` has only so much room."""

    folder: Path

    def fill(self) -> None:
        """Until not one byte more can be written."""
        with (self.folder / BALLAST).open("ab", buffering=0) as ballast:
            for size in (PIECE, 1):
                with suppress_full():
                    while True:
                        ballast.write(bytes(size))

    def free(self) -> None:
        """There is room again."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        """How much could be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@contextmanager
def suppress_full() -> Iterator[None]:
    """A disk that is full is what was wanted."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


class NotMounted(Exception):  # noqa: N818 - the state of the disk
    """Nobody may mount here."""


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Mount it on an empty folder, which is made; NotMounted where that takes root, or is not allowed at all."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        told = subprocess.run(
            ("mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "tmpfs", str(folder)),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotMounted("a full disk needs the command `mount`, and root") from error
    if told.returncode != 0:
        raise NotMounted(f"a full disk needs root that may mount a tmpfs: {told.stderr.strip()}")
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        # Nobody should be there any more; who is keeps what it has open, and the folder is empty again.
        with suppress(FileNotFoundError):
            subprocess.run(("umount", "--lazy", str(folder)), check=True)
