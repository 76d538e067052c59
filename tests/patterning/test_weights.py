"""Weights in their file, and as training takes them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from creode.data import Samples
from creode.patterning import SampleWeights

DATA = Samples(columns={"inputs": torch.arange(12.0).reshape(6, 2)}, source="six")
RHO = np.array([0.0, 0.5, 0.5, 1.0, 1.5, 2.5])


def weights(**changes):
    given = {"values": RHO, "fingerprint": DATA.fingerprint()} | changes
    return SampleWeights(**given)


def test_the_file_has_a_row_a_sample_and_comes_back(tmp_path):
    made = weights(ids=tuple("abcdef"), groups=("x", "x", "y", "y", "y", "x"))
    path = made.save(tmp_path / "weights.parquet")
    table = pq.read_table(path)
    assert table.column_names == ["sample", "id", "group", "weight"]
    assert table.column("weight").to_pylist() == RHO.tolist()
    back = SampleWeights.load(path)
    assert back.ids == made.ids
    assert back.groups == made.groups
    assert back.fingerprint == made.fingerprint
    np.testing.assert_array_equal(back.values, RHO)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.parquet"]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no table")
    with pytest.raises(ValueError, match="no Parquet file"):
        SampleWeights.load(tmp_path / "text")
    pq.write_table(pa.table({"weight": [1.0, 1.0]}), tmp_path / "bare.parquet")
    with pytest.raises(ValueError, match="not written by creode"):
        SampleWeights.load(tmp_path / "bare.parquet")


def test_weights_of_other_data_are_refused():
    weights().check_data(DATA)
    with pytest.raises(ValueError, match="6 samples; three has 3"):
        weights().check_data(Samples(columns={"inputs": torch.zeros(3, 2)}, source="three"))
    turned = Samples(columns={"inputs": DATA.columns["inputs"].flip(0)}, source="turned")
    with pytest.raises(ValueError, match="other samples than those of turned"):
        weights().check_data(turned)


def test_spread():
    assert weights().effective_share == pytest.approx(36 / (6 * (RHO**2).sum()))
    rho = RHO[1:]
    assert weights().divergence == pytest.approx((rho * np.log(rho)).sum() / 6)
    even = weights(values=np.ones(6))
    assert even.effective_share == 1
    assert even.divergence == 0


def test_the_sampler_draws_in_proportion():
    drawn = np.bincount(list(weights().sampler(60_000, seed=1)), minlength=6) / 10_000
    np.testing.assert_allclose(drawn, RHO, atol=5 * np.sqrt(RHO.max() / 10_000))
    assert drawn[0] == 0
    assert list(weights().sampler(5, seed=3)) == list(weights().sampler(5, seed=3))
    assert len(list(weights().sampler())) == 6


def test_shares_of_groups():
    made = weights(groups=("x", "x", "y", "y", "y", "x"))
    assert made.probabilities() == pytest.approx({"x": 0.5, "y": 0.5})
    assert list(made.probabilities(["y", "x"])) == ["y", "x"]
    with pytest.raises(ValueError, match="the groups are"):
        made.probabilities(["x", "z"])
    with pytest.raises(ValueError, match="by sample"):
        weights().probabilities()


def test_negative_weights_are_no_probabilities():
    made = weights(values=RHO - np.array([1, 0, 0, 0, 0, -1.0]), groups=tuple("xxyyyx"))
    for use in (made.sampler, made.probabilities):
        with pytest.raises(ValueError, match="1 of 6 weights are negative"):
            use()
    assert np.isnan(made.divergence)


def test_a_permutation_keeps_weights_and_moves_them():
    made = weights().permuted(0)
    assert sorted(made.values) == sorted(RHO)
    assert (made.values != RHO).any()
    assert (weights().permuted(1).values != made.values).any()
    np.testing.assert_array_equal(weights().permuted(0).values, made.values)


def test_what_is_no_set_of_weights_is_told():
    with pytest.raises(ValueError, match="mean 1"):
        weights(values=RHO * 2)
    with pytest.raises(ValueError, match="finite"):
        weights(values=np.full(6, np.nan))
    with pytest.raises(ValueError, match="as many ids"):
        weights(ids=("a",))
    with pytest.raises(ValueError, match="differ from each other"):
        weights(ids=("a",) * 6)


def test_the_trainer_takes_them():
    from creode.tasks import Regression
    from creode.training import TrainingConfig, train

    data = Samples(columns={"inputs": torch.eye(6), "targets": torch.ones(6, 1)}, source="unit")
    config = TrainingConfig(steps=1, batch_size=6, learning_rate=1.0, optimizer="SGD")
    model = torch.nn.Linear(6, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    made = SampleWeights(values=RHO, fingerprint=data.fingerprint())
    trained = train(model, Regression(), data, config, weights=made.tensor()).model
    moved = trained.weight.detach().flatten().double()
    torch.testing.assert_close(moved / moved.mean(), made.tensor(), rtol=1e-5, atol=1e-6)
