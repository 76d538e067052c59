"""Pairing two lists of boundaries in order, and how much alike they are.

Boundaries are alike if they are near and the rate changes in the same way: 1 at one place, 0 from
a reach on. The best pairing keeps the order and has the largest sum; it is found exactly.

Here: likeness, the best pairing, of many lists at once.
Not here: which list is told (consensus.py).
Source: the recursion of Needleman and Wunsch 1970, without a penalty for gaps.
Dimensions: S draws, M most boundaries of a draw, L boundaries of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.regimes import Boundary

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

REACH = 0.12  # of log time: boundaries farther apart are not the same


class Places(NamedTuple):
    """Boundaries as a table: of one list, or of draws."""

    place: Array  # (M,) or (S, M); infinite where a draw has fewer
    faster: Flags  # the same: whether the rate increases

    @classmethod
    def of(cls, some: Sequence[Boundary]) -> Places:
        """Of one list."""
        return cls(np.array([b.place for b in some]), np.array([b.faster for b in some], bool))

    @classmethod
    def stacked(cls, draws: Sequence[Places]) -> Places:
        """Of draws."""
        most = max(len(d.place) for d in draws)
        place, faster = np.full((len(draws), most), np.inf), np.zeros((len(draws), most), bool)
        for s, draw in enumerate(draws):
            place[s, : len(draw.place)], faster[s, : len(draw.place)] = draw
        return cls(place, faster)


def likeness(one: Places, draws: Places) -> Array:
    """(L, S, M): of each boundary of a list with each of each draw."""
    away = np.abs(one.place[:, None, None] - draws.place)
    same = one.faster[:, None, None] == draws.faster
    out: Array = np.where(same, np.maximum(1 - away / REACH, 0.0), 0.0)
    return out


def prefixes(alike: Array) -> Array:
    """(L + 1, S, M + 1): the worth of the best pairing of the first with the first of each draw."""
    length, draws, most = alike.shape
    out = np.zeros((length + 1, draws, most + 1))
    for i, row in enumerate(alike):
        out[i + 1] = out[i]
        out[i + 1, :, 1:] = np.maximum(out[i, :, 1:], out[i, :, :-1] + row)
        np.maximum.accumulate(out[i + 1], axis=1, out=out[i + 1])
    return out


def paired(one: Places, other: Places) -> list[tuple[int, int]]:
    """The pairs of the best pairing of two lists."""
    worth = prefixes(likeness(one, Places.stacked([other])))[:, 0]
    pairs, i, j = [], len(one.place), len(other.place)
    while i and j:
        if worth[i, j] == worth[i - 1, j]:
            i -= 1
        elif worth[i, j] == worth[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]
