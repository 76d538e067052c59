"""The error of χ: calibrated over repeated runs, and wide where chains disagree."""

import math

import numpy as np
import pytest
import xarray as xr
from response_cases import exact_chi, quadratic_losses, sigma, tree_of, weights
from scipy import stats

from creode.response.replicates import replicates
from creode.response.uncertainty import estimate, p_value, two_sided


def labelled(values):
    return xr.DataArray(values, dims=("chain", "block", "unit"))


def test_value_and_error_are_those_of_block_means_where_chains_agree():
    values = np.random.default_rng(0).normal(3.0, 1.0, size=(4, 5, 2000))
    out = estimate(labelled(values))
    flat = values.reshape(20, -1)
    np.testing.assert_allclose(out["chi"], flat.mean(0))
    pooled = out["chi_dof"] == 19
    np.testing.assert_allclose(
        out["chi_se"][pooled], (flat.std(0, ddof=1) / 20**0.5)[pooled.values]
    )
    between = values.mean(1).std(0, ddof=1) / 2
    np.testing.assert_allclose(out["chi_se"][~pooled], between[~pooled.values])
    assert float((~pooled).mean()) == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 2000) ** 0.5)
    inside = abs(out["chi"] - 3.0) < stats.t.ppf(0.975, out["chi_dof"]) * out["chi_se"]
    assert float(inside.mean()) == pytest.approx(0.95, abs=0.02)


def test_chains_that_disagree_widen_the_error():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 5, 1000)) + 3 * rng.normal(size=(4, 1, 1000))
    out = estimate(labelled(values))
    assert float((out["chi_dof"] == 3).mean()) > 0.9
    exact = math.sqrt((3**2 + 1 / 5) / 4)
    assert float((out["chi_se"] ** 2).mean()) ** 0.5 == pytest.approx(exact, rel=0.05)
    inside = abs(out["chi"]) < stats.t.ppf(0.975, out["chi_dof"]) * out["chi_se"]
    assert float(inside.mean()) == pytest.approx(0.95, abs=0.025)


def test_one_chain_has_the_error_of_its_blocks_and_one_replicate_has_none():
    values = np.random.default_rng(2).normal(size=(1, 5, 3))
    out = estimate(labelled(values))
    np.testing.assert_allclose(out["chi_se"], values[0].std(0, ddof=1) / 5**0.5)
    assert out["chi_dof"].values.tolist() == [4, 4, 4]
    assert estimate(labelled(values[:, :1]))["chi_se"].isnull().all()
    values[0, 2, 1] = np.nan
    broken = estimate(labelled(values))
    for name in ("chi", "chi_se", "chi_dof"):
        assert broken[name].isnull().values.tolist() == [False, True, False]


def test_p_values_of_students_t():
    chi = xr.DataArray([0.0, 2.0, -2.0, 1.0, np.nan], dims="unit")
    error = xr.DataArray([1.0, 1.0, 1.0, 0.0, 1.0], dims="unit")
    p = p_value(chi, error, xr.full_like(chi, 3.0))
    assert p[0] == 1.0
    assert float(p[1]) == float(p[2]) == pytest.approx(0.1393, abs=1e-4)  # of a table of t, 3 dof
    assert p[3:].isnull().all()


@pytest.mark.parametrize("repetitions", [80])
def test_the_error_of_chi_is_calibrated_over_repeated_runs(repetitions):
    """z over independent runs of autocorrelated chains has the variance of Student's t."""
    g, a = quadratic_losses(num_samples=6)
    exact = exact_chi(g, a, sigma())
    z, inside = [], []
    for seed in range(repetitions):
        found = replicates(tree_of(weights(draws=400, seed=1000 + seed), g, a), "all")
        out = estimate(-(found.units - found.data))
        z.append(((out["chi"] - exact) / out["chi_se"]).values)
        inside.append(abs(z[-1]) < stats.t.ppf(0.975, out["chi_dof"].values))
    variance = np.square(z).mean()  # t with 19 degrees of freedom: 19/17
    # the 6 units of a run vary together: the sampling error is that of 80 to 480 squares
    assert variance == pytest.approx(19 / 17, abs=4 * math.sqrt(2 / repetitions) * 19 / 17)
    assert 0.6 < variance < 1.8
    assert np.mean(inside) == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / repetitions))
    assert np.mean(inside) > 0.90


def test_few_degrees_of_freedom_ask_for_more():
    # t of 3 degrees of freedom: P(|t| > x) = 1 − 2/π (θ + sin θ cos θ), θ = atan(x/√3)
    angle = math.atan(2.5 / 3**0.5)
    exact = 1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))
    assert float(two_sided(-2.5, 3)) == pytest.approx(exact, rel=1e-9)
    assert float(two_sided(2.5, 10**7)) == pytest.approx(math.erfc(2.5 / 2**0.5), rel=1e-5)
