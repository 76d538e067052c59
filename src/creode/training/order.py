"""Which samples each step of training sees, and the seeds of its random numbers.

Here: batches and seeds as pure functions of (seed, step), so that a run goes on anywhere.
Not here: the loop (loop.py); the minibatches of a sampler (sampling/).
Dimensions: B samples of a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class BatchOrder:
    """Which samples step s sees: a new shuffle of the data each epoch.

    The epochs' shuffles follow one another without a gap, so each epoch holds every sample once
    and a batch may span two. A batch of all the data comes in the data's own order.
    """

    def __init__(self, *, num_samples: int, batch_size: int, seed: int) -> None:
        self._num_samples = num_samples
        self._batch_size = batch_size
        self._seed = seed
        self._shuffles: dict[int, Tensor] = {}  # of the epochs of the last batch

    def __call__(self, step: int) -> Tensor:
        """Indices (B,) of the samples of step s."""
        size = self._num_samples
        if self._batch_size == size:
            return torch.arange(size)
        start, stop = step * self._batch_size, (step + 1) * self._batch_size
        epochs = range(start // size, (stop - 1) // size + 1)
        self._shuffles = {epoch: self._shuffle(epoch) for epoch in epochs}
        return torch.cat(
            [
                shuffle[max(start - epoch * size, 0) : stop - epoch * size]
                for epoch, shuffle in self._shuffles.items()
            ]
        )

    def _shuffle(self, epoch: int) -> Tensor:
        if epoch in self._shuffles:
            return self._shuffles[epoch]
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "order", epoch))
        return torch.randperm(self._num_samples, generator=generator)


def stream_seed(seed: int, purpose: str, index: int) -> int:
    """A seed for one purpose and one index; 32 bits, since torch's generator reads no more."""
    entropy = [seed, int.from_bytes(purpose.encode(), "little"), index]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
