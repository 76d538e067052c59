"""The two streams of random numbers of a chain: noise and minibatches.

Here: generators seeded by (seed, unit, chain) alone, so that a chain replays by itself.
Not here: what the numbers are used for (kernels, engine.py).
The noise stream has a state, kept in snapshots; the minibatch of a step is a pure function of the
step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def stream_seed(seed: int, unit: Sequence[str], chain: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one chain of one unit of work."""
    text = "\x1f".join([str(seed), *unit, str(chain), purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


class Noise:
    """Standard normals, one generator a chain, filled in order along the flat weights."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def fill(self, out: Tensor) -> Tensor:
        """Fill out (C, P), row c from chain c's generator.

        Filling pieces whose lengths are multiples of 16 one after the other gives the same numbers
        as filling the whole.
        """
        for row, generator in zip(out, self._generators, strict=True):
            row.normal_(generator=generator)
        return out

    def state(self) -> list[Tensor]:
        """States of the generators, for a snapshot."""
        return [generator.get_state() for generator in self._generators]

    def restore(self, state: Sequence[Tensor]) -> None:
        """Continue from a snapshot's states."""
        for generator, saved in zip(self._generators, state, strict=True):
            generator.set_state(saved)


class Minibatches:
    """Which samples each step of each chain sees: `size` of `population`, without replacement."""

    def __init__(self, seeds: Sequence[int], *, population: int, size: int) -> None:
        self._seeds = list(seeds)
        self._population = population
        self._size = size

    @property
    def is_full(self) -> bool:
        """Whether every batch is the whole data set, in its own order."""
        return self._size == self._population

    def index(self, step: int) -> Tensor:
        """Indices (C, m) of the samples of one step."""
        if self.is_full:
            return torch.arange(self._population).expand(len(self._seeds), -1)
        rows = [
            np.random.Generator(np.random.Philox(key=seed, counter=step << 64)).choice(
                self._population, self._size, replace=False, shuffle=False
            )
            for seed in self._seeds
        ]
        return torch.from_numpy(np.stack(rows))
