"""One list of boundaries from the lists of many draws, with intervals and probabilities.

First: is there any boundary? Only if most draws have some. Then: which? Draws disagree on how many
there are. The list that is told is the one that agrees best with them: a boundary is worth its
likeness to its partners, on average over draws, and has a price. It is made from nothing by adding,
moving and dropping one boundary at a time, not chosen among draws, of which none may have all that
most have. Each boundary then has the places of its partners in all draws, and the share of draws in
which it has one.

A short rest between a rise and a fall can hardly be told from a turn. It is one turn, unless most
draws that have either have the rest: then its two edges are told.

Here: the list in the middle, turns and rests, intervals.
Not here: pairing of two lists (pairing.py), boundaries of one curve (regimes.py).
Dimensions: S draws, M most boundaries of a draw, L boundaries of the list, C candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.pairing import Places, likeness, paired, prefixes
from creode.development.regimes import Boundary, Kind

Array = NDArray[np.float64]

SURE = 0.85  # share of draws with a boundary from which there is any
PRICE = 0.75  # of a boundary of the list, in shares that are told
RESTS = 0.8  # share of draws with a rest, of those with it or a turn, from which it is a plateau
COMPARED = 120  # draws that lists are compared with
CANDIDATES = 101  # places that are tried


class Agreed(NamedTuple):
    """A boundary on which draws agree."""

    places: Array  # (S,), NaN in draws that lack it
    kind: Kind
    probability: float  # share of draws that have it


class _Seen(NamedTuple):
    """A boundary of a draw; a turn may stand for a rest between a rise and a fall."""

    boundary: Boundary
    rest: tuple[Boundary, Boundary] | None = None


def consensus(draws: Sequence[Sequence[Boundary]], *, least: float) -> list[Agreed]:
    """The boundaries that at least a share of draws has, by place; none if there may be none."""
    if np.mean([len(d) > 0 for d in draws]) < max(SURE, least):
        return []
    seen = [_with_turns(d) for d in draws]
    tables = [Places.of([one.boundary for one in draw]) for draw in seen]
    some = np.linspace(0, len(draws) - 1, min(COMPARED, len(draws))).astype(int)
    middle = _middle(Places.stacked([tables[s] for s in some]), price=PRICE * least)
    partners: list[list[_Seen | None]] = [[None] * len(draws) for _ in middle.place]
    for s, table in enumerate(tables):
        for i, j in paired(middle, table):
            partners[i][s] = seen[s][j]
    told = [agreed for mine in partners for agreed in _told(mine, least)]
    return sorted(told, key=lambda agreed: float(np.nanmedian(agreed.places)))


def _with_turns(draw: Sequence[Boundary]) -> list[_Seen]:
    out: list[_Seen] = []
    for one in draw:
        last = out[-1].boundary if out else None
        if last and (last.kind, one.kind, last.faster) == ("end", "onset", one.faster):
            kind: Kind = "minimum" if one.faster else "maximum"
            turn = Boundary((last.place + one.place) / 2, kind, one.faster)
            out[-1] = _Seen(turn, (last, one))
        else:
            out.append(_Seen(one))
    return out


def _told(partners: Sequence[_Seen | None], least: float) -> list[Agreed]:
    """A boundary, or the two edges of a rest, or nothing."""
    there = [one for one in partners if one]
    if len(there) < least * len(partners):
        return []
    if sum(one.rest is not None for one in there) >= RESTS * len(there):
        rests = [one.rest if one else None for one in partners]
        return [_agreed([rest[k] if rest else None for rest in rests]) for k in (0, 1)]
    return [_agreed([one.boundary if one else None for one in partners])]


def _agreed(partners: Sequence[Boundary | None]) -> Agreed:
    places = np.array([one.place if one else np.nan for one in partners])
    kind = Counter(one.kind for one in partners if one).most_common(1)[0][0]
    return Agreed(places, kind, float(np.isfinite(places).mean()))


def _middle(draws: Places, *, price: float) -> Places:
    """The list that agrees best with draws: no change of one of its boundaries is better."""
    pool = Places(np.repeat(np.linspace(0, 1, CANDIDATES), 2), np.tile([False, True], CANDIDATES))
    alike = likeness(pool, draws)  # (C, S, M)

    def without(kept: list[int]) -> list[list[int]]:
        return [kept[:i] + kept[i + 1 :] for i in range(len(kept))]

    def worth(kept: list[int]) -> float:
        return float(prefixes(alike[kept])[-1, :, -1].mean()) - price * len(kept)

    kept: list[int] = []
    while True:
        fewer = without(kept)
        trials = [_with_one_more(alike, some) for some in (kept, *fewer)] + fewer
        best = max(trials, key=worth)
        if worth(best) <= worth(kept) + 1e-9:
            return Places(pool.place[kept], pool.faster[kept])
        kept = best


def _with_one_more(alike: Array, kept: list[int]) -> list[int]:
    """The list with the candidate that is worth most; candidates are by place."""
    before = prefixes(alike[kept])
    after = prefixes(alike[kept[::-1], :, ::-1])[::-1, :, ::-1]
    at = np.searchsorted(kept, np.arange(len(alike)))
    worth = np.empty(len(alike))
    for i in range(len(kept) + 1):
        these = at == i
        through = before[i, :, :-1] + alike[these] + after[i, :, 1:]
        alone = (before[i] + after[i]).max(1)
        worth[these] = np.maximum(through.max(2), alone).mean(1)
    k = int(worth.argmax())
    return [*kept[: at[k]], k, *kept[at[k] :]]
