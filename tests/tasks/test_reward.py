"""Reward models against one sequence at a time by hand, heads on backbones, what is refused."""

from dataclasses import replace

import pytest
import torch
from preference_cases import pairs
from torch import nn

import creode
from chats import llama, tokenizer
from creode.tasks import RewardModel, validate
from creode.testbeds import Decoder, DecoderConfig


def classifier(labels=1, pad=None, seed=0):
    transformers = pytest.importorskip("transformers")
    tok = tokenizer()
    return llama(
        len(tok), head=transformers.LlamaForSequenceClassification, seed=seed, num_labels=labels,
        pad_token_id=tok.pad_token_id if pad is None else pad,
    )  # fmt: skip


def decoder():
    return Decoder(
        DecoderConfig(
            vocab_size=len(tokenizer()), d_model=16, num_layers=2, num_heads=2, context_length=64,
            init_std=0.3,
        )
    )  # fmt: skip


def headed(kind):
    return creode.ScalarHead.of(llama(len(tokenizer())) if kind == "llama" else decoder(), seed=3)


def alone(model, samples, row, side):
    """The reward of one sequence without padding."""
    ids, mask = (samples.columns[f"{side}_{name}"][row] for name in ("input_ids", "attention_mask"))
    out = model(ids[mask.bool()][None])
    return getattr(out, "logits", out).flatten()[0]


def by_hand(model, samples, row, center):
    chosen, rejected = (alone(model, samples, row, side) for side in ("chosen", "rejected"))
    margin = samples.columns["margin"][row] if "margin" in samples.columns else 0.0
    loss = torch.log1p(torch.exp(rejected - chosen + margin))
    return loss + center * (chosen + rejected) ** 2


@pytest.mark.parametrize("make", [classifier, lambda: headed("llama"), lambda: headed("decoder")])
@pytest.mark.parametrize("center", [0.0, 0.2])
@pytest.mark.parametrize("margin", [False, True])
def test_losses_and_gradients_are_those_by_hand(make, center, margin):
    model, samples = make(), pairs()
    if margin:
        given = torch.tensor([0.3, -0.2, 1.0])
        samples = replace(samples, columns={**samples.columns, "margin": given})
    losses = RewardModel(center=center)(model, samples.columns)
    wanted = torch.stack([by_hand(model, samples, row, center) for row in range(len(samples))])
    assert losses.mask.all()
    assert wanted.std() > 0.01
    torch.testing.assert_close(losses.values, wanted, atol=1e-5, rtol=1e-5)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(losses.values.mean(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(wanted.mean(), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    validate(RewardModel(center=center), model, samples)


def test_a_head_leaves_its_model_and_the_random_state_alone():
    torch.manual_seed(0)
    model = decoder()
    before, state = model.unembed.weight.clone(), torch.random.get_rng_state()
    one, two = (creode.ScalarHead.of(model, seed=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(model.unembed.weight, before)
    assert torch.equal(one.score.weight, two.score.weight)
    assert not torch.equal(one.score.weight, creode.ScalarHead.of(model, seed=4).score.weight)
    assert one.backbone.embed.weight is not model.embed.weight


def test_a_head_reads_the_last_token_on_either_side_of_padding():
    model = headed("decoder")
    ids = torch.tensor([[5, 6, 7]])
    left = model(torch.tensor([[0, 5, 6, 7]]), attention_mask=torch.tensor([[0, 1, 1, 1]]))
    right = model(torch.tensor([[5, 6, 7, 0]]), attention_mask=torch.tensor([[1, 1, 1, 0]]))
    torch.testing.assert_close(left, model(ids))
    torch.testing.assert_close(right, model(ids))
    assert not torch.allclose(model(torch.tensor([[5, 6, 7, 0]])), model(ids))


def test_what_is_refused():
    samples = pairs()
    with pytest.raises(ValueError, match="RewardModel needs the columns"):
        validate(RewardModel(), decoder(), creode.data.as_samples(torch.ones(2, 3).long()))
    with pytest.raises(ValueError, match=r"gives one number a sequence, \(batch, 1\)"):
        validate(RewardModel(), decoder(), samples)
    with pytest.raises(ValueError, match=r"gives one number a sequence, \(batch, 1\)"):
        validate(RewardModel(), classifier(labels=2), samples)
    other = classifier(pad=0)
    with pytest.raises(ValueError, match="it would read rewards at padding; set"):
        validate(RewardModel(), other, samples)
    other.config.pad_token_id = None
    with pytest.raises(ValueError, match="has no padding token, by which it finds the end"):
        validate(RewardModel(), other, samples)
    with pytest.raises(TypeError, match="neither a model of transformers nor a creode Decoder"):
        creode.ScalarHead.of(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="center must be finite and ≥ 0"):
        RewardModel(center=-1.0)
