"""Where a curve changes its way of moving: the boundaries of developmental stages.

A stage is a stretch over which the curve rises, falls, or rests. Boundaries are

* maximum, minimum: the curve turns;
* onset, end: it leaves a plateau, or comes to one. They lie where the rate passes halfway between
  what it is on the plateau and its peak in the move: c ∓ 1.76 w for a logistic step of width w at
  c, and the corners of a straight ramp;
* kink: the rate changes from one lasting value to another of the same sign, halfway between them.

Not counted are changes by less than a share of the curve's range, and a bend so gradual that the
rate changes all along (a parabola's, away from its turn).

Here: the boundaries of one curve that is known.
Not here: curves given readings (curve.py), intervals and probabilities (stages.py).
Source: critical points of the curve, arXiv:2402.02364. Deviation: on a plateau every point is
critical, so its two edges are told; kinks, where nothing is critical, are told as well.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["onset", "end", "maximum", "minimum", "kink"]

SHARE = 0.05  # of the range: a change of rate that moves the curve by less is none
QUIET = 0.25  # of the neighbour's rate: a stage that is slower can be a plateau ...
STILL = 0.1  # ... if it moves by less than this share of the range
GRADUAL = 0.55  # a change of rate that takes a larger share of its stretch is a bend, no boundary
ROUNDING = 1e-9  # of the largest rate: a change of rate between cells that is none


class Boundary(NamedTuple):
    """A place at which a curve changes its way of moving."""

    place: float
    kind: Kind
    faster: bool  # whether the rate increases (a fall that slows is an increase)


def boundaries(rate: Array, kinks: Array, *, gap: float, least: float = 0.0) -> list[Boundary]:
    """The boundaries of a curve.

    Args:
        rate: (M,), df/du in M equal cells of [0, 1].
        kinks: where the rate jumps, in (0, 1).
        gap: between neighbouring readings; boundaries closer than half of it are one.
        least: movements smaller than this count for nothing, whatever the range.

    Returns:
        By place.
    """
    path = np.append(0.0, np.cumsum(rate)) / len(rate)
    extent = max(float(np.ptp(path)), 1e-300)
    small = max(SHARE * extent, least)
    still = max(STILL * extent, 2 * least)
    turns = _extrema(rate, small)
    found: list[Boundary] = []
    for i in range(len(turns) - 1):
        p, q = turns[i], turns[i + 1]
        at_end = p == 0 or q == len(rate) - 1
        found += _between(rate, p, q, still, at_end=at_end, gap=gap)
    for place in np.sort(kinks):
        found = _with_kink(found, float(place), rate, small, still, gap)
    return sorted(found)


def _extrema(rate: Array, small: float) -> list[int]:
    """Alternating peaks and valleys of the rate, ends included, that move the curve enough."""
    change = np.diff(rate)
    steps = np.flatnonzero(np.abs(change) > ROUNDING * np.abs(rate).max())
    if not len(steps):
        return [0]
    sign = np.sign(change[steps])
    inner = [int(steps[i + 1]) for i in np.flatnonzero(sign[1:] != sign[:-1])]
    kept = [0, *inner, len(rate) - 1]
    while len(kept) > 1:
        masses = [_mass(rate, kept, k) for k in range(len(kept))]
        i = int(np.argmin(masses))
        if masses[i] >= small:
            break
        if i in (0, len(kept) - 1):
            end = kept.pop(i)
            kept[0 if i == 0 else -1] = end  # what was next to the end takes its place
        else:
            left, right = (abs(rate[kept[i]] - rate[kept[k]]) for k in (i - 1, i + 1))
            j = i - 1 if left <= right else i + 1
            if j in (0, len(kept) - 1):
                del kept[i]
            else:
                del kept[max(i, j)], kept[min(i, j)]
    return kept


def _mass(rate: Array, kept: list[int], i: int) -> float:
    """How much an extremum moves the curve beyond what its nearer neighbour's rate would."""
    around = [kept[j] for j in (i - 1, i + 1) if 0 <= j < len(kept)]
    low, high = min([kept[i], *around]), max([kept[i], *around])
    level = float(rate[kept[i]])
    reference = min((float(rate[j]) for j in around), key=lambda r: abs(r - level))
    up = 1.0 if level >= reference else -1.0
    return float(np.maximum(up * (rate[low : high + 1] - reference), 0).sum() / len(rate))


def _between(
    rate: Array, p: int, q: int, still: float, *, at_end: bool, gap: float
) -> list[Boundary]:
    """The boundaries between a peak and a valley of the rate, or the reverse.

    Between moves of opposite sign the curve rests, and does not merely turn, if most of the time
    below half of their rates is spent below a tenth of them.
    """
    a, b = float(rate[p]), float(rate[q])
    slow, fast = (p, q) if abs(a) < abs(b) else (q, p)
    if a * b < 0 and not _rests(rate, slow, fast, still):
        one, two = _crossing(rate, p, q, a / 2), _crossing(rate, p, q, b / 2)
        rest = _crossing(rate, p, q, b / 10) - _crossing(rate, p, q, a / 10)
        if two - one > 2 * gap and rest >= 0.5 * (two - one):
            return [Boundary(one, "end", b > a), Boundary(two, "onset", b > a)]
        return [Boundary(_crossing(rate, p, q, 0.0), "maximum" if a > 0 else "minimum", b > a)]
    if at_end:
        taken = abs(
            _crossing(rate, p, q, 0.9 * a + 0.1 * b) - _crossing(rate, p, q, 0.1 * a + 0.9 * b)
        )
        if taken > GRADUAL * (q - p) / len(rate):
            return []
    place = _crossing(rate, p, q, (a + b) / 2)
    if abs(b) < QUIET * abs(a):
        return [Boundary(place, "end", b > a)]
    if abs(a) < QUIET * abs(b):
        return [Boundary(place, "onset", b > a)]
    return [Boundary(place, "kink", b > a)]


def _rests(rate: Array, slow: int, fast: int, still: float) -> bool:
    """Whether the stage around cell `slow` is a plateau beside that around cell `fast`."""
    if abs(rate[slow]) >= QUIET * abs(rate[fast]):
        return False
    other = np.flatnonzero(rate * rate[slow] <= 0)  # where it moves the other way
    first = other[other < slow].max(initial=-1) + 1
    last = other[other > slow].min(initial=len(rate))
    return bool(abs(rate[first:last].sum()) / len(rate) < still)


def _crossing(rate: Array, p: int, q: int, level: float) -> float:
    """Where the rate passes a level on its way from cell p to cell q, in [0, 1]."""
    piece = rate[p : q + 1] - level
    if rate[p] < rate[q]:
        piece = -piece
    after = int(np.argmax(piece <= 0))  # the first cell beyond
    if after == 0:
        return (p + 0.5) / len(rate)
    before = piece[after - 1]
    share = before / (before - piece[after])
    return (p + after - 0.5 + float(share)) / len(rate)


def _with_kink(
    found: list[Boundary],
    place: float,
    rate: Array,
    small: float,
    still: float,
    gap: float,
) -> list[Boundary]:
    """The boundaries with one where the rate jumps, in place of any as near, if it jumps enough."""
    num = len(rate)
    before, after = int(place * num) - 1, int(place * num) + 1
    if before < 0 or after >= num:
        return found
    a, b = float(rate[before]), float(rate[after])
    others = [x for x in found if abs(x.place - place) >= 0.5 * gap]
    edges = np.array([0.0, *(x.place for x in others), 1.0])
    room = float(np.abs(edges - place).min())
    if abs(a - b) * room < small:
        return found
    slow, fast = (before, after) if abs(a) < abs(b) else (after, before)
    kind: Kind
    if a * b < 0 and not _rests(rate, slow, fast, still):
        kind = "maximum" if a > 0 else "minimum"
    elif abs(rate[slow]) < QUIET * abs(rate[fast]):
        kind = "end" if abs(b) < abs(a) else "onset"
    else:
        kind = "kink"
    return sorted([*others, Boundary(place, kind, b > a)])
