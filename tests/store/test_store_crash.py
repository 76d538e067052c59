"""A run killed at any moment continues and ends with the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from store_cases import KEYS, contents, expected, run

from creode.store import Store

CASES = str(Path(__file__).parent / "store_cases.py")


def check_same(whole: Path, other: Path) -> None:
    expected_files, found = contents(whole), contents(other)
    assert sorted(found) == sorted(expected_files)
    assert found == expected_files


def kill_everywhere(root: Path, stride: int) -> list[Path]:
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, CASES, str(root), str(stride)], check=True, env=environment)
    run(root / "here")  # in this process, with another order of sets
    return sorted(root.iterdir())


@pytest.mark.parametrize("stride", [83, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_killed_before_any_operation_on_the_disk_ends_with_the_same_bytes(
    tmp_path: Path, stride: int
):
    runs = kill_everywhere(tmp_path, stride)
    assert len(runs) > 3
    for directory in runs:
        check_same(tmp_path / "whole", directory)
    with Store.open(tmp_path / "often", mode="read") as store:
        tree = store.read()
        assert store.keys() == sorted(KEYS)
    for key in KEYS:
        np.testing.assert_array_equal(tree["/".join(key)]["loss"].values[0], expected(key))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path):
    run(tmp_path / "whole")
    moments = random.Random(0)
    kills = 0
    for trial in range(12):
        directory = tmp_path / f"trial_{trial}"
        for _ in range(100):
            child = subprocess.Popen(
                [sys.executable, "-c", f"import store_cases; store_cases.run({str(directory)!r})"],
                cwd=Path(__file__).parent,
            )
            while child.poll() is None and not directory.exists():
                time.sleep(0.001)
            try:
                child.wait(moments.uniform(0.0, 0.4))
            except subprocess.TimeoutExpired:
                child.kill()
            if child.wait() == 0:
                break
            kills += child.returncode == -signal.SIGKILL
        check_same(tmp_path / "whole", directory)
    assert kills > 12
