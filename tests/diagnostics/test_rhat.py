import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm, rankdata

from creode.diagnostics import rhat
from saved_draws import ar1


def labelled(values):
    return xr.DataArray(values, dims=("chain", "draw"))


def slow_rhat(values):
    """Vehtari et al. 2021, eqs. 1-4 and 14, section 4.2, written out."""
    half = values.shape[1] // 2
    split = np.concatenate([values[:, :half], values[:, -half:]])

    def basic(x):
        z = norm.ppf((rankdata(x).reshape(x.shape) - 3 / 8) / (x.size + 1 / 4))
        n = z.shape[1]
        between = n * z.mean(1).var(ddof=1)
        within = z.var(1, ddof=1).mean()
        return np.sqrt(((n - 1) / n * within + between / n) / within)

    return max(basic(split), basic(np.abs(split - np.median(split))))


@pytest.mark.parametrize("seed", range(3))
def test_rhat_matches_the_formula_written_out(seed):
    values = ar1((3, 120), 0.8, seed) * np.array([[1.0], [1.3], [2.0]])  # the folded form decides
    assert float(rhat(labelled(values))) == pytest.approx(slow_rhat(values), rel=1e-12)
    assert slow_rhat(values) > 1.01


def test_drift_within_every_chain_is_seen():
    values = np.random.default_rng(0).normal(size=(4, 200))
    assert float(rhat(labelled(values))) < 1.02
    assert float(rhat(labelled(values + np.linspace(0, 3, 200)))) > 1.2


def test_one_chain_or_a_chain_that_never_changes_has_no_rhat():
    values = np.random.default_rng(1).normal(size=(4, 200))
    assert np.isnan(rhat(labelled(values[:1])))
    values[0] = 1.0
    assert np.isnan(rhat(labelled(values)))
