import numpy as np
import pytest
import xarray as xr

from creode.geometry.subsample import ratio_variance, subsample_variance
from saved_draws import probe

N = 120  # population


def population(seed=0):
    """Losses at 2 × 3 draws and at w* of N samples of 1 to 8 tokens; long samples lose more."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 9, size=N)
    mask = np.arange(8) < length[:, None]
    init = rng.gamma(2.0, size=mask.shape)
    own = 0.3 * length[:, None] + rng.gamma(1.0, size=(N, 1)) + 0.2 * rng.normal(size=mask.shape)
    losses = init + own + 0.1 * rng.normal(size=(2, 3, *mask.shape))
    return losses, init, mask


def test_variance_of_a_random_subset_matches_drawing_subsets_again_and_again():
    losses, init, mask = population()
    rng = np.random.default_rng(1)
    size, means, variances = 30, [], []
    for _ in range(300):
        kept = rng.choice(N, size, replace=False)
        subset = probe(losses[:, :, kept], init[kept], mask[kept], population=N)
        anchored = subset["unit_init_loss"].where(subset["mask"]).mean()
        means.append(float(subset["loss"].mean() - anchored))
        variances.append(subsample_variance(subset))
    assert np.mean(variances) == pytest.approx(
        np.var(means, ddof=1), rel=0.2
    )  # 4/3 without the finite population


def test_the_error_of_a_mean_loss_is_that_of_drawing_other_samples():
    """Tokens of one sample lose alike, so there are fewer independent ones than tokens."""
    rng = np.random.default_rng(3)
    means, variances = [], []
    for _ in range(400):
        length = rng.integers(1, 9, size=40)
        mask = np.arange(8) < length[:, None]
        values = rng.gamma(2.0, size=(40, 1)) + 0.1 * length[:, None] + rng.gamma(1.0, size=(40, 8))
        means.append(values[mask].mean())
        arrays = (xr.DataArray(array, dims=("sample", "token")) for array in (values, mask))
        variances.append(ratio_variance(*arrays))
    assert np.mean(variances) == pytest.approx(np.var(means, ddof=1), rel=0.15)


def test_losses_per_sample_are_a_plain_mean():
    rng = np.random.default_rng(2)
    init = rng.gamma(2.0, size=40)
    losses = init + rng.gamma(1.0, size=(2, 5, 40))
    mean = losses.mean((0, 1)) - init
    exact = mean.var(ddof=1) / 40 * (1 - 40 / 100)
    assert subsample_variance(probe(losses, init, population=100)) == pytest.approx(exact)


def test_a_probe_that_is_no_subset_or_all_of_it_adds_nothing():
    losses, init, mask = population()
    assert subsample_variance(probe(losses, init, mask)) == 0.0
    assert subsample_variance(probe(losses, init, mask, population=N)) == 0.0


def test_one_sample_of_many_has_no_error():
    losses, init, mask = population()
    assert np.isnan(subsample_variance(probe(losses[:, :, :1], init[:1], mask[:1], population=N)))


def test_a_subset_larger_than_its_population_is_refused():
    losses, init, mask = population()
    with pytest.raises(ValueError, match="120 samples but says it is a subset of 100"):
        subsample_variance(probe(losses, init, mask, population=100))
