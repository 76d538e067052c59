"""Modular addition, on which a small network first learns its data by heart and later the rule.

All pairs (a, b) of 0..p−1, as two one-hot vectors; the answer is (a + b) mod p, one-hot. The
network is f(x) = V (W x)², one hidden layer with squares for activation, trained by gradient
descent with momentum and weight decay on half of the squared error. With enough data and some
weight decay its answers to unseen pairs become right long after those to the training pairs
(grokking); without weight decay, or with too little data, they never do.

Here: the data and how they are split, the network, many seeds trained side by side, and what they
were at every checkpoint.
Not here: readings of the checkpoints (geometry/), the alarm (development/). No λ is known.
Source: the network and the task are those of arXiv:2301.02679 (Grokking modular arithmetic).
Deviation: momentum and weight decay; sizes and strengths are ours, for minutes instead of hours.
Dimensions: R runs, N pairs of a split, p the modulus, U hidden units, K checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Regression
from creode.testbeds.testbed import normal


@dataclass(frozen=True, kw_only=True)
class AdditionConfig:
    """The task, the network and its training; the defaults grok."""

    modulus: int = 17  # p
    hidden: int = 96  # U
    train_fraction: float = 0.5  # of all p² pairs; 0.3 are too few to grok
    weight_decay: float = 0.003  # 0: none, and no grokking
    learning_rate: float = 0.1
    momentum: float = 0.9
    init_scale: float = 0.5  # W ~ N(0, s²), V ~ N(0, s²/U)

    def __post_init__(self) -> None:
        if self.modulus < 2 or self.hidden < 1:
            raise ValueError(
                f"needed: modulus ≥ 2 and hidden ≥ 1; got {self.modulus} and {self.hidden}."
            )
        if not 0 < self.num_train < self.modulus**2:
            raise ValueError(
                f"train_fraction must leave pairs on both sides, got {self.train_fraction!r} of "
                f"{self.modulus**2} pairs."
            )
        if self.weight_decay < 0 or not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "needed: weight_decay ≥ 0, learning_rate > 0 and momentum in [0, 1); got "
                f"{self.weight_decay}, {self.learning_rate} and {self.momentum}."
            )

    @property
    def num_train(self) -> int:
        """Pairs that are trained on."""
        return int(self.train_fraction * self.modulus**2)


class QuadraticNetwork(nn.Module):
    """f(x) = V (W x)²; parameters `embed` (2p, U), Wᵀ, and `unembed` (U, p), Vᵀ."""

    def __init__(self, embed: Tensor, unembed: Tensor) -> None:
        super().__init__()
        self.embed, self.unembed = nn.Parameter(embed.clone()), nn.Parameter(unembed.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (B, p) for pairs (B, 2p)."""
        return (inputs @ self.embed).square() @ self.unembed


@dataclass(frozen=True, kw_only=True, eq=False)
class AdditionRun:
    """One trained network: its data, and what it was at every checkpoint.

    `swapped` are the training pairs with their operands swapped, and the answers they have in
    training, but for those that are trained on that way round too: other inputs than those of
    training, for which the training data tell the answer to one who knows that order is
    indifferent.
    """

    seed: int
    config: AdditionConfig
    task: Regression  # half of the squared error of a pair, nats
    train: Samples
    held_out: Samples  # all pairs that are not trained on
    swapped: Samples  # a part of held_out
    steps: tuple[int, ...]  # of the checkpoints, K
    train_loss: NDArray[np.float64]  # (K,), without the weight decay, nats a pair
    test_loss: NDArray[np.float64]  # (K,), of held_out
    test_accuracy: NDArray[np.float64]  # (K,), share of held_out answered rightly
    weights: tuple[tuple[Tensor, Tensor], ...]  # (K,) of embed and unembed

    def model(self, step: int) -> QuadraticNetwork:
        """The network at a checkpoint.

        Raises:
            ValueError: there is none at that step.
        """
        if step not in self.steps:
            raise ValueError(
                f"step {step} is no checkpoint; there are {len(self.steps)} from "
                f"{self.steps[0]} to {self.steps[-1]}."
            )
        return QuadraticNetwork(*self.weights[self.steps.index(step)])

    def grokked(self, share: float = 0.5) -> int | None:
        """The first checkpoint at which test accuracy has passed `share`; None if never."""
        passed = np.flatnonzero(self.test_accuracy > share)
        return self.steps[passed[0]] if len(passed) else None


def modular_addition(
    seeds: Iterable[int], steps: Iterable[int], config: AdditionConfig | None = None
) -> list[AdditionRun]:
    """Train one network a seed, side by side, and keep checkpoints.

    Args:
        seeds: of the split and the initial weights; the same seeds together give the same weights.
        steps: of the checkpoints, in training steps done; training ends with the last.
        config: None: the defaults.

    Raises:
        ValueError: no seeds, or steps that are not whole numbers ≥ 0.
    """
    given, config = list(seeds), config or AdditionConfig()
    wanted = sorted(set(steps))
    if not given or not wanted or wanted[0] < 0:
        raise ValueError(
            f"needed: at least one seed and one step, steps ≥ 0; got {given} and {wanted[:3]}."
        )
    generators = [torch.Generator().manual_seed(seed) for seed in given]
    inputs, targets = _pairs(config.modulus)
    order = [torch.randperm(len(inputs), generator=g) for g in generators]
    split = torch.stack(order).tensor_split((config.num_train,), dim=1)
    weights = [_initial(config, g) for g in generators]
    kept = _train(weights, inputs, targets, split, wanted, config)
    return [
        _run(seed, config, wanted, inputs, targets, [part[r] for part in split], kept, r)
        for r, seed in enumerate(given)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Checkpoint:
    """All runs at one step."""

    embed: Tensor  # (R, 2p, U)
    unembed: Tensor  # (R, U, p)
    train_loss: Tensor  # (R,)
    test_loss: Tensor  # (R,)
    test_accuracy: Tensor  # (R,)


def _pairs(p: int) -> tuple[Tensor, Tensor]:
    """Inputs (p², 2p) and targets (p², p) of the pairs (a, b) in the order a p + b."""
    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    one_hot = torch.eye(p)
    return torch.cat([one_hot[a], one_hot[b]], 1), one_hot[(a + b) % p]


def _initial(config: AdditionConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    p, U, s = config.modulus, config.hidden, config.init_scale
    embed = normal(2 * p, U, generator=generator, dtype=torch.float32)
    return s * embed, s / U**0.5 * normal(U, p, generator=generator, dtype=torch.float32)


def _train(
    weights: list[tuple[Tensor, Tensor]],
    inputs: Tensor,
    targets: Tensor,
    split: tuple[Tensor, ...],
    steps: list[int],
    config: AdditionConfig,
) -> list[_Checkpoint]:
    """Full-batch gradient descent of all runs at once; the loss of one has no part in another's."""
    embed, unembed = (torch.stack(part).requires_grad_() for part in zip(*weights, strict=True))
    optimizer = torch.optim.SGD(
        [embed, unembed],
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    train, test = ((inputs[part], targets[part]) for part in split)
    kept = []
    for step in range(steps[-1] + 1):
        loss, _ = _losses(embed, unembed, *train)
        if step in steps:
            with torch.no_grad():
                test_loss, accuracy = _losses(embed, unembed, *test)
            now = _Checkpoint(
                embed=embed.detach().clone(),
                unembed=unembed.detach().clone(),
                train_loss=loss.detach(),
                test_loss=test_loss,
                test_accuracy=accuracy,
            )
            kept.append(now)
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return kept


def _losses(
    embed: Tensor, unembed: Tensor, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean loss and share of right answers, (R,) each, for inputs (R, N, 2p)."""
    outputs = (inputs @ embed).square() @ unembed
    right = outputs.argmax(2) == targets.argmax(2)
    return (outputs - targets).square().sum(2).mean(1) / 2, right.double().mean(1)


def _run(
    seed: int,
    config: AdditionConfig,
    steps: list[int],
    inputs: Tensor,
    targets: Tensor,
    split: list[Tensor],
    kept: list[_Checkpoint],
    r: int,
) -> AdditionRun:
    p, (train, test) = config.modulus, split
    swapped = train % p * p + train // p
    swapped = swapped[~torch.isin(swapped, train)]

    def samples(part: Tensor, name: str) -> Samples:
        columns = {"inputs": inputs[part], "targets": targets[part]}
        return Samples(columns=columns, source=f"addition modulo {p}, seed {seed}, {name}")

    curves = {
        name: np.array([float(getattr(point, name)[r]) for point in kept])
        for name in ("train_loss", "test_loss", "test_accuracy")
    }
    return AdditionRun(
        seed=seed,
        config=config,
        task=Regression(),
        train=samples(train, "training"),
        held_out=samples(test, "held out"),
        swapped=samples(swapped, "swapped"),
        steps=tuple(steps),
        weights=tuple((point.embed[r], point.unembed[r]) for point in kept),
        **curves,
    )
