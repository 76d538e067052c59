"""The false-discovery rate: the rule against itself written out, and what it holds."""

import numpy as np
import pytest
import xarray as xr

from creode.response import significant
from creode.response.discoveries import adjusted


def written_out(p, rate):
    order = sorted(range(len(p)), key=lambda i: p[i])
    found = 0
    for rank, i in enumerate(order, start=1):
        if p[i] <= rate * rank / len(p):
            found = rank
    return {order[k] for k in range(found)}


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_is_the_rule_written_out(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(40) ** (1 + seed)
    found = significant(xr.DataArray(p, dims="unit"), rate=0.1)
    assert set(np.flatnonzero(found)) == written_out(p, 0.1)


def test_nan_is_no_entry_and_dimensions_are_kept():
    p = xr.DataArray([[0.001, np.nan], [0.04, 0.9]], dims=("component", "unit"))
    assert significant(p, 0.06).values.tolist() == [[True, False], [True, False]]
    assert significant(p, 0.05).values.tolist() == [[True, False], [False, False]]
    assert not significant(p * np.nan).any()


def test_the_rate_is_held_with_signal_and_without():
    rng = np.random.default_rng(3)
    false_share, any_found = [], []
    for _ in range(400):
        p = rng.random(200)
        any_found.append(bool(significant(xr.DataArray(p, dims="unit"), 0.1).any()))
        p[:50] *= 1e-4
        found = significant(xr.DataArray(p, dims="unit"), 0.1).values
        false_share.append(found[50:].sum() / max(found.sum(), 1))
        assert found[:50].mean() > 0.9
    assert np.mean(any_found) == pytest.approx(0.1, abs=4 * (0.09 / 400) ** 0.5)
    assert np.mean(false_share) == pytest.approx(0.1 * 0.75, abs=0.02)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate must be in \(0, 1\), got"):
        significant(xr.DataArray([0.1], dims="unit"), rate)


def test_rows_are_tables_of_their_own():
    p = xr.DataArray(np.random.default_rng(6).random((6, 30)) ** 4, dims=("query", "train"))
    p[2, :20] = np.nan
    p[3] = np.nan
    found = significant(p.transpose("train", "query"), 0.1, among="train")
    assert found.dims == ("train", "query")
    for query in range(6):
        alone = significant(p.isel(query=query), 0.1)
        np.testing.assert_array_equal(found.isel(query=query), alone)
    assert 0 < int(found.sum()) != int(significant(p, 0.1).sum())
    assert significant(p[:0], 0.1, among="train").shape == (0, 30)


def test_adjusted_values_are_those_of_benjamini_and_hochberg():
    p_value = np.array([[0.01, 0.04, 0.03], [0.2, 0.005, 0.9]])
    # sorted 0.005, 0.01, 0.03, 0.04, 0.2, 0.9 times 6/rank: 0.03, 0.03, 0.06, 0.06, 0.24, 0.9
    expected = [[0.03, 0.06, 0.06], [0.24, 0.03, 0.9]]
    np.testing.assert_allclose(adjusted(p_value), expected)
    with_gap = np.append(p_value.ravel(), np.nan)
    np.testing.assert_allclose(adjusted(with_gap), [*np.ravel(expected), np.nan])
