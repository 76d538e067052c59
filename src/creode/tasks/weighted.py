"""Losses times weights that the samples carry: the loss of reweighted data, to sample around.

A posterior on these is that of L_ρ = Σ ρ ℓ / Σ c, the loss that training with weights ρ of mean 1
minimises. Samples without the column, such as probes, have their plain losses.

Here: the task, the column.
Not here: the weights (patterning/), training with them (training/).
Dimensions: B samples of a batch, N samples, T tokens of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from creode.tasks.losses import Batch, Losses, Task, as_losses

if TYPE_CHECKING:
    from creode.data import Samples

WEIGHT = "creode_weight"


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """ρ ℓ, nats, of a task's losses ℓ and the weights that `with_weights` gave the samples."""

    task: Task

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The weighted losses (B,) or (B, T) of the batch."""
        plain = {name: column for name, column in batch.items() if name != WEIGHT}
        losses = as_losses(self.task(model, plain))
        if WEIGHT not in batch:
            return losses
        rho = batch[WEIGHT].to(losses.values)
        if rho.ndim < losses.values.ndim:
            rho = rho[:, None]
        return Losses(losses.values * rho, losses.mask)

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """What the task asks of samples."""
        columns = {name: c for name, c in samples.columns.items() if name != WEIGHT}
        own = getattr(self.task, "validate", None)
        if callable(own):
            own(model, replace(samples, columns=columns))


def with_weights(samples: Samples, rho: Tensor) -> Samples:
    """The samples with weights for `Weighted`.

    Args:
        samples: N of them.
        rho: (N,), or (N, T) with NaN where a token does not count.

    Raises:
        ValueError: other numbers of weights than samples, or infinite ones.
    """
    if len(rho) != len(samples) or rho.isinf().any():
        raise ValueError(
            f"weights must be finite, one a sample or token; got shape {tuple(rho.shape)} for "
            f"{len(samples)} samples."
        )
    return replace(samples, columns={**samples.columns, WEIGHT: torch.nan_to_num(rho)})
