"""The border to file systems: what a run directory needs of the place it lies in.

Here: the protocol, and the choice between a local directory and any other fsspec URL.
Not here: what the files mean (directory.py, manifest.py, units.py, snapshots.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from creode.store.local import LocalFiles
from creode.store.locking import Lock
from creode.store.remote import RemoteFiles


class Files(Protocol):
    """A run directory's files; names are relative to it, with "/" between their parts."""

    root: str  # as messages name it

    def is_file(self) -> bool:
        """Whether a file stands where the run directory should be."""
        ...

    def entries(self, name: str) -> set[str]:
        """Names directly below `name` ("" is the run directory); empty where it is absent."""
        ...

    def sizes(self, name: str) -> dict[str, int]:
        """Size in bytes of every file below `name`, by its name relative to `name`."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file or directory has this name."""
        ...

    def read(self, names: Iterable[str]) -> list[bytes]:
        """The bytes of each file, in the order of `names`."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write one small file: complete, or as it was before."""
        ...

    def put_stream(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write one large file through `write`, in constant memory: complete, or as before."""
        ...

    def put_tree(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write a directory of files in place of what was there; the last file appears last."""
        ...

    def on_disk(self, name: str) -> AbstractContextManager[Path]:
        """A path on a local disk where the file can be read inside the context."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file or a directory with all below it; nothing if it is absent."""
        ...

    def free_space(self) -> int | None:
        """Bytes that can still be written, None where that is not known."""
        ...

    def lock(self, name: str) -> Lock:
        """Make the run directory if needed and take the lock, or raise naming its holder."""
        ...


def files_at(path: str | os.PathLike[str]) -> Files:
    """The run directory at a local path or any URL fsspec understands."""
    fs, root = url_to_fs(os.fspath(path))
    if isinstance(fs, LocalFileSystem):
        return LocalFiles(Path(root))
    return RemoteFiles(fs, root)
