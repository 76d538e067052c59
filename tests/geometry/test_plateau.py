"""The slopes of λ̂ in its settings: of quadratics in closed form, their errors, their words."""

import math

import numpy as np
import pytest
import xarray as xr

from creode.geometry import plateau
from oracles import llc_quadratic

H = np.geomspace(0.5, 20, 12)
NBETA, GAMMA = 30.0, 8.0
AXES = ("epsilon", "nbeta", "gamma")


def readings(llc, *, factors=(0.5, 1.0, 2.0), error=1e-3, ok=True):
    """A grid of λ̂ = llc(e, nβ, γ) with a relative error."""
    coords = {
        "epsilon": list(factors),
        "nbeta": [NBETA * f for f in factors],
        "gamma": [GAMMA * f for f in factors],
    }
    values = np.array(
        [
            [[llc(e, n, g) for g in coords["gamma"]] for n in coords["nbeta"]]
            for e in coords["epsilon"]
        ]
    )
    grid = {"llc": (AXES, values), "llc_se": (AXES, error * np.abs(values))}
    grid["ok"] = (AXES, np.full(values.shape, ok))
    return xr.Dataset(grid, coords, attrs={"nbeta": NBETA, "localization": GAMMA})


def test_slopes_of_a_quadratic_are_those_of_the_closed_form():
    near = (0.99, 1.0, 1.01)  # the line is then the tangent
    found = plateau(readings(lambda _, n, g: llc_quadratic(H, n, g), factors=near))
    x = GAMMA / (NBETA * H)
    exact = float((x / (1 + x) ** 2).sum() / (1 / (1 + x)).sum())
    assert exact > 0.1
    slope = dict(zip(found["direction"].values, found["slope"].values, strict=True))
    assert slope["nbeta"] == pytest.approx(exact, rel=1e-3)
    assert slope["gamma"] == pytest.approx(-exact, rel=1e-3)
    assert slope["epsilon"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("at", "power"), [(0, 0.3), (1, 0.2), (2, -0.4)])
def test_a_power_in_one_setting_is_found_there_and_nowhere_else(at, power):
    found = plateau(readings(lambda *settings: 10 * settings[at] ** power))
    expected = np.zeros(3)
    expected[at] = power
    np.testing.assert_allclose(found["slope"].values, expected, atol=1e-9)
    assert [str(level) for level in found["level"].values] == [
        "moves" if slope else "flat" for slope in expected
    ]
    assert f"{2**power - 1:+.1%}".replace("-", "−") in str(found["sentence"].values[at])


def test_the_error_of_a_slope_is_how_it_scatters():
    rng = np.random.default_rng(0)
    slopes, errors = [], []
    for _ in range(250):
        one = readings(lambda *_: 10 * math.exp(0.05 * rng.standard_normal()), error=0.05)
        one["llc_se"] = xr.full_like(one["llc"], 0.5)
        out = plateau(one)
        slopes.append(out["slope"].values)
        errors.append(out["slope_se"].values)
    scatter = np.std(slopes, axis=0)
    expected = 0.05 / math.log(2) / 2**0.5  # of three points a factor of 2 apart
    np.testing.assert_allclose(scatter, expected, rtol=0.2)
    np.testing.assert_allclose(np.mean(errors, axis=0), expected, rtol=0.05)


def test_a_precise_reading_counts_for_more():
    grid = readings(lambda *_: 10.0, error=0.01)
    grid["llc"].loc[{"epsilon": 2.0, "nbeta": NBETA, "gamma": GAMMA}] = 20.0
    grid["llc_se"].loc[{"epsilon": 2.0, "nbeta": NBETA, "gamma": GAMMA}] = 20.0  # worth nothing
    assert abs(float(plateau(grid)["slope"].sel(direction="epsilon"))) < 0.01


def test_an_error_that_hides_the_slope_is_said_to_do_so():
    found = plateau(readings(lambda *_: 10.0, error=0.2))
    assert set(found["level"].values) == {"unknown"}
    assert "not decided" in str(found["sentence"].values[0])


@pytest.mark.parametrize(
    ("doubled", "error", "level"),
    [
        (0.02, 0.01, "flat"),
        (-0.02, 0.01, "flat"),
        (0.02, 0.1, "unknown"),
        (0.045, 0.01, "unknown"),
        (0.06, 0.01, "moves"),
        (-0.06, 0.01, "moves"),
        (0.06, 0.2, "unknown"),
    ],
)
def test_what_a_slope_says(doubled, error, level):
    power = math.log2(1 + doubled)
    found = plateau(readings(lambda _, n, __: 10 * (n / NBETA) ** power, error=error))
    assert str(found["level"].sel(direction="nbeta").item()) == level


def test_failed_readings_are_left_out_and_doubtful_ones_named():
    grid = readings(lambda *_: 10.0)
    place = {"epsilon": 2.0, "nbeta": NBETA, "gamma": GAMMA}
    grid["llc"].loc[place] = np.nan
    grid["ok"].loc[place] = False
    found = plateau(grid)
    assert float(found["slope"].sel(direction="epsilon")) == pytest.approx(0, abs=1e-9)
    assert "range of × 2" in str(found["sentence"].values[0])
    assert bool(found["slope_ok"].sel(direction="epsilon"))
    grid["ok"].loc[{**place, "epsilon": 0.5}] = False
    doubted = plateau(grid)
    assert not bool(doubted["slope_ok"].sel(direction="epsilon"))
    assert "1 of 2 readings used are in doubt" in str(doubted["sentence"].values[0])
    assert bool(doubted["slope_ok"].sel(direction="gamma"))


def test_one_reading_has_no_slope():
    found = plateau(readings(lambda *_: 10.0).isel(gamma=[1]))
    gamma = found.sel(direction="gamma")
    assert np.isnan(float(gamma["slope"]))
    assert not bool(gamma["slope_ok"])
    assert "fewer than two settings" in str(gamma["sentence"].item())
