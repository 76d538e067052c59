"""How far a step may go where a chain is: the largest curvature, followed as the chain moves.

The curvature of a singular loss changes by orders of magnitude along a chain, in bursts, and a
step that is stable in all of them is wasted between. So every EVERY steps one more gradient, on
the step's own minibatch, gives a power iteration of the Hessian, from the direction of the last.
In burn-in each step is as long as that allows. What follows has one length, SHARE of the mean over
the second half of burn-in, so that draws are equally far apart in time; where the curvature asks
for less, a step is taken in equal parts, on one minibatch. The length of a part is a function of
the past of the chain alone, and the law of the weights does not depend on it to first order.

Here: the curvature of a block of chains, the length of a step, the number of its parts.
Not here: the move itself (baoab.py), the loop (engine.py), curvature at one place (landscape.py).
Dimensions: C chains, P sampled weights. Chains of a block share steps and parts: the stiffest one
decides.
Symbols: H = ∇²L, v a unit vector, a = nβ h + γ the largest curvature of the posterior, δ a length.
Source: steps of fixed length in as many parts as they need, after WALNUTS (arXiv:2506.18746), by
curvature in place of the error of energy, which minibatches hide.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from creode.sampling.block import Block
from creode.sampling.kernel import Target
from creode.tasks import Batch

EVERY = 8  # steps between two looks
FIRST_LOOKS = 10  # at w*, where no direction is known
MARGIN = 1.2  # of the curvature: the power iteration errs to the low side
FORGET = 0.8  # of the curvature that was seen before, if less is seen now
STIR = 0.02  # of the direction, by the momentum's: what is orthogonal to it would not be found
SHARE = 0.75  # of the mean length in burn-in
MOST_PARTS = 64
APART = 0.05  # δ, of the length over which weights are free to move


class Stride:
    """The steps of one block of chains; `state` and `restore` make it resumable."""

    def __init__(
        self, block: Block, target: Target, *, longest: float, relative: float, burnin: int
    ) -> None:
        """`relative` bounds h √a; `longest` bounds h whatever the curvature."""
        self._block, self._target, self._burnin = block, target, burnin
        self._longest, self._relative = longest, relative
        position = block.position
        self._direction = torch.zeros_like(position)
        self._curvature = torch.zeros(len(position), dtype=position.dtype, device=position.device)
        self._apart = APART / max(target.localization, 1.0) ** 0.5
        self._total, self._count = 0.0, 0  # lengths in the second half of burn-in
        self._fixed: float | None = None
        self.length = 0.0  # of the last part of the last step
        self.extra = 0  # gradients of a chain beyond one a step

    @property
    def fixed(self) -> float | None:
        """The length of the steps after burn-in, once it is known."""
        return self._fixed

    def look(self, step: int, batch: Batch, momentum: Tensor) -> None:
        """Follow the curvature, if it is time; weights and gradient are afterwards as before."""
        if step % EVERY:
            return
        block = self._block
        here, gradient = block.position.clone(), block.gradient.clone()
        for _ in range(FIRST_LOOKS if step == 0 else 1):
            self._direction.addcmul_(momentum, STIR / _length(momentum))
            self._direction.div_(_length(self._direction))
            block.position.add_(self._direction, alpha=self._apart)
            block.moved()
            block.differentiate(batch)
            self.extra += 1
            change = block.gradient.sub_(gradient).div_(self._apart)  # H v
            seen = torch.linalg.vector_norm(change, dim=1)
            self._curvature = torch.maximum(seen, FORGET * self._curvature)
            self._direction.copy_(change).div_(_length(change))
            block.position.copy_(here)
        block.moved()
        block.gradient.copy_(gradient)

    def parts(self, step: int) -> tuple[int, float]:
        """In how many parts the step is taken, and their length."""
        finite = self._curvature[torch.isfinite(self._curvature)]
        h = float(finite.max()) if len(finite) else 0.0
        stiffest = MARGIN * self._target.nbeta * h + self._target.localization
        allowed = self._relative / stiffest**0.5 if stiffest > 0 else math.inf
        if step < self._burnin:
            length = min(allowed, self._longest)
            if 2 * step >= self._burnin:
                self._total += length
                self._count += 1
            return 1, length
        if self._fixed is None:
            mean = self._total / self._count if self._count else min(allowed, self._longest)
            self._fixed = SHARE * mean
        parts = min(math.ceil(self._fixed / allowed), MOST_PARTS)
        return parts, self._fixed / parts

    def state(self) -> dict[str, Any]:
        """Everything later steps depend on."""
        return {
            "direction": self._direction,
            "curvature": self._curvature,
            "lengths": (self._total, self._count, self._fixed, self.length),
            "extra": self.extra,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._direction.copy_(state["direction"])
        self._curvature.copy_(state["curvature"])
        self._total, self._count, self._fixed, self.length = state["lengths"]
        self.extra = state["extra"]


def _length(vectors: Tensor) -> Tensor:
    """‖·‖ of each row, (C, 1); 1 for rows of zeros."""
    norm = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)
