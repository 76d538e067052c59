"""Moments of a probe's unit losses, and their co-moments with observables, streamed over draws.

A chain is cut into a fixed number of blocks of consecutive draws, so memory does not grow with
draws. Sums are taken of deviations from the values at w*, which are of the size of the
fluctuations, in float64.

Here: accumulation in place, and the blocks' shares of each chain's covariance.
Not here: which numbers are observed (observables.py), what is concluded (response/).
Symbols: ℓ_z the loss of unit z, φ_k an observable, both as deviations from w*; n draws of a chain,
n_b of them in block b.
Dimensions: C chains, D draws, K observables, b blocks, units (B[, T]).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creode.tasks import Losses

NUM_BLOCKS = 5  # of a chain's draws: replicates for an error; more would cost disk

SUMS = ("loss", "square", "product", "observed", "count")


def num_blocks(draws: int) -> int:
    """Blocks that a chain of `draws` draws is cut into."""
    return min(NUM_BLOCKS, draws)


def ends_block(draws: int, of: int) -> bool:
    """Whether so many draws, of all `of`, are whole blocks."""
    return draws > 0 and block_of(draws, of) != block_of(draws - 1, of)


def block_of(draw: Tensor | int, draws: int) -> Any:
    """The block that a draw is in."""
    return draw * num_blocks(draws) // draws


class CoMoments:
    """Sums over the draws so far of ℓ, ℓ² and φℓ, the first and the last by block."""

    def __init__(self, init: Losses, chains: int, draws: int, observables: int) -> None:
        units = init.values.shape
        blocks = num_blocks(draws)
        self._draws, self._init = draws, init.values.cpu()
        self._loss = torch.zeros(chains, blocks, *units, dtype=torch.float64)
        self._square = torch.zeros(chains, *units, dtype=torch.float64)
        self._product = torch.zeros(chains, blocks, observables, *units, dtype=torch.float64)
        self._observed = torch.zeros(chains, blocks, observables, dtype=torch.float64)
        self._count = torch.zeros(blocks, dtype=torch.float64)

    def add(self, draw: int, values: Tensor, observed: Tensor) -> None:
        """Take in losses (C, B[, T]) and observables (C, K) of a draw, both on the CPU."""
        block = block_of(draw, self._draws)
        excess = (values - self._init).double()
        self._count[block] += 1
        self._loss[:, block] += excess
        self._observed[:, block] += observed
        self._square.addcmul_(excess, excess)
        across = (-1, *[1] * (excess.ndim - 1))
        for k, phi in enumerate(observed.unbind(1)):
            self._product[:, block, k].addcmul_(excess, phi.view(across))

    def end(self, draws: int) -> None:
        """No draws come after so many, the end of a block; blocks that would hold them go."""
        kept = int(block_of(draws - 1, self._draws)) + 1
        self._loss, self._observed = self._loss[:, :kept], self._observed[:, :kept]
        self._product, self._count = self._product[:, :kept], self._count[:kept]

    def mean(self) -> Tensor:
        """Mean of ℓ over each chain, (C, B[, T]), not as a deviation."""
        return self._init + self._loss.sum(1) / self._count.sum()

    def variance(self) -> Tensor:
        """Variance of ℓ over each chain, (C, B[, T]), with divisor n − 1."""
        n = self._count.sum()
        squares = self._square - self._loss.sum(1).square() / n
        return squares.clamp(min=0.0) / (n - 1).clamp(min=1)

    def covariance(self) -> Tensor:
        """Each block's share of Cov(φ_k, ℓ_z), (C, b, K, B[, T]); their mean is the covariance.

        Σ_{d in b} (φ_d − φ̄)(ℓ_d − ℓ̄) · b/(n − 1), with φ̄ and ℓ̄ the means of the whole chain.
        """
        n = self._count.sum()
        more = [1] * (self._square.ndim - 1)
        scale = len(self._count) / (n - 1).clamp(min=1)
        observed = self._observed.view(*self._observed.shape, *more)
        counts = self._count.view(-1, *more)
        loss_mean = self._loss.sum(1) / n
        shares = torch.empty_like(self._product)
        for k in range(self._product.shape[2]):
            mean = observed[:, :, k].sum(1, keepdim=True) / n
            shares[:, :, k] = self._product[:, :, k] - mean * self._loss
            shares[:, :, k] -= loss_mean[:, None] * (observed[:, :, k] - counts * mean)
        return shares * scale

    def state(self) -> dict[str, Any]:
        """Everything accumulated, for a snapshot."""
        return {name: getattr(self, f"_{name}") for name in SUMS}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        for name in SUMS:
            setattr(self, f"_{name}", state[name])
