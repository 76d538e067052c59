"""A block of chains: their weights, and the losses and gradients at them.

Here: the protocol of the two ways to compute (in turn, side by side), and the losses at w*.
Not here: the two ways (sequential.py, vectorised.py), the choice between them (choice.py).
Dimensions: C chains, P sampled weights, m samples of a batch, B samples of a probe, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Batch, Losses, Task, as_losses


class BatchLosses(NamedTuple):
    """Losses of the samples of one minibatch per chain."""

    total: Tensor  # (C, m), summed over a sample's counted units, nats
    units: Tensor  # (C, m), counted units of each sample


class Block(Protocol):
    """C chains whose weights can be moved in place."""

    position: Tensor  # (C, P), w
    gradient: Tensor  # (C, P), ∇L_m(w) after `differentiate`

    def differentiate(self, batch: Batch) -> BatchLosses:
        """Losses on batches (C, m, ...) and, in `gradient`, the gradient of each chain's mean."""
        ...

    def losses(self, batch: Batch) -> Losses:
        """Losses (C, B[, T]) of one batch (B, ...) under every chain's weights."""
        ...

    def evaluate(self, function: Callable[[nn.Module], Tensor]) -> Tensor:
        """A scalar function of the model under every chain's weights, (C,)."""
        ...

    def moved(self) -> None:
        """Tell the block that `position` was written."""
        ...


def autocast(device: torch.device, forward_dtype: str | None) -> AbstractContextManager[object]:
    """The forward pass in a lower precision, or as it is."""
    if forward_dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, forward_dtype), cache_enabled=False)


def in_batches(data: Samples, size: int) -> Iterator[Batch]:
    """All samples in order, `size` at a time."""
    for start in range(0, len(data), size):
        yield data.batch(torch.arange(start, min(start + size, len(data))))


@torch.no_grad()
def unit_losses(model: nn.Module, task: Task, data: Samples, batch_size: int) -> Losses:
    """ℓ_z of every unit of the data, (n,) or (n, T), at the model's present weights."""
    whole: Losses | None = None  # one array for all passes, as in the engine's probes
    for number, batch in enumerate(in_batches(data, batch_size)):
        values, mask = as_losses(task(model, batch))
        if whole is None:
            shape = (len(data), *values.shape[1:])
            whole = Losses(values.new_empty(shape), mask.new_empty(shape))
        place = slice(number * batch_size, (number + 1) * batch_size)
        whole.values[place], whole.mask[place] = values, mask
    assert whole is not None  # no data set is empty
    return whole
