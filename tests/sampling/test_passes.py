"""Passes over probes: their size, and that it changes rounding alone."""

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import creode
from creode.data import Samples
from creode.sampling import SGLD, passes
from creode.sampling.block import unit_losses
from creode.sampling.passes import PASS_BYTES, pass_size
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig

SHAPE = DecoderConfig(vocab_size=31, d_model=16, num_layers=2, num_heads=2, context_length=12)
LOGITS = 12 * 31 * 4  # bytes of a sample's


def tokens(number=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Samples(columns={"input_ids": torch.randint(0, 31, (number, 12), generator=generator)})


def test_logits_fill_a_pass(monkeypatch):
    model = Decoder(SHAPE, seed=1)
    assert pass_size(model, NextToken(), tokens(), 4) == PASS_BYTES // (12 * 64 * 4)  # of the MLP
    flat = Decoder(DecoderConfig(**vars(SHAPE) | {"mlp_ratio": 0.0}), seed=1)
    assert pass_size(flat, NextToken(), tokens(), 4) == PASS_BYTES // LOGITS
    monkeypatch.setattr(passes, "PASS_BYTES", 3 * LOGITS + 1)
    assert pass_size(flat, NextToken(), tokens(), 4) == 3
    assert pass_size(flat, NextToken(), tokens(), 4, microbatch=2) == 2
    monkeypatch.setattr(passes, "PASS_BYTES", 1)
    assert pass_size(flat, NextToken(), tokens(), 4) == 1


def test_what_a_pass_makes_of_the_weights_does_not_count():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1000, 2))

        def forward(self, inputs):
            return inputs @ (2 * self.weight).mean(0)

    def task(model, batch):
        return model(batch["inputs"]).square()

    data = Samples(columns={"inputs": torch.ones(5, 2)})
    assert pass_size(Wide(), task, data, 4) == PASS_BYTES // 4  # a loss of one sample


def test_one_sample_says_nothing_of_growth():
    assert pass_size(Decoder(SHAPE, seed=1), NextToken(), tokens(1), 4) == 4


@pytest.mark.parametrize("component", ["full", "l1h0"])
def test_losses_do_not_depend_on_the_size_of_a_pass(component, monkeypatch):
    def run():
        target = creode.LocalPosterior(
            Decoder(SHAPE, seed=1).double(), NextToken(), tokens(16, 1), nbeta=20.0,
            localization=50.0, component=component,
        )  # fmt: skip
        return creode.sample(
            target, {"p": tokens()}, sampler=SGLD(step_size=1e-4), chains=2, draws=4, burnin=2,
            steps_per_draw=2, batch_size=4, traces=("p",),
            execution=creode.Execution(mode="sequential"),
        )  # fmt: skip

    whole = run()
    monkeypatch.setattr(passes, "PASS_BYTES", 3 * 12 * 64 * 8)
    parts = run()
    assert whole["distance_sq"].equals(parts["distance_sq"])  # not a bit of the chain
    for name in ("unit_loss", "cov", "unit_mean"):
        torch.testing.assert_close(
            torch.tensor(whole[f"probes/p/{name}"].values),
            torch.tensor(parts[f"probes/p/{name}"].values),
            rtol=1e-6, atol=1e-9,
        )  # fmt: skip
    assert float(abs(whole["probes/p/unit_loss"] - whole["probes/p/unit_init_loss"]).max()) > 1e-4


class Watched:
    """A task that counts which of its earlier passes' losses are still in memory."""

    def __init__(self):
        self.made, self.most = [], 0

    def __call__(self, model, batch):
        self.made = [made for made in self.made if not made.expired()]
        self.most = max(self.most, len(self.made))
        losses = NextToken()(model, batch)
        self.made.append(StorageWeakRef(losses.values.untyped_storage()))
        return losses


@pytest.mark.parametrize("microbatch", [None, 1])
def test_passes_leave_nothing_behind(microbatch, monkeypatch):
    monkeypatch.setattr(passes, "PASS_BYTES", 1)  # a sample a pass
    task = Watched()
    target = creode.LocalPosterior(
        Decoder(SHAPE, seed=1), task, tokens(16, 1), nbeta=20.0, localization=50.0
    )
    creode.sample(
        target, {"p": tokens(16)}, sampler=SGLD(step_size=1e-4), chains=1, draws=2, burnin=0,
        steps_per_draw=1, batch_size=8,
        execution=creode.Execution(mode="sequential", microbatch=microbatch),
    )  # fmt: skip
    assert task.most <= 2  # the last pass's, while the next runs


def test_losses_of_passes_are_in_the_samples_order():
    model, data = Decoder(SHAPE, seed=1), tokens(7)
    whole = unit_losses(model, NextToken(), data, 7)
    parts = unit_losses(model, NextToken(), data, 3)
    torch.testing.assert_close(parts.values, whole.values)
    assert torch.equal(parts.mask, whole.mask)
    assert whole.values.shape == (7, 12)
    assert not whole.mask[:, -1].any()
