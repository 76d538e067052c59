"""Weighted losses against data in which samples are repeated, and against a hand."""

import pytest
import torch
from torch import nn

import creode
from creode.data import Samples
from creode.tasks import NextToken, Regression, Weighted, validate, with_weights
from creode.testbeds.decoder import Decoder, DecoderConfig

NOISE = torch.Generator().manual_seed(0)
DATA = Samples(
    columns={
        "inputs": torch.randn(4, 3, generator=NOISE, dtype=torch.float64),
        "targets": torch.randn(4, 1, generator=NOISE, dtype=torch.float64),
    }
)


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 1, bias=False).double()


def test_losses_are_weighed_by_sample_and_by_token():
    model, rho = linear(), torch.tensor([0.0, 0.5, 1.5, 2.0])
    losses = Weighted(task=Regression())(model, with_weights(DATA, rho).columns)
    plain = Regression()(model, DATA.columns)
    torch.testing.assert_close(losses.values, rho.double() * plain.values)
    assert losses.mask.all()
    ids = torch.randint(0, 9, (4, 6), generator=NOISE)
    decoder = Decoder(
        DecoderConfig(vocab_size=9, d_model=4, num_layers=1, num_heads=1, context_length=6), seed=0
    )
    text = Samples(columns={"input_ids": ids})
    plain = NextToken()(decoder, text.columns)
    by_sample = Weighted(task=NextToken())(decoder, with_weights(text, rho).columns)
    torch.testing.assert_close(by_sample.values, rho[:, None] * plain.values)
    each = torch.where(plain.mask, torch.rand(4, 6, generator=NOISE), torch.nan)
    by_token = Weighted(task=NextToken())(decoder, with_weights(text, each).columns)
    torch.testing.assert_close(by_token.values, each.nan_to_num() * plain.values)
    torch.testing.assert_close(by_token.mask, plain.mask)


def test_samples_without_weights_have_plain_losses():
    model = linear()
    ours, plain = (
        Weighted(task=Regression())(model, DATA.columns),
        Regression()(model, DATA.columns),
    )
    assert torch.equal(ours.values, plain.values)


def test_a_posterior_of_weighted_data_is_that_of_repeated_data():
    """Draw by draw: a sample of weight 3 of mean 1 among four is one that is there three times."""
    rho = torch.tensor([0.0, 1.0, 0.0, 3.0])
    repeated = DATA.select(torch.tensor([1, 3, 3, 3]))
    sampler = {
        "sampler": creode.SGLD(step_size=1e-3), "chains": 2, "draws": 20, "burnin": 5,
        "steps_per_draw": 2, "batch_size": 4, "seed": 0,
    }  # fmt: skip
    draws = [
        creode.sample(
            creode.LocalPosterior(linear(), task, data, nbeta=50.0, localization=1.0),
            {"train": DATA}, traces=("train",), **sampler,
        )
        for task, data in (
            (Weighted(task=Regression()), with_weights(DATA, rho)),
            (Regression(), repeated),
        )
    ]  # fmt: skip
    one, two = (draw["probes/train"].to_dataset() for draw in draws)
    torch.testing.assert_close(
        torch.from_numpy(one["unit_loss"].values), torch.from_numpy(two["unit_loss"].values)
    )
    assert float(one["unit_loss"].std("draw").mean()) > 0.01


def test_what_the_task_asks_of_samples_is_still_asked():
    validate(Weighted(task=Regression()), linear(), with_weights(DATA, torch.ones(4)))
    bad = Samples(columns=dict(DATA.columns) | {"targets": DATA.columns["targets"] / 0})
    with pytest.raises(ValueError, match="not finite"):
        validate(Weighted(task=Regression()), linear(), with_weights(bad, torch.ones(4)))
    with pytest.raises(ValueError, match=r"got shape \(3,\) for 4 samples"):
        with_weights(DATA, torch.ones(3))
    with pytest.raises(ValueError, match="finite"):
        with_weights(DATA, torch.full((4,), torch.inf))
