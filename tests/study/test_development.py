"""Stages of a run: from verdicts to a trajectory, records and files; which checkpoints are read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from study_cases import tiny_study

from creode.development import list_checkpoints
from creode.store import Store
from creode.study import Development, StudyConfig, run_study

STEPS = np.unique(np.round(np.geomspace(10, 1e4, 30)).astype(int))
RISE = 300.0  # where λ̂ and one part rise, and the loss of one probe falls


def step(height, width=0.1):
    """A rise at RISE along STEPS, of a width in log step."""
    return height / (1 + np.exp(-np.log(STEPS / RISE) / width))


def readings(values, error, seed, components):
    """What `creode.llc` returns of a study, as far as it is used."""
    rng = np.random.default_rng(seed)
    shape = (len(STEPS), len(components))
    dims = ("checkpoint", "component")
    return xr.Dataset(
        {
            "llc": (dims, np.stack(values, 1) + error * rng.standard_normal(shape)),
            "llc_se": (dims, np.full(shape, error)),
            "init_loss": (dims, np.repeat(5 - step(1.0)[:, None], shape[1], 1)),
            "ok": (dims, np.ones(shape, bool)),
            "reasons": (dims, np.full(shape, "", object)),
        },
        {"checkpoint": STEPS, "component": list(components)},
    )


def developed(path, **changes):
    """A run whose readings are made up: λ̂ and l0h1 rise at RISE; l0h0 does not."""
    found = Development(path)
    data = readings([step(10.0), np.full(len(STEPS), 3.0), step(4.0)], 0.2, 1,
                    ("full", "l0h0", "l0h1"))  # fmt: skip
    verdict = data.assign(changes)
    probe = readings([step(6.0), np.zeros(len(STEPS)), step(1.0)], 0.2, 2, ("full", "l0h0", "l0h1"))
    vars(found).update(verdict=verdict, llc={"data": verdict, "code": probe}, config={})
    return found


def test_the_trajectory_is_of_the_whole_model_its_parts_and_probes():
    found = developed(Path("run")).trajectory
    assert found.attrs["component"] == "full"
    assert found["component"].values.tolist() == ["l0h0", "l0h1"]
    assert found["probe_loss"].dims == ("checkpoint", "probe")
    assert found["loss"].values == pytest.approx(5 - step(1.0))
    last = found.isel(checkpoint=-1)
    assert float(last["llc"]) == pytest.approx(10, abs=1)
    assert float(last["component_llc"].sel(component="l0h1")) == pytest.approx(4, abs=1)


def test_a_part_that_was_read_at_the_last_checkpoint_only_is_left_out():
    reasons = np.full((len(STEPS), 3), "", object)
    reasons[:-1, 1] = "not run"
    found = developed(Path("run"), reasons=(("checkpoint", "component"), reasons)).trajectory
    assert found["component"].values.tolist() == ["l0h1"]


def test_stages_are_told_with_what_moved_in_them(tmp_path):
    found = developed(tmp_path)
    records = found.records()
    assert [record["kind"] for record in records] == ["plateau", "rise", "plateau"]
    rise = records[1]
    assert rise["start"] < RISE < rise["end"]
    assert rise["begins_low"] <= rise["start"] <= rise["begins_high"]
    assert abs(rise["llc_delta"] - 10) < 4 * rise["llc_delta_se"] < 2
    assert rise["loss_delta"] < -0.8
    assert rise["type"] == "A"
    moved = {one["reading"]: one for one in rise["moved"]}
    assert set(moved) == {"component_llc[l0h1]", "probe_llc[code]"}
    for name, height in (("component_llc[l0h1]", 4), ("probe_llc[code]", 6)):
        assert abs(moved[name]["delta"] - height) < 4 * moved[name]["delta_se"] < 2
    assert all(record["ok"] for record in records)
    found.save(records)
    stored = xr.open_zarr(tmp_path / "trajectory.zarr", consolidated=False)
    xr.testing.assert_allclose(stored["llc"].load(), found.trajectory["llc"])
    assert xr.open_zarr(tmp_path / "stages.zarr", consolidated=False).sizes["stage"] == 3


def test_a_stage_that_rests_on_doubtful_readings_says_so():
    ok = np.ones((len(STEPS), 3), bool)
    ok[np.searchsorted(STEPS, 3000), 0] = False
    first, _, last = developed(Path("run"), ok=(("checkpoint", "component"), ok)).records()
    assert first["ok"]
    assert not last["ok"]
    assert last["reasons"].startswith("1 of ")


def test_where_nothing_can_be_trusted_there_is_no_stage_and_a_reason(tmp_path):
    ok = np.zeros((len(STEPS), 3), bool)
    developed(tmp_path).save()
    assert (tmp_path / "stages.zarr").exists()
    found = developed(tmp_path, ok=(("checkpoint", "component"), ok))
    (only,) = found.records()
    found.save()
    assert not (tmp_path / "stages.zarr").exists()  # those were of other readings
    assert only["stage"] is None
    assert not only["ok"]
    assert "0 usable readings of 30" in only["reasons"]


def study(models, **changes):
    return StudyConfig.model_validate(tiny_study(models, reading="development", **changes))


def test_too_few_checkpoints_are_refused_before_anything_is_sampled(models, tmp_path):
    with pytest.raises(ValueError, match="stages need at least 6 checkpoints, got 'last'"):
        study(models, checkpoints="last")
    with pytest.raises(ValueError, match=r"stages need at least 6 checkpoints, got \(0, 6\)"):
        study(models, checkpoints=(0, 6))
    count = len(list_checkpoints(models))
    with pytest.raises(ValueError, match=f"has {count} checkpoints; stages need at least 6"):
        run_study(study(models), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def keys(out):
    with Store.open(out, mode="read") as store:
        found = store.keys()
    return {key[0] for key in found}


def test_checkpoints_that_come_later_are_read_beside_those_that_were(models, tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    weights = [one.path for one in list_checkpoints(models)]

    def add(*steps):
        for number in steps:
            shutil.copytree(weights[number % len(weights)], series / f"step_{number:06d}")

    add(*range(6))
    out = tmp_path / "run"
    run_study(study(series, final_components=()), out)
    seen = []
    add(6, 7)
    tree = run_study(
        study(series, final_components=()), out,
        on_progress=lambda unit, done, total: seen.append(unit),
    )  # fmt: skip
    assert {unit.split(",")[0] for unit in seen} == {"step 6", "step 7"}
    assert len(keys(out)) == len(tree.children) == 8
    shutil.rmtree(series / "step_000003")
    shutil.copytree(weights[1], series / "step_000003")
    with pytest.raises(ValueError, match="holds draws of another step 3 than the weights"):
        run_study(study(series, final_components=()), out)
