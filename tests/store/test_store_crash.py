"""A run killed at any moment continues and ends with the bytes of one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from store_cases import KEYS, contents, expected, run

from creode.store import Store

CASES = str(Path(__file__).parent / "store_cases.py")


def check_same(whole: Path, other: Path) -> None:
    expected_files, found = contents(whole), contents(other)
    assert sorted(found) == sorted(expected_files)
    assert found == expected_files


def played(kind: str, root: Path, amount: int) -> list[Path]:
    """The runs that processes killed in one way or the other completed, and one made here."""
    threads = str(torch.get_num_threads())  # part of the record, so the same in every process
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": threads}
    command = [sys.executable, CASES, kind, str(root), str(amount)]
    subprocess.run(command, check=True, env=environment)
    run(root / "here")  # in this process, with another order of sets
    return sorted(root.iterdir())


@pytest.mark.parametrize("stride", [83, pytest.param(7, marks=pytest.mark.slow)])
def test_a_run_killed_before_any_operation_on_the_disk_ends_with_the_same_bytes(
    tmp_path: Path, stride: int
):
    runs = played("everywhere", tmp_path, stride)
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
    runs = played("at_random", tmp_path, 10)
    assert len(runs) == 12
    for directory in runs:
        check_same(tmp_path / "whole", directory)
