"""Snapshots: the state of an unfinished unit, to continue it after an interruption.

A snapshot is a `.pt` file of tensors and plain values, as large as the weights it holds. It is
streamed to the disk, checked in full (the zip's CRCs; torch does not check them) before it is
used, and then mapped into memory rather than read.

Here: writing and reading one.
Not here: when one is due and where it lies (directory.py).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
State = dict[str, Any]


class UnreadableSnapshotError(Exception):
    """A snapshot that must not be used; the message says why."""


def check_state(state: State) -> None:
    """Refuse what could be written but not read back.

    Raises:
        TypeError: names the place and the type.
    """
    if type(state) is not dict:
        raise TypeError(f"a snapshot is a dict of tensors and plain values, got {type(state)}.")
    _check(state, "state")


def write_snapshot(state: State, file: BinaryIO) -> None:
    """Stream the state into an open file, with no second copy of its tensors on the CPU.

    Raises:
        OSError: what the file raised.
    """
    sink = _Sink(file)
    try:
        torch.save(state, cast("IO[bytes]", sink))
    except RuntimeError:
        if sink.error is not None:  # torch reports a failed write as a broken invariant of its own
            raise sink.error from None
        raise


def read_snapshot(path: Path) -> State:
    """The state written at `path`; its tensors are mapped from the file, copied when changed.

    Raises:
        UnreadableSnapshotError: truncated, corrupted, or not a snapshot.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise UnreadableSnapshotError(f"the checksum of {damaged} does not match")
        state: State = torch.load(path, mmap=True, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except UnreadableSnapshotError:
        raise
    except Exception as error:  # zipfile, pickle and torch have no common error for broken input
        raise UnreadableSnapshotError(str(error).partition("\n")[0]) from error
    return state


class _Sink:
    """A file for torch.save that remembers the OSError torch would hide."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _check(value: Any, where: str) -> None:
    if isinstance(value, Tensor) or type(value) in _PLAIN:
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif type(value) is dict:
        for key, item in value.items():
            _check(key, f"a key of {where}")
            _check(item, f"{where}[{key!r}]")
    else:
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which a snapshot "
            "cannot give back; store tensors, numbers, strings, lists, tuples and dicts."
        )
