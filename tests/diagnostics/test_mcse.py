import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import mcse
from saved_draws import ar1

REPETITIONS = 400


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_two_standard_errors_cover_the_mean_of_an_ar1_chain(rho):
    values = 7.0 + 3.0 * ar1((REPETITIONS, 4, 200), rho, 11)
    error = mcse(xr.DataArray(values, dims=("repetition", "chain", "draw")))
    covered = np.abs(values.mean((1, 2)) - 7.0) < 1.96 * error.values
    assert 0.88 < covered.mean() < 0.99
    exact = 3.0 * np.sqrt((1 + rho) / (1 - rho) / 800)  # of long chains
    assert np.median(error) == pytest.approx(exact, rel=0.12)


def test_chains_that_disagree_widen_the_error():
    values = np.random.default_rng(0).normal(size=(4, 500))
    offsets = np.array([-2.0, 0.0, 1.0, 3.0])
    apart = float(mcse(xr.DataArray(values + offsets[:, None], dims=("chain", "draw"))))
    between = (values.mean(1) + offsets).std(ddof=1) / 2
    assert between == pytest.approx(apart, rel=0.5)  # far from the within-chain error ...
    assert apart > 10 * values.std() / np.sqrt(values.size)  # ... of independent draws


def test_the_error_scales_with_the_trace_and_not_with_the_order_of_chains():
    trace = xr.DataArray(ar1((4, 300), 0.7, 5), dims=("chain", "draw"))
    error = float(mcse(trace))
    assert float(mcse(3e-9 * trace)) == pytest.approx(3e-9 * error, rel=1e-9)
    assert float(mcse(trace.isel(chain=[2, 0, 3, 1]))) == pytest.approx(error, rel=1e-9)
    assert float(mcse(trace.transpose("draw", "chain"))) == pytest.approx(error, rel=1e-12)


def test_a_chain_without_information_gives_no_error():
    values = np.random.default_rng(1).normal(size=(2, 50))
    values[1] = 0.0
    assert np.isnan(mcse(xr.DataArray(values, dims=("chain", "draw"))))
