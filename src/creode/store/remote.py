"""Run directories on any file system of fsspec: object stores, memory, remote hosts.

Such stores have no rename of directories, so a directory of files is written with the file that
makes it visible last; a single object appears complete or not at all.

Here: the operations of `Files` with fsspec.
Not here: local disks (local.py).
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from creode.store.locking import ObjectLock


class RemoteFiles:
    """A run directory on a file system of fsspec."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root
        self.root: str = fs.unstrip_protocol(root)

    def is_file(self) -> bool:
        """Whether a file stands where the run directory should be."""
        return bool(self._fs.isfile(self._root))

    def entries(self, name: str) -> set[str]:
        """Names directly below `name`; empty where it is absent."""
        self._fs.invalidate_cache()
        try:
            below = self._fs.ls(self._at(name), detail=False)
        except FileNotFoundError:
            return set()
        return {posixpath.basename(path.rstrip("/")) for path in below}

    def sizes(self, name: str) -> dict[str, int]:
        """Size in bytes of every file below `name`."""
        self._fs.invalidate_cache()
        base = self._at(name)
        found = self._fs.find(base, detail=True)
        return {posixpath.relpath(path, base): int(info["size"]) for path, info in found.items()}

    def exists(self, name: str) -> bool:
        """Whether a file or directory has this name."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._at(name)))

    def read(self, names: Iterable[str]) -> list[bytes]:
        """The bytes of each file, in the order of `names`, fetched together."""
        paths = [self._at(name) for name in names]
        # cat would take [, ? and * in a path for a pattern
        found: list[bytes] = self._fs.cat_ranges(paths, None, None, on_error="raise")
        return found

    def put(self, name: str, data: bytes) -> None:
        """Write one object."""
        self._fs.makedirs(posixpath.dirname(self._at(name)), exist_ok=True)
        self._fs.pipe_file(self._at(name), data)

    def put_stream(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write one large object: first to a local disk, then in one piece to the store."""
        with tempfile.NamedTemporaryFile(prefix="creode-") as file:
            write(file)  # type: ignore[arg-type]
            file.flush()
            self._fs.makedirs(posixpath.dirname(self._at(name)), exist_ok=True)
            self._fs.put_file(file.name, self._at(name))

    def put_tree(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write a directory of files in place of what was there; the last file appears last."""
        self.remove(name)
        objects = {self._at(f"{name}/{file_name}"): data for file_name, data in files.items()}
        for directory in sorted({posixpath.dirname(path) for path in objects}):
            self._fs.makedirs(directory, exist_ok=True)
        *_, last = objects
        final = objects.pop(last)
        self._fs.pipe(objects)  # together, where the store can
        self._fs.pipe_file(last, final)

    @contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """A copy on a local disk, removed on leaving the context."""
        with tempfile.TemporaryDirectory(prefix="creode-") as directory:
            path = Path(directory) / "copy"
            self._fs.get_file(self._at(name), str(path))
            yield path

    def remove(self, name: str) -> None:
        """Remove an object or all objects below a name; nothing if there are none."""
        self._fs.invalidate_cache()  # rm, too, would take [, ? and * for a pattern
        found = self._fs.find(self._at(name), withdirs=True, detail=True)
        for path in sorted(found, reverse=True):  # what is inside before what holds it
            if found[path].get("type") == "directory":
                with suppress(OSError, NotImplementedError):  # stores have no directories
                    self._fs.rmdir(path)
            else:
                self._fs.rm_file(path)

    def free_space(self) -> int | None:
        """Object stores do not say."""
        return None

    def lock(self, name: str) -> ObjectLock:
        """Take the lock, or raise naming its holder."""
        self._fs.makedirs(self._root, exist_ok=True)
        return ObjectLock(self._fs, self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root
