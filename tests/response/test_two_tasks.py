"""Two independent parities in one network: the loss kernel separates inputs by task."""

import numpy as np
import pytest
import torch
from torch import nn

import creode
from creode.data import Samples
from creode.response import loss_kernel
from creode.testbeds.classifier import ReluClassifier

pytest.importorskip("sklearn")

BITS = 3  # of each task, of which two decide


def two_parities(seed, num_samples):
    """A trained MLP that answers the parity of two of the bits that its flag points at.

    Every input holds the bits of both tasks; labels (N,) say which one is asked for.
    """
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (num_samples, 2 * BITS), generator=generator).float() * 2 - 1
    task = torch.randint(0, 2, (num_samples,), generator=generator)
    parity = torch.stack([bits[:, :2].prod(1), bits[:, BITS : BITS + 2].prod(1)], 1)
    answer = (parity[torch.arange(num_samples), task] > 0).long()
    inputs = torch.cat([bits, 2 * nn.functional.one_hot(task, 2).float()], 1)
    model = ReluClassifier((inputs.shape[1], 32, 2), torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = 1 / inputs.shape[1] ** 0.5
            parameter.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), answer).backward()
        optimizer.step()
        schedule.step()
    assert bool((model(inputs).argmax(1) == answer).all())
    return model, Samples(columns={"inputs": inputs, "targets": answer}), task.numpy()


def aligned(seed, *, num_samples, draws):
    model, data, task = two_parities(seed, num_samples)
    tree = creode.sample(
        creode.LocalPosterior(
            model, creode.tasks.Classification(), data, nbeta=30.0, localization=300.0
        ),
        {"inputs": data},
        traces=("inputs",),
        sampler=creode.BAOAB(step_size=0.025, friction=70.0),
        chains=4,
        draws=draws,
        burnin=200,
        steps_per_draw=5,
        batch_size=num_samples,
        seed=seed,
        execution=creode.Execution(mode="vectorised"),
    )
    return loss_kernel(tree, "inputs").alignment(task)


def test_one_networks_inputs_separate_by_task():
    found = aligned(0, num_samples=128, draws=300)
    assert float(found["nmi"]) >= 0.9
    assert float(found["rank_correlation"]) > 4 * float(found["rank_correlation_se"])
    assert float(found["nmi_chance"]) < 0.1


@pytest.mark.slow
def test_inputs_separate_by_task_whatever_the_seed():
    found = [aligned(seed, num_samples=128, draws=1000) for seed in range(5)]
    nmi = [float(one["nmi"]) for one in found]
    assert np.min(nmi) >= 0.9, nmi
    assert all(bool(one["ok"]) for one in found), [one["reasons"].item() for one in found]
    assert np.max([float(one["rank_correlation_se"]) for one in found]) < 0.03
