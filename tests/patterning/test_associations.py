"""Rank correlations against scipy's, the law of normal draws, and losses with long tails."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from creode.patterning import Furthest, associations, effects, pattern
from patterning_cases import Quadratics
from saved_draws import quadratic_tree, with_responses

ON = {"phi": "phi"}


def tree(losses, phi):
    """Draws with given losses (C, D, N) and observable (C, D)."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((*phi.shape, 2)) / 20
    made = quadratic_tree(w, np.ones(2), gamma=4.0, nbeta=400.0)
    return with_responses(
        made, {"train": losses}, {"loss": losses.mean(-1), "phi": phi}, traces=True
    )


def read(draws):
    return associations(draws, "train", ON, effects(draws, "train", ON))


def mean_and_error(found):
    values = found.replicates[:, :, 0]
    count = values.shape[0] * values.shape[1]
    mean = values.mean((0, 1))
    return mean, np.sqrt(((values - mean) ** 2).sum((0, 1)) / (count * (count - 1)))


def test_of_one_chain_they_are_spearmans():
    rng = np.random.default_rng(1)
    losses = np.exp(rng.normal(size=(1, 60, 5)).cumsum(1))
    losses[..., 2] = np.round(losses[..., 2])  # with ties
    phi = rng.normal(size=(1, 60))
    mean, _ = mean_and_error(read(tree(losses, phi)))
    exact = [-spearmanr(phi[0], losses[0, :, j]).statistic for j in range(5)]
    np.testing.assert_allclose(mean, exact, atol=1e-12)


def test_chains_are_ranked_apart():
    """A chain whose losses and observable are both higher throughout moves nothing."""
    rng = np.random.default_rng(2)
    losses, phi = rng.normal(size=(2, 100, 3)) ** 2, rng.normal(size=(2, 100))
    apart = read(tree(losses + np.array([0.0, 50.0])[:, None, None], phi + np.array([[0], [9]])))
    np.testing.assert_array_equal(apart.replicates, read(tree(losses, phi)).replicates)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_normal_draws_have_their_law_within_the_error(r):
    """Spearman's of two normals of correlation r is 6/π asin(r/2); 400 losses of one law."""
    rng = np.random.default_rng(3)
    phi = rng.normal(size=(4, 200))
    noise = rng.normal(size=(4, 200, 400))
    losses = -(r * phi[..., None] + (1 - r * r) ** 0.5 * noise)
    mean, error = mean_and_error(read(tree(losses, phi)))
    exact = 6 / np.pi * np.arcsin(r / 2)
    # losses share phi, so their errors have a part in common: spread about the own mean
    assert abs(mean.mean() - exact) < 4.5 * error.mean()
    shared = np.sqrt(max(np.mean((mean - exact) ** 2), 1e-12))
    assert 0.5 * error.mean() < max(shared, mean.std()) < 1.6 * error.mean()
    assert error.mean() < 0.05


def test_errors_are_those_of_repetitions_where_correlations_are_high():
    """60 repetitions, each with draws of its own, of normals of correlation 0.9."""
    rng, r = np.random.default_rng(5), 0.9
    deviates = []
    for _ in range(60):
        phi = rng.normal(size=(4, 200))
        noise = rng.normal(size=(4, 200, 1))
        losses = -(r * phi[..., None] + (1 - r * r) ** 0.5 * noise)
        mean, error = mean_and_error(read(tree(losses, phi)))
        deviates.append((mean[0] - 6 / np.pi * np.arcsin(r / 2)) / error[0])
    rms = np.sqrt(np.mean(np.square(deviates)))
    assert abs(np.log(rms)) < 3 / np.sqrt(2 * len(deviates))


def test_what_never_changes_is_associated_with_nothing():
    rng = np.random.default_rng(4)
    losses = rng.normal(size=(2, 50, 3)) ** 2
    losses[..., 1] = 0.25
    found = read(tree(losses, rng.normal(size=(2, 50))))
    assert (found.replicates[..., 1] == 0).all()
    assert np.abs(found.replicates[..., 0]).max() > 0


def test_rare_high_losses_hide_samples_from_effects_and_not_from_ranks():
    """Ten of 200 samples move the observable; the losses of the others are at times very high."""
    rng = np.random.default_rng(5)
    phi = rng.normal(size=(4, 150))
    inner = rng.normal(size=(4, 150, 200))
    inner[..., :10] -= 0.8 * phi[..., None]
    losses = np.exp(3 * inner)
    losses[..., 10:] *= 30
    draws = tree(losses, phi)
    by_ranks = mean_and_error(read(draws))[0]
    by_effects = effects(draws, "train", ON).mean[0]
    assert set(np.argsort(-by_ranks)[:10]) == set(range(10))
    assert len(set(np.argsort(-by_effects)[:10]) & set(range(10))) <= 5
    aim = {"phi": -1.0}
    told = pattern(
        draws, aim, Furthest(least_effective=0.93), observables=ON, along="ranks"
    )  # fmt: skip
    assert told.weights.values[:10].max() < 0.2
    assert told.weights.values[10:].min() > 0.5
    assert told.effect.attrs["along"] == "ranks"


def test_ranks_have_no_size_and_are_of_samples():
    draws = Quadratics().tree(draws=100)
    with pytest.raises(ValueError, match="ranks give a direction and no size"):
        pattern(draws, {"code": -1.0}, along="ranks")
    with pytest.raises(ValueError, match="along must be 'effects' or 'ranks'"):
        pattern(draws, {"code": -1.0}, along="rank")
    tokens = Quadratics().tree(draws=100, tokens=4, traces=True)
    found = effects(tokens, "train", {"code": "code"}, units="token")
    with pytest.raises(ValueError, match="ranks are of the losses of samples"):
        associations(tokens, "train", {"code": "code"}, found)
