"""Pairings against all pairings."""

from itertools import combinations

import numpy as np

from creode.development.pairing import REACH, Places, likeness, paired, prefixes
from creode.development.regimes import Boundary


def a_list(rng):
    places = np.sort(rng.uniform(0.3, 0.7, rng.integers(0, 5)))
    return Places.of([Boundary(p, "kink", bool(rng.random() < 0.5)) for p in places])


def by_hand(one, other):
    """(L, M)"""
    return np.array(
        [
            [max(0.0, 1 - abs(p - q) / REACH) * (f == g) for q, g in zip(*other, strict=True)]
            for p, f in zip(*one, strict=True)
        ]
    ).reshape(len(one.place), len(other.place))


def best_of_all(alike):
    """Over all pairings that keep the order."""
    length, most = alike.shape
    return max(
        alike[list(rows), list(columns)].sum()
        for num in range(min(length, most) + 1)
        for rows in combinations(range(length), num)
        for columns in combinations(range(most), num)
    )


def test_the_best_pairing_is_the_best_of_all():
    rng = np.random.default_rng(0)
    one = a_list(rng)
    while len(one.place) < 3:
        one = a_list(rng)
    draws = [a_list(rng) for _ in range(60)]
    alike = likeness(one, Places.stacked(draws))
    worth = prefixes(alike)
    for s, draw in enumerate(draws):
        exact = by_hand(one, draw)
        np.testing.assert_allclose(alike[:, s, : len(draw.place)], exact)
        assert (alike[:, s, len(draw.place) :] == 0).all()
        for first in range(len(one.place) + 1):
            np.testing.assert_allclose(worth[first, s, -1], best_of_all(exact[:first]))
        pairs = paired(one, draw)
        assert pairs == sorted(pairs)
        assert all(exact[i, j] > 0 for i, j in pairs)
        np.testing.assert_allclose(sum(exact[i, j] for i, j in pairs), best_of_all(exact))
