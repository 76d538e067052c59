"""The linear datamodeling score and its ceiling against models whose answers are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from creode.response.lds import lds, noise_ceiling

DIMS = ("seed", "subset", "query")


def outcomes(noise, seeds=6, subsets=60, queries=30, seed=0):
    """What would be with all seeds (subset, query), standard normal, and what each seed gave."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(subsets, queries))
    given = truth + noise * rng.normal(size=(seeds, subsets, queries))
    return xr.DataArray(truth, dims=DIMS[1:]), xr.DataArray(given, dims=DIMS)


def spearman_of_normals(r):
    return 6 / np.pi * np.arcsin(r / 2)


def test_the_score_is_the_mean_of_the_queries_rank_correlations():
    truth, given = outcomes(1.0, queries=5)
    rng = np.random.default_rng(1)
    predicted = xr.DataArray(
        np.round(truth.values + rng.normal(size=truth.shape), 1), dims=truth.dims
    )
    found = lds(predicted, given, resamples=20)
    expected = [
        spearmanr(predicted[:, query], given.mean("seed")[:, query]).statistic for query in range(5)
    ]
    np.testing.assert_allclose(found["lds_by_query"], expected)
    assert float(found["lds"]) == pytest.approx(np.mean(expected))


def test_several_ways_share_their_resamples():
    truth, given = outcomes(1.0)
    better = truth + 0.5 * np.random.default_rng(1).normal(size=truth.shape)
    constant = xr.zeros_like(truth)
    both = xr.concat([truth, better, constant], "way").assign_coords(way=["a", "b", "c"])
    found = lds(both, given, resamples=100)
    assert found["lds"].dims == ("way",)
    assert float(found["lds"].sel(way="a")) == pytest.approx(float(lds(truth, given)["lds"]))
    assert float(found["lds"].sel(way="c")) == 0
    gap = found["lds_resampled"].sel(way="a") - found["lds_resampled"].sel(way="b")
    spread = np.hypot(*(float(found["lds_resampled"].sel(way=way).std()) for way in "ab"))
    assert float(gap.std()) < 0.9 * spread  # they rise and fall together
    np.testing.assert_allclose(found["lds_resampled"].mean("resample"), found["lds"], atol=1e-12)


def test_intervals_cover_the_truth_at_least_as_often_as_they_say():
    """Predictions of known correlation with outcomes: the score is Spearman's of two normals."""
    r = 1 / np.sqrt((1 + 1) * (1 + 1 / 6))  # of truth + noise with the mean over 6 seeds
    exact = spearman_of_normals(r)
    hits, values, errors = 0, [], []
    for seed in range(60):
        truth, given = outcomes(1.0, queries=10, seed=seed)
        guess = truth + np.random.default_rng(999 + seed).normal(size=truth.shape)
        found = lds(guess, given, resamples=200, seed=seed)
        hits += float(found["lds_low"]) <= exact <= float(found["lds_high"])
        values.append(float(found["lds"]))
        errors.append(float(found["lds_se"]))
    assert 0.8 < np.mean(errors) / np.std(values) < 2.5  # to the large side, as the module says
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 60**0.5 + 0.01)
    assert hits / 60 >= 0.9


@pytest.mark.parametrize("seeds", [2, 5, 6])
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_the_ceiling_is_the_score_of_the_truth_itself(noise, seeds):
    """Within 0.04: Spearman & Brown's formula is for correlations, and these are of ranks."""
    truth, given = outcomes(noise, seeds=seeds, subsets=200, queries=60)
    found = noise_ceiling(given, resamples=100)
    of_truth = float(lds(truth, given, resamples=2)["lds"])
    assert float(found["ceiling"]) == pytest.approx(of_truth, abs=0.04)
    assert float(found["ceiling_low"]) < float(found["ceiling"]) < float(found["ceiling_high"])
    assert float(found["ceiling_se"]) < 0.05
    halves = seeds // 2
    r = 1 / (1 + noise**2 / halves)
    assert float(found["half"]) == pytest.approx(spearman_of_normals(r), abs=0.03)


def test_noise_alone_has_no_ceiling():
    given = xr.DataArray(np.random.default_rng(0).normal(size=(4, 50, 200)), dims=DIMS)
    assert float(noise_ceiling(given, resamples=20)["ceiling"]) < 0.2


@pytest.mark.parametrize(
    ("predicted", "given", "message"),
    [
        (np.zeros((60, 30)), np.zeros((2, 60)), r"outcomes need dims"),
        (np.zeros((3, 30)), np.zeros((2, 3, 30)), r"3 subsets give no rank correlation"),
        (np.zeros((50, 30)), np.zeros((2, 60, 30)), r"predicted has 50 of subset and outcomes.*60"),
        (np.full((60, 30), np.nan), np.zeros((2, 60, 30)), r"predictions are not finite"),
        (np.zeros((60, 30)), np.full((2, 60, 30), np.inf), r"outcomes are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(predicted, given, message):
    with pytest.raises(ValueError, match=message):
        lds(
            xr.DataArray(predicted, dims=DIMS[1:]),
            xr.DataArray(given, dims=DIMS[: given.ndim]),
        )


def test_one_seed_has_no_halves():
    with pytest.raises(ValueError, match="at least 2 seeds, got 1"):
        noise_ceiling(outcomes(1.0, seeds=1)[1])
