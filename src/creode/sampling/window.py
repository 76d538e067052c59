"""Pairs L(w), L(w*) of the minibatches between two draws, and their means.

Losses are put aside as they come and taken together a few steps at a time: for small models the
bookkeeping of a step costs as much as its arithmetic.

Here: the means of L(w), L(w*) and (L(w) − L(w*))² over the steps of a draw.
Not here: what is kept of a draw (recorder.py).
Dimensions: C chains, W steps put aside, m samples of a batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creode.sampling.block import BatchLosses
from creode.sampling.probes import Baseline

MOST_ASIDE = 16  # steps


class Window:
    """The minibatches since the last draw, each compared with itself at w*.

    The square of the excess has the variance of the minibatch mean taken off, with the correction
    for drawing m of n without replacement.
    """

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._aside: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._sums: Tensor | None = None  # (3, C), of L, L*, (L − L*)²
        self._steps = 0

    def add(self, losses: BatchLosses, index: Tensor | None) -> None:
        """Take in one step's losses (C, m); index (C, m) says of which samples, None of all."""
        self._aside.append((losses.total, losses.units, index))
        if len(self._aside) == MOST_ASIDE:
            self._take_in()

    def close(self) -> dict[str, Tensor]:
        """loss, init_loss and excess_sq, each (C,) float64; the next window begins."""
        self._take_in()
        assert self._sums is not None
        loss, init_loss, excess_sq = self._sums / self._steps
        self._sums, self._steps = None, 0
        return {"loss": loss, "init_loss": init_loss, "excess_sq": excess_sq}

    def excess(self, losses: BatchLosses, index: Tensor | None) -> Tensor:
        """L(w) − L(w*) of one step's minibatches, (C,) float64."""
        init_total = self._at_anchor((index,)).expand_as(losses.total[None])[0]
        difference = losses.total.double() - init_total
        return difference.sum(1) / losses.units.sum(1)

    def state(self) -> dict[str, Any]:
        """What is aside and what is summed, for a snapshot."""
        return {"aside": list(self._aside), "sums": self._sums, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._aside = list(state["aside"])
        self._sums, self._steps = state["sums"], state["steps"]

    def _take_in(self) -> None:
        if not self._aside:
            return
        totals, units, indices = zip(*self._aside, strict=True)
        sums = self._sums_over(torch.stack(totals), torch.stack(units), self._at_anchor(indices))
        self._sums = sums if self._sums is None else self._sums + sums
        self._steps += len(self._aside)
        self._aside = []

    def _at_anchor(self, indices: tuple[Tensor | None, ...]) -> Tensor:
        """Losses at w* of the same samples, (W, C, m) or as one that expands to it."""
        total = self._baseline.total
        if indices[0] is None:
            return total
        index = torch.stack([index for index in indices if index is not None])
        return total[index.to(total.device)]

    def _sums_over(self, total: Tensor, units: Tensor, init_total: Tensor) -> Tensor:
        size, population = total.shape[2], len(self._baseline.total)
        count = units.sum(2).double()
        loss = total.sum(2).double() / count
        init_loss = init_total.expand_as(total).sum(2).double() / count
        excess = loss - init_loss
        noise: Tensor | float = 0.0
        if size == 1 < population:
            noise = torch.full_like(excess, torch.nan)
        elif size < population:
            residual = total - init_total - excess.to(total.dtype)[..., None] * units
            spread = residual.double().square().sum(2) / (size - 1)
            noise = spread * size / count**2 * (1 - size / population)
        return torch.stack([loss, init_loss, excess.square() - noise]).sum(1)
