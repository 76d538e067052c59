"""A disk that is full or read-only: once on a real one, where a mount is allowed, and always with
the operating system's answer put in place at its border.
"""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from store_cases import CONFIG, KEYS, contents, run, tree_of

from creode.store import Store, StoreError
from creode.store.snapshots import _Sink


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(mounted)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount; the tests without it still run")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


def test_a_full_disk_loses_nothing_that_was_finished(small_disk: Path, whole: dict[str, bytes]):
    fillers: list[Path] = []
    path = small_disk / "run"
    with pytest.raises(StoreError, match=r"the disk is full \(No space left on device\) while"):
        run(path, after=lambda store: fillers.append(fill(small_disk)))
    with Store.open(path, mode="read") as store:
        assert store.keys() == KEYS[:1]
        store.read().load()
    with pytest.raises(StoreError, match=r"is full .* free some space and run the same command"):
        run(path)
    fillers[0].unlink()
    run(path)
    assert contents(path) == whole


def test_a_full_disk_is_told_when_a_new_run_opens(small_disk: Path):
    filler = fill(small_disk)
    with pytest.raises(StoreError, match=r"the disk is full .* while opening it for writing"):
        Store.open(small_disk / "run", CONFIG)
    filler.unlink()
    run(small_disk / "run")


def test_a_read_only_disk_is_told_when_a_run_opens_and_can_be_read(small_disk: Path):
    run(small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for path in (small_disk / "run", small_disk / "new"):
        with pytest.raises(StoreError, match=r"no permission \(Read-only file system\) while open"):
            Store.open(path, CONFIG)
    with Store.open(small_disk / "run", mode="read") as store:
        store.read().load()


def failing(
    function: Callable[..., object], code: int, after: int, times: int = 10**9
) -> Callable[..., object]:
    """The function for `after` calls, then an OSError, `times` times."""
    calls = itertools.count()

    def call(*args: object, **kwargs: object) -> object:
        if after <= next(calls) < after + times:
            raise OSError(code, os.strerror(code))
        return function(*args, **kwargs)

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path)
    return contents(path)


@pytest.mark.parametrize(
    ("code", "after", "times"),
    [
        (errno.ENOSPC, 0, 10**9), (errno.EDQUOT, 7, 10**9), (errno.EIO, 30, 10**9),
        (errno.EIO, 30, 1), (errno.ENOSPC, 51, 10**9),
    ],
)  # fmt: skip
def test_whatever_write_fails_the_run_can_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[str, bytes],
    code: int,
    after: int,
    times: int,
):
    said = os.strerror(code)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing(os.fsync, code, after, times))
        with pytest.raises(StoreError, match=rf"{said}.*every finished unit is kept") as raised:
            run(tmp_path / "run")
    assert raised.value.errno == code
    assert ("disk is full" in str(raised.value)) == (code != errno.EIO)
    assert not (tmp_path / "run" / "lock").exists()
    run(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_directory_without_permission_is_told_when_a_run_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    message = rf"no permission \({os.strerror(code)}\) while opening it for writing; change the"
    for name in ("open", "mkdir"):  # of the lock; of the directory
        with monkeypatch.context() as broken:
            broken.setattr(os, name, failing(getattr(os, name), code, 0))
            with pytest.raises(StoreError, match=message):
                Store.open(tmp_path / name, CONFIG)


def test_a_snapshot_that_does_not_fit_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    key = KEYS[0]
    with Store.open(tmp_path, CONFIG) as store:
        store.save_snapshot(key, {"step": 1})
        with monkeypatch.context() as broken:
            broken.setattr(_Sink, "write", failing(_Sink.write, errno.ENOSPC, 5))
            with pytest.raises(StoreError, match="disk is full"):
                store.save_snapshot(key, {"step": 2, "weights": torch.zeros(10_000)})
        assert not list((tmp_path / "staging").iterdir())
        assert store.load_snapshot(key) == {"step": 1}


def test_torch_does_not_hide_that_the_disk_was_full_in_the_middle_of_a_tensor(small_disk: Path):
    with Store.open(small_disk / "run", CONFIG) as store:
        with pytest.raises(StoreError, match=r"is full .* while writing a snapshot of step_000100"):
            store.save_snapshot(KEYS[0], {"weights": torch.zeros(10**6)})
        store.write(KEYS[0], tree_of(torch.zeros(8).double()))
