"""Trivial explanations of weights: whether length, loss or domain alone would do the same.

ρ is regressed on each feature alone and on all together: numbers by a restricted cubic spline,
which holds every straight line, labels by a mean each. R² is that of units the fit has not seen, so
features of noise have about 0, often a little less. The fitted ρ̂, of mean 1 and no more negative
than ρ, is put through the effects that ρ was made from. As there, what is told is cross-fitted: the
weights that a fold's chains had no part in are fitted, and their effect read from those chains. If
ρ works by what it shares with a feature, ρ̂ has its whole effect; what is left is `beyond`.

Here: features of a probe's units, fits, their R², their effects.
Not here: making the weights (pattern.py), retraining with ρ̂ (proof.py).
Source: restricted cubic splines with four knots at fixed percentiles, as of F. E. Harrell,
Regression Modeling Strategies (2015), §2.4.5; arXiv:2609.00699 compares with weights on length.
Dimensions: N units, F columns of features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.diagnostics.excess import probe_dataset
from creode.patterning.effects import Effects, Units
from creode.response.uncertainty import estimate, p_value

Array = NDArray[np.float64]

TOGETHER = "together"
KNOTS = (5, 35, 65, 95)  # percentiles
NUM_FOLDS = 10
MOST_LABELS = 100
ROUNDING = 1e-9  # a spread of weights that is none


class Explanations(NamedTuple):
    """Weights fitted by trivial features, and what they would do.

    reading: by explanation `r2`, and `scale`, how many times their change from 1 would have to be
    as large to be of the weights' size (NaN where they do not differ); by explanation and
    observable `predicted`, `predicted_se`, `p`, cross-fitted, and `beyond`, `beyond_se`: what the
    weights themselves do besides.
    """

    fitted: dict[str, Array]  # ρ̂ (N,) by explanation
    reading: xr.Dataset


def trivial_features(draws: xr.DataTree, on: str, units: Units = "sample") -> dict[str, Array]:
    """What is known of a probe's units without asking what they do.

    Returns:
        "length", the units that a sample counts, and "loss", the mean loss at w*, nats; of tokens
        also "position", from 0; each (N,).
    """
    probe = probe_dataset(draws, on)
    mask = probe["mask"].values.astype(bool)
    losses = np.where(mask, probe["unit_init_loss"].values.astype(np.float64), 0.0)
    by_sample = mask.reshape(len(mask), -1).sum(1).astype(np.float64)
    if units == "token":
        row, position = np.nonzero(mask)
        return {"length": by_sample[row], "loss": losses[mask], "position": position * 1.0}
    total = losses.reshape(len(mask), -1).sum(1)
    return {"length": by_sample, "loss": total / np.maximum(by_sample, 1)}


def explain(
    found: Effects,
    rho: Array,
    by_fold: Sequence[Array],
    features: Mapping[str, ArrayLike],
    now: Array | float = 1.0,
) -> Explanations:
    """What features alone, and together, explain of weights and of their effects.

    Args:
        found: the effects that the weights were made from.
        rho: (N,), of mean 1.
        by_fold: for each of `found.folds`, the weights (N,) made of what it learns from.
        features: by name, numbers (floats) or labels (strings, whole numbers) (N,).
        now: the weights (N,) that the effects were read at; a number if all are equal.

    Raises:
        ValueError: a feature of another length, not finite, of more than MOST_LABELS labels, or
            with the name "together" or one that no file can have.
    """
    odd = [name for name in features if name == TOGETHER or not re.fullmatch(r"[\w .-]+", name)]
    if odd:
        raise ValueError(
            f"features cannot be named {odd}: {TOGETHER!r} is the fit on all of them, and names "
            "are of letters, digits, blanks, '.', '_' and '-'."
        )
    columns = {name: _columns(name, values, len(rho)) for name, values in features.items()}
    if len(columns) > 1:
        columns[TOGETHER] = np.hstack(list(columns.values()))
    sample = np.nonzero(found.mask)[0]
    own = found.judged([one - now for one in by_fold])
    parts = []
    fitted = {name: _fitted(each, rho) for name, each in columns.items()}
    for name, each in columns.items():
        replicates = found.judged([_fitted(each, one) - now for one in by_fold])
        told = estimate(replicates, "predicted")
        told["p"] = p_value(told["predicted"], told["predicted_se"], told["predicted_dof"])
        beyond = estimate(own - replicates, "beyond")
        told = told.merge(beyond).drop_vars(["predicted_dof", "beyond_dof"])
        spread = fitted[name].std()
        scale = rho.std() / spread if spread > ROUNDING else np.nan
        parts.append(told.assign(r2=_unseen_r2(each, rho, sample), scale=scale))
    reading = xr.concat(parts, xr.Variable("explanation", list(columns)))
    return Explanations(fitted, reading)


def _columns(name: str, values: ArrayLike, count: int) -> Array:
    """A feature as columns (N, F); none where it is alike for all."""
    given = np.asarray(values)
    if given.shape != (count,):
        raise ValueError(
            f"the feature {name!r} needs one value a unit, ({count},); got shape {given.shape}."
        )
    if given.dtype.kind == "f":
        if not np.isfinite(given).all():
            raise ValueError(f"the feature {name!r} is not finite everywhere.")
        return _spline(given.astype(np.float64))
    labels, member = np.unique(given, return_inverse=True)
    if len(labels) > MOST_LABELS:
        raise ValueError(
            f"the feature {name!r} has {len(labels)} labels, more than the {MOST_LABELS} that are "
            "fitted; give numbers as floats, or fewer labels."
        )
    one_hot: Array = np.eye(len(labels))[member][:, 1:]
    return one_hot


def _spline(x: Array) -> Array:
    """x and, where its percentiles differ, two cubic terms that are straight beyond the knots."""
    if np.ptp(x) == 0:
        return np.empty((len(x), 0))
    x = (x - x.mean()) / x.std()
    knots = np.unique(np.percentile(x, KNOTS))
    last, width = knots[-1], np.ptp(knots) or 1.0

    def cubed(knot: float) -> Array:
        return np.maximum(x - knot, 0.0) ** 3

    terms = [x]
    for knot in knots[:-2]:
        a, b = (last - knot) / (last - knots[-2]), (knots[-2] - knot) / (last - knots[-2])
        terms.append((cubed(knot) - a * cubed(knots[-2]) + b * cubed(last)) / width**2)
    return np.stack(terms, axis=1)


def _fitted(columns: Array, rho: Array) -> Array:
    """ρ̂ (N,) by least squares, of mean 1; none negative unless some of ρ are."""
    rho_hat = _predicted(columns, rho, columns)
    if rho.min() >= 0:
        rho_hat = np.maximum(rho_hat, 0.0)
    return np.asarray(rho_hat / rho_hat.mean())


def _predicted(columns: Array, rho: Array, at: Array) -> Array:
    """The least-squares fit of ρ on columns, with an intercept, at others."""
    centre = columns.mean(0)
    slope = np.linalg.lstsq(columns - centre, rho - rho.mean(), rcond=None)[0]
    return np.asarray(rho.mean() + (at - centre) @ slope)


def _unseen_r2(columns: Array, rho: Array, sample: NDArray[np.int64]) -> float:
    """1 − Σ(ρ − ρ̂)²/Σ(ρ − ρ̄)², both fitted without the sample they are compared at.

    NaN where weights do not differ.
    """
    if np.ptp(rho) == 0:
        return float("nan")
    order = np.random.default_rng(0).permutation(int(sample.max()) + 1)
    fold = (order % NUM_FOLDS)[sample]
    left, whole = 0.0, 0.0
    for i in np.unique(fold):
        held, rest = fold == i, fold != i
        if not rest.any():
            return float("nan")
        left += float(
            ((rho[held] - _predicted(columns[rest], rho[rest], columns[held])) ** 2).sum()
        )
        whole += float(((rho[held] - rho[rest].mean()) ** 2).sum())
    return 1 - left / whole
