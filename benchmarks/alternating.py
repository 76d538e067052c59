"""Contenders take turns: A B C, C A B, …, so that a slow minute of the machine hits all alike.

Here: rounds in shuffled order, and the spread of a ratio over rounds.
Not here: what a turn is (contender.py), which ratios are of interest (throughput.py).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles of a quantity measured once a round."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    num_rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of the values; quartiles by linear interpolation."""
        if not values:
            raise ValueError("a spread needs at least one value, got none.")
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else [values[0]] * 3
        )
        return cls(median=median, low=low, high=high, num_rounds=len(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


def alternate(
    turns: Mapping[str, Callable[[], T]],
    *,
    rounds: int,
    seed: int = 0,
    on_round: Callable[[int], None] | None = None,
) -> dict[str, list[T]]:
    """What every turn returned in each round; the order is shuffled anew for every round.

    Args:
        turns: what each contender does when it is its turn; nothing else runs meanwhile.
        rounds: how often each has its turn.
        seed: of the orders.
        on_round: told the number of rounds done.
    """
    shuffle = random.Random(seed).shuffle
    results: dict[str, list[T]] = {name: [] for name in turns}
    for number in range(1, rounds + 1):
        order = list(turns)
        shuffle(order)
        for name in order:
            results[name].append(turns[name]())
        if on_round is not None:
            on_round(number)
    return results


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratios of two quantities measured in the same rounds."""
    return [top / bottom for top, bottom in zip(numerators, denominators, strict=True)]
