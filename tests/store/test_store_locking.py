from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from store_cases import CONFIG

from creode.store import Store, StoreError
from creode.store.locking import FileLock, ObjectLock

HOLD = """
import sys
from pathlib import Path
from creode.store.locking import FileLock
FileLock(Path(sys.argv[1]) / "lock")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends_even_by_sigkill(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        host = re.escape(socket.gethostname())
        message = rf"process {holder.pid} on host {host} is writing this run; wait until it ends"
        with pytest.raises(StoreError, match=message):
            Store.open(tmp_path, CONFIG)
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "lock").exists()
    with Store.open(tmp_path, CONFIG):
        pass
    assert not (tmp_path / "lock").exists()


def test_the_lock_is_held_within_a_process_and_let_go_after_an_error(tmp_path: Path):
    with Store.open(tmp_path, CONFIG) as store:
        with pytest.raises(StoreError, match=rf"process {os.getpid()} on host"):
            Store.open(tmp_path, CONFIG)
        Store.open(tmp_path, mode="read")
    store.close()  # a second time
    with pytest.raises(ValueError, match="is not open for writing"):
        store.resolve("x", 1)
    with pytest.raises(ValueError, match="another config"):
        Store.open(tmp_path, {"other": 1})
    with pytest.raises(KeyError), Store.open(tmp_path, CONFIG):
        raise KeyError
    with Store.open(tmp_path, CONFIG):
        pass


def test_a_lock_file_replaced_while_it_was_being_opened_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "lock"
    first = FileLock(path)
    original, opened = os.open, []

    def late(*args: int, **kwargs: int) -> int:
        handle = original(*args, **kwargs)
        opened.append(handle)
        if len(opened) == 1:
            first.release()  # between the open and the lock of the second
        return handle

    monkeypatch.setattr(os, "open", late)
    second = FileLock(path)
    assert len(opened) == 2
    assert os.path.samestat(os.fstat(opened[1]), path.stat())
    second.release()


def test_a_holder_that_has_not_yet_signed_is_another_process(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(b"")
    with pytest.raises(StoreError, match="another process is writing this run"):
        FileLock(tmp_path / "lock")
    lock.release()


def test_a_lock_object_names_its_holder_and_how_to_remove_it():
    with Store.open("memory://locked/run", CONFIG):
        message = (
            rf"process {os.getpid()} on host .* if that process is no longer running, delete "
            r"memory:///?locked/run/lock and run again"
        )
        with pytest.raises(StoreError, match=message):
            Store.open("memory://locked/run", CONFIG)
    with Store.open("memory://locked/run", CONFIG):  # released
        fsspec.filesystem("memory").rm_file("/locked/run/lock")  # someone followed the advice


class Careless:
    """A file system that ignores "create": the last writer's object stays."""

    def __init__(self, rival: bytes | None) -> None:
        self.data, self.rival = b"", rival

    def pipe_file(self, path: str, data: bytes, mode: str) -> None:
        self.data = data if self.rival is None else self.rival

    def cat_file(self, path: str) -> bytes:
        return self.data

    def unstrip_protocol(self, path: str) -> str:
        return f"careless://{path}"


def test_of_two_writers_on_a_store_without_exclusive_creation_the_last_one_wins():
    rival = json.dumps({"pid": 7, "host": "elsewhere"}).encode()
    ObjectLock(Careless(rival=None), "/run/lock")
    with pytest.raises(StoreError, match="process 7 on host elsewhere is writing this run"):
        ObjectLock(Careless(rival=rival), "/run/lock")
