"""Losses of the units of a batch, in nats, with a mask for units that do not count.

Here: the container every task returns, the mean that is minimised, and the coercion of what a
user's callable returns.
Not here: particular tasks (one file each), sampling, storage.
Dimensions: B samples of a batch, T tokens of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

Batch = Mapping[str, Tensor]


class Losses(NamedTuple):
    """Losses of the units of a batch: one a sample, or one a token."""

    values: Tensor  # (B,) or (B, T), nats; zero where the mask is False
    mask: Tensor  # same shape, bool: the units that count

    @property
    def total(self) -> Tensor:
        """Sum of the counted losses of each sample, (B,), nats."""
        return self.values if self.values.ndim == 1 else self.values.sum(1)

    @property
    def count(self) -> Tensor:  # type: ignore[override]  # not tuple.count: nobody counts tensors
        """Number of counted units of each sample, (B,), as a float of the losses' dtype."""
        counted = self.mask.to(self.values.dtype)
        return counted if counted.ndim == 1 else counted.sum(1)


class Task(Protocol):
    """What a loss is: the losses of a batch under a model."""

    def __call__(self, model: nn.Module, batch: Batch) -> Losses | Tensor:
        """Return losses of shape (B,) or (B, T) in nats, with a mask if some do not count."""
        ...


def as_losses(output: Losses | Tensor | tuple[Tensor, Tensor]) -> Losses:
    """Read what a task returned as `Losses`; a bare tensor counts every unit.

    Raises:
        TypeError: neither a tensor nor a pair (values, mask).
        ValueError: a scalar, more than two dimensions, or a mask of another shape.
    """
    if isinstance(output, Tensor):
        output = Losses(output, output.new_ones(output.shape).bool())
    if not (isinstance(output, tuple) and len(output) == 2):
        raise TypeError(
            f"a task returned {type(output).__name__}; return a tensor of losses with shape "
            "(batch,) or (batch, token), or Losses(values, mask)."
        )
    values, mask = output
    if values.ndim not in (1, 2):
        raise ValueError(
            f"a task returned losses of shape {tuple(values.shape)}; one loss per sample, "
            "(batch,), or per token, (batch, token), is needed: do not reduce over the batch."
        )
    if mask.shape != values.shape:
        raise ValueError(
            f"a task returned losses of shape {tuple(values.shape)} with a mask of shape "
            f"{tuple(mask.shape)}; give both the same shape."
        )
    return Losses(values, mask.bool())
