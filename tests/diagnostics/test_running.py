import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import autocorrelation, running_llc, traces
from saved_draws import NBETA, ar1, healthy_excess, tree


def labelled(values):
    return xr.DataArray(values, dims=("chain", "draw"))


def test_running_llc_is_the_mean_of_the_draws_so_far():
    excess = healthy_excess(chains=3, draws=20)
    out = running_llc(labelled(NBETA * excess))
    slow = [[NBETA * chain[: t + 1].mean() for t in range(20)] for chain in excess]
    np.testing.assert_allclose(out, slow, rtol=1e-12)


def test_running_llc_stops_where_a_chain_failed():
    excess = healthy_excess(chains=2, draws=20)
    excess[1, 5] = np.nan
    out = running_llc(labelled(excess))
    assert np.isfinite(out[0]).all()
    assert np.isfinite(out[1, :5]).all()
    assert np.isnan(out[1, 5:]).all()


def test_autocorrelation_is_the_sum_of_lagged_products():
    values = ar1((2, 60), 0.7, 0) + 3
    out = autocorrelation(labelled(values), max_lag=10)
    centred = values - values.mean(1, keepdims=True)
    slow = [[(c[: 60 - lag] * c[lag:]).sum() / (c * c).sum() for lag in range(11)] for c in centred]
    np.testing.assert_allclose(out, slow, atol=1e-12)
    assert out["lag"].values.tolist() == list(range(11))


def test_autocorrelation_of_an_ar1_chain_decays_as_powers():
    out = autocorrelation(labelled(ar1((2, 40_000), 0.8, 1)), max_lag=8)
    np.testing.assert_allclose(out, np.tile(0.8 ** np.arange(9), (2, 1)), atol=0.06)


def test_autocorrelation_is_absent_for_a_chain_without_variation():
    values = ar1((3, 40), 0.5, 2)
    values[0], values[1, 3] = 1.0, np.nan
    out = autocorrelation(labelled(values))
    assert out.sizes == {"chain": 3, "lag": 21}
    assert np.isnan(out[:2]).all()
    assert np.isfinite(out[2]).all()


def test_a_lag_longer_than_the_chain_is_refused():
    with pytest.raises(ValueError, match=r"max_lag=40 is not in 0\.\.39"):
        autocorrelation(labelled(ar1((2, 40), 0.5, 3)), max_lag=40)


def test_traces_hold_what_a_report_plots():
    excess = healthy_excess(draws=50)
    out = traces(tree(excess))
    np.testing.assert_allclose(out["loss"] - out["init_loss"], excess, atol=1e-12)
    np.testing.assert_allclose(out["running_llc"].isel(draw=-1), NBETA * excess.mean(1))
    np.testing.assert_allclose(out["autocorrelation"], autocorrelation(labelled(excess)), atol=1e-9)
    assert out["autocorrelation"].dims == ("chain", "lag")
