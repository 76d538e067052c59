"""Influence along checkpoints: read from the same draws, resumed, told with flips and peaks."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from study_cases import DATA, many, tiny_study

from creode.data import load
from creode.response import influence
from creode.sampling import engine
from creode.study import Development, StudyConfig, run_study, traced
from creode.study.attribution import attribution_study
from creode.study.influence_along import influence_changes

QUERY = {"source": "corpus:logs", "length": 16, "limit": 4}
PROBES = {"code": {"source": "corpus:code", "length": 16, "limit": 5}}


def study(models, **changes):
    fields = {"reading": "development", "final_components": ()} | changes
    return StudyConfig.model_validate(tiny_study(models, **fields))


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("influence")
    series = many(models, folder / "series")
    wanted = study(series, influence={"query": QUERY}, probes=PROBES, components=("l0h0", "full"))
    tree = run_study(wanted, folder / "run")
    return series, folder / "run", tree


@pytest.fixture(scope="module")
def read(done):
    """The readings of that run; tests change copies of them."""
    return Development(done[1])


def test_the_trajectory_holds_the_influence_of_a_run_at_that_checkpoint_alone(done, read, tmp_path):
    series, _, _ = done
    found = read.trajectory
    alone = run_study(
        attribution_study(tiny_study(series, checkpoints=(4,), final_components=()), query=QUERY),
        tmp_path / "alone",
    )["step_00000004/full"]
    exact = influence(alone, query="query", train="train").block()
    one = found.sel(checkpoint=4)
    np.testing.assert_array_equal(one["influence"], exact["bif"])
    np.testing.assert_array_equal(one["influence_se"], exact["bif_se"])
    assert bool(one["influence_ok"]) == bool(exact["ok"])
    assert found["influence"].attrs["dof"] == exact.attrs["blocks"] - 1
    probes = [alone[f"probes/{name}"] for name in ("query", "train")]
    traces = [probe["unit_loss"].where(probe["mask"]).mean("token") for probe in probes]
    left, right = (trace - trace.mean("draw") for trace in traces)
    by_hand = -np.einsum("cdq,cdt->qt", left, right) / (2 * (8 - 1))
    np.testing.assert_allclose(one["influence"], by_hand, rtol=1e-4, atol=1e-9)


def test_only_the_whole_model_records_them_and_they_are_no_readings_of_their_own(
    done, read, tmp_path
):
    series, _, tree = done
    for step in ("step_00000000", "step_00000005"):
        probes = {name: set(tree[f"{step}/{name}/probes"].children) for name in ("full", "l0h0")}
        assert probes["full"] >= {"code", "query", "train"}
        assert not probes["l0h0"] & {"query", "train"}
    assert read.probes == ["code"]
    assert read.trajectory["probe"].values.tolist() == ["code"]
    plain = study(series, probes=PROBES, components=("l0h0", "full"))
    run_study(plain, tmp_path / "plain")
    without = Development(tmp_path / "plain")
    names = [*without.trajectory.data_vars]
    xr.testing.assert_identical(without.trajectory, read.trajectory[names].drop_dims(
        ("query", "train"), errors="ignore"))  # fmt: skip
    assert without.influence_changes is None


def test_an_interrupted_run_goes_on_and_added_checkpoints_alone_are_read(
    models, tmp_path, monkeypatch
):
    series = many(models, tmp_path / "series")
    wanted = study(series, influence={"query": QUERY, "train": DATA | {"limit": 6}})
    ran = []
    exact = engine.Engine.run

    def watched(self, **given):
        ran.append(self)
        if len(ran) == 6:  # the second block of chains of the third checkpoint
            raise KeyboardInterrupt
        return exact(self, **given)

    monkeypatch.setattr(engine.Engine, "run", watched)
    with pytest.raises(KeyboardInterrupt):
        run_study(wanted, tmp_path / "run")
    run_study(wanted, tmp_path / "run")
    assert len(ran) == 13  # that block twice
    run_study(wanted, tmp_path / "whole")
    one, other = (Development(tmp_path / name).influences for name in ("run", "whole"))
    xr.testing.assert_identical(one["influence"], other["influence"])
    assert one["influence"].shape == (6, 4, 6)
    before = len(ran)
    many(models, series, 7)
    run_study(wanted, tmp_path / "run")
    assert len(ran) == before + 2  # both chains of the seventh
    longer = Development(tmp_path / "run").influences["influence"]
    assert longer["checkpoint"].values.tolist() == [*range(7)]
    xr.testing.assert_identical(longer[:6], one["influence"])


STEPS = np.unique(np.geomspace(10, 1e4, 20).round().astype(int))
AXIS = np.log(STEPS / STEPS[0]) / np.log(STEPS[-1] / STEPS[0])


def made_up(doubtful=()):
    """Influences (checkpoint, 2, 3): [0, 1] flips at ½, [1, 2] peaks at 0.3, others rest."""
    value = np.full((len(STEPS), 2, 3), 3e-3)
    value[:, 0, 1] = np.where(AXIS < 0.5, 1e-2, -1e-2)
    value[:, 1, 2] = -3e-3 - 3e-2 * np.exp(-(((AXIS - 0.3) / 0.1) ** 2))
    value += 1e-3 * np.random.default_rng(0).standard_normal(value.shape)
    dims = ("checkpoint", "query", "train")
    return xr.Dataset(
        {
            "influence": (dims, value, {"dof": 31, "kind": "covariance"}),
            "influence_se": (dims, np.full(value.shape, 1e-3)),
            "influence_ok": ("checkpoint", ~np.isin(STEPS, doubtful)),
        },
        {"checkpoint": STEPS, "query": [0, 1], "train": [0, 3, 7]},
    )


def boundary(place):
    """Stages of one boundary at a place of the axis, known to a fiftieth."""
    at = [STEPS[0] * (STEPS[-1] / STEPS[0]) ** (place + by) for by in (-0.02, 0.02)]
    return xr.Dataset({"boundary_low": ("boundary", at[:1]), "boundary_high": ("boundary", at[1:])})


def test_flips_and_peaks_are_compared_with_boundaries():
    at_the_flip = influence_changes(made_up(), boundary(0.5), 0.05)
    assert np.argwhere(at_the_flip["flip"].values).tolist() == [[0, 1]]
    assert np.argwhere(at_the_flip["peak"].values).tolist() == [[1, 2]]
    assert bool(at_the_flip["flip_meets"][0, 1])
    assert not at_the_flip["peak_meets"].any()
    assert 0 < at_the_flip.attrs["flips_by_chance"] < 0.3
    at_the_peak = influence_changes(made_up(), boundary(0.3), 0.05)
    assert bool(at_the_peak["peak_meets"][1, 2])
    assert not at_the_peak["flip_meets"].any()
    alone = influence_changes(made_up(), None, 0.05)
    assert "flip_meets" not in alone


def test_checkpoints_in_doubt_are_no_evidence():
    late = STEPS[AXIS >= 0.5]
    found = influence_changes(made_up(doubtful=late), None, 0.05)
    assert not found["flip"].any()
    assert bool(found["peak"][1, 2])


def test_what_changes_is_saved_with_the_samples_texts(done, read):
    _, out, _ = done
    found = copy.copy(read)
    steps = found.trajectory["checkpoint"].values
    value = found.influences["influence"].copy()
    value[:] = 1.0
    value[3:, 2, 5] = -1.0
    vars(found)["influences"] = found.influences.assign(
        influence=value, influence_se=xr.full_like(value, 0.05),
        influence_ok=("checkpoint", np.ones(6, bool)),
    )  # fmt: skip
    del vars(found)["trajectory"]
    found.save()
    (record,) = json.loads((out / "influence.json").read_text())
    assert (record["query"], record["train"], record["flip"], record["peak"]) == (2, 5, True, False)
    assert (record["flip_after"], record["flip_before"]) == (steps[2], steps[3])
    tokens = load(**QUERY, tokenizer="bytes").columns["input_ids"][2]
    assert record["query_text"] == bytes(t for t in tokens.tolist() if t < 256).decode()
    assert record["train_text"]
    stored = xr.open_zarr(out / "influence.zarr", consolidated=False)
    assert stored["flip"].sum() == 1
    along = xr.open_zarr(out / "trajectory.zarr", consolidated=False)
    assert along["influence"].dims == ("checkpoint", "query", "train")
    assert "influence[" not in json.dumps(found.events())  # pairs ring no alarm


def test_what_cannot_be_read_is_refused_before_anything_is_made(models, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="influence is read along checkpoints"):
        StudyConfig.model_validate(tiny_study(models, influence={"query": QUERY}))
    with pytest.raises(ValueError, match="a probe cannot be named 'query' beside influence"):
        study(models, influence={"query": QUERY}, probes={"query": QUERY})
    monkeypatch.setattr(traced, "MOST_PAIRS", 100)
    series = many(models, tmp_path / "series")
    wanted = study(series, influence={"query": QUERY})
    with pytest.raises(ValueError, match=r"32 training samples on 4 queries is 128 pairs"):
        run_study(wanted, tmp_path / "run")
    assert not Path(tmp_path / "run").exists()
