"""One list of boundaries from the lists of many draws, with intervals and probabilities.

Draws disagree on how many boundaries there are. The list that is told is that of the draw that
agrees best with all others: it costs one for each boundary that only one of two draws has, and less
for one that they have in different places. Each boundary then has the places of its partners in all
draws, and the share of draws in which it has one.

Here: pairing of lists, the list in the middle, intervals.
Not here: boundaries of one curve (regimes.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.regimes import Boundary, Kind

Array = NDArray[np.float64]

REACH = 0.12  # of log time: boundaries farther apart are not the same
COMPARED = 120  # draws that are compared with each other


class Agreed(NamedTuple):
    """A boundary on which draws agree."""

    places: Array  # (S,), NaN in draws that lack it
    kind: Kind
    probability: float  # share of draws that have it


def consensus(draws: Sequence[Sequence[Boundary]], *, least: float) -> list[Agreed]:
    """The boundaries that at least a share of draws has, by place."""
    some = [draws[i] for i in np.linspace(0, len(draws) - 1, COMPARED).astype(int)]
    distinct = Counter(tuple(d) for d in some)
    costs = {
        one: sum(
            count * (len(one) + len(other) - 2 * _paired(one, other)[0])
            for other, count in distinct.items()
        )
        for one in distinct
    }
    middle = min(costs, key=lambda one: costs[one])
    places = np.full((len(draws), len(middle)), np.nan)
    kinds: list[list[Kind]] = [[] for _ in middle]
    for s, draw in enumerate(draws):
        for i, j in _paired(middle, draw)[1]:
            places[s, i] = draw[j].place
            kinds[i].append(draw[j].kind)
    shares = np.isfinite(places).mean(0)
    return [
        Agreed(places[:, i], Counter(kinds[i]).most_common(1)[0][0], float(shares[i]))
        for i in range(len(middle))
        if shares[i] >= least
    ]


def _paired(
    one: Sequence[Boundary], other: Sequence[Boundary]
) -> tuple[float, list[tuple[int, int]]]:
    """The best pairing that keeps the order: its worth and the pairs."""
    n, m = len(one), len(other)
    worth = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            worth[i][j] = max(
                worth[i + 1][j], worth[i][j + 1], _likeness(one[i], other[j]) + worth[i + 1][j + 1]
            )
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if worth[i][j] == worth[i + 1][j]:
            i += 1
        elif worth[i][j] == worth[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return worth[0][0], pairs


def _likeness(one: Boundary, other: Boundary) -> float:
    if one.faster != other.faster:
        return 0.0
    return max(0.0, 1 - abs(one.place - other.place) / REACH)
