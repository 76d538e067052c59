"""A run directory: units of work that are complete or absent, and the way to continue.

Every unit's files are moved in first and its checksums written last, so a run that was killed at
any moment continues from its complete units and the last snapshot, and ends with the same bytes
in `run.json` and `draws.zarr` as one that was never interrupted.

Here: opening for writing or reading, units, snapshots, decisions, space.
Not here: file systems (local.py, remote.py), formats (manifest.py, units.py, snapshots.py).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from creode.store import manifest, units
from creode.store.errors import StoreError, explained
from creode.store.files import Files, files_at
from creode.store.local import STAGING
from creode.store.locking import Lock
from creode.store.manifest import Manifest
from creode.store.snapshots import (
    State,
    UnreadableSnapshotError,
    check_state,
    read_snapshot,
    write_snapshot,
)
from creode.store.units import DRAWS, EMPTY_GROUP, GROUP_FILE, MARKERS, Key

if TYPE_CHECKING:
    import xarray as xr

_LOCK = "lock"
_SNAPSHOTS = "snapshots"
_BUSY = 10  # a snapshot that took t seconds is not due again before 10 t


class Store:
    """A run directory on a local disk or any file system of fsspec.

    The complete units are those found at opening and those written since.
    """

    def __init__(
        self,
        files: Files,
        record: Manifest,
        *,
        lock: Lock | None,
        here: Manifest | None,
        snapshot_seconds: float,
    ) -> None:
        """Use `Store.open`."""
        self._files, self._record, self._lock, self._here = files, record, lock, here
        self._complete = units.keys(files.entries(MARKERS))
        self._snapshot_seconds = snapshot_seconds
        self._since = time.monotonic()
        self._snapshot_cost = 0.0  # seconds the last one took

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any] | None = None,
        *,
        mode: Literal["write", "read"] = "write",
        snapshot_seconds: float = 30.0,
    ) -> Store:
        """Create a run, continue one, or read one.

        Args:
            path: a local directory or a URL of fsspec.
            config: nested, JSON-able; needed for writing, compared when given for reading.
            mode: "write" takes the lock until `close`; "read" takes none and changes nothing.
            snapshot_seconds: seconds of work between two snapshots of a unit.

        Raises:
            ValueError: the config is not JSON-able, or the run there has another one.
            StoreError: the directory is missing, foreign, damaged, locked, full or read-only.
        """
        if mode not in ("write", "read"):
            raise ValueError(f"mode is {mode!r}; give 'write' or 'read'.")
        if mode == "write" and config is None:
            raise ValueError("writing a run needs its config; give one, or mode='read'.")
        asked = None if config is None else manifest.new(config)
        files = files_at(path)
        if asked is None or mode == "read":
            with explained(files.root, "opening it for reading"):
                record = _read_record(files)
            if asked is not None:
                manifest.check_config(record, asked, files.root)
            return cls(files, record, lock=None, here=None, snapshot_seconds=snapshot_seconds)
        with explained(files.root, "opening it for writing"):
            if files.is_file():
                raise _is_a_file(files)
            _refuse_foreign(files)
            lock = files.lock(_LOCK)
            try:
                files.remove(STAGING)
                record = _create_or_continue(files, asked)
                store = cls(files, record, lock=lock, here=asked, snapshot_seconds=snapshot_seconds)
                store._drop_old_snapshots()
            except BaseException:
                lock.release()
                raise
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write; a second call does nothing."""
        if self._lock is None:
            return
        with explained(self._files.root, "closing it"):
            try:
                self._files.remove(STAGING)
                if not self._files.entries(_SNAPSHOTS):
                    self._files.remove(_SNAPSHOTS)
            finally:
                self._lock.release()
                self._lock = None

    @property
    def path(self) -> str:
        """The run directory, as messages name it."""
        return self._files.root

    @property
    def config(self) -> dict[str, Any]:
        """The config the run was made with."""
        return self._record.config

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions the run was made with."""
        return MappingProxyType(self._record.versions)

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The decisions taken at run time, by this process or an interrupted one."""
        return MappingProxyType(self._record.resolved)

    def resolve(self, key: str, value: Any) -> None:
        """Keep a decision in run.json, so that a continued run takes it from there.

        Raises:
            ValueError: not JSON-able, or decided otherwise before.
        """
        record = self._record.with_resolved(key, value)
        if record == self._record:
            return
        self._check_may_continue()
        with explained(self._files.root, f"recording {key}"):
            self._files.put(manifest.NAME, record.dump())
        self._record = record

    def keys(self) -> list[Key]:
        """The complete units, sorted."""
        return sorted(self._complete)

    def has(self, key: Key) -> bool:
        """Whether the unit is complete."""
        units.slug(key)
        return key in self._complete

    def load_snapshot(self, key: Key) -> State | None:
        """The last snapshot of an unfinished unit, or None; tensors are mapped from its file.

        Call it when the unit begins: the time to the next snapshot counts from here. A snapshot
        that cannot be read is dropped with a warning, and the unit begins anew.
        """
        self._check_may_continue()
        name = _snapshot(key)
        state = None
        with explained(self._files.root, f"reading the snapshot of {'/'.join(key)}"):
            if self._files.exists(name):
                try:
                    with self._files.on_disk(name) as path:
                        state = read_snapshot(path)
                except UnreadableSnapshotError as error:
                    warnings.warn(
                        f"{self.path}: the snapshot of unit {'/'.join(key)} is damaged ({error}); "
                        "it is dropped, and this unit begins anew.",
                        stacklevel=2,
                    )
                    self._files.remove(name)
        self._since, self._snapshot_cost = time.monotonic(), 0.0
        return state

    def snapshot_due(self) -> bool:
        """Whether the unit has worked long enough for its next snapshot."""
        wait = max(self._snapshot_seconds, _BUSY * self._snapshot_cost)
        return time.monotonic() - self._since >= wait

    def save_snapshot(self, key: Key, state: State) -> None:
        """Keep the state of an unfinished unit in place of the one before.

        Raises:
            TypeError: something other than tensors and plain values in the state.
            StoreError: it cannot be written; the one before is kept.
        """
        self._check_may_continue()
        self._check_is_open(key)
        check_state(state)
        begun = time.monotonic()

        def write(file: BinaryIO) -> None:
            write_snapshot(state, file)

        with explained(self._files.root, f"writing a snapshot of {'/'.join(key)}"):
            self._files.put_stream(_snapshot(key), write)
        self._since = time.monotonic()
        self._snapshot_cost = self._since - begun

    def write(self, key: Key, tree: xr.DataTree) -> None:
        """Write a unit, complete or not at all, and remove its snapshot.

        Raises:
            ValueError: the unit is complete already, or lies inside another one.
            StoreError: it cannot be written; every finished unit and the snapshot are kept.
        """
        self._check_may_continue()
        self._check_is_open(key)
        data = units.serialise(tree)
        with explained(self._files.root, f"writing unit {'/'.join(key)}"):
            for depth in range(1, len(key)):
                group = "/".join((DRAWS, *key[:depth], GROUP_FILE))
                if not self._files.exists(group):
                    self._files.put(group, EMPTY_GROUP)
            self._files.put_tree("/".join((DRAWS, *key)), data)
            self._files.put(units.marker(key), units.checksums(data))
            self._files.remove(_snapshot(key))
        self._complete.add(key)
        self._since, self._snapshot_cost = time.monotonic(), 0.0

    def read(self, within: Key = ()) -> xr.DataTree:
        """Every complete unit, or those whose key begins with `within`.

        Values are read when they are used. Names and sizes of all files are checked here, their
        SHA-256 as they are read.

        Raises:
            StoreError: no unit is complete, or a file is missing, truncated or changed; for a
                changed value, when it is used.
        """
        import xarray as xr

        chosen = [key for key in self.keys() if key[: len(within)] == within]
        if not chosen:
            below = f" below {'/'.join(within)}" if within else ""
            raise StoreError(
                f"{self.path}: no unit of this run{below} is complete yet; let the run finish, or "
                "continue it by running the same command again."
            )
        with explained(self._files.root, "reading it"):
            marks = self._files.read(units.marker(key) for key in chosen)
            nodes: dict[str, xr.Dataset] = {}
            for key, mark in zip(chosen, marks, strict=True):
                entries = units.read_marker(mark, key, self._files.root)
                nodes |= units.open_unit(self._files, key, entries)
        return xr.DataTree.from_dict(nodes)

    def check_space(self, num_bytes: int) -> None:
        """Refuse work that will not fit; on object stores there is nothing to check.

        Raises:
            StoreError: less space is free.
        """
        with explained(self._files.root, "measuring free space"):
            free = self._files.free_space()
        if free is not None and free < num_bytes:
            raise StoreError(
                f"{self.path}: this run needs about {_bytes(num_bytes)} and {_bytes(free)} are "
                "free; free some space, or give a directory on another disk."
            )

    def _drop_old_snapshots(self) -> None:
        """Remove snapshots of complete units, left by a kill between the two."""
        left = self._files.entries(_SNAPSHOTS)
        for name in left.intersection(f"{units.slug(key)}.pt" for key in self._complete):
            self._files.remove(f"{_SNAPSHOTS}/{name}")

    def _check_may_continue(self) -> None:
        if self._lock is None or self._here is None:
            raise ValueError(f"{self.path} is not open for writing; use Store.open(path, config).")
        manifest.check_environment(self._record, self._here, self.path)

    def _check_is_open(self, key: Key) -> None:
        units.slug(key)
        if key in self._complete:
            raise ValueError(f"{self.path}: unit {'/'.join(key)} is complete and never changed.")
        for other in self._complete:
            shared = min(len(key), len(other))
            if key[:shared] == other[:shared]:
                raise ValueError(
                    f"{self.path}: units {'/'.join(key)} and {'/'.join(other)} would lie inside "
                    "each other; give keys of the same length."
                )


def _read_record(files: Files) -> Manifest:
    if files.is_file():
        raise _is_a_file(files)
    found = files.entries("")
    if manifest.NAME in found:
        return manifest.parse(files.read([manifest.NAME])[0], files.root)
    if DRAWS in found:
        raise _has_lost_its_record(files)
    if found <= {_LOCK, STAGING}:
        raise StoreError(f"{files.root}: there is no run here; give the directory of a run.")
    raise _is_foreign(files, found)


def _refuse_foreign(files: Files) -> None:
    found = files.entries("")
    if manifest.NAME in found or found <= {_LOCK, STAGING}:
        return
    if DRAWS in found:
        raise _has_lost_its_record(files)
    raise _is_foreign(files, found)


def _create_or_continue(files: Files, asked: Manifest) -> Manifest:
    if files.exists(manifest.NAME):
        record = manifest.parse(files.read([manifest.NAME])[0], files.root)
        manifest.check_config(record, asked, files.root)
    else:
        record = asked
        files.put(manifest.NAME, record.dump())
    if not files.exists(f"{DRAWS}/{GROUP_FILE}"):
        files.put(f"{DRAWS}/{GROUP_FILE}", EMPTY_GROUP)
    return record


def _is_a_file(files: Files) -> StoreError:
    return StoreError(f"{files.root} is a file; give a directory for the run.")


def _has_lost_its_record(files: Files) -> StoreError:
    return StoreError(
        f"{files.root}: {manifest.NAME} is missing beside {DRAWS}, so this is part of a run; "
        "restore it from a copy, or give another directory."
    )


def _is_foreign(files: Files, found: set[str]) -> StoreError:
    names = sorted(found)
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return StoreError(
        f"{files.root} is not a creode run (it has no {manifest.NAME} and holds {shown}); give an "
        "empty or a new directory."
    )


def _snapshot(key: Key) -> str:
    return f"{_SNAPSHOTS}/{units.slug(key)}.pt"


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
