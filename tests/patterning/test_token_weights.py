"""Weights on tokens in their file, and as training takes them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from creode.data import Samples
from creode.patterning import SampleWeights, TokenWeights, load_weights
from creode.tasks import Losses, NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import TrainingConfig, train

MASK = np.array([[True, True, False], [True, False, False], [True, True, True]])
RHO = np.array([0.0, 0.5, 1.5, 1.0, 2.0, 1.0])


def weights(**changes):
    values = np.full((3, 3), np.nan)
    values[MASK] = RHO
    return TokenWeights(**{"values": values, "fingerprint": "data"} | changes)


def test_the_file_has_a_row_a_token_and_comes_back(tmp_path):
    made = weights(ids=("x", "y", "z"), groups=tuple("abbaab"))
    table = pq.read_table(made.save(tmp_path / "weights.parquet"))
    assert table.column_names == ["sample", "token", "id", "group", "weight"]
    assert table.column("sample").to_pylist() == [0, 0, 1, 2, 2, 2]
    assert table.column("token").to_pylist() == [0, 1, 0, 0, 1, 2]
    assert table.column("id").to_pylist() == ["x", "x", "y", "z", "z", "z"]
    assert table.column("weight").to_pylist() == RHO.tolist()
    back = load_weights(tmp_path / "weights.parquet")
    assert isinstance(back, TokenWeights)
    np.testing.assert_array_equal(back.values, made.values)
    assert (back.ids, back.groups, back.fingerprint) == (made.ids, made.groups, "data")
    with pytest.raises(ValueError, match="holds weights on tokens"):
        SampleWeights.load(tmp_path / "weights.parquet")


def test_a_file_says_of_which_kind_it_is(tmp_path):
    of_samples = SampleWeights(values=np.array([0.5, 1.5]), fingerprint="data")
    path = of_samples.save(tmp_path / "new folder" / "weights.parquet")
    assert isinstance(load_weights(path), SampleWeights)
    with pytest.raises(ValueError, match="holds weights on samples"):
        TokenWeights.load(path)


def test_spread_and_permutation_are_of_the_tokens_that_count():
    made = weights()
    assert made.effective_share == pytest.approx(36 / (6 * (RHO**2).sum()))
    other = made.permuted(0)
    np.testing.assert_array_equal(np.isnan(other.values), ~MASK)
    assert sorted(other.flat) == sorted(RHO)
    assert (other.flat != RHO).any()


def test_what_is_no_set_of_weights_is_told():
    with pytest.raises(ValueError, match=r"one a token; got shape \(3,\)"):
        weights(values=np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        weights(values=np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="finite"):
        weights(values=np.full((3, 3), np.inf))
    with pytest.raises(ValueError, match="mean 1"):
        weights(values=np.full((3, 3), 2.0))
    with pytest.raises(ValueError, match="3 ids are needed, got 1"):
        weights(ids=("x",))
    with pytest.raises(ValueError, match="6 groups are needed, got 2"):
        weights(groups=("x", "y"))


def language(num=6, length=9):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 11, (num, length), generator=generator)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.3, -100)
    labels[:, 1] = ids[:, 1]
    config = DecoderConfig(
        vocab_size=11, d_model=8, num_layers=1, num_heads=2, context_length=length
    )
    data = Samples(columns={"input_ids": ids, "labels": labels})
    mask = torch.nn.functional.pad(labels[:, 1:] != -100, (0, 1))
    return Decoder(config, seed=0), data, mask


def test_training_follows_the_weighted_loss():
    """Two steps of SGD by hand, and any scale of the weights."""
    model, data, mask = language()
    rho = torch.rand(mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rho = torch.where(mask, rho, torch.nan)
    config = TrainingConfig(steps=2, batch_size=6, learning_rate=0.5, optimizer="SGD")
    trained = train(model, NextToken(), data, config, weights=3 * rho).model
    scaled = torch.where(mask, rho / rho[mask].mean(), 0.0).float()
    for _ in range(2):
        logits = model(data.columns["input_ids"])[:, :-1].log_softmax(-1)
        losses = -logits.gather(2, data.columns["input_ids"][:, 1:, None])[..., 0]
        loss = (scaled[:, :-1] * losses).sum() / mask.sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p.sub_(0.5 * g)
    for p, q in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_sample_s_weight_is_that_of_all_its_tokens():
    model, data, mask = language()
    rho = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 1.0])
    of_tokens = torch.where(mask, rho[:, None], torch.nan)
    rate = 0.5 * float(of_tokens[mask].mean())  # the mean over tokens is another than over samples
    config = {"steps": 3, "batch_size": 2, "optimizer": "SGD"}
    one = train(model, NextToken(), data, TrainingConfig(learning_rate=0.5, **config), weights=rho)
    two = train(
        model, NextToken(), data, TrainingConfig(learning_rate=rate, **config), weights=of_tokens
    )
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit_the_losses_are_refused(tmp_path):
    model, data, mask = language()
    config = TrainingConfig(steps=1, batch_size=6, learning_rate=0.1)

    def run(weights, task=None):
        train(model, task or NextToken(), data, config, weights=weights)

    fitting = torch.where(mask, 1.0, torch.nan)
    run(fitting)
    with pytest.raises(ValueError, match=r"shape \(6, 8\) a batch and the losses \(6, 9\)"):
        run(fitting[:, :8])
    more, fewer = fitting.clone(), fitting.clone()
    more[:2, -1], fewer[0, 0] = 1.0, torch.nan
    with pytest.raises(ValueError, match="0 tokens of the batch count and have none, 2 have one"):
        run(more)
    with pytest.raises(ValueError, match="1 tokens of the batch count and have none, 0 have one"):
        run(fewer)
    with pytest.raises(ValueError, match=r"shape \(6, 9\) a batch and the losses \(6,\)"):
        run(fitting, lambda m, b: Losses(*(x[:, 0] for x in NextToken()(m, b))))
    with pytest.raises(ValueError, match=r"is -1.0 at sample 0, token 0"):
        run(torch.where(mask, -1.0, torch.nan))
    with pytest.raises(ValueError, match="at least one token must count"):
        run(torch.where(mask, 0.0, torch.nan))
    with pytest.raises(ValueError, match=r"one a token, \(6, tokens\)"):
        run(torch.ones(5, 9))
