"""Segmentation against enumeration."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import xarray as xr

from creode.development import change_points
from creode.development.change_points import _costs, _places, _quantiles, _segmentations

SHORTEST = {"constant": 2, "linear": 3}


def planted(rng, num=40, parts=3, changes=(), error=0.05, told=1.0):
    steps = np.geomspace(10, 1e5, num)
    level = np.zeros((num, parts))
    for place in changes:
        level[place:] += rng.choice([-1, 1], parts) * rng.uniform(0.1, 0.4, parts)
    se = error * rng.uniform(0.5, 1.5, (num, parts))
    value = 1 + level + se * rng.standard_normal((num, parts))
    dims = ("checkpoint", "component")
    return xr.Dataset({"llc": (dims, value), "llc_se": (dims, told * se)}, {"checkpoint": steps})


def slow_cost(x, y, error, shape):
    total = 0.0
    for column, sigma in zip(y.T, error.T, strict=True):
        fit = np.polynomial.polynomial.polyfit(x, column, SHORTEST[shape] - 2, w=1 / sigma)
        residual = column - np.polynomial.polynomial.polyval(x, fit)
        total += np.square(residual / sigma).sum()
    return total


@pytest.mark.parametrize("shape", ["constant", "linear"])
def test_segmentations_and_places_are_those_of_enumeration(shape):
    rng = np.random.default_rng(0)
    n = 13
    x, y, error = (
        np.sort(rng.uniform(0, 9, n)),
        rng.normal(5, 1, (n, 2)),
        rng.uniform(0.5, 2, (n, 2)),
    )
    cost = _costs(x, y, error, shape)
    best, cuts = _segmentations(cost, 2)
    for num in range(3):
        each = {}
        for cut in combinations(range(1, n), num):
            edges = [0, *cut, n]
            if min(np.diff(edges)) >= SHORTEST[shape]:
                each[cut] = sum(
                    slow_cost(x[a:b], y[a:b], error[a:b], shape) for a, b in pairwise(edges)
                )
        cheapest = min(each, key=each.get)
        assert best[num] == pytest.approx(each[cheapest])
        assert cuts[num] == list(cheapest)
        weight = np.exp(-0.5 * np.array(list(each.values())))
        for k, places in enumerate(_places(cost, num)):
            exact = np.zeros(n + 1)
            np.add.at(exact, [cut[k] for cut in each], weight / weight.sum())
            np.testing.assert_allclose(places, exact, atol=1e-10)


def test_planted_changes_are_found_and_lie_in_their_intervals():
    rng = np.random.default_rng(1)
    found = inside = 0
    for _ in range(60):
        out = change_points(planted(rng, changes=(12, 27)))
        if out.sizes["change"] == 2:
            found += 1
            at = np.geomspace(10, 1e5, 40)
            true = [at[k - 1] + (at[k] - at[k - 1]) * rng.random() for k in (12, 27)]
            inside += int(((out["low"] <= true) & (true <= out["high"])).sum())
            assert (out["p"] < 0.05).all()
    assert found >= 52
    assert 0.88 * 2 * found <= inside


@pytest.mark.parametrize("shape", ["constant", "linear"])
@pytest.mark.parametrize("told", [0.75, 1.3])
def test_changes_are_seldom_found_where_there_are_none(shape, told):
    rng = np.random.default_rng(2)
    alarms = sum(
        change_points(planted(rng, told=told), shape=shape).sizes["change"] > 0 for _ in range(100)
    )
    assert alarms <= 11  # 5 of 100 allowed: 11 or fewer with probability 99 %


def test_lines_that_bend_are_found_where_levels_would_need_many():
    rng = np.random.default_rng(3)
    readings = planted(rng, num=60, parts=2)
    x = np.log(readings["checkpoint"])
    readings["llc"] = readings["llc"] + abs(x - float(x[30]))
    out = change_points(readings, shape="linear")
    assert out.sizes["change"] == 1
    assert float(out["low"][0]) <= float(readings["checkpoint"][30]) <= float(out["high"][0]) * 1.2
    assert change_points(readings).sizes["change"] > 3


def test_checkpoints_with_a_reading_that_is_not_ok_are_left_out_and_counted():
    readings = planted(np.random.default_rng(4), changes=(20,))
    whole = change_points(readings)
    ok = np.ones(40, bool)
    ok[5] = False
    spoilt = readings.assign(ok=("checkpoint", ok)).copy(deep=True)
    spoilt["llc"][9, 1] = np.nan
    spoilt["llc"][5] = 100.0
    out = change_points(spoilt)
    assert (int(out["used"]), int(out["left_out"])) == (38, 2)
    np.testing.assert_allclose(out["step"], whole["step"])
    shuffled = readings.isel(checkpoint=np.random.default_rng(0).permutation(40))
    xr.testing.assert_allclose(change_points(shuffled), whole)


def test_quantiles_are_even_between_checkpoints():
    out = _quantiles(np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.5, 0.5]), (0.25, 0.75))
    np.testing.assert_allclose(out, [0.5, 2.0])


def test_what_cannot_be_segmented_is_refused():
    readings = planted(np.random.default_rng(5), num=5)
    with pytest.raises(ValueError, match=r"5 of 5 checkpoints .* need at least 6"):
        change_points(readings)
    with pytest.raises(ValueError, match="variables must be a list"):
        change_points(readings, "llc")
    with pytest.raises(ValueError, match="no variable 'chi'"):
        change_points(readings, ["chi"])
    with pytest.raises(ValueError, match="shape must be one of"):
        change_points(readings, shape="cubic")
    with pytest.raises(ValueError, match="most must be at least 1"):
        change_points(readings, most=0)
