from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
import torch

from creode.store.snapshots import (
    UnreadableSnapshotError,
    check_state,
    read_snapshot,
    write_snapshot,
)

STATES = {
    "plain": {"a": [1, 2.5, 1j, "s", b"b", None, True, 2**80, (1, (2,))], 3: {}},
    "torch": {"dtype": torch.bfloat16, "size": torch.Size([2]), "device": torch.device("cpu")},
}


def written(state: dict[str, object], path: Path) -> Path:
    check_state(state)
    with path.open("wb") as file:
        write_snapshot(state, file)
    return path


@pytest.mark.parametrize("name", STATES)
def test_plain_values_come_back(tmp_path: Path, name: str):
    assert read_snapshot(written(STATES[name], tmp_path / "s.pt")) == STATES[name]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_come_back_and_can_be_changed_without_changing_the_file(
    tmp_path: Path, dtype: torch.dtype
):
    tensor = torch.arange(12).reshape(3, 4).T.to(dtype)
    path = written({"t": tensor, "parameter": torch.nn.Parameter(torch.ones(1))}, tmp_path / "s.pt")
    before = path.read_bytes()
    found = read_snapshot(path)["t"]
    assert found.dtype == dtype
    assert torch.equal(found, tensor)
    path.unlink()  # as when its unit is complete
    found.zero_()
    assert not found.any()
    path.write_bytes(before)
    assert torch.equal(read_snapshot(path)["t"], tensor)


def test_a_tensor_is_written_in_one_piece_from_where_it_lies():
    tensor = torch.zeros(10**6)
    seen = []

    class Pieces:
        def write(self, data: memoryview) -> int:
            whole = np.frombuffer(data, np.uint8)
            seen.append((whole.size, whole.__array_interface__["data"][0]))
            return whole.size

        def flush(self) -> None: ...

    write_snapshot({"t": tensor}, cast(BinaryIO, Pieces()))
    assert (tensor.numel() * 4, tensor.data_ptr()) in seen


class Odd:
    pass


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], r"a snapshot is a dict of tensors and plain values, got <class 'list'>"),
        ({"a": {"b": [1, np.ones(2)]}}, r"state\['a'\]\['b'\]\[1\] is a numpy.ndarray, which a"),
        ({"a": np.float64(1)}, r"state\['a'\] is a numpy.float64"),
        ({"a": Odd()}, r"state\['a'\] is a .*Odd, which a snapshot cannot give back; store tens"),
        ({frozenset(): 1}, r"a key of state is a builtins.frozenset"),
    ],
)
def test_what_could_not_be_read_back_is_refused_before_it_is_written(state: dict, message: str):
    with pytest.raises(TypeError, match=message):
        check_state(state)


def test_every_flipped_byte_of_a_tensor_and_every_cut_is_noticed(tmp_path: Path):
    path = written({"t": torch.arange(64)}, tmp_path / "s.pt")
    whole = path.read_bytes()
    start = whole.index(torch.arange(64).numpy().tobytes())
    for place in range(start, start + 512, 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(UnreadableSnapshotError, match=r"checksum of .*data/0 does not match"):
            read_snapshot(path)
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(UnreadableSnapshotError):
            read_snapshot(path)


def test_a_snapshot_with_code_in_it_is_not_run(tmp_path: Path):
    torch.save({"a": Odd()}, tmp_path / "s.pt")
    with pytest.raises(UnreadableSnapshotError, match="Weights only load failed"):
        read_snapshot(tmp_path / "s.pt")
