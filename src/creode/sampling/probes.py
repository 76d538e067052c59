"""Probes: fixed samples whose losses are recorded at every draw.

Here: a probe with its losses at w*, and the choice of where the pairs L(w), L(w*) of the learning
coefficient come from.
Not here: evaluating probes along a chain (engine.py), their moments (recorder.py).
Dimensions: n samples of the data, B samples of a probe, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from creode.data import Samples, as_samples
from creode.sampling.block import unit_losses
from creode.sampling.randomness import stream_seed
from creode.sampling.schedule import Schedule
from creode.tasks import Losses, Task

DATA_PROBE = "data"
BASELINE_SHARE = 0.1  # of the samples the gradients see: a full pass costs at most 1/30 of the run


@dataclass(frozen=True, eq=False)
class Probe:
    """Samples, their losses at w*, and how many samples they stand for."""

    name: str
    samples: Samples
    init: Losses  # ℓ_z(w*), (B[, T])
    population: int | None = None  # n, where the probe is a random subset of the posterior's data

    def __post_init__(self) -> None:
        count, total = self.init.mask.sum(), self.init.values.sum()
        if not count:
            raise ValueError(f"probe {self.name!r} has no unit that counts; every one is masked.")
        if not torch.isfinite(total):
            raise ValueError(
                f"probe {self.name!r}: the loss at the anchor is {float(total)}; remove the "
                "samples on which the trained model's loss is not finite."
            )

    @property
    def init_loss(self) -> float:
        """L(w*) on the probe: the mean of ℓ_z(w*) over its counted units, nats."""
        return float(self.init.values.double().sum() / self.init.mask.sum())


@dataclass(frozen=True, eq=False)
class Baseline:
    """ℓ_z(w*) of every sample of the data, so that each minibatch is compared with itself."""

    total: Tensor  # (n,), summed over a sample's counted units, nats
    count: Tensor  # (n,)


def as_probes(probes: Mapping[str, Any] | None) -> dict[str, Samples]:
    """Check the names of probes and read each as samples."""
    named = {name: as_samples(data) for name, data in (probes or {}).items()}
    for name in named:
        if name == DATA_PROBE or not name or "/" in name or name.startswith("."):
            raise ValueError(
                f"a probe cannot be named {name!r}: the name is a group on disk, and "
                f"{DATA_PROBE!r} is the posterior's own data."
            )
    return named


def pairs_with_minibatches(schedule: Schedule, num_samples: int) -> bool:
    """Whether ℓ_z(w*) of all data is affordable, so that every minibatch gives a pair for free.

    Otherwise the losses come from a probe: a random subset of the data of one batch.
    """
    seen = schedule.chains * schedule.num_steps * schedule.batch_size
    return num_samples <= max(BASELINE_SHARE * seen, schedule.batch_size)


def baseline(model: nn.Module, task: Task, data: Samples, batch_size: int) -> Baseline:
    """ℓ_z(w*) of every sample; raises ValueError where the mean is not finite."""
    losses = unit_losses(model, task, data, batch_size)
    if not torch.isfinite(losses.values).all():
        raise ValueError(
            f"{data.source}: the loss at the anchor is not finite on "
            f"{int((~torch.isfinite(losses.total)).sum())} of {len(data)} samples; check the "
            "model's weights and remove such samples."
        )
    return Baseline(losses.total, losses.count)


def data_subset(data: Samples, size: int, seed: int) -> Samples:
    """A random subset of the data, its order and choice a function of the seed."""
    generator = torch.Generator().manual_seed(stream_seed(seed, (), 0, "data probe"))
    return data.select(torch.randperm(len(data), generator=generator)[:size])
