"""Control variates at w*: minibatch gradients without the noise that they have there.

∇L_m(w) − ∇L_m(w*) + ∇L_n(w*), the same minibatch in both: as unbiased as ∇L_m(w), and without
noise at w*. Where samples' gradients at w* do not vanish (noisy targets) the noise of ∇L_m(w) is
about the same everywhere; this one grows from 0 with the distance. Each gradient costs two.

Here: a block of chains whose gradients are so corrected.
Not here: the gradients themselves (sequential.py, vectorised.py).
Dimensions: C chains, P sampled weights, m samples of a batch of n.
Source: arXiv:1706.05439 (control variates for stochastic gradient MCMC).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from creode.posterior import LocalPosterior
from creode.sampling.block import BatchLosses, Block, in_batches
from creode.sampling.borrow import borrowed
from creode.sampling.flat import FlatWeights
from creode.sampling.schedule import Execution
from creode.sampling.sequential import SequentialBlock
from creode.tasks import Batch, Losses


class ControlledBlock:
    """A block of chains with corrected gradients.

    It holds two more copies of their weights, and w* and ∇L_n(w*) once.
    """

    def __init__(self, block: Block, anchor: Tensor, gradient_of_all: Tensor) -> None:
        """`anchor` is w* and `gradient_of_all` ∇L_n(w*), each (P,)."""
        self._block, self._anchor, self._of_all = block, anchor, gradient_of_all
        self.position, self.gradient = block.position, block.gradient

    @torch.no_grad()
    def differentiate(self, batch: Batch) -> BatchLosses:
        """Losses on batches (C, m, ...) at the chains' weights, and the corrected gradients."""
        here = self.position.clone()
        self._move(self._anchor)
        self._block.differentiate(batch)
        at_anchor = self._block.gradient.clone()
        self._move(here)
        losses = self._block.differentiate(batch)
        self.gradient = self._block.gradient.sub_(at_anchor).add_(self._of_all)
        return losses

    def losses(self, batch: Batch) -> Losses:
        """Losses (C, B[, T]) of one batch (B, ...) under every chain's weights."""
        return self._block.losses(batch)

    def evaluate(self, function: Callable[[nn.Module], Tensor]) -> Tensor:
        """A scalar function of the model under every chain's weights, (C,)."""
        return self._block.evaluate(function)

    def moved(self) -> None:
        """Tell the block that `position` was written."""
        self._block.moved()

    def _move(self, position: Tensor) -> None:
        self.position.copy_(position.expand_as(self.position))
        self._block.moved()


def gradient_of_all(
    posterior: LocalPosterior, flat: FlatWeights, execution: Execution, batch_size: int
) -> Tensor:
    """∇L_n(w*), (P,): the mean over all units of the data."""
    total: Tensor | float = 0.0
    units = 0.0
    with borrowed(posterior.model):
        block = SequentialBlock(
            posterior.model,
            posterior.task,
            flat,
            forward_dtype=execution.forward_dtype,
            microbatch=execution.microbatch,
        )
        for batch in in_batches(posterior.data, batch_size):
            losses = block.differentiate({name: column[None] for name, column in batch.items()})
            counted = float(losses.units.sum())
            total = total + counted * block.gradient[0].double()
            units += counted
    assert isinstance(total, Tensor)  # the data is never empty
    return (total / units).to(flat.dtype)
