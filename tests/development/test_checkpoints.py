"""Series of checkpoints, whoever wrote them."""

from pathlib import Path

import pytest
import torch

from creode.development import Checkpoint, list_checkpoints

WEIGHTS = {"w": torch.zeros(1)}


def folder(path: Path, weights: str = "model.safetensors") -> None:
    path.mkdir(parents=True)
    (path / weights).write_bytes(b"")


@pytest.mark.parametrize("pattern", ["step_{:06d}", "checkpoint-{}"])
def test_folders_come_by_step_and_other_entries_are_left_out(tmp_path: Path, pattern: str) -> None:
    for step in (1000, 0, 20, 1000000):  # by name 1000 would come before 20
        folder(tmp_path / pattern.format(step))
    folder(tmp_path / "best")
    folder(tmp_path / ".step_000007.partial")
    for name in ("resume.pt", "model.safetensors", "events_5.txt", "optimizer_7.pt"):
        (tmp_path / name).write_bytes(b"")
    found = list_checkpoints(tmp_path)
    assert [c.step for c in found] == [0, 20, 1000, 1000000]
    assert [c.path for c in found] == [tmp_path / pattern.format(c.step) for c in found]
    assert list_checkpoints(str(tmp_path)) == found


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("500.pt", 500),
        ("model-0500.safetensors", 500),
        ("pythia-70m-step500.safetensors", 500),
        ("70m_step_500_seed_3.pt", 500),
        ("epoch2-steps=500.pth", 500),
        ("layer2_500.pt", 500),
    ],
)
def test_files_have_the_step_in_their_name(tmp_path: Path, name: str, step: int) -> None:
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes-12.md").write_bytes(b"")
    (tmp_path / "final.pt").write_bytes(b"")
    assert list_checkpoints(tmp_path) == [Checkpoint(step, tmp_path / name, None)]


def test_shards_of_one_model_are_no_series(tmp_path: Path) -> None:
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no checkpoints in it; it is one model; expected step_"):
        list_checkpoints(tmp_path)


def test_what_is_no_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent: not a directory of checkpoints"):
        list_checkpoints(tmp_path / "absent")
    with pytest.raises(ValueError, match="no checkpoints in it; expected step_000100/"):
        list_checkpoints(tmp_path)
    folder(tmp_path / "step_000010")
    (tmp_path / "step_000020").mkdir()
    with pytest.raises(ValueError, match=r"step_000020: no weights"):
        list_checkpoints(tmp_path)
    (tmp_path / "step_000020" / "pytorch_model.bin").write_bytes(b"")
    folder(tmp_path / "checkpoint-20")
    with pytest.raises(ValueError, match=r"checkpoint-20 and step_000020 are both of step 20"):
        list_checkpoints(tmp_path)
