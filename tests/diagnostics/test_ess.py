import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import ess
from saved_draws import ar1


def labelled(values):
    return xr.DataArray(values, dims=("chain", "draw"))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_ess_of_an_ar1_chain_is_draws_over_its_autocorrelation_time(rho):
    chains, draws = 4, 10_000
    time = (1 + rho) / (1 - rho)
    assert float(ess(labelled(ar1((chains, draws), rho, 0)))) == pytest.approx(
        chains * draws / time, rel=0.08
    )


def test_ess_of_a_squared_ar1_chain_has_its_own_autocorrelation_time():
    rho, chains, draws = 0.9, 4, 10_000
    time = (1 + rho**2) / (1 - rho**2)
    found = float(ess(labelled(ar1((chains, draws), rho, 1) ** 2)))
    # ranks of the squares forget faster than the squares themselves
    assert 0.95 * chains * draws / time < found < 1.35 * chains * draws / time


def test_ess_knows_no_unit_however_small():
    trace = labelled(ar1((4, 300), 0.5, 2))
    assert float(ess(trace * 1e-18 + 1e-18)) == pytest.approx(float(ess(trace)), rel=1e-9)


def test_chains_that_disagree_are_worth_about_one_draw_each():
    trace = labelled(np.random.default_rng(3).normal(size=(4, 500)))
    apart = trace + 20 * xr.DataArray(np.arange(4), dims="chain")
    assert float(ess(trace)) > 1000
    assert float(ess(apart)) < 10


def test_a_chain_that_never_changes_has_no_ess():
    values = np.random.default_rng(4).normal(size=(4, 100))
    values[2] = 0.25
    assert np.isnan(ess(labelled(values)))
    assert np.isnan(ess(labelled(np.ones((4, 100)))))
    assert np.isnan(ess(labelled(values[:2, :3])))  # too few draws


def test_further_dimensions_are_carried():
    values = np.random.default_rng(5).normal(size=(4, 100, 3))
    many = ess(xr.DataArray(values, dims=("chain", "draw", "probe")))
    assert many.dims == ("probe",)
    np.testing.assert_allclose(many, [ess(labelled(values[..., i])) for i in range(3)])
