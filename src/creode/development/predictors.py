"""Ideal predictors: what a model would say if it knew no more than one statistic of its data.

Here: the uniform, unigram and bigram predictors of the next token, as log-probabilities, and linear
regression in context with a prior that is normal (ridge) or of a few tasks (dMMSE), each on the
samples of a fixed batch, as `trajectory_pca` takes them.
Not here: projecting them (trajectory.py), the models they stand for.
Source: the ideal predictors of arXiv:2402.02364 and arXiv:2501.17745; dMMSE of arXiv:2306.15063.
Dimensions: N samples, T positions, V vocabulary, K examples in context, D inputs, M tasks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import softmax

Tokens = NDArray[np.integer[Any]]
Array = NDArray[np.floating[Any]]


def next_token_predictors(
    tokens: Tokens, counted: Tokens, *, vocab_size: int, smoothing: float = 0.1
) -> dict[str, xr.DataArray]:
    """Uniform, unigram and bigram log-probabilities of the next token.

    A model's own outputs, to compare with: `log_softmax` of its logits, with dims (sample, output)
    of sizes N and T·V.

    Args:
        tokens: (N, T) of the fixed batch; each position predicts the next.
        counted: (M, S) of the training data, from which frequencies are counted.
        vocab_size: V.
        smoothing: added to every count.
    Returns:
        "uniform", "unigram" and "bigram", dims (sample, output), nats.
    Raises:
        ValueError: tokens outside 0..V-1, or no smoothing.
    """
    for name, given in (("tokens", tokens), ("counted", counted)):
        if given.ndim != 2 or given.min() < 0 or given.max() >= vocab_size:
            raise ValueError(
                f"{name} must be rows of tokens in 0..{vocab_size - 1}, got shape {given.shape} "
                f"with {given.min()} to {given.max()}."
            )
    if not smoothing > 0:
        raise ValueError(f"smoothing must be > 0, or log-probabilities are infinite: {smoothing}.")
    once = np.bincount(counted.ravel(), minlength=vocab_size) + smoothing
    pairs = np.full((vocab_size, vocab_size), smoothing)
    np.add.at(pairs, (counted[:, :-1].ravel(), counted[:, 1:].ravel()), 1)
    by_token = {
        "uniform": np.full((vocab_size, vocab_size), -math.log(vocab_size)),
        "unigram": np.tile(np.log(once / once.sum()), (vocab_size, 1)),
        "bigram": np.log(pairs / pairs.sum(1, keepdims=True)),
    }
    return {
        name: xr.DataArray(table[tokens].reshape(len(tokens), -1), dims=("sample", "output"))
        for name, table in by_token.items()
    }


def ridge_in_context(inputs: Array, targets: Array, *, noise_variance: float) -> xr.DataArray:
    """ŷ_k = x_k·(X'X + σ² I)⁻¹ X'y over the examples before k: the best for weights from N(0, I).

    Args:
        inputs: (N, K, D).
        targets: (N, K).
        noise_variance: σ² of the targets.
    Returns:
        Predictions, dims (sample, output) of sizes N and K; the first is 0.
    Raises:
        ValueError: shapes that do not fit, or no noise.
    """
    _check_examples(inputs, targets, noise_variance)
    D = inputs.shape[2]
    products = np.cumsum(inputs[..., :, None] * inputs[..., None, :], axis=1)[:, :-1]
    moments = np.cumsum(inputs * targets[..., None], axis=1)[:, :-1]
    weights = np.linalg.solve(products + noise_variance * np.eye(D), moments[..., None])[..., 0]
    later = np.einsum("nkd,nkd->nk", inputs[:, 1:], weights)
    return xr.DataArray(np.pad(later, ((0, 0), (1, 0))), dims=("sample", "output"))


def dmmse_in_context(
    inputs: Array, targets: Array, tasks: Array, *, noise_variance: float
) -> xr.DataArray:
    """ŷ_k = x_k·Σ_m p_m t_m with p the posterior over M known tasks: the best for weights of those.

    p_m ∝ exp{−Σ_{j<k} (y_j − t_m·x_j)²/(2σ²)} over the examples before k, each task as likely
    before any is seen (discrete minimum mean squared error).

    Args:
        inputs: (N, K, D).
        targets: (N, K).
        tasks: (M, D), the weights t_m.
        noise_variance: σ² of the targets.
    Returns:
        Predictions, dims (sample, output) of sizes N and K; the first is that of the mean task.
    Raises:
        ValueError: shapes that do not fit, no task, or no noise.
    """
    _check_examples(inputs, targets, noise_variance)
    if tasks.ndim != 2 or not len(tasks) or tasks.shape[1] != inputs.shape[2]:
        raise ValueError(
            f"tasks must be (M, D) with M ≥ 1 and D = {inputs.shape[2]} as of the inputs, got "
            f"{tasks.shape}."
        )
    by_task = inputs @ tasks.T
    log_likelihood = -((targets[..., None] - by_task) ** 2) / (2 * noise_variance)
    log_posterior = np.pad(log_likelihood.cumsum(1)[:, :-1], ((0, 0), (1, 0), (0, 0)))
    predictions = (softmax(log_posterior, axis=-1) * by_task).sum(-1)
    return xr.DataArray(predictions, dims=("sample", "output"))


def _check_examples(inputs: Array, targets: Array, noise_variance: float) -> None:
    if inputs.ndim != 3 or inputs.shape[:2] != targets.shape or not noise_variance > 0:
        raise ValueError(
            "needed: inputs (N, K, D), targets (N, K) and noise_variance > 0, got "
            f"{inputs.shape}, {targets.shape} and {noise_variance}."
        )
