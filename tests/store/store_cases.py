"""A small run in the shape of the sampling engine's, whose every number follows from its step.

Run as a script it plays the killed processes: `everywhere`, `at_random`.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from creode.store import Key, Store, snapshots

CONFIG = {"nbeta": 30.0, "probes": [{"name": "code", "num_samples": 3}], "seed": 0}
KEYS: list[Key] = [
    ("step_000100", "l0", "block_0"),
    ("step_000200", "l1", "block_0"),
]
NUM_STEPS = 3


def increment(key: Key, step: int) -> torch.Tensor:
    """What one step of a unit adds to its state."""
    seed = 1000 * KEYS.index(key) + step
    return torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tree_of(total: torch.Tensor) -> xr.DataTree:
    """A unit's draws: one probe, an all-zero mask (which zarr does not store) and a NaN."""
    root = xr.Dataset(
        {"loss": (("chain", "draw"), total.numpy()[None]), "failed_at": (("chain",), [-1])},
        attrs={"nbeta": 30.0, "component": "l0"},
    )
    probe = xr.Dataset(
        {"mask": (("sample",), np.zeros(3, bool)), "mean": (("sample",), [1.0, np.nan, 0.0])}
    )
    return xr.DataTree.from_dict({"/": root, "/probes/code": probe})


def expected(key: Key) -> np.ndarray:
    """The loss a complete unit holds."""
    return torch.stack([increment(key, step) for step in range(NUM_STEPS)]).cumsum(0)[-1].numpy()


def run(path: str | Path, after: Callable[[Store], None] = lambda store: None) -> None:
    """Work through every unit, with a snapshot after every step."""
    with Store.open(path, CONFIG, snapshot_seconds=0.0) as store:
        store.resolve("mode", "sequential")
        for key in KEYS:
            if store.has(key):
                continue
            state = store.load_snapshot(key) or {"step": 0, "total": torch.zeros(8).double()}
            total = state["total"].clone()
            for step in range(state["step"], NUM_STEPS):
                total += increment(key, step)
                if store.snapshot_due():
                    store.save_snapshot(key, {"step": step + 1, "total": total})
            store.write(key, tree_of(total))
            after(store)


def contents(path: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def killed_before(operation: int) -> Callable[[], int]:
    """Make this process kill itself before its n-th operation on the disk; returns the count."""
    count, one = 0, threading.Lock()  # files are flushed side by side

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            with one:
                if count == operation:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
            return function(*args, **kwargs)

        return call

    os.fsync = counted(lambda handle: None)  # what a killed process wrote is not lost without it
    for name in ("rename", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "pwrite"):
        setattr(os, name, counted(getattr(os, name)))
    snapshots._Sink.write = counted(snapshots._Sink.write)  # the middle of a snapshot
    return lambda: count


def forked(path: Path, operation: int) -> bool:
    """Run in a process of its own that is killed before an operation; whether it finished."""
    child = os.fork()
    if child == 0:
        killed_before(operation)
        run(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def at_random(root: Path, trials: int) -> None:
    """Killed from outside after random times, again and again until it is complete."""
    assert forked(root / "whole", -1)
    moments, kills = random.Random(0), 0
    for trial in range(trials):
        for attempt in itertools.count():
            child = os.fork()
            if child == 0:
                run(root / f"trial_{trial}")
                os._exit(0)
            time.sleep(moments.uniform(0.0, 0.2 * 1.2**attempt))  # it ends on a slow machine, too
            os.kill(child, signal.SIGKILL)  # a child that has ended waits for its parent
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
                break
            kills += 1
    assert kills > trials


def everywhere(root: Path, stride: int) -> None:
    """Uninterrupted in `whole`; killed once, before every stride-th operation, in `once_<n>`;
    killed again and again, each time a little later, in `often`; every run then completed.
    """
    assert forked(root / "whole", -1)
    operation = 0
    while not forked(root / f"once_{operation}", operation):
        assert forked(root / f"once_{operation}", -1)
        operation += stride
    operation = 1
    while not forked(root / "often", operation):
        operation += max(3, stride)


if __name__ == "__main__":
    play = {"everywhere": everywhere, "at_random": at_random}[sys.argv[1]]
    play(Path(sys.argv[2]), int(sys.argv[3]))
