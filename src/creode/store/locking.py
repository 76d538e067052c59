"""One writer at a time: the lock of a run directory.

On a local disk the operating system holds it (flock), so a killed writer leaves none behind. On
an object store it is an object created exclusively, as far as the store can; a killed writer
leaves it, and the message says how to remove it.

Here: taking and releasing both kinds, and the message that names the holder.
Not here: what is written under the lock (directory.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from creode.store.errors import StoreError


class Lock(Protocol):
    """The right to write into a run directory, held until released."""

    def release(self) -> None:
        """Let others write."""
        ...


class FileLock:
    """An flock on a file, which holds the holder's pid and host for others to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = self._acquire()
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, _card(), 0)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Remove the file while it is still ours, then let go of it."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)

    def _acquire(self) -> int:
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is(handle):
                    return handle
            except BlockingIOError as error:
                holder = _read(os.pread(handle, 4096, 0))
                os.close(handle)
                raise StoreError(
                    f"{self._path.parent}: {holder} is writing this run; wait until it ends, stop "
                    "it, or give another directory."
                ) from error
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # the holder removed the file between our open and our lock

    def _is(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False


class ObjectLock:
    """An object that exists while a writer is at work, on a store without locks."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path
        card = _card()
        with suppress(FileExistsError):  # someone's: then it is not the card we wrote
            fs.pipe_file(path, card, mode="create")
        found = fs.cat_file(path)  # a store that ignores "create" lets the last writer win
        if found != card:
            url = fs.unstrip_protocol(path)
            raise StoreError(
                f"{url.rpartition('/')[0]}: {_read(found)} is writing this run; wait until it "
                f"ends, or, if that process is no longer running, delete {url} and run again."
            )

    def release(self) -> None:
        """Remove the object, unless someone did so already."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path)


def _card() -> bytes:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    return json.dumps(holder).encode()


def _read(card: bytes) -> str:
    """The holder in words; a card just being written says nothing yet."""
    try:
        holder = json.loads(card)
        return f"process {holder['pid']} on host {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
