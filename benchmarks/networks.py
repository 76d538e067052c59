"""Deep linear networks of many shapes, at the deepest point of their fibre, where λ is known.

Here: which networks, by a seed. Settings were compared on those of SEED: judge on another.
Not here: reading them (accuracy.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from creode.testbeds import deep_linear
from creode.testbeds.deep_linear import DeepLinear

SEED = 2024
MOST_WIDTH = 2000  # data of as many inputs stay in memory


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A network before it is made."""

    widths: tuple[int, ...]
    rank: int
    seed: int

    @property
    def num_weights(self) -> int:
        """All weights."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    def make(self, num_samples: int, noise: float = 0.0) -> DeepLinear:
        """The network and its data."""
        import torch

        return deep_linear(
            self.widths, self.rank, num_samples=max(num_samples, self.widths[0] + (noise > 0)),
            noise=noise, seed=self.seed, dtype=torch.float32,
        )  # fmt: skip


def shapes(
    count: int, *, least: float, most: float, seed: int = SEED, depth: int | None = None
) -> list[Shape]:
    """Random depths 2–12 (or one depth), widths and ranks; sizes log-uniform, in weights."""
    rng = np.random.default_rng(seed)
    found: list[Shape] = []
    while len(found) < count:
        num_layers = depth or int(rng.integers(2, 13 if rng.random() < 0.5 else 5))
        size = math.exp(rng.uniform(math.log(least), math.log(most)))
        widths = [
            max(2, int(math.sqrt(size / num_layers) * math.exp(rng.normal(0, 0.35))))
            for _ in range(num_layers + 1)
        ]
        rank = int(rng.integers(0, min(widths) + 1))
        if max(widths) <= MOST_WIDTH:
            found.append(Shape(widths=tuple(widths), rank=rank, seed=len(found)))
    return found
