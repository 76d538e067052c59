import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from creode.diagnostics import ess, memory

CHAINS, DRAWS = 4, 20_000


def ar1(rho: float) -> xr.DataArray:
    noise = np.random.default_rng(3).standard_normal((CHAINS, DRAWS))
    return xr.DataArray(lfilter([1], [1, -rho], noise, axis=1), dims=("chain", "draw"))


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_what_is_left_of_the_start_of_an_ar1_chain_is_a_power_of_its_correlation(rho):
    stationary = ar1(rho)[:, 1000:]  # which start at 0
    found = [
        float(memory(ess(stationary), num_draws=stationary.size, burnin=burnin))
        for burnin in (0, 5, 7.5)
    ]
    assert found == pytest.approx([1.0, rho**5, rho**7.5], rel=0.15)


def test_a_chain_without_memory_forgets_at_once_unless_nothing_was_dropped():
    independent = xr.DataArray(450.0)  # antithetic, even
    assert float(memory(independent, num_draws=400, burnin=0.5)) == 0.0
    assert float(memory(independent, num_draws=400, burnin=0.0)) == 1.0
    assert np.isnan(memory(xr.DataArray(np.nan), num_draws=400, burnin=3.0))
