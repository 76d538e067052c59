import numpy as np
import pytest
import xarray as xr

from creode.diagnostics.trace import changes, check_trace, standardise


def labelled(values):
    return xr.DataArray(np.asarray(values, dtype=float), dims=("chain", "draw"), name="loss")


def test_a_chain_changes_only_if_it_takes_two_finite_values():
    trace = labelled([[1, 1, 1], [1, 2, 1], [1, np.nan, 2], [1, np.inf, 2]])
    assert changes(trace).values.tolist() == [False, True, False, False]


def test_standardising_gives_mean_0_and_deviation_1_and_the_scale():
    values = np.random.default_rng(0).normal(5, 3, size=(3, 50))
    standard, scale = standardise(labelled(values))
    assert float(scale) == pytest.approx(values.std(ddof=1))
    np.testing.assert_allclose(standard.values, (values - values.mean()) / values.std(ddof=1))


def test_one_unfit_chain_leaves_no_number():
    values = np.random.default_rng(0).normal(size=(3, 50))
    values[1] = values[1, 0]
    standard, scale = standardise(labelled(values))
    assert np.isnan(standard).all()
    assert np.isnan(scale)


def test_a_trace_without_chains_is_refused_by_name():
    with pytest.raises(ValueError, match=r"trace 'loss' has dimensions \('draw',\) and lacks"):
        check_trace(xr.DataArray(np.zeros(3), dims="draw", name="loss"))
