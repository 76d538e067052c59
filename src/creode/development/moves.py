"""What curves do between the boundaries that are told: rise, fall or rest.

Draws need not agree with the list that is told: one may turn where it is told that the curve comes
to rest. So moves are judged by all draws together, and one that is not sure is none.

Here: boundaries settled by the moves beside them, kinds of stages, where they are steepest.
Not here: which boundaries draws agree on (consensus.py).
Dimensions: S draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from creode.development.consensus import Agreed
from creode.development.curve import Curves

Array = NDArray[np.float64]

TURNS = ("maximum", "minimum")
ERRORS = 2.0  # of a move or a change of rate: what is less is not sure
ROUNDING = 1e-9  # of the largest rate in a stage: a change of rate between cells that is none


def at(curves: Curves, places: Array) -> Array:
    """(S, places): values of the curve."""
    nearest: Array = curves.value[:, np.round(places * (len(curves.grid) - 1)).astype(int)]
    return nearest


def edges_of(agreed: Sequence[Agreed]) -> Array:
    """(stage + 1,): where stages start and end."""
    return np.array([0.0, *(float(np.nanmedian(a.places)) for a in agreed), 1.0])


def settled(agreed: Sequence[Agreed], curves: Curves) -> list[Agreed]:
    """The boundaries that the moves beside them bear out.

    A kink parts two rates that surely differ. A turn has a sure move on either side, as far as the
    next turn, whatever parts it: with one on one side only it is the edge of a plateau, and with
    none it is nothing. Two maxima or two minima that nothing parts are one, halfway.
    """
    told = list(agreed)
    while True:
        for rule in (_with_a_kink_less, _with_one_turn_for_two, _with_a_turn_less):
            fewer = rule(told, curves)
            if fewer is not None:
                told = fewer
                break
        else:
            return _with_rests(told, curves)


def _with_a_kink_less(told: list[Agreed], curves: Curves) -> list[Agreed] | None:
    edges = edges_of(told)
    rate = np.diff(at(curves, edges)) / np.maximum(np.diff(edges), 1e-9)
    bend = np.diff(rate)
    sure = np.abs(bend.mean(0)) / bend.std(0)
    kinks = [i for i, one in enumerate(told) if one.kind == "kink" and sure[i] < ERRORS]
    return _without(told, min(kinks, key=lambda i: sure[i])) if kinks else None


def _with_one_turn_for_two(told: list[Agreed], _: Curves) -> list[Agreed] | None:
    for i, (one, other) in enumerate(pairwise(told)):
        if one.kind in TURNS and one.kind == other.kind:
            return [*told[:i], _joined(one, other), *told[i + 2 :]]
    return None


def _with_a_turn_less(told: list[Agreed], curves: Curves) -> list[Agreed] | None:
    unsure = [i for i, sure in _sides(told, curves).items() if not any(sure)]
    return _without(told, min(unsure, key=lambda i: told[i].probability)) if unsure else None


def _with_rests(told: list[Agreed], curves: Curves) -> list[Agreed]:
    out = list(told)
    for i, (before, after) in _sides(told, curves).items():
        if not (before and after):
            out[i] = told[i]._replace(kind="end" if before else "onset")
    return out


def _sides(told: list[Agreed], curves: Curves) -> dict[int, tuple[bool, bool]]:
    """Of each turn: whether there is a sure move to it and from it."""
    turns = [i for i, one in enumerate(told) if one.kind in TURNS]
    value = at(curves, edges_of(told))
    sides = {}
    for last, i, following in zip([-1, *turns], turns, [*turns[1:], len(told)], strict=False):
        beyond = (1 if told[i].kind == "maximum" else -1) * (value[:, [i + 1]] - value)
        sure = beyond.mean(0) > ERRORS * beyond.std(0)
        sides[i] = bool(sure[last + 1 : i + 1].any()), bool(sure[i + 2 : following + 2].any())
    return sides


def _without(told: list[Agreed], i: int) -> list[Agreed]:
    return [*told[:i], *told[i + 1 :]]


def _joined(one: Agreed, other: Agreed) -> Agreed:
    """Halfway in draws that have both."""
    places = np.where(np.isfinite(one.places), one.places, other.places)
    both = np.isfinite(one.places) & np.isfinite(other.places)
    places[both] = (one.places[both] + other.places[both]) / 2
    return Agreed(places, one.kind, float(np.isfinite(places).mean()))


def kinds_of_stages(agreed: Sequence[Agreed], curves: Curves, edges: Array) -> list[str]:
    """A plateau lies between an end and an onset; other stages rise or fall, if they move."""
    kinds = []
    for i, delta in enumerate(np.diff(at(curves, edges)).T):
        left = agreed[i - 1].kind if i else None
        right = agreed[i].kind if i < len(agreed) else None
        rests = left in (None, "end") and right in (None, "onset")
        still = abs(delta.mean()) < ERRORS * delta.std()
        if rests and (still or left or right):
            kinds.append("plateau")
        else:
            kinds.append("rise" if delta.mean() > 0 else "fall")
    return kinds


def midpoints(
    agreed: Sequence[Agreed], curves: Curves, edges: Array, kinds: Sequence[str], outside: float
) -> Array:
    """(stage, 3): low, median and high of where stages are steepest; NaN for plateaus.

    Where a stage begins or ends by leaving or joining a faster move, that move's flank is not its
    own: it is steepest at a peak of its rate, in the draws that have one, unless most have none.
    """
    places = np.stack([a.places for a in agreed], 1) if agreed else np.empty((len(curves.rate), 0))
    cells = (curves.grid[1:] + curves.grid[:-1]) / 2
    out = np.full((len(kinds), 3), np.nan)
    for i, kind in enumerate(kinds):
        if kind == "plateau":
            continue
        up = 1.0 if kind == "rise" else -1.0
        peaks, steepest = [], []
        for s, rate in enumerate(curves.rate):
            start = places[s, i - 1] if i else 0.0
            end = places[s, i] if i < len(agreed) else 1.0
            if not start < end:  # a draw without one of the edges is none of this stage
                continue
            inside = (cells >= start - 1 / len(cells)) & (cells <= end + 1 / len(cells))
            speed = np.where(inside, up * rate, -np.inf)
            if speed.max() <= 0:
                continue
            steepest.append(_top(cells, speed))
            own = _without_flanks(speed[inside], left=i > 0, right=i < len(agreed))
            if own.max() > 0:
                peaks.append(_top(cells[inside], own))
        if told := peaks if 2 * len(peaks) >= len(steepest) else steepest:
            out[i] = np.quantile(told, [outside, 0.5, 1 - outside])
    return out


def _top(cells: Array, speed: Array) -> float:
    """The middle of where it is fastest."""
    return float(cells[speed >= 0.9 * speed.max()].mean())


def _without_flanks(speed: Array, *, left: bool, right: bool) -> Array:
    """Speed in a stage; −∞ where it falls from an edge inwards, which may be all along."""
    falls = np.diff(speed) < -ROUNDING * np.abs(speed).max()
    rises = np.diff(speed) > ROUNDING * np.abs(speed).max()
    first = int(np.argmin(np.append(falls, False))) if left else 0
    last = len(rises) - int(np.argmin(np.append(rises[::-1], False))) if right else len(rises)
    out = np.full_like(speed, -np.inf)
    if last - first >= 2:
        out[first : last + 1] = speed[first : last + 1]
    return out


def windows(edges: Array, kinds: Sequence[str]) -> tuple[Array, Array]:
    """Between which places stages are told to have moved.

    At the edges of a move its rate is half of its peak: what is left of it, another half of its
    length on either side or half of the plateau there, is its own and not the plateau's.
    """
    starts, ends, length = edges[:-1].copy(), edges[1:].copy(), np.diff(edges)
    for i in range(len(kinds) - 1):
        moving = [kind != "plateau" for kind in kinds[i : i + 2]]
        if moving[0] != moving[1]:
            shift = min(length[i], length[i + 1]) / 2
            shift = shift if moving[0] else -shift
            starts[i + 1] += shift
            ends[i] += shift
    return starts, ends
