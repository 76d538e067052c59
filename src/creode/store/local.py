"""Run directories on a local disk: complete or absent, whatever the process or the power does.

Every file and directory is written under `staging/`, flushed to the disk, and moved in by one
rename. The lock is the operating system's (flock), so it goes when its process goes.

Here: the operations of `Files` with the standard library.
Not here: object stores (remote.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from creode.store.locking import FileLock

STAGING = "staging"
FLUSHES = 16  # files of a directory that are put on the disk side by side


class LocalFiles:
    """A run directory on a disk of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.root = str(root)

    def is_file(self) -> bool:
        """Whether a file stands where the run directory should be."""
        return self._root.exists() and not self._root.is_dir()

    def entries(self, name: str) -> set[str]:
        """Names directly below `name`; empty where it is absent."""
        try:
            return {path.name for path in (self._root / name).iterdir()}
        except FileNotFoundError:
            return set()

    def sizes(self, name: str) -> dict[str, int]:
        """Size in bytes of every file below `name`."""
        base = self._root / name
        return {
            path.relative_to(base).as_posix(): path.stat().st_size
            for path in base.rglob("*")
            if path.is_file()
        }

    def exists(self, name: str) -> bool:
        """Whether a file or directory has this name."""
        return (self._root / name).exists()

    def read(self, names: Iterable[str]) -> list[bytes]:
        """The bytes of each file, in the order of `names`."""
        return [(self._root / name).read_bytes() for name in names]

    def put(self, name: str, data: bytes) -> None:
        """Write one small file: complete, or as it was before."""

        def write(file: BinaryIO) -> None:
            file.write(data)

        self.put_stream(name, write)

    def put_stream(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write one large file through `write`: complete, or as before."""
        staged, target = self._staged(), self._root / name
        try:
            with staged.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            _make_directory(target.parent)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        _flush(target.parent)

    def put_tree(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write a directory of files in place of what was there, by one rename."""
        staged, target = self._staged(), self._root / name
        try:
            for file_name, data in files.items():
                path = staged / file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            _flush_all((staged, *staged.rglob("*")))
            _make_directory(target.parent)
            self.remove(name)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        _flush(target.parent)

    @contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """The file's own path."""
        yield self._root / name

    def remove(self, name: str) -> None:
        """Remove a file or a directory with all below it; nothing if it is absent."""
        path = self._root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def free_space(self) -> int | None:
        """Bytes that can still be written by this user."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def lock(self, name: str) -> FileLock:
        """Make the run directory if needed and take the lock, or raise naming its holder."""
        _make_directory(self._root)
        return FileLock(self._root / name)

    def _staged(self) -> Path:
        staging = self._root / STAGING
        staging.mkdir(exist_ok=True)
        return staging / "next"  # one writer, one thing at a time


def _make_directory(directory: Path) -> None:
    """Make a directory and its missing parents, and put them on the disk."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)


def _flush(path: Path) -> None:
    """Put a file's bytes or a directory's names on the disk, to survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_all(paths: Iterable[Path]) -> None:
    """Put many on the disk, side by side: a disk writes what is asked for together at once."""
    with ThreadPoolExecutor(FLUSHES) as pool:
        for flushed in [pool.submit(_flush, path) for path in paths]:
            flushed.result()
