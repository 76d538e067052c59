"""The frozen prefix: probes' losses without the layers below are the losses with them."""

import pytest
import torch
from torch import nn

import creode
from creode.data import Samples
from creode.sampling import SGLD, unit
from creode.sampling.prefix import frozen_prefix
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig

SHAPE = DecoderConfig(vocab_size=31, d_model=16, num_layers=3, num_heads=2, context_length=12)


def tokens(number=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Samples(columns={"input_ids": torch.randint(0, 31, (number, 12), generator=generator)})


def run(model, component, mode, **execution):
    target = creode.LocalPosterior(
        model, NextToken(), tokens(16, 1), nbeta=20.0, localization=50.0, component=component
    )
    return creode.sample(
        target, {"p": tokens()}, sampler=SGLD(step_size=1e-4), chains=2, draws=4, burnin=2,
        steps_per_draw=2, batch_size=4, traces=("p",),
        execution=creode.Execution(mode=mode, **execution),
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
@pytest.mark.parametrize(
    ("component", "depth"), [("l2h1", 2), ("l1 mlp", 1), ("l0h0", 0), ("full", 0), ("embed", 0)]
)
def test_losses_are_those_of_the_plain_path(mode, component, depth, monkeypatch):
    model = Decoder(SHAPE, seed=1)
    short = run(model, component, mode)
    assert short.attrs["layers_skipped"] == depth
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    monkeypatch.setattr(unit, "frozen_prefix", lambda *args: None)
    plain = run(model, component, mode)
    torch.testing.assert_close(
        torch.tensor(short["probes/p/unit_loss"].values),
        torch.tensor(plain["probes/p/unit_loss"].values),
        rtol=1e-6, atol=1e-6,
    )  # fmt: skip
    assert short["distance_sq"].equals(plain["distance_sq"])  # not a bit of the chain
    moved = plain["probes/p/unit_loss"] - plain["probes/p/unit_init_loss"]
    assert float(abs(moved).max()) > 1e-4


def test_the_layers_below_do_not_run():
    model = Decoder(SHAPE, seed=1)
    calls = []
    model.blocks[0].attn.register_forward_hook(lambda *args: calls.append(1))
    run(model, "l0h0", "sequential")
    plain, calls[:] = len(calls), []
    run(model, "l2h1", "sequential")
    # At each of 4 draws of 2 chains the pass over the probe is spared, and that over the probe
    # that stands for the data; the preparation runs each once, and checks each once. Ten steps of
    # 2 chains spare theirs; the preparation runs all rows once and checks them twice.
    assert len(calls) == plain - 4 * 2 * 2 + 2 + 2 - 10 * 2 + 1 + 2


def test_a_model_that_reads_a_layer_below_again_is_not_cut():
    class Leaky(Decoder):
        """Adds what the first block gives to the end, past all others."""

        def forward(self, input_ids, attention_mask=None):
            x = self.embed(input_ids)
            for block in self.blocks:
                x = block(x, None)
            return self.unembed(x + self.blocks[0](self.embed(input_ids), None))

    model = Leaky(SHAPE, seed=1)
    selection = creode.components.resolve(model, "l2h1")
    assert frozen_prefix(model, NextToken(), selection, {"p": tokens()}, 4) is None
    assert run(model, "l2h1", "sequential").attrs["layers_skipped"] == 0


def test_tied_embeddings_are_below_everything():
    from dataclasses import replace

    model = Decoder(replace(SHAPE, tied_embeddings=True), seed=1)
    selection = creode.components.resolve(model, "embed")
    assert frozen_prefix(model, NextToken(), selection, {"p": tokens()}, 4) is None


def test_a_forward_pass_in_bfloat16_is_cut_too():
    tree = run(Decoder(SHAPE, seed=1), "l2h1", "sequential", forward_dtype="bfloat16")
    assert tree.attrs["layers_skipped"] == 2


def test_inputs_over_the_bound_are_not_kept(monkeypatch):
    from creode.sampling import prefix

    model = Decoder(SHAPE, seed=1)
    selection = creode.components.resolve(model, "l2h1")
    assert frozen_prefix(model, NextToken(), selection, {"p": tokens()}, 4).depth == 2
    monkeypatch.setattr(prefix, "MOST_BYTES", 7 * 12 * 16 * 4 - 1)
    assert frozen_prefix(model, NextToken(), selection, {"p": tokens()}, 4) is None


def test_the_weights_are_back_after_the_check():
    model = Decoder(SHAPE, seed=1)
    before = [parameter.clone() for parameter in model.parameters()]
    selection = creode.components.resolve(model, "l2h1")
    frozen_prefix(model, NextToken(), selection, {"p": tokens()}, 4)
    assert all(map(torch.equal, before, model.parameters()))
    assert isinstance(model, nn.Module)
