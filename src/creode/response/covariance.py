"""Covariances of centred losses with their Monte Carlo errors, by batch means.

Here: chains cut into blocks; the mean product of two columns over each block; the covariance from
all blocks, its correlation form, and their standard errors from how blocks differ.
Not here: reading the columns (factor.py), how long a block must be (independence.py), what a
covariance means (influence.py, loss_kernel.py).
Symbols: N draws of all C chains, R blocks, x and y columns centred in each chain, τ their
autocorrelation time in draws.
Cov = Σ xy/(N − C), unbiased for independent draws. About 32 blocks of all chains together give the
error, fewer where they would be too short for τ, at last one of each chain. Chains that disagree in
their covariances widen the error too, since their blocks do. Centring in each chain leaves out a
share of about τ/D of a covariance (factor.py); the error has that share in it, by its square, since
at a long τ it is not small beside chance. A correlation loses it above and below, and nearly
keeps its value.
Source: batch means (Flegal & Jones, arXiv:0811.1729); the correlation's error by its linearisation.
Dimensions: C chains, D draws of each, R blocks, U and V columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from creode.response.independence import shortest_block

Array = NDArray[np.float64]

NUM_BLOCKS = 32  # of all chains together; the error is then known to about 1/√(2·31), an eighth


@dataclass(frozen=True)
class Blocks:
    """How the draws of C chains are cut, every chain alike."""

    num_chains: int
    num_draws: int  # D, of each chain
    time: float = 1.0  # τ, draws: 1 for independent ones, NaN where it is not known

    @property
    def edges(self) -> NDArray[np.int64]:
        """Where the blocks of a chain begin, and D."""
        count = max(1, min(round(NUM_BLOCKS / self.num_chains), self.num_draws // 2))
        if shortest := shortest_block(self.time):
            count = max(1, min(count, int(self.num_draws / shortest)))
        return np.linspace(0, self.num_draws, count + 1).round().astype(np.int64)

    @property
    def count(self) -> int:
        """R."""
        return self.num_chains * (len(self.edges) - 1)

    @property
    def share(self) -> Array:
        """The share (R,) of the draws that lies in each block."""
        lengths = np.diff(self.edges) / (self.num_chains * self.num_draws)
        return np.tile(lengths, self.num_chains)

    def draws_of(self, block: int) -> slice:
        """Where a block lies among the draws of all chains, one chain after another."""
        chain, start, stop = self._each()[block]
        return slice(chain * self.num_draws + start, chain * self.num_draws + stop)

    def products(self, left_CDU: Array, right_CDV: Array) -> Array:
        """The mean of x_u y_v over each block, (R, U, V)."""
        found = np.empty((self.count, left_CDU.shape[2], right_CDV.shape[2]))
        for block, (chain, start, stop) in enumerate(self._each()):
            left, right = left_CDU[chain, start:stop], right_CDV[chain, start:stop]
            np.matmul(left.T, right, out=found[block])
            found[block] /= stop - start
        return found

    def squares(self, columns_CDU: Array) -> Array:
        """The mean of x_u² over each block, (R, U)."""
        return np.stack([np.square(columns_CDU[c, a:b]).mean(0) for c, a, b in self._each()])

    def total(self, products: Array) -> Array:
        """The covariance from the blocks' means, R in front."""
        num_draws = self.num_chains * self.num_draws
        unbiased = num_draws / (num_draws - self.num_chains)
        total: Array = np.tensordot(self.share, products, 1) * unbiased
        return total

    def error(self, deviations: Array) -> Array:
        """The standard error of Σ share·deviation, where the deviations (R, …) sum to about 0."""
        if self.count < 2:
            return np.full(deviations.shape[1:], np.nan)
        share = self.share.reshape(-1, *[1] * (deviations.ndim - 1))
        spread = np.square(share * deviations).sum(0) * self.count / (self.count - 1)
        error: Array = np.sqrt(spread)
        return error

    def covariance(self, left_CDU: Array, right_CDV: Array) -> tuple[Array, Array]:
        """Cov(x_u, y_v) and its standard error, each (U, V)."""
        products = self.products(left_CDU, right_CDV)
        value = self.total(products)
        mean = np.tensordot(self.share, products, 1)
        return value, np.hypot(self.error(products - mean), self._left_out * value)

    def correlation(self, left_CDU: Array, right_CDV: Array) -> tuple[Array, Array]:
        """Corr(x_u, y_v) and its standard error, each (U, V); NaN for a column that is constant."""
        products = self.products(left_CDU, right_CDV)
        left, right = self.squares(left_CDU), self.squares(right_CDV)
        with np.errstate(divide="ignore", invalid="ignore"):
            left_var = np.tensordot(self.share, left, 1)
            right_var = np.tensordot(self.share, right, 1)
            products /= np.sqrt(left_var[:, None] * right_var)
            value = np.tensordot(self.share, products, 1)
            tilt = (left / left_var)[:, :, None] + (right / right_var)[:, None, :]
        return value, self.error(products - value * tilt / 2)

    @property
    def _left_out(self) -> float:
        """The share of a covariance that centring in each chain leaves out beyond 1/D, τ/D."""
        return max(0.0, self.time - 1.0) / self.num_draws

    def _each(self) -> list[tuple[int, int, int]]:
        edges = self.edges.tolist()
        return [
            (chain, start, stop)
            for chain in range(self.num_chains)
            for start, stop in pairwise(edges)
        ]
