"""One list from many."""

import numpy as np
import pytest

from creode.development.consensus import consensus
from creode.development.regimes import Boundary


def onset(place):
    return Boundary(place, "onset", True)


def end(place):
    return Boundary(place, "end", False)


def test_a_boundary_that_most_draws_have_is_told_with_their_share_and_places():
    rng = np.random.default_rng(0)
    draws, exact = [], []
    for s in range(200):
        place = 0.3 + 0.01 * rng.standard_normal()
        exact.append(place)
        extra = [end(0.8)] if s % 4 == 0 else []
        draws.append([onset(place), end(0.5), *extra])
    out = consensus(draws, least=0.5)
    assert [a.kind for a in out] == ["onset", "end"]
    np.testing.assert_array_equal(out[0].places, exact)
    assert out[0].probability == 1
    with_rare = consensus([*draws, *[[onset(0.3), end(0.5), end(0.8)]] * 300], least=0.5)
    assert with_rare[2].probability == pytest.approx((50 + 300) / 500)


def test_lists_are_paired_in_order_by_place_and_by_how_the_rate_changes():
    whole = [[onset(0.2), end(0.3), onset(0.6), end(0.7)]] * 90
    half = [[onset(0.61), end(0.69)]] * 10
    out = consensus(whole + half, least=0.5)
    assert [a.probability for a in out] == [0.9, 0.9, 1.0, 1.0]
    assert np.isnan(out[0].places[90:]).all()
    np.testing.assert_array_equal(out[2].places[90:], 0.61)
    opposite = consensus([[onset(0.5)]] * 60 + [[end(0.5)]] * 40, least=0.5)
    assert [a.probability for a in opposite] == [0.6]
    assert consensus([[onset(0.5)]] * 60 + [[end(0.5)]] * 40, least=0.7) == []


def test_no_list_is_told_where_most_have_none():
    assert consensus([[]] * 70 + [[onset(0.5)]] * 50, least=0.5) == []
