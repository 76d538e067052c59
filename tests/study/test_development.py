"""Stages of a run: from verdicts to a trajectory, records and files; which checkpoints are read."""

import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from study_cases import DATA, SHAPE, many, tiny_study

from creode.data import Samples, load
from creode.development import (
    list_checkpoints,
    load_model,
    next_token_predictors,
    trajectory_pca,
)
from creode.models import save_model
from creode.posterior import LocalPosterior
from creode.response import susceptibility
from creode.sampling import Execution
from creode.sampling.curvature import curvature
from creode.store import Store
from creode.study import Development, StudyConfig, measures, open_draws, outputs, run_study
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder
from creode.training import TrainingConfig, train

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
            "init_loss_se": (dims, np.full(shape, 0.05)),
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
    measured = changes.pop("measured", xr.Dataset())
    verdict = data.assign(changes)
    probe = readings([step(6.0), np.zeros(len(STEPS)), step(1.0)], 0.2, 2, ("full", "l0h0", "l0h1"))
    chi = np.stack([np.zeros(len(STEPS)), step(-0.04)], 1)[:, :, None]
    chi = chi + 0.001 * np.random.default_rng(3).standard_normal(chi.shape)
    three = ("checkpoint", "component", "probe")
    responses = xr.Dataset(
        {"chi": (three, chi), "chi_se": (three, np.full(chi.shape, 0.001)),
         "ok": (three[:2], np.ones(chi.shape[:2], bool))},
        {"component": ["l0h0", "l0h1"], "probe": ["code"], "checkpoint": STEPS},
    )  # fmt: skip
    vars(found).update(
        plane=None, responses=responses, measured=measured, verdict=verdict,
        llc={"data": verdict, "code": probe}, config={},
    )  # fmt: skip
    return found


def test_the_trajectory_is_of_the_whole_model_its_parts_and_probes():
    found = developed(Path("run")).trajectory
    assert found.attrs["component"] == "full"
    assert found["component"].values.tolist() == ["l0h0", "l0h1"]
    assert found["probe_loss"].dims == ("checkpoint", "probe")
    assert found["loss"].values == pytest.approx(5 - step(1.0))
    assert found["probe_loss_se"].values == pytest.approx(0.05)
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
    expected = {"component_llc[l0h1]": 4, "probe_llc[code]": 6, "chi[l0h1,code]": -0.04}
    assert set(moved) == set(expected)
    for name, height in expected.items():
        assert abs(moved[name]["delta"] - height) < 4 * moved[name]["delta_se"] < 2
    elsewhere = {one["reading"] for record in records for one in record["moved"]}
    assert not elsewhere & {"component_llc[l0h0]", "chi[l0h0,code]"}  # they do not move
    assert all(record["ok"] for record in records)
    found.save(records)
    stored = xr.open_zarr(tmp_path / "trajectory.zarr", consolidated=False)
    xr.testing.assert_allclose(stored["llc"].load(), found.trajectory["llc"])
    assert xr.open_zarr(tmp_path / "stages.zarr", consolidated=False).sizes["stage"] == 3


def test_shapes_of_parts_are_kept_and_shown(tmp_path):
    names = ("full", "l0h0", "l0h1", "l1h0")
    found = developed(tmp_path)
    data = readings([step(10.0), step(4.0), step(5.0), step(4.0) * step(-1.0)], 0.1, 1, names)
    vars(found).update(verdict=data, llc={"data": data})
    found.save()
    kept = xr.open_zarr(tmp_path / "shapes.zarr", consolidated=False)
    assert kept["component"].values.tolist() == ["l0h0", "l0h1", "l1h0"]
    xr.testing.assert_allclose(kept["label"].load(), found.shapes["label"])
    developed(tmp_path).save()  # of two parts there are no shapes
    assert not (tmp_path / "shapes.zarr").exists()


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


def test_what_was_measured_is_read_beside_and_told_where_it_moved(tmp_path):
    rng = np.random.default_rng(5)
    measured = xr.Dataset(
        {
            "weight_norm": ("checkpoint", STEPS**0.5),
            "hessian_trace": ("checkpoint", step(-80.0) + rng.standard_normal(len(STEPS))),
            "hessian_trace_se": ("checkpoint", np.ones(len(STEPS))),
            "still": ("checkpoint", 3 + 0.3 * rng.standard_normal(len(STEPS))),
            "still_se": ("checkpoint", np.ones(len(STEPS))),
        },
        {"checkpoint": STEPS},
    )
    found = developed(tmp_path, measured=measured)
    rise = found.records()[1]
    first = rise["moved"][0]
    assert first["reading"] == "hessian_trace"
    assert abs(first["delta"] + 80) < 4 * first["delta_se"] < 10
    assert len(rise["moved"]) == 3
    told = {one["reading"] for record in found.records() for one in record["moved"]}
    assert not told & {"still", "weight_norm", "llc", "loss"}
    found.save()
    stored = xr.open_zarr(tmp_path / "trajectory.zarr", consolidated=False)
    xr.testing.assert_allclose(stored["weight_norm"].load(), measured["weight_norm"])


def test_chi_along_checkpoints_is_the_susceptibility_of_the_draws(models, tmp_path):
    probes = {name: {"source": f"corpus:{name}", "length": 16, "limit": 6} for name in ("logs",)}
    wanted = study(
        many(models, tmp_path / "series"), probes=probes, components=("full", "heads"),
        final_components=("l0 mlp",),
    )  # fmt: skip
    tree = run_study(wanted, tmp_path / "run")
    found = Development(tmp_path / "run").trajectory
    assert found["chi"].dims == ("checkpoint", "component", "probe")
    assert found["component"].values.tolist() == ["l0h0", "l0h1"]
    for number, head in ((0, "l0h0"), (4, "l0h1")):
        exact = susceptibility(tree[f"step_{number:08d}/{head}"], by="dataset")
        cell = found.sel(checkpoint=number, component=head, probe="logs")
        for name in ("chi", "chi_se"):
            assert float(cell[name]) == pytest.approx(exact[name].item(), rel=1e-9)
        assert bool(cell["chi_ok"]) == exact["ok"].item()
    losses = tree["step_00000002/full/probes/logs"]
    by_sample = losses["unit_init_loss"].where(losses["mask"])
    mean = float(by_sample.mean())
    assert found["probe_loss"].sel(checkpoint=2).item() == pytest.approx(mean, rel=1e-6)
    spread = float(by_sample.mean("token").std(ddof=1)) / 6**0.5  # samples are of one length
    assert found["probe_loss_se"].sel(checkpoint=2).item() == pytest.approx(spread, rel=1e-4)


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


def test_measures_are_taken_once_a_checkpoint_and_resume(models, tmp_path, monkeypatch):
    taken = []
    exact = measures.weight_norm

    def watched(posterior):
        taken.append(posterior)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return exact(posterior)

    monkeypatch.setattr(measures, "weight_norm", watched)
    wanted = study(
        many(models, tmp_path / "series"), components=("l0h0",), final_components=(),
        measures=("weight_norm", "hessian"),
    )  # fmt: skip
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_study(wanted, out)
    run_study(wanted, out)
    assert len(taken) == 7  # the third twice
    assert set(open_draws(out).children) == {f"step_{number:08d}" for number in range(6)}
    run_study(wanted, out)
    assert len(taken) == 7
    many(models, tmp_path / "series", 7)
    run_study(wanted, out)
    assert len(taken) == 8
    found = Development(out).trajectory
    weights = load_model(tmp_path / "series/step_000002").state_dict()
    norm = torch.cat([value.flatten() for value in dict(weights).values()]).norm()
    assert float(found["weight_norm"].sel(checkpoint=2)) == pytest.approx(float(norm), rel=1e-5)
    data = wanted.data.load(models / "step_000012")
    model = load_model(tmp_path / "series/step_000002")
    whole = LocalPosterior(model, NextToken(), data, nbeta=1.0, localization=1.0)
    again = curvature(whole, Execution(microbatch=8))
    one = found.sel(checkpoint=2)
    assert float(one["hessian_max"]) == pytest.approx(again.largest, rel=1e-6)
    assert float(one["hessian_trace"]) == pytest.approx(again.trace, rel=1e-6)
    assert float(one["hessian_trace_se"]) == pytest.approx(again.trace_se, rel=1e-6)
    assert "hessian_max_se" not in found
    assert found["weight_norm"].notnull().all()


def test_outputs_are_kept_once_and_their_plane_is_that_of_the_models(models, tmp_path, monkeypatch):
    wanted = study(
        many(models, tmp_path / "series"), components=("l0h0",), final_components=(),
        measures="outputs",
    )  # fmt: skip
    out = tmp_path / "run"
    run_study(wanted, out)
    many(models, tmp_path / "series", 7)
    seen = []
    exact = outputs.outputs
    monkeypatch.setattr(outputs, "outputs", lambda *given: seen.append(1) or exact(*given))
    tree = run_study(wanted, out)
    assert len(seen) == 1  # of the checkpoint that was added
    assert set(tree.children) == {f"step_{number:08d}" for number in range(7)}
    found = Development(out)
    found.save()
    assert not found.measured
    data = wanted.data.load(models / "step_000012")
    tokens = data.columns["input_ids"]
    rows = []
    for number in range(7):
        model = load_model(tmp_path / f"series/step_{number:06d}")
        with torch.no_grad():
            rows.append(model(tokens)[:, :-1].log_softmax(-1).flatten(1).numpy())
    stacked = xr.DataArray(
        np.stack(rows), {"checkpoint": range(7)}, ("checkpoint", "sample", "output")
    )
    ideals = next_token_predictors(tokens[:, :-1].numpy(), tokens.numpy(), vocab_size=257)
    alone = trajectory_pca(stacked, ideals)
    stored = xr.open_zarr(out / "plane.zarr", consolidated=False).load()
    assert stored["predictor"].values.tolist() == ["uniform", "unigram", "bigram"]
    for name in ("score", "explained", "ideal", "off_plane"):
        np.testing.assert_allclose(stored[name], alone[name], atol=1e-3)
    assert found.report().development.plane is found.plane


def test_runs_lie_in_one_plane_and_what_is_added_alone_is_read(models, tmp_path, monkeypatch):
    series, weights = many(models, tmp_path / "series"), [*list_checkpoints(models)]
    twin = tmp_path / "other"
    for step, one in ((0, weights[1]), (2, weights[2])):
        shutil.copytree(one.path, twin / f"step_{step:06d}")
    wanted = study(
        series, components=("l0h0",), final_components=(), measures="outputs",
        runs={"twin": str(twin)},
    )  # fmt: skip
    seen = []
    exact = outputs.outputs

    def watched(*given):
        seen.append(given)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return exact(*given)

    monkeypatch.setattr(outputs, "outputs", watched)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_study(wanted, out)
    run_study(wanted, out)
    assert len(seen) == 2 + 6 + 1  # the second twice
    shutil.copytree(weights[0].path, twin / "step_000009")
    run_study(wanted, out)
    assert len(seen) == 10
    found = Development(out)
    found.save()
    stored = xr.open_zarr(out / "plane.zarr", consolidated=False).load()
    assert stored["run"].values.tolist() == ["series", "twin"]
    assert stored["score"].sel(run="twin").dropna("checkpoint")["checkpoint"].values.tolist() == [
        0, 2, 9,
    ]  # fmt: skip
    tokens = wanted.data.load(models / "step_000012").columns["input_ids"]

    def path(folder, steps):
        rows = []
        for step in steps:
            model = load_model(folder / f"step_{step:06d}")
            with torch.no_grad():
                rows.append(model(tokens)[:, :-1].log_softmax(-1).flatten(1).numpy())
        return xr.DataArray(
            np.stack(rows), {"checkpoint": [*steps]}, ("checkpoint", "sample", "output")
        )

    runs = xr.Variable("run", ["series", "twin"])
    both = xr.concat([path(series, range(6)), path(twin, (0, 2, 9))], runs, join="outer")
    ideals = next_token_predictors(tokens[:, :-1].numpy(), tokens.numpy(), vocab_size=257)
    alone = trajectory_pca(both, ideals)
    for name in ("score", "explained", "ideal", "off_plane"):
        np.testing.assert_allclose(stored[name], alone[name], atol=1e-3)
    shutil.rmtree(twin / "step_000002")
    shutil.copytree(weights[0].path, twin / "step_000002")
    with pytest.raises(ValueError, match="draws of another twin step 2 than the weights"):
        run_study(wanted, out)


def test_runs_of_another_model_or_other_data_are_refused_before_any_work(models, tmp_path):
    series = many(models, tmp_path / "series")

    def refused(match, **runs):
        wanted = study(series, measures="outputs", runs={n: str(f) for n, f in runs.items()})
        with pytest.raises(ValueError, match=match):
            run_study(wanted, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    with pytest.raises(ValueError, match="add 'outputs' to the measures"):
        study(series, runs={"twin": str(series)})
    refused("'series' is too like the name 'series'", series=models)
    refused("twin is .*step_000012, which is no directory of checkpoints",
            twin=models / "step_000012")  # fmt: skip
    save_model(Decoder(replace(SHAPE, d_model=4)), tmp_path / "narrow/step_000000")
    refused(
        r"narrow .* is of another model: .* is \(.*4.*\) there and .*8", narrow=tmp_path / "narrow"
    )
    samples = load("corpus:logs", tokenizer="bytes", length=16, limit=64)
    config = TrainingConfig(steps=1, batch_size=8, learning_rate=1e-2, checkpoints=(0, 1))
    train(Decoder(SHAPE), NextToken(), samples, config, out=tmp_path / "logs")
    shutil.copy(models / "training.json", series)
    refused("logs .* trained on other data than .*: corpus:logs .*there, corpus:brackets .*here",
            logs=tmp_path / "logs")  # fmt: skip


def test_outputs_of_a_large_vocabulary_are_of_a_few_positions(models, monkeypatch):
    model = load_model(models / "step_000012")
    data = load(**DATA, tokenizer="bytes")
    posterior = LocalPosterior(model, NextToken(), data, nbeta=1.0, localization=1.0)
    monkeypatch.setattr(outputs, "MOST_NUMBERS", 32 * 257 * 3 + 5)
    monkeypatch.setattr(outputs, "MOST_TOKENS", 256)
    found = outputs.outputs(posterior, Execution(microbatch=5))["outputs"]
    assert found.shape == (32, 3 * 257)
    monkeypatch.setattr(outputs, "MOST_SAMPLES", 4)
    few = outputs.outputs(posterior, Execution())["outputs"]
    assert few.shape == (4, 15 * 257)
    np.testing.assert_allclose(few[:, :257], found[[0, 10, 21, 31], :257], atol=1e-5)
    with torch.no_grad():
        whole = model(data.columns["input_ids"]).log_softmax(-1)
    np.testing.assert_allclose(found, whole[:, [0, 7, 14]].flatten(1), atol=1e-5)
    assert not outputs.ideals(posterior, Execution())
    padded = {"attention_mask": torch.ones_like(data.columns["input_ids"])} | data.columns
    posterior = LocalPosterior(
        model, NextToken(), Samples(columns=padded), nbeta=1.0, localization=1.0
    )
    with pytest.raises(ValueError, match="these samples are padded; use packing"):
        outputs.outputs(posterior, Execution())


METRIC = """
SCALE = {scale}

def largest(model, step):
    for weight in model.parameters():
        weight.data.mul_(0)  # what it does to the model is undone
    return {{"largest": (SCALE + step, 0.5), "count": 3}}

again = largest

def nothing(model, step):
    return None

def late(model, step):
    return {{"late": 1.0}} if step > 3 else {{"early": (2.0, 0.1, False)}}
"""


def test_a_users_metric_is_read_at_every_checkpoint(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine_own.py").write_text(METRIC.format(scale=2))
    series = many(models, tmp_path / "series")

    def run(*names, out="run"):
        sys.modules.pop("mine_own", None)
        importlib.invalidate_caches()
        metrics = tuple(f"mine_own:{name}" for name in names)
        run_study(study(series, final_components=(), metrics=metrics), tmp_path / out)

    run("largest", "late")
    found = Development(tmp_path / "run").trajectory
    assert found["largest"].values.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert (found["largest_se"] == 0.5).all()
    assert (found["count"] == 3).all()
    assert "count_se" not in found
    run_study(study(series, final_components=()), tmp_path / "plain")
    plain = Development(tmp_path / "plain").trajectory
    xr.testing.assert_equal(found["llc"], plain["llc"])  # draws are of the model as it was
    sys.modules.pop("mine_own", None)
    twice = study(series, final_components=(), metrics=("mine_own:largest", "mine_own:again"))
    with pytest.raises(ValueError, match=r"mine_own:again: largest.* is the name of another"):
        run_study(twice, tmp_path / "twice")
    assert found["late_ok"].values.tolist() == [False] * 4 + [True] * 2
    assert found["early"].notnull().values.tolist() == [True] * 4 + [False] * 2
    assert not found["early_ok"].any()
    with pytest.raises(ValueError, match=r"'mine_own:nothing' returned None; it must return"):
        run("nothing", out="other")
    (tmp_path / "mine_own.py").write_text(METRIC.format(scale=30))
    with pytest.raises(ValueError, match=r"fingerprints.metrics.mine_own:largest"):
        run("largest", "late")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("math", "give module:function"),
        ("no_such_thing:f", "there is no module 'no_such_thing'"),
        ("json:dump_all", r"json has no function 'dump_all'; it has .*dumps"),
    ],
)
def test_a_metric_that_is_not_there_is_refused_before_anything_is_made(
    models, tmp_path, metric, message
):
    series = many(models, tmp_path / "series")
    with pytest.raises(ValueError, match=message):
        run_study(study(series, metrics=metric), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_measures_that_nothing_would_read_are_refused(models):
    with pytest.raises(ValueError, match="measures are read along checkpoints"):
        StudyConfig.model_validate(tiny_study(models, measures="hessian"))
    with pytest.raises(ValueError, match="metrics are read along checkpoints"):
        StudyConfig.model_validate(tiny_study(models, metrics="json:dumps"))
    with pytest.raises(ValueError, match="'weight_norm', 'hessian' or 'outputs'"):
        study(models, measures="norm")


def test_a_run_without_measures_has_none(models, tmp_path):
    wanted = study(many(models, tmp_path / "series"), components="l0h0", final_components=())
    run_study(wanted, tmp_path / "run")
    assert "measures" not in keys(tmp_path / "run")
    assert not Development(tmp_path / "run").measured


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"llc": 1.0}, "llc is the name of another reading"),
        ({"a": (1.0, 0.1), "a_se": 2.0}, "a_se is the name of another reading"),
        (
            {"a": "much"},
            r"source: a: a reading is a number or \(value, standard error, ok\), got 'much'",
        ),
        ({"a": None}, "a reading is a number"),
        ({"a/b": 1.0}, "'a/b' must be of letters, digits and _"),
    ],
)
def test_what_is_no_reading_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        measures.as_dataset("source", given)


def test_checkpoints_that_come_later_are_read_beside_those_that_were(models, tmp_path):
    series = many(models, tmp_path / "series")
    weights = [one.path for one in list_checkpoints(models)]
    out = tmp_path / "run"
    run_study(study(series, final_components=()), out)
    seen = []
    many(models, series, 8)
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
