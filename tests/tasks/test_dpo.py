"""DPO against one answer at a time by hand; its reference, its cache, what it refuses."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from preference_cases import answer_alone, pairs
from torch.func import functional_call, vmap

import creode
from chats import llama, tokenizer
from creode.tasks import DPO, validate, with_reference
from creode.testbeds import Decoder, DecoderConfig


def models(kind):
    size = len(tokenizer())
    if kind == "llama":
        return llama(size), llama(size, seed=1)
    config = DecoderConfig(
        vocab_size=size, d_model=16, num_layers=2, num_heads=2, context_length=64, init_std=0.3
    )
    return Decoder(config, seed=0), Decoder(config, seed=1)


def by_hand(model, reference, samples, row, beta, smooth=0.0):
    margins = []
    for side in ("chosen", "rejected"):
        with torch.no_grad():
            of_reference = answer_alone(reference, samples, row, side)
        margins.append(answer_alone(model, samples, row, side) - of_reference)
    logit = beta * (margins[0] - margins[1])
    return (1 - smooth) * torch.log1p(torch.exp(-logit)) + smooth * torch.log1p(torch.exp(logit))


@pytest.mark.parametrize("kind", ["llama", "decoder"])
@pytest.mark.parametrize("length", [1024, 33])
@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.filterwarnings("ignore::creode.data.ExcludedWarning")
def test_losses_and_gradients_are_those_by_hand(kind, length, smooth):
    model, reference = models(kind)
    samples = with_reference(pairs(length=length), reference, batch_size=2)
    losses = DPO(beta=0.3, label_smoothing=smooth)(model, samples.columns)
    wanted = torch.stack([
        by_hand(model, reference, samples, row, 0.3, smooth) for row in range(len(samples))
    ])  # fmt: skip
    assert losses.mask.all()
    assert wanted.std() > 0.01
    torch.testing.assert_close(losses.values, wanted, atol=1e-5, rtol=1e-5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    ours = torch.autograd.grad(losses.values.mean(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(wanted.mean(), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_at_the_reference_every_loss_is_log_two():
    model, _ = models("llama")
    samples = with_reference(pairs(), model)
    values = DPO()(model, samples.columns).values
    torch.testing.assert_close(values, torch.full_like(values, math.log(2)))
    validate(DPO(), model, samples)


def test_draws_that_know_nothing_are_not_to_be_trusted():
    model, reference = models("decoder")
    samples = with_reference(pairs(), reference)
    task = DPO(beta=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        task(model, samples.columns).values.mean().backward()
        optimizer.step()
    posterior = creode.LocalPosterior(model, task, samples, nbeta=1.0, localization=10.0)
    draws = creode.sample(
        posterior, sampler=creode.SGLD(step_size=1e-2), chains=2, draws=50, burnin=20,
        batch_size=len(samples), execution=creode.Execution(mode="sequential"),
    )  # fmt: skip
    assert draws.attrs["ignorance"] == math.log(2)
    reading = creode.llc(draws)
    assert float(reading.init_loss) < math.log(2) < float(reading.mean_loss)
    assert "and a model that knows nothing has 0.693" in reading.reasons.item()


def test_many_models_side_by_side():
    model, reference = models("decoder")
    samples = with_reference(pairs(), reference)
    stack = {name: torch.stack([p, 1.1 * p]) for name, p in model.named_parameters()}

    class Called(torch.nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.weights = weights

        def forward(self, input_ids):
            return functional_call(model, self.weights, (input_ids,))

    together = vmap(lambda weights: DPO()(Called(weights), samples.columns).values)(stack)
    for i in range(2):
        alone = DPO()(Called({n: p[i] for n, p in stack.items()}), samples.columns).values
        torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)


def test_the_reference_is_computed_once_and_kept(tmp_path):
    model, reference = models("llama")
    cache = tmp_path / "kept" / "reference.safetensors"
    first = with_reference(pairs(), reference, cache=cache)
    written = cache.stat().st_mtime_ns
    again = with_reference(pairs(), reference, cache=cache)
    assert cache.stat().st_mtime_ns == written
    for name in ("ref_chosen_logps", "ref_rejected_logps"):
        assert torch.equal(first.columns[name], again.columns[name])
        assert first.columns[name].shape == (3,)
    with pytest.raises(ValueError, match="log-probabilities of other reference; give another"):
        with_reference(pairs(), model, cache=cache)
    with pytest.raises(ValueError, match="log-probabilities of other pairs; give another"):
        with_reference(pairs(limit=2), reference, cache=cache)
    cache.write_bytes(cache.read_bytes()[:50])
    with pytest.raises(ValueError, match="is damaged"):
        with_reference(pairs(), reference, cache=cache)


def test_the_reference_is_read_without_dropout_and_left_as_it_came():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=1, n_head=2, n_embd=16, vocab_size=len(tokenizer()), n_positions=64
    )
    reference = transformers.GPT2LMHeadModel(config).train()
    before = copy.deepcopy(reference.state_dict())
    one, two = (with_reference(pairs(), reference) for _ in range(2))
    assert torch.equal(one.columns["ref_chosen_logps"], two.columns["ref_chosen_logps"])
    calm = copy.deepcopy(reference).eval()
    wanted = torch.stack([answer_alone(calm, one, row, "chosen") for row in range(len(one))])
    torch.testing.assert_close(one.columns["ref_chosen_logps"], wanted.detach())
    assert all(module.training for module in reference.modules())
    assert all(torch.equal(before[name], value) for name, value in reference.state_dict().items())


def test_what_is_refused():
    model, _ = models("llama")
    with pytest.raises(ValueError, match="DPO compares with a reference model"):
        validate(DPO(), model, pairs())
    samples = with_reference(pairs(), model)
    bare = {name: c for name, c in samples.columns.items() if name != "rejected_labels"}
    with pytest.raises(ValueError, match="DPO needs the columns rejected_labels"):
        validate(DPO(), model, replace(samples, columns=bare))
    short = dict(samples.columns)
    short["chosen_labels"] = short["chosen_labels"][:, :-1]
    with pytest.raises(ValueError, match="pad both answers to one length"):
        validate(DPO(), model, replace(samples, columns=short))
    for wrong in (0.0, math.nan):
        with pytest.raises(ValueError, match="beta must be finite and > 0"):
            DPO(beta=wrong)
    with pytest.raises(ValueError, match="label_smoothing must be in"):
        DPO(label_smoothing=0.5)
