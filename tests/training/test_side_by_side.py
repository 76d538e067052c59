"""Runs side by side are the runs one by one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from creode.data import Samples
from creode.tasks import Regression
from creode.training import TrainingConfig, train, train_side_by_side

SEEDS = (3, 8, 5)
CONFIG = TrainingConfig(
    steps=40,
    batch_size=12,
    learning_rate=0.02,
    optimizer="Adam",
    schedule="cosine",
    warmup_steps=4,
    clip_norm=0.5,
    checkpoints=(40,),
)


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    y = x[:, :2].prod(1, keepdim=True) + 0.1 * torch.randn(50, 1, generator=generator)
    return Samples(columns={"inputs": x, "targets": y})


def starts():
    made = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        made.append(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double())
    return made


def weights():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(len(SEEDS), 50, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "rho", [None, weights()[0], weights()], ids=["equal", "of all runs", "of each run"]
)
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_each_run_is_the_one_trained_alone(rho, optimizer):
    config = replace(CONFIG, optimizer=optimizer)
    together = train_side_by_side(starts(), Regression(), data(), config, seeds=SEEDS, weights=rho)
    for run, (start, seed) in enumerate(zip(starts(), SEEDS, strict=True)):
        own = rho if rho is None or rho.ndim == 1 else rho[run]
        alone = train(start, Regression(), data(), replace(config, seed=seed), weights=own)
        torch.testing.assert_close(together[run].losses, alone.losses, rtol=1e-9, atol=1e-12)
        assert not together[run].model.training
        for one, two in zip(
            together[run].model.parameters(), alone.model.parameters(), strict=True
        ):
            torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


def test_starts_and_the_global_random_state_are_left_alone():
    given, before = starts(), torch.get_rng_state()
    kept = [[p.clone() for p in model.parameters()] for model in given]
    steps = []
    train_side_by_side(
        given, Regression(), data(), CONFIG, seeds=SEEDS, on_step=lambda *told: steps.append(told)
    )
    assert torch.equal(before, torch.get_rng_state())
    for model, old in zip(given, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), old, strict=True))
        assert all(p.grad is None for p in model.parameters())
    assert [done for done, _, _ in steps] == list(range(1, 41))


def test_what_rests_stays():
    given = starts()
    for model in given:
        model[0].weight.requires_grad_(False)
    out = train_side_by_side(given, Regression(), data(), CONFIG, seeds=SEEDS)
    for model, run in zip(given, out, strict=True):
        assert torch.equal(model[0].weight, run.model[0].weight)
        assert not torch.equal(model[2].weight, run.model[2].weight)


def test_wrong_input_is_told():
    def call(models=None, seeds=SEEDS, config=CONFIG, **more):
        models = starts() if models is None else models
        return train_side_by_side(models, Regression(), data(), config, seeds=seeds, **more)

    with pytest.raises(ValueError, match="one seed a model"):
        call(seeds=(1, 2))
    with pytest.raises(ValueError, match="one seed a model"):
        call(models=[], seeds=())
    with pytest.raises(ValueError, match="would meet in 'Adafactor'"):
        call(config=replace(CONFIG, optimizer="Adafactor"))
    with pytest.raises(ValueError, match=r"models \[2\] have other parameters"):
        call(models=[*starts()[:2], nn.Linear(4, 1).double()])
    with pytest.raises(ValueError, match="dropout"):
        call(models=[nn.Sequential(m, nn.Dropout(0.1)) for m in starts()])
    with pytest.raises(ValueError, match="buffers"):
        call(models=[nn.Sequential(m, nn.BatchNorm1d(1)) for m in starts()])
    with pytest.raises(ValueError, match="above the 50 samples"):
        call(config=replace(CONFIG, batch_size=51))
    with pytest.raises(ValueError, match=r"\(50,\) or \(3, 50\)"):
        call(weights=torch.ones(2, 50))
    with pytest.raises(ValueError, match="nothing to train"):
        call(models=[m.requires_grad_(False) for m in starts()])
    broken = starts()
    with torch.no_grad():
        broken[1][0].weight.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match=r"seeds \[8\] are not finite at step"):
        call(models=broken)
