"""One list from many."""

from itertools import combinations

import numpy as np
import pytest

from creode.development.consensus import _middle as consensus_middle
from creode.development.consensus import _with_one_more, consensus
from creode.development.pairing import Places, likeness, prefixes
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


def test_nothing_is_told_unless_most_draws_have_some_boundary():
    step = [onset(0.4), end(0.6)]
    assert consensus([[]] * 20 + [step] * 80, least=0.5) == []
    assert [a.probability for a in consensus([[]] * 12 + [step] * 88, least=0.5)] == [0.88, 0.88]


def test_the_list_may_be_that_of_no_draw():
    rng = np.random.default_rng(0)
    all_of_them = [f(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9) for f in (onset, end)]
    draws = []
    for _ in range(300):  # each lacks some at random, so none has all
        kept = rng.random(10) < 0.7
        kept[rng.integers(10)] = False
        draws.append([b for b, k in zip(all_of_them, kept, strict=True) if k])
    out = consensus(draws, least=0.5)
    assert [a.kind for a in out] == ["onset", "end"] * 5
    np.testing.assert_allclose(
        [np.nanmedian(a.places) for a in out], [b.place for b in all_of_them]
    )


def test_no_list_of_up_to_three_places_agrees_better():
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(60):
        places = [0.2, 0.27, 0.6] + 0.06 * rng.standard_normal(3)
        draws.append(sorted(onset(p) for p in places[rng.random(3) < 0.8]))
    table = Places.stacked([Places.of(d) for d in draws])
    grid = np.linspace(0, 1, 26)

    def worth(places):
        one = Places(np.array(places), np.ones(len(places), bool))
        return prefixes(likeness(one, table))[-1, :, -1].mean() - 0.3 * len(places)

    found = consensus_middle(table, price=0.3)
    assert found.faster.all()
    best = max(worth(p) for n in range(1, 4) for p in combinations(grid, n))
    assert worth(found.place) >= best


def test_a_rest_that_draws_disagree_on_is_one_turn():
    turn = [onset(0.2), Boundary(0.5, "maximum", False), end(0.8)]
    rest = [onset(0.2), Boundary(0.45, "end", False), Boundary(0.53, "onset", False), end(0.8)]
    out = consensus([turn] * 40 + [rest] * 60, least=0.5)
    assert [a.kind for a in out] == ["onset", "maximum", "end"]
    np.testing.assert_allclose(out[1].places, [0.5] * 40 + [0.49] * 60)
    out = consensus([turn] * 10 + [rest] * 90, least=0.5)
    assert [a.kind for a in out] == ["onset", "end", "onset", "end"]
    assert [a.probability for a in out] == [1.0, 0.9, 0.9, 1.0]
    assert np.nanmedian(out[1].places) == 0.45
    assert np.nanmedian(out[2].places) == 0.53
    step_down = [Boundary(0.4, "onset", False), Boundary(0.6, "end", True)]
    assert [a.kind for a in consensus([step_down] * 50, least=0.5)] == ["onset", "end"]


def test_the_candidate_added_is_the_one_that_is_worth_most():
    rng = np.random.default_rng(3)
    for _ in range(20):
        alike = np.maximum(rng.uniform(-1, 1, (12, 3, 2)), 0.0)
        kept = [2, 7]
        lists = [sorted([*kept, k]) for k in range(12)]
        worth = [prefixes(alike[one])[-1, :, -1].mean() for one in lists]
        assert prefixes(alike[_with_one_more(alike, kept)])[-1, :, -1].mean() >= max(
            w for k, w in enumerate(worth) if k not in kept
        )
