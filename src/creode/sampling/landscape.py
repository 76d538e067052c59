"""What a few gradients tell of the loss where chains are: its curvature, and the noise in them.

Here: the largest curvature by power iteration, products with the Hessian, the power of gradient and
gradient noise, and how far the loss has risen, at the present weights of a block of chains.
Not here: what is concluded from it (pilot.py, curvature.py).
Dimensions: C chains, P sampled weights, m samples of a batch, K minibatches.
Symbols: H = ∇²L, v a unit vector, δ a small length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from creode.data import Samples
from creode.sampling.block import Block

FIRST_ITERATIONS = 10  # of the power method; it errs to the low side, the step size has a margin
MORE_ITERATIONS = 4  # once a direction is known
NUM_MINIBATCHES = 8  # K


@dataclass(frozen=True, kw_only=True)
class Local:
    """The loss at the present weights, means over chains and minibatches."""

    loss: Tensor  # (C,), nats
    signal: float  # |∇L|², nats²/weight²
    noise: float  # tr Cov(∇L_m), the power of the noise of one minibatch's gradient, likewise


class Landscape:
    """Asks for gradients at the present weights of a block; leaves the weights as they are."""

    def __init__(self, block: Block, data: Samples, batch_size: int, seed: int) -> None:
        self._block, self._data, self._size = block, data, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._indices: dict[int, list[Tensor]] = {}  # the same at every place, to be compared
        self._stiffest: Tensor | None = None  # (C, P), the direction of the last search
        self._fixed: Tensor | None = None  # the samples that products are of
        self.evaluations = 0  # gradients of a chain asked for

    @torch.no_grad()
    def curvature(self, reach: float) -> Tensor:
        """The largest eigenvalue of H at each chain's weights, (C,), nats/weight².

        H v ≈ [∇L(w + δv) − ∇L(w − δv)]/2δ with δ a twentieth of `reach`, the length over which
        weights are free to move; all on one minibatch.
        """
        batch = self._batch(self._draw())
        position = self._block.position
        here, delta = position.clone(), reach / 20
        known = self._stiffest
        vector = self._normal(position) if known is None else known
        value = torch.zeros(len(position), dtype=position.dtype, device=position.device)
        for _ in range(FIRST_ITERATIONS if known is None else MORE_ITERATIONS):
            norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True, dtype=torch.float64)
            vector = (vector / torch.where(norm > 0, norm, 1.0)).to(position.dtype)
            difference = self._difference(here, delta * vector, batch)
            value = (vector * difference).sum(1) / (2 * delta)
            vector = difference
        self._move(here)
        found = torch.isfinite(value).all() and bool((value != 0).all())
        self._stiffest = vector if found else None
        return value.abs()

    @torch.no_grad()
    def product(self, vector: Tensor, reach: float) -> Tensor:
        """H v at each chain's weights for unit vectors v, (C, P), nats/weight².

        On one minibatch, the same each time, so that products with several vectors are of one H.
        """
        if self._fixed is None:
            self._fixed = self._draw()
        here, delta = self._block.position.clone(), reach / 20
        found = self._difference(here, delta * vector, self._batch(self._fixed)) / (2 * delta)
        self._move(here)
        return found

    @torch.no_grad()
    def local(self, distinct: int | None = None) -> Local:
        """Loss, gradient and noise at the present weights, from the same K minibatches each time.

        With `distinct`, of that many samples, repeated to the size of a batch.
        """
        size = distinct or self._size
        if size not in self._indices:
            self._indices[size] = [self._draw(size) for _ in range(NUM_MINIBATCHES)]
        total = torch.zeros_like(self._block.position)
        power = torch.zeros(len(total), dtype=total.dtype, device=total.device)
        loss = torch.zeros_like(power)
        for index in self._indices[size]:
            losses = self._block.differentiate(self._batch(index))
            self.evaluations += 1
            gradient = self._block.gradient
            total += gradient
            power += gradient.square().sum(1)
            loss += losses.total.sum(1) / losses.units.sum(1)
        k = NUM_MINIBATCHES
        signal = ((total.square().sum(1) - power) / (k * (k - 1))).mean()  # of pairs: no noise
        whole = size >= len(self._data)
        noise = 0.0 if whole else float(power.mean() / k - signal)
        return Local(
            loss=loss / k,
            signal=max(float(signal), 0.0),
            noise=max(noise, 0.0),
        )

    def _difference(self, here: Tensor, step: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """∇L(here + step) − ∇L(here − step), (C, P)."""
        difference = self._gradient(here + step, batch).clone()
        difference -= self._gradient(here - step, batch)
        return difference

    def _gradient(self, position: Tensor, batch: dict[str, Tensor]) -> Tensor:
        self._move(position)
        self._block.differentiate(batch)
        self.evaluations += 1
        return self._block.gradient

    def _move(self, position: Tensor) -> None:
        self._block.position.copy_(position)
        self._block.moved()

    def _draw(self, distinct: int | None = None) -> Tensor:
        size = self._size
        order = torch.randperm(len(self._data), generator=self._generator)[: distinct or size]
        return order.repeat(-(-size // len(order)))[:size]

    def _batch(self, index: Tensor) -> dict[str, Tensor]:
        chains = len(self._block.position)
        batch = self._data.batch(index.to(self._block.position.device))
        return {name: column.expand(chains, *column.shape) for name, column in batch.items()}

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._generator, dtype=like.dtype).to(like.device)
