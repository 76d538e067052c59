"""What was deleted, cut, changed or never a run is told in one sentence, never read as numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from store_cases import CONFIG, KEYS, contents, run

from creode.store import Store, StoreError

GROUP = Path("draws.zarr", *KEYS[0])
MARKER = f"{','.join(KEYS[0])}.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run"
    run(path)
    return path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def load(path: Path) -> None:
    with Store.open(path, mode="read") as store:
        store.read().load()


def every_file() -> list[str]:
    """The files of a unit, by the rule zarr has for them."""
    arrays = ("loss", "failed_at", "probes/code/mean", "probes/code/mask")
    groups = ("", "probes/", "probes/code/")
    chunks = ("loss/c/0/0", "failed_at/c/0", "probes/code/mean/c/0")
    return [f"{a}/zarr.json" for a in arrays] + [f"{g}zarr.json" for g in groups] + [*chunks]


def test_a_deleted_cut_or_changed_file_is_found_and_the_unit_made_again(
    finished: Path, copied: Path
):
    assert sorted(contents(copied / GROUP)) == sorted(every_file())
    for name in every_file():
        file = copied / GROUP / name
        whole = file.read_bytes()
        beginning = r"unit step_000100/l0/block_0 is damaged \("
        file.unlink()
        with pytest.raises(StoreError, match=rf"{beginning}its file {name} is missing\)"):
            load(copied)
        file.write_bytes(whole[:-1])
        size = len(whole)
        with pytest.raises(StoreError, match=rf"its file {name} has {size - 1} bytes of {size}"):
            load(copied)
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(StoreError, match=rf"the checksum of its file {name} does not match"):
            load(copied)
        file.write_bytes(whole)
        load(copied)
    (copied / GROUP / "loss/c/0/0").unlink()
    with pytest.raises(StoreError, match=rf"delete .*/units/{MARKER} and repeat the run"):
        load(copied)
    (copied / "units" / MARKER).unlink()
    run(copied)
    assert contents(copied) == contents(finished)


def test_a_unit_that_vanished_is_not_taken_for_one_never_made(copied: Path):
    shutil.rmtree(copied / GROUP)
    with pytest.raises(StoreError, match=r"block_0 is damaged \(its file .* is missing\)"):
        load(copied)


@pytest.mark.parametrize("text", ["", '{"files"', "[]", '{"files": {}}', '{"files": {"a": 3}}'])
def test_a_damaged_list_of_checksums_is_told(copied: Path, text: str):
    (copied / "units" / MARKER).write_text(text)
    with pytest.raises(StoreError, match=rf"units/{MARKER} (is not readable|names no zarr.json)\)"):
        load(copied)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"run.json is not valid JSON .*truncated or edited; restore it"),
        ('{"config": {"a', "run.json is not valid JSON"),
        ("[1, 2]", r"run.json is not the record of a creode run \(it has no schema number\)"),
        ('{"name": "other"}', "run.json is not the record of a creode run"),
        ('{"schema": 99}', "run.json has schema 99, and this creode knows schemas up to 1; upgr"),
        ('{"schema": 1, "config": []}', "run.json does not hold config, resolved, versions, thr"),
    ],
)
@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_damaged_or_foreign_record_is_told(copied: Path, text: str, message: str, mode: str):
    (copied / "run.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        Store.open(copied, CONFIG, mode=mode)  # type: ignore[arg-type]
    assert not (copied / "lock").exists()


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_lost_record_is_told(copied: Path, mode: str):
    (copied / "run.json").unlink()
    before = contents(copied)
    with pytest.raises(StoreError, match=r"run.json is missing beside draws.zarr, so this is part"):
        Store.open(copied, CONFIG, mode=mode)  # type: ignore[arg-type]
    assert contents(copied) == before


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, mode: str):
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    message = r"is not a creode run \(it has no run.json and holds a.txt, b.txt, c.txt, …\)"
    with pytest.raises(StoreError, match=message):
        Store.open(tmp_path, CONFIG, mode=mode)  # type: ignore[arg-type]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_file_is_no_directory(tmp_path: Path, mode: str):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"file is a file; give a directory for the run"):
        Store.open(tmp_path / "file", CONFIG, mode=mode)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"a file stands where a directory is needed .*/file"):
        Store.open(tmp_path / "file" / "run", CONFIG)


def test_nothing_to_read_is_told(tmp_path: Path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(StoreError, match="there is no run here; give the directory of a run"):
            Store.open(path, mode="read")
    with Store.open(tmp_path, CONFIG):
        pass
    with pytest.raises(StoreError, match="no unit of this run is complete yet; let the run finish"):
        load(tmp_path)


def test_a_process_killed_before_the_record_leaves_a_directory_that_can_be_used(tmp_path: Path):
    (tmp_path / "lock").touch()
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "next").write_text('{"conf')
    run(tmp_path)
    load(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["config"] == CONFIG


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_a_damaged_snapshot_is_dropped_with_a_warning(tmp_path: Path, damage: str):
    key = KEYS[0]
    with Store.open(tmp_path, CONFIG) as store:
        store.save_snapshot(key, {"weights": torch.zeros(1000)})
        (file,) = (tmp_path / "snapshots").iterdir()
        data = bytearray(file.read_bytes())
        if damage == "flipped":
            data[len(data) // 2] ^= 1
        changed = {"cut": data[: len(data) // 2], "flipped": data, "foreign": b"x" * 99}
        file.write_bytes(changed.get(damage, b""))
        with pytest.warns(UserWarning, match=r"snapshot of unit step_000100/l0/block_0 is damaged"):
            assert store.load_snapshot(key) is None
        assert not file.exists()
        assert store.load_snapshot(key) is None  # and no second warning
