"""Boundaries settled by moves that are known."""

import numpy as np
import pytest

from creode.development.consensus import Agreed
from creode.development.curve import Curves
from creode.development.moves import edges_of, kinds_of_stages, midpoints, settled

NUM = 400
GRID = np.linspace(0, 1, 201)


def curves_of(corners, heights, error):
    """Draws of a curve through corners, each with an error of its own."""
    rng = np.random.default_rng(0)
    at = np.array(heights) + error * rng.standard_normal((NUM, len(heights)))
    value = np.stack([np.interp(GRID, corners, h) for h in at])
    none = [np.empty(0)] * NUM
    return Curves(GRID, value, np.diff(value) * 200, none, np.ones(NUM), np.ones(NUM, int))


def agreed(place, kind, probability=1.0):
    places = np.full(NUM, place)
    places[int(NUM * probability) :] = np.nan
    return Agreed(places, kind, probability)


def read(told, curves):
    out = settled(told, curves)
    kinds = kinds_of_stages(out, curves, edges_of(out))
    return [a.kind for a in out], kinds


MAXIMUM, MINIMUM = agreed(0.4, "maximum"), agreed(0.6, "minimum")


def test_turns_with_sure_moves_on_both_sides_stay():
    curves = curves_of([0, 0.4, 0.6, 1], [0, 1, 0.5, 1.5], 0.05)
    assert read([MAXIMUM, MINIMUM], curves) == (["maximum", "minimum"], ["rise", "fall", "rise"])


def test_a_dip_that_is_not_sure_between_two_rises_is_a_plateau():
    curves = curves_of([0, 0.4, 0.6, 1], [0, 1, 0.95, 2], 0.05)
    assert read([MAXIMUM, MINIMUM], curves) == (["end", "onset"], ["rise", "plateau", "rise"])


def test_a_fall_is_as_sure_as_all_of_it_whatever_parts_it():
    curves = curves_of([0, 0.4, 0.5, 1], [0, 1, 0.95, 0], 0.05)
    told = [MAXIMUM, agreed(0.5, "onset")]
    assert read(told, curves) == (["maximum", "onset"], ["rise", "fall", "fall"])
    back = curves_of([0, 0.4, 0.5, 1], [0, 1, 0.95, 1.5], 0.05)
    assert read(told, back) == (["end", "onset"], ["rise", "plateau", "rise"])


def test_turns_between_moves_that_are_not_sure_are_none():
    curves = curves_of([0, 0.4, 0.6, 1], [0, 0.03, 0, 0.03], 0.05)
    assert settled([MAXIMUM, MINIMUM], curves) == []


def test_the_less_likely_turn_goes_and_two_maxima_are_one_halfway():
    curves = curves_of([0, 0.4, 0.5, 0.6, 1], [0, 1, 0.98, 1, 0], 0.05)
    told = [agreed(0.4, "maximum", 0.8), agreed(0.5, "minimum", 0.6), agreed(0.6, "maximum", 0.9)]
    out = settled(told, curves)
    assert [a.kind for a in out] == ["maximum"]
    assert out[0].probability == 0.9
    np.testing.assert_allclose(out[0].places[:320], 0.5)
    np.testing.assert_allclose(out[0].places[320:360], 0.6)
    assert np.isnan(out[0].places[360:]).all()


@pytest.mark.parametrize(("height", "kinds"), [(0.5, []), (0.52, []), (0.8, ["kink"])])
def test_a_kink_parts_rates_that_surely_differ(height, kinds):
    curves = curves_of([0, 0.5, 1], [0, height, 1], 0.05)
    assert [a.kind for a in settled([agreed(0.5, "kink")], curves)] == kinds


def steepest(told, curves):
    edges = edges_of(told)
    kinds = kinds_of_stages(told, curves, edges)
    return midpoints(told, curves, edges, kinds, 0.025)


def test_the_flank_of_a_faster_move_beside_a_stage_is_not_its_own():
    u = (GRID[1:] + GRID[:-1]) / 2
    rate = sum(
        h * np.exp(-0.5 * ((u - c) / w) ** 2) for c, w, h in ((0.3, 0.06, 1), (0.5, 0.03, 8))
    )
    noisy = rate + 0.02 * np.random.default_rng(0).standard_normal((NUM, 1))
    value = np.concatenate([np.zeros((NUM, 1)), np.cumsum(noisy, 1) / 200], 1)
    curves = Curves(GRID, value, noisy, [np.empty(0)] * NUM, np.ones(NUM), np.ones(NUM, int))
    told = [agreed(0.2, "onset"), agreed(0.47, "onset", 0.7), agreed(0.53, "end")]
    _, slow, fast, _ = steepest(told, curves)
    np.testing.assert_allclose(slow, 0.3, atol=0.01)
    np.testing.assert_allclose(fast, 0.5, atol=0.01)
    mirrored = Curves(GRID, -value[:, ::-1], noisy[:, ::-1], *curves[3:])
    told = [agreed(0.47, "onset"), agreed(0.53, "end", 0.7), agreed(0.8, "end")]
    _, fast, slow, _ = steepest(told, mirrored)
    np.testing.assert_allclose(slow, 0.7, atol=0.01)
    np.testing.assert_allclose(fast, 0.5, atol=0.01)


def test_a_stage_that_only_slows_is_steepest_where_it_begins():
    rate = np.where(GRID[1:] < 0.4, -1.0, 3 * np.exp(-(GRID[1:] - 0.4) / 0.1))
    rates = np.tile(rate, (NUM, 1))
    value = np.concatenate([np.zeros((NUM, 1)), np.cumsum(rates, 1) / 200], 1)
    curves = Curves(GRID, value, rates, [np.empty(0)] * NUM, np.ones(NUM), np.ones(NUM, int))
    _, slows = steepest([agreed(0.4, "minimum")], curves)
    np.testing.assert_allclose(slows, 0.405, atol=0.01)
