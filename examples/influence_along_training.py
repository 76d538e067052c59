"""Influence changes its sign as a hierarchy is learned, from the top of the tree down.

Eight items are the leaves of a binary tree; each has one feature for every node above it. A deep
linear network learns their features by gradient descent: first what all share, then the split at
the root, then those below, and last what tells siblings apart. While it learns what two items
share, each helps the other; once that is known, what is left is where they differ, and each harms
the other. So influences on an item should turn from helpful to harmful first for items across the
root, then for those of the other quarter, and last for its sibling.

At every checkpoint draws of the local posterior give the influence of every item on every other,
with errors, and `sign_flips` finds which turn, and between which checkpoints. The signs it is sure
of are compared with those of the closed form −Cov = −(gᵢᵀP⁻¹gⱼ + ½ tr(AᵢP⁻¹AⱼP⁻¹)), P = nβH + γ,
of gradients g and Hessians A of the items' losses at the weights.
Settings were chosen on seed 100; all seeds run are printed and judged.
Source: arXiv:2510.12071.

    python examples/influence_along_training.py
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import creode
from creode.data import Samples
from creode.development import sign_flips
from creode.tasks import Regression
from creode.testbeds.deep_linear import DeepLinearModel
from creode.training import log_spaced

SEEDS = range(3)
DEPTH = 3
ITEMS, HIDDEN = 2**DEPTH, 16
NBETA, GAMMA = 10.0, 1000.0
RATE, START = 0.05, 0.02  # of gradient descent; the size of its first weights
CHECKPOINTS = log_spaced(60, 600, 16)
FEATURES = (2.0, 1.4, 1.0, 0.7)  # of a node by its depth: what more items share is stronger
RELATION = {3: "across the root", 2: "other quarter", 1: "sibling"}
FOUND, RIGHT = 0.8, 0.99  # at least, of pairs that turn, and of signs that are sure


def tree() -> Tensor:
    """Features (item, node): those of the item itself and of every node above it."""
    nodes = [(depth, node) for depth in range(DEPTH + 1) for node in range(2**depth)]
    rows = [
        [FEATURES[depth] * (item >> (DEPTH - depth) == node) for depth, node in nodes]
        for item in range(ITEMS)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def distance(one: int, other: int) -> int:
    """Levels up to the node that two items share: 1 for siblings, DEPTH across the root."""
    return (one ^ other).bit_length()


def train(data: Samples, seed: int) -> dict[int, DeepLinearModel]:
    """The network at every checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    width = data.columns["targets"].shape[1]
    shapes = ((HIDDEN, ITEMS), (width, HIDDEN))
    factors = [
        START * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]
    kept = {}
    for step in range(CHECKPOINTS[-1] + 1):
        if step in CHECKPOINTS:
            kept[step] = DeepLinearModel([factor.clone() for factor in factors])
        model = DeepLinearModel(factors)
        loss = Regression()(model, data.columns).values.mean()
        gradients = torch.autograd.grad(loss, [*model.parameters()])
        factors = [f - RATE * g for f, g in zip(factors, gradients, strict=True)]
    return kept


def drawn(model: DeepLinearModel, data: Samples, seed: int) -> xr.Dataset:
    """Influences of all items on all items from draws, with errors."""
    draws = creode.sample(
        creode.LocalPosterior(model, Regression(), data, nbeta=NBETA, localization=GAMMA),
        {"items": data},
        traces=("items",),
        sampler=creode.BAOAB(step_size=0.03, friction=60.0),
        chains=4,
        draws=1000,
        burnin=200,
        steps_per_draw=2,
        batch_size=ITEMS,
        seed=seed,
        execution=creode.Execution(mode="vectorised"),
    )
    reading = creode.influence(draws, query="items", train="items")
    return reading.block()[["bif", "bif_se", "ok"]]


def exact(model: DeepLinearModel, data: Samples) -> np.ndarray:
    """−Cov of items' losses, (item, item), of losses that are quadratic around the weights."""
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    cut = model.layers[0].weight.numel()

    def losses(weights: Tensor) -> Tensor:
        first, second = weights[:cut].view(HIDDEN, ITEMS), weights[cut:].view(-1, HIDDEN)
        error = data.columns["targets"] - data.columns["inputs"] @ first.T @ second.T
        return error.square().sum(1) / 2

    gradients, hessians = torch.func.jacrev(losses)(flat), torch.func.hessian(losses)(flat)
    precision = NBETA * hessians.mean(0) + GAMMA * torch.eye(len(flat), dtype=flat.dtype)
    spread = torch.linalg.inv(precision)
    bent = (hessians @ spread).flatten(1) @ (spread @ hessians).flatten(1).T / 2
    return -(gradients @ spread @ gradients.T + bent).numpy()


def read(seed: int) -> tuple[xr.Dataset, np.ndarray]:
    """Flips of all influences of one training run, and the exact influences (checkpoint, …)."""
    inputs = torch.eye(ITEMS, dtype=torch.float64)
    data = Samples(columns={"inputs": inputs, "targets": tree()})
    models = train(data, seed)
    seen = [drawn(m, data, 1000 * seed + n) for n, m in enumerate(models.values())]
    table = xr.concat(seen, xr.Variable("checkpoint", [*models]))
    print(f"seed {seed}: {int(table['ok'].sum())} of {len(models)} checkpoints are trusted")
    found = sign_flips(table["bif"].where(table["ok"]), table["bif_se"], dof=31)
    return found, np.stack([exact(model, data) for model in models.values()])


def main() -> None:
    torch.set_num_threads(1)  # the model is too small for more
    for seed in SEEDS:
        found, truth = read(seed)
        sure = found["sign"].values != 0
        right = (found["sign"].values == np.sign(truth))[sure].mean()
        print(f"  of {sure.sum()} signs that are sure {right:.1%} are those of the closed form")
        assert right >= RIGHT
        turns = []
        for levels, name in RELATION.items():
            pairs = [(i, j) for i in range(ITEMS) for j in range(ITEMS) if distance(i, j) == levels]
            told = [found.isel(query=i, train=j) for i, j in pairs]
            turning = [
                (int(one["flip_after"]), int(one["flip_before"]))
                for one, (i, j) in zip(told, pairs, strict=True)
                if one["flip"] and one["sign"].sel(checkpoint=int(one["flip_before"])) > 0
            ]
            after, before = np.median(turning, axis=0)
            turns.append((after * before) ** 0.5)
            print(
                f"  {name}: {len(turning)} of {len(pairs)} turn from helpful to harmful, in the "
                f"median between steps {after:.0f} and {before:.0f}",
                flush=True,
            )
            assert len(turning) >= FOUND * len(pairs)
        assert turns[0] < turns[1] < turns[2], turns


if __name__ == "__main__":
    main()
