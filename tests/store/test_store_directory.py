from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import xarray as xr
from store_cases import CONFIG, KEYS, contents, expected, run, tree_of

from creode.store import Store, StoreError, directory, manifest


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    yield f"memory://{request.node.name}*"  # which is no pattern
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "deep" / "run"  # parents that do not exist
    run(path)
    return path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def read(path: Path | str, within: tuple[str, ...] = ()) -> xr.DataTree:
    with Store.open(path, mode="read") as store:
        return store.read(within)


def test_what_is_read_is_what_was_written(finished: Path):
    tree = read(finished)
    for key in KEYS:
        node = tree["/".join(key)]
        xr.testing.assert_identical(
            xr.DataTree.from_dict({path: part.to_dataset() for path, part in _parts(node)}),
            tree_of(torch.from_numpy(expected(key))),
        )


def _parts(node: xr.DataTree) -> Iterator[tuple[str, xr.DataTree]]:
    return ((path if path != "." else "/", part) for path, part in node.subtree_with_keys)


def test_the_draws_can_be_opened_without_creode(finished: Path):
    plain = xr.open_datatree(finished / "draws.zarr", engine="zarr", consolidated=False)
    xr.testing.assert_identical(plain.load(), read(finished).load())


def test_a_finished_directory_holds_the_run_and_nothing_else(finished: Path):
    assert {path.name for path in finished.iterdir()} == {"run.json", "draws.zarr", "units"}
    record = json.loads((finished / "run.json").read_text())
    assert record["config"] == CONFIG
    assert record["resolved"] == {"mode": "sequential"}
    assert record["versions"]["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()


def test_part_of_a_run_can_be_read_alone(finished: Path):
    tree = read(finished, ("step_000200",))
    assert list(tree.children) == ["step_000200"]
    with pytest.raises(StoreError, match=r"no unit of this run below step_000300 is complete yet"):
        read(finished, ("step_000300",))


def test_a_run_in_memory_holds_the_same_files_as_one_on_disk(finished: Path, remote: str):
    run(remote)
    fs, root = fsspec.core.url_to_fs(remote)
    found = {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)}
    assert found == contents(finished)
    xr.testing.assert_identical(read(remote).load(), read(finished).load())


@pytest.mark.parametrize("place", ["local", "remote"])
def test_a_snapshot_gives_the_state_back_until_its_unit_is_complete(
    tmp_path: Path, remote: str, place: str
):
    path, key = str(tmp_path) if place == "local" else remote, KEYS[0]
    state = {
        "weights": torch.randn(5, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "nested": [1, 2.5, "s", None, (True, {"step": 2**70})],
    }
    with Store.open(path, CONFIG) as store:
        assert store.load_snapshot(key) is None
        store.save_snapshot(key, {"old": True})
        store.save_snapshot(key, state)
    with Store.open(path, CONFIG) as store:
        found = store.load_snapshot(key)
        assert found is not None
        assert torch.equal(found.pop("weights"), state.pop("weights"))
        assert found == state
        assert store.load_snapshot(KEYS[1]) is None
        store.write(key, tree_of(torch.zeros(8).double()))
    fs, root = fsspec.core.url_to_fs(path)
    assert not fs.exists(f"{root}/snapshots")


def test_the_snapshot_of_a_complete_unit_left_by_a_kill_is_removed(finished: Path, copied: Path):
    (copied / "snapshots").mkdir()
    (copied / "snapshots" / f"{','.join(KEYS[0])}.pt").write_bytes(b"left")
    run(copied)
    assert contents(copied) == contents(finished)


def test_a_remote_unit_that_stops_halfway_is_hidden_and_then_replaced(
    remote: str, monkeypatch: pytest.MonkeyPatch
):
    fs, root = fsspec.core.url_to_fs(remote)
    tree, group = tree_of(torch.from_numpy(expected(KEYS[0]))), "/".join(KEYS[0])
    original, left = type(fs).pipe_file, [0]

    def stopping(fs: object, path: str, *args: object, **kwargs: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("gone")
        original(fs, path, *args, **kwargs)

    with Store.open(remote, CONFIG) as store:
        fs.pipe_file(f"{root}/draws.zarr/{group}/stray/zarr.json", b"{}")
        monkeypatch.setattr(type(fs), "pipe_file", stopping)
        for budget in range(100):
            left[0] = budget
            try:
                store.write(KEYS[0], tree)
            except StoreError as error:
                assert "gone" in str(error)  # noqa: PT017
            else:
                break
            with pytest.raises(StoreError, match=r"no unit of this run is complete yet; let the"):
                read(remote)
            plain = xr.open_datatree(
                f"memory:/{root}/draws.zarr", engine="zarr", consolidated=False
            )
            found = {node.path for node in plain.subtree if node.data_vars}
            if found:  # nothing but the marker was missing: the unit is whole
                assert budget == 10  # its files
                assert found == {f"/{group}", f"/{group}/probes/code"}
        assert budget == 11
        np.testing.assert_array_equal(store.read()[group]["loss"].values[0], expected(KEYS[0]))
    assert not fs.exists(f"{root}/draws.zarr/{group}/stray")


def test_snapshots_are_due_by_the_clock_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr(directory.time, "monotonic", lambda: now[0])
    with Store.open(tmp_path, CONFIG, snapshot_seconds=30.0) as store:
        now[0] += 40.0
        assert store.snapshot_due()
        store.load_snapshot(KEYS[0])  # the unit begins
        now[0] += 29.0
        assert not store.snapshot_due()
        now[0] += 1.0
        assert store.snapshot_due()
        original = directory.write_snapshot

        def slow(*args: object) -> None:
            original(*args)
            now[0] += 7.0

        monkeypatch.setattr(directory, "write_snapshot", slow)
        store.save_snapshot(KEYS[0], {})
        now[0] += 69.0  # ten times the seven seconds that the last one took
        assert not store.snapshot_due()
        now[0] += 1.0
        assert store.snapshot_due()
        store.write(KEYS[0], tree_of(torch.zeros(8).double()))
        now[0] += 30.0
        assert store.snapshot_due()


def test_a_decision_is_kept_and_cannot_become_another(tmp_path: Path):
    with Store.open(tmp_path, CONFIG) as store:
        store.resolve("execution", {"mode": "vectorised", "width": 4})
    with Store.open(tmp_path, CONFIG) as store:
        assert store.resolved == {"execution": {"mode": "vectorised", "width": 4}}
        store.resolve("execution", {"mode": "vectorised", "width": 4})
        with pytest.raises(ValueError, match=r'is \{.*"width": 4\} in this run .* \{"width": 5\}'):
            store.resolve("execution", {"width": 5})
        with pytest.raises(ValueError, match=r"resolved.x.0 is tensor.* JSON does not hold"):
            store.resolve("x", [torch.ones(1)])


def test_units_are_written_once_and_outside_one_another(copied: Path):
    tree = tree_of(torch.zeros(8).double())
    with Store.open(copied, CONFIG) as store:
        with pytest.raises(ValueError, match=r"unit step_000100/l0/block_0 is complete and never"):
            store.write(KEYS[0], tree)
        with pytest.raises(ValueError, match=r"units step_000100/l0 and step_000100/l0/block_0 w"):
            store.write(KEYS[0][:2], tree)
        with pytest.raises(ValueError, match=r"would lie inside each other"):
            store.save_snapshot((*KEYS[0], "more"), {})


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((), r"non-empty tuple of names, got \(\)"),
        ("step", r"non-empty tuple of names, got 'step'"),
        (("a", 3), r"non-empty tuple of names"),
        (("a/b",), r"'a/b' cannot name a group; use letters"),
        (("..",), r"'..' cannot name a group"),
        (("__x",), r"'__x' cannot name a group"),
        (("a", "zarr.json"), r"'zarr.json' cannot name a group"),
        (("a", ""), r"'' cannot name a group"),
        (("a" * 201,), r"more than 200 characters"),
    ],
)
def test_keys_that_cannot_be_groups_are_refused(finished: Path, key: object, message: str):
    store = Store.open(finished, mode="read")
    with pytest.raises(ValueError, match=message):
        store.has(key)  # type: ignore[arg-type]


def test_another_config_is_refused_with_every_differing_field(finished: Path):
    other = {"nbeta": 30, "probes": [{"name": "prose"}], "seed": False, "more": {"x": 1.5}}
    with pytest.raises(ValueError, match="holds a run with another config") as raised:
        Store.open(finished, other)
    message = str(raised.value)
    for part in (
        "more.x: absent there, 1.5 now",
        'probes.0.name: "code" there, "prose" now',
        "probes.0.num_samples: 3 there, absent now",
        "seed: 0 there, false now",
        "give another directory, or delete this one",
    ):
        assert part in message
    assert "nbeta" not in message  # 30 is 30.0
    with pytest.raises(ValueError, match="another config"):
        Store.open(finished, other, mode="read")
    assert not (finished / "lock").exists()


@pytest.mark.parametrize(
    ("value", "where"),
    [({"a": [0, float("nan")]}, r"config.a.1 is nan \(float\)"), ({"a": {1: 2}}, r"config.a is")],
)
def test_a_config_that_json_does_not_hold_is_refused_before_anything_is_made(
    tmp_path: Path, value: dict[str, object], where: str
):
    with pytest.raises(ValueError, match=where):
        Store.open(tmp_path / "run", value)
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_is_not_continued_with_other_versions(copied: Path):
    unfinished = KEYS[1]
    (copied / "units" / f"{','.join(unfinished)}.json").unlink()
    record = json.loads((copied / "run.json").read_text())
    record["versions"]["torch"] = "1.0"
    record["threads"] = 99
    (copied / "run.json").write_text(json.dumps(record))
    there = f"torch 1.0 there, {re.escape(torch.__version__)} now; threads 99 there, [0-9]+ now"
    with Store.open(copied, CONFIG) as store:
        assert store.has(KEYS[0])
        for attempt in (
            lambda: store.load_snapshot(unfinished),
            lambda: store.save_snapshot(unfinished, {}),
            lambda: store.write(unfinished, tree_of(torch.zeros(8).double())),
            lambda: store.resolve("new", 1),
        ):
            with pytest.raises(StoreError, match=there):
                attempt()
        store.resolve("mode", "sequential")  # nothing new
    assert read(copied)["/".join(KEYS[0])]["loss"].shape == (1, 8)


def test_every_version_that_decides_bits_is_compared():
    here = manifest.new({})
    for changed in ("creode", "torch", "numpy", "xarray", "zarr"):
        other = replace(here, versions={**here.versions, changed: "0"})
        with pytest.raises(StoreError, match=rf"\({changed} 0 there"):
            manifest.check_environment(other, here, "run")
    with pytest.raises(StoreError, match=r"\(cpu Z80 there, .*\)"):
        manifest.check_environment(replace(here, cpu="Z80"), here, "run")
    manifest.check_environment(
        replace(here, versions={**here.versions, "python": "2"}), here, "run"
    )


def test_a_store_open_for_reading_writes_nothing(finished: Path):
    before = contents(finished)
    store = Store.open(finished, CONFIG, mode="read")
    for attempt in (
        lambda: store.resolve("new", 1),
        lambda: store.load_snapshot(KEYS[0]),
        lambda: store.write(("new",), tree_of(torch.zeros(8).double())),
    ):
        with pytest.raises(ValueError, match=r"is not open for writing; use Store.open\(path, con"):
            attempt()
    store.close()
    assert contents(finished) == before
    with pytest.raises(ValueError, match="mode is 'append'; give 'write' or 'read'"):
        Store.open(finished, CONFIG, mode="append")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="writing a run needs its config"):
        Store.open(finished)


def test_work_that_does_not_fit_is_refused(tmp_path: Path, remote: str):
    with Store.open(tmp_path, CONFIG) as store:
        store.check_space(1)
        free = shutil.disk_usage(tmp_path).free
        with pytest.raises(StoreError, match=r"needs about [0-9.]+ GB and [0-9.]+ GB are free"):
            store.check_space(free + 10**12)
    with Store.open(remote, CONFIG) as store:
        store.check_space(10**30)
