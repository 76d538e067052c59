import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import temperature


def test_temperature_of_gaussian_momenta():
    d, true = 10, 1.3
    p_sq = true * np.random.default_rng(0).chisquare(d, size=(4, 2000)) / d
    out = temperature(xr.DataArray(p_sq, dims=("chain", "draw")))
    exact_se = true * np.sqrt(2 / d / p_sq.size)
    assert abs(float(out.temperature) - true) < 4 * exact_se
    assert float(out.temperature_se) == pytest.approx(exact_se, rel=0.1)


def test_a_kernel_without_momentum_has_no_temperature():
    out = temperature(xr.DataArray(np.full((4, 20), np.nan), dims=("chain", "draw")))
    assert np.isnan(out.temperature)
    assert np.isnan(out.temperature_se)
