"""Ideal predictors: against counts made by hand, ridge as augmented least squares, slow loops."""

import math

import numpy as np
import pytest

from creode.development import dmmse_in_context, next_token_predictors, ridge_in_context


def test_token_predictors_are_the_smoothed_frequencies() -> None:
    counted = np.array([[0, 1, 0, 1], [0, 1, 2, 2]])
    tokens = np.array([[0, 2], [1, 1]])
    found = next_token_predictors(tokens, counted, vocab_size=4, smoothing=0.5)
    assert list(found) == ["uniform", "unigram", "bigram"]
    assert all(one.sizes == {"sample": 2, "output": 8} for one in found.values())
    shaped = {name: np.exp(one.values.reshape(2, 2, 4)) for name, one in found.items()}
    np.testing.assert_allclose(shaped["uniform"], 0.25)
    np.testing.assert_allclose(shaped["unigram"], np.tile([3.5, 3.5, 2.5, 0.5], (2, 2, 1)) / 10)
    np.testing.assert_allclose(shaped["bigram"][0, 0], np.array([0.5, 3.5, 0.5, 0.5]) / 5)
    np.testing.assert_allclose(shaped["bigram"][0, 1], np.array([0.5, 0.5, 1.5, 0.5]) / 3)
    np.testing.assert_allclose(shaped["bigram"][1, 0], np.array([1.5, 0.5, 1.5, 0.5]) / 4)


def test_ridge_is_the_posterior_mean_over_earlier_examples() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 6, 3)), rng.standard_normal((5, 6))
    found = ridge_in_context(x, y, noise_variance=0.3)
    for n in range(5):
        for k in range(6):
            past = np.vstack([x[n, :k], 0.3**0.5 * np.eye(3)])  # ridge as least squares
            w = np.linalg.lstsq(past, np.append(y[n, :k], np.zeros(3)), rcond=None)[0]
            assert float(found[n, k]) == pytest.approx(x[n, k] @ w, abs=1e-12)


def test_dmmse_is_the_posterior_mean_over_the_tasks() -> None:
    rng = np.random.default_rng(1)
    tasks = rng.standard_normal((4, 3))
    x = rng.standard_normal((5, 6, 3))
    y = np.einsum("nkd,nd->nk", x, tasks[[0, 1, 2, 3, 1]]) + 0.5 * rng.standard_normal((5, 6))
    found = dmmse_in_context(x, y, tasks, noise_variance=0.3)
    for n in range(5):
        for k in range(6):
            weights = []
            for task in tasks:
                density = 1.0
                for j in range(k):
                    density *= math.exp(-((y[n, j] - task @ x[n, j]) ** 2) / (2 * 0.3))
                weights.append(density)
            mean = sum(w * task for w, task in zip(weights, tasks, strict=True)) / sum(weights)
            assert float(found[n, k]) == pytest.approx(x[n, k] @ mean, abs=1e-12)


def test_dmmse_of_unlikely_examples_stays_finite() -> None:
    """Densities that underflow still have ratios: the nearest task takes all."""
    x, tasks = np.ones((1, 3, 1)), np.array([[0.0], [1.0]])
    found = dmmse_in_context(x, np.full((1, 3), 100.0), tasks, noise_variance=0.01)
    np.testing.assert_allclose(found.values, [[0.5, 1.0, 1.0]])


def test_dmmse_of_many_normal_tasks_is_ridge() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4, 3, 2)), rng.standard_normal((4, 3))
    tasks = rng.standard_normal((200_000, 2))
    found = dmmse_in_context(x, y, tasks, noise_variance=0.5)
    np.testing.assert_allclose(found, ridge_in_context(x, y, noise_variance=0.5), atol=0.03)


def test_predictors_that_are_not_defined_are_refused() -> None:
    tokens = np.array([[0, 4]])
    with pytest.raises(ValueError, match=r"tokens must be rows of tokens in 0\.\.3"):
        next_token_predictors(tokens, tokens - 1, vocab_size=4)
    with pytest.raises(ValueError, match="smoothing must be > 0"):
        next_token_predictors(tokens, tokens, vocab_size=5, smoothing=0)
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2,\) and 1.0"):
        ridge_in_context(np.zeros((2, 3)), np.zeros(2), noise_variance=1.0)
    x, y = np.zeros((2, 3, 4)), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"noise_variance > 0, got .* and 0"):
        dmmse_in_context(x, y, np.zeros((5, 4)), noise_variance=0)
    for tasks in (np.zeros((5, 3)), np.zeros((0, 4)), np.zeros(4)):
        with pytest.raises(ValueError, match=r"tasks must be \(M, D\) with M ≥ 1 and D = 4"):
            dmmse_in_context(x, y, tasks, noise_variance=0.1)
