"""Linear datamodeling score (LDS): do influences foretell what retraining on other data does?

Models are retrained on subsets of the data; a prediction for a subset is the sum of the influences
of its samples. A query's score is the rank correlation, over subsets, of prediction and outcome;
the LDS is the mean over queries.

Here: that score with a bootstrap interval, for any number of methods at once so that they can be
compared on the same resamples; the noise ceiling that no method can be expected to pass.
Not here: retraining (benchmarks/attribution.py), influences (influence.py).
Source: arXiv:2303.14186 (LDS). The ceiling: outcomes averaged over R seeds correlate with those of
other R seeds by r, known from halves by Spearman & Brown, r = 2h/(1 + h); with what would be the
mean over all seeds, by √r. For ranks this is an approximation.
The bootstrap draws some subsets twice, and ties lower rank correlations; resamples are therefore
shifted so that their mean is the score itself. Drawing subsets and queries alike makes intervals
too wide rather than too narrow: where all entries are independent, twice as wide.
Dimensions: M subsets, Q queries, R seeds, B resamples.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 1000
SPLITS = 50  # of the seeds into halves


def lds(
    predicted: xr.DataArray,
    outcomes: xr.DataArray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """Mean rank correlation of predictions with outcomes of retraining.

    Args:
        predicted: dims (query, subset) and at most one other, the ways to predict: the sum of the
            influences of the subset's samples on the query's loss (positive: the loss rises).
        outcomes: dims (seed, subset, query): the query's loss after retraining; its mean over seeds
            is what is to be foretold.
        resamples: of the bootstrap, over subsets and queries alike.
        seed: of the bootstrap.

    Returns:
        lds, lds_se, lds_low, lds_high (95 %); lds_by_query (query,); lds_resampled (resample,), the
        same resamples for every way, so that a difference has an interval of its own. A query
        whose predictions are all equal scores 0.

    Raises:
        ValueError: dimensions that do not fit, fewer than 4 subsets, or values that are not finite.
    """
    _check(predicted, outcomes)
    others = [dim for dim in predicted.dims if dim not in ("query", "subset")]
    values = predicted.transpose(*others, "query", "subset").values.astype(float)
    mean = outcomes.mean("seed").transpose("query", "subset").values
    by_query = _spearman(values, mean)  # (..., Q)
    num_queries, num_subsets = mean.shape
    rng = np.random.default_rng(seed)
    resampled = np.empty((*values.shape[:-2], resamples))
    for index in range(resamples):
        subsets = rng.integers(num_subsets, size=num_subsets)
        queries = rng.integers(num_queries, size=num_queries)
        again = _spearman(values[..., queries, :][..., subsets], mean[queries][:, subsets])
        resampled[..., index] = again.mean(-1)
    resampled += (by_query.mean(-1) - resampled.mean(-1))[..., None]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=-1)
    return xr.Dataset(
        {
            "lds": (others, by_query.mean(-1)),
            "lds_se": (others, resampled.std(-1, ddof=1)),
            "lds_low": (others, low),
            "lds_high": (others, high),
            "lds_by_query": ([*others, "query"], by_query),
            "lds_resampled": ([*others, "resample"], resampled),
        },
        coords={name: predicted.coords[name] for name in others if name in predicted.coords},
    )


def noise_ceiling(
    outcomes: xr.DataArray, *, splits: int = SPLITS, resamples: int = RESAMPLES, seed: int = 0
) -> xr.Dataset:
    """The LDS that a perfect prediction of the mean over all possible seeds would have.

    Args:
        outcomes: dims (seed, subset, query), at least 2 seeds.
        splits: of the seeds into halves, at random.
        resamples: of the bootstrap, over subsets and queries.
        seed: of splits and bootstrap.

    Returns:
        half: mean rank correlation of the outcomes of two halves of the seeds; ceiling: √r with
        r = 2h/(1 + h); ceiling_se, ceiling_low, ceiling_high (95 %).

    Raises:
        ValueError: fewer than 2 seeds or 4 subsets, or values that are not finite.
    """
    _check(None, outcomes)
    values = outcomes.transpose("seed", "query", "subset").values.astype(float)
    num_seeds, num_queries, num_subsets = values.shape
    if num_seeds < 2:
        raise ValueError(f"halves of seeds need at least 2 seeds, got {num_seeds}.")
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(splits):
        order = rng.permutation(num_seeds)
        one, other = order[: num_seeds // 2], order[num_seeds // 2 : num_seeds // 2 * 2]
        pairs.append((values[one].mean(0), values[other].mean(0)))
    half = float(np.mean([_spearman(*pair).mean() for pair in pairs]))
    full = num_seeds / (num_seeds // 2)  # 2, or a little more where one seed is left out
    resampled = np.empty(resamples)
    for index in range(resamples):
        subsets = rng.integers(num_subsets, size=num_subsets)
        queries = rng.integers(num_queries, size=num_queries)
        one, other = pairs[index % splits]
        resampled[index] = _spearman(one[queries][:, subsets], other[queries][:, subsets]).mean()
    resampled += half - resampled.mean()
    ceilings = _ceiling(resampled, full)
    low, high = np.quantile(ceilings, [0.025, 0.975])
    return xr.Dataset(
        {
            "half": half,
            "ceiling": float(_ceiling(np.array(half), full)),
            "ceiling_se": float(ceilings.std(ddof=1)),
            "ceiling_low": float(low),
            "ceiling_high": float(high),
        }
    )


def _ceiling(half: Array, times: float) -> Array:
    """√ of the reliability of `times` as many seeds, by Spearman & Brown; 0 for none."""
    h = np.clip(half, 0, 1)
    ceiling: Array = np.sqrt(times * h / (1 + (times - 1) * h))
    return ceiling


def _spearman(one: Array, other: Array) -> Array:
    """Rank correlation over the last axis, ties at their mean rank; 0 where one is constant."""
    from scipy.stats import rankdata

    x, y = (rankdata(values, axis=-1) for values in (one, other))
    x, y = (ranks - ranks.mean(-1, keepdims=True) for ranks in (x, y))
    norm = np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
    found: Array = (x * y).sum(-1) / np.where(norm > 0, norm, 1.0)
    return found


def _check(predicted: xr.DataArray | None, outcomes: xr.DataArray) -> None:
    if set(outcomes.dims) != {"seed", "subset", "query"}:
        raise ValueError(f"outcomes need dims (seed, subset, query), got {outcomes.dims}.")
    if outcomes.sizes["subset"] < 4:
        raise ValueError(
            f"{outcomes.sizes['subset']} subsets give no rank correlation worth having; retrain on "
            "at least 4, better 50."
        )
    if not np.isfinite(outcomes.values).all():
        raise ValueError("outcomes are not finite everywhere; leave out runs that diverged.")
    if predicted is None:
        return
    if not {"subset", "query"} <= set(predicted.dims) or predicted.ndim > 3:
        raise ValueError(
            f"predicted needs dims (query, subset) and at most one more, got {predicted.dims}."
        )
    for dim in ("subset", "query"):
        if predicted.sizes[dim] != outcomes.sizes[dim]:
            raise ValueError(
                f"predicted has {predicted.sizes[dim]} of {dim} and outcomes have "
                f"{outcomes.sizes[dim]}; give both for the same ones."
            )
    if not np.isfinite(predicted.values).all():
        raise ValueError("predictions are not finite everywhere; leave out what failed.")
