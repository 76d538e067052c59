"""The two streams of random numbers of a chain: noise and minibatches.

Here: generators seeded by (seed, unit, chain) alone, so that a chain replays by itself.
Not here: what the numbers are used for (kernels, engine.py).
The noise stream has a state, kept in snapshots; the minibatch of a step is a pure function of the
step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

TILE = 1 << 17  # normals of all chains made in one go: enough to share out, few enough to cache
AHEAD = 1 << 14  # normals of a chain that are made ahead
MOST_INDICES = 1 << 18  # of a block of minibatches drawn together
MOST_STEPS = 64  # of such a block


def stream_seed(seed: int, unit: Sequence[str], chain: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one chain of one unit of work."""
    text = "\x1f".join([str(seed), *unit, str(chain), purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


class Noise:
    """Standard normals, one source a chain, handed out in order along the flat weights.

    On a CPU the sources give random bits and all chains' bits become normals together, by the
    inverse of the distribution function: torch draws normals on one thread and takes longer. The
    noise of many steps of a small model is made at once.
    """

    def __init__(self, seeds: Sequence[int], like: Tensor, *, per_step: int) -> None:
        """`like` has the device and dtype wanted; `per_step` numbers a step, a multiple of 16."""
        on_cpu = like.device.type == "cpu"
        self._bits = [np.random.SFC64(seed) for seed in seeds] if on_cpu else []
        self._generators = [
            torch.Generator(like.device).manual_seed(seed) for seed in (() if on_cpu else seeds)
        ]
        self._ahead = per_step * (AHEAD // per_step)  # 0: nothing is made ahead
        self._made = like.new_empty(len(seeds), self._ahead)
        self._given = self._ahead  # numbers of `_made` that were handed out
        self._before = self._sources()  # when `_made` was made

    def take(self, count: int) -> Tensor:
        """The next numbers (C, count), row c from chain c's source; the caller may overwrite them.

        Taking pieces that are multiples of 16 one after the other gives the same numbers as taking
        the whole.
        """
        if not self._ahead:
            if self._made.shape[1] < count:
                self._made = self._made.new_empty(len(self._made), count)
            return self._fill(self._made[:, :count])
        if self._given == self._ahead:
            self._before, self._given = self._sources(), 0
            self._fill(self._made)
        self._given += count
        return self._made[:, self._given - count : self._given]

    def state(self) -> dict[str, Any]:
        """What the numbers to come depend on, for a snapshot."""
        return {"sources": self._before if self._ahead else self._sources(), "given": self._given}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot's state."""
        for source, saved in zip(self._bits, state["sources"], strict=False):
            source.state = {**source.state, "state": {"state": saved.numpy().view(np.uint64)}}
        for generator, saved in zip(self._generators, state["sources"], strict=False):
            generator.set_state(saved)
        self._before, self._given = state["sources"], state["given"]
        if self._given < self._ahead:
            self._fill(self._made)

    def _sources(self) -> list[Tensor]:
        words = [source.state["state"]["state"] for source in self._bits]
        return [torch.from_numpy(state.view(np.int64).copy()) for state in words] + [
            generator.get_state() for generator in self._generators
        ]

    def _fill(self, out: Tensor) -> Tensor:
        for row, generator in zip(out, self._generators, strict=False):
            row.normal_(generator=generator)
        for piece in torch.split(out, max(TILE // len(out), 16), dim=1) if self._bits else ():
            self._fill_from_bits(piece)
        return out

    def _fill_from_bits(self, out: Tensor) -> None:
        """√2 erf⁻¹(u), u uniform on (−1, 1) to the precision of `out`, never ±1."""
        width = 8 * out.element_size()  # bits of a number
        for row, source in zip(out, self._bits, strict=True):
            integers = source.random_raw(len(row) * width // 64).view(f"i{width // 8}")
            row.copy_(torch.from_numpy(integers))
        largest = 1 - torch.finfo(out.dtype).eps / 2
        out.mul_(2.0 ** (1 - width) * largest).erfinv_().mul_(2**0.5)


class Minibatches:
    """Which samples each step of each chain sees: `size` of `population`, without replacement.

    The minibatches of a block of steps are drawn together, from a generator made for that block.
    """

    def __init__(self, seeds: Sequence[int], *, population: int, size: int) -> None:
        self._seeds = list(seeds)
        self._population = population
        self._size = size
        self._steps = min(max(MOST_INDICES // size, 1), MOST_STEPS)
        self._block = -1
        self._drawn = torch.empty(0)  # (steps, C, m) of the present block

    @property
    def is_full(self) -> bool:
        """Whether every batch is the whole data set, in its own order."""
        return self._size == self._population

    def index(self, step: int) -> Tensor:
        """Indices (C, m) of the samples of one step."""
        if self.is_full:
            return torch.arange(self._population).expand(len(self._seeds), -1)
        block, within = divmod(step, self._steps)
        if block != self._block:
            self._drawn = torch.from_numpy(
                np.stack([self._draw(seed, block) for seed in self._seeds], axis=1)
            )
            self._block = block
        return self._drawn[within]

    def _draw(self, seed: int, block: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        generator = np.random.Generator(np.random.Philox(key=seed, counter=block << 64))
        drawn = np.empty((self._steps, self._size), dtype=np.int64)
        for row in drawn:
            row[:] = generator.choice(self._population, self._size, replace=False, shuffle=False)
        return drawn
