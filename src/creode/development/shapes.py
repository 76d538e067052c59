"""Parts of a model grouped by the shape of their readings along checkpoints.

Shape is what is left of a curve without its level and scale: two curves are as far apart as their
correlation over checkpoints is below 1. Noise lowers a correlation; it is put right by what the
readings' errors tell. Noise also makes equal shapes differ: distances smaller than that count as
that. Curves are joined by average linkage, and cut where the mean silhouette is highest. How surely
a group is one, its stability, is told by readings with noise of their own errors added: the mean
Jaccard index of the group with its best match there.

Here: correlations, groups, their stability and mean curves.
Not here: the readings; groups of rows of a response matrix (structure/clusters.py).
Source: refined λ̂ of heads grouped by shape, arXiv:2410.02984; silhouettes, Rousseeuw 1987, J.
Comput. Appl. Math. 20, with 0.5 as the least for structure after Kaufman and Rousseeuw 1990;
stability, Hennig 2007, Comput. Stat. Data Anal. 52; correction of a correlation for noise,
Spearman 1904. Deviation: noise of the readings' errors takes the place of the bootstrap, since
there are few parts and none is a sample of others.
Bias: to noisy readings noise is added again, so that stability errs to the low side. Parts spread
evenly between two shapes are cut in the middle, though nothing lies between the halves.
Symbols: ν variance of a curve's noise over that of the curve without it. To first order the
corrected correlation r of two curves of one shape is 1 ± (ν₁ + ν₂) / √(2N).
Dimensions: P parts, N checkpoints.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.development.series import FEWEST, checked, trusted
from creode.version import __version__

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

STILL = 0  # the group of parts that do not move
SURE = 0.01  # of a part that does not move, the probability to be taken for one that does
SEPARATE = 0.5  # mean silhouette from which there is more than one group
STABLE = 0.75  # mean Jaccard index from which a group is found again
RESOLVED = 3.0  # of those ±: equal shapes are seldom farther apart
ALL_NOISE = 1e-3  # share of a variance that is kept, however large the errors


def shapes(
    readings: xr.Dataset,
    variable: str = "component_llc",
    *,
    num_noise: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Groups of parts whose readings along checkpoints have the same shape.

    Args:
        readings: `variable` (checkpoint, part), the part's dimension of any name, with its error
            `<variable>_se` and, if there is one, its verdict `<variable>_ok`. Readings that are not
            ok or not finite are left out. Checkpoints count alike: let them be even in log step.
        variable: the reading, in any unit.
        num_noise: how often noise is added to find how stable groups are.
        seed: of that noise.

    Returns:
        label (part): the group of each part, from 1 in order of their first parts; 0 if it does
            not move beyond its errors. Fewer than three parts that move are one group.
        moved_p (part): the probability of as much movement by chance (χ² of a constant).
        correlation (part, other): of curves, corrected for noise, in −1..1. NaN for a part that
            does not move.
        silhouette (part): in −1..1, 1 if a part is far from all groups but its own; 0 for a part
            alone or where there is one group, NaN for a part that does not move.
        separation: mean silhouette of the parts that move.
        size, stability, stable (group): parts; mean Jaccard index; whether it is at least 0.75.
        shape, shape_se (group, checkpoint): mean of the parts' curves, each with mean 0 and
            variance 1 over its checkpoints, noise aside; and its standard error.

    Raises:
        TypeError: `readings` is not a Dataset.
        ValueError: no such variable, other dimensions, or too few readings that two parts share.
    """
    checked(readings, variable)
    if num_noise < 1:
        raise ValueError(f"num_noise must be at least 1, got {num_noise}.")
    value, error, dim = _curves(readings, variable)
    p = _constant(value, error)
    moves = p < SURE
    num_parts, num_moving = len(value), int(moves.sum())
    labels = np.full(num_parts, STILL, np.int64)
    correlation = np.full((num_parts, num_parts), np.nan)
    silhouette = np.full(num_parts, np.nan)
    stability = np.empty(0)
    if num_moving:
        inner = np.ix_(moves, moves)
        correlation[inner], distance = _compare(value[moves], error[moves] ** 2)
        labels[moves], silhouette[moves] = _groups(distance)
        stability = _stability(
            value[moves], error[moves], labels[moves], num_noise, np.random.default_rng(seed)
        )
    groups = np.arange(1, labels.max() + 1)
    shape, shape_se = _mean_shapes(value, error, labels, groups)
    parts = readings[dim] if dim in readings.coords else np.arange(num_parts)
    other = f"other_{dim}"
    return xr.Dataset(
        {
            "label": (dim, labels),
            "moved_p": (dim, p),
            "correlation": ((dim, other), correlation),
            "silhouette": (dim, silhouette),
            "separation": silhouette[moves].mean() if num_moving else np.nan,
            "size": ("group", np.array([(labels == g).sum() for g in groups], np.int64)),
            "stability": ("group", stability),
            "stable": ("group", stability >= STABLE),
            "shape": (("group", "checkpoint"), shape),
            "shape_se": (("group", "checkpoint"), shape_se),
        },
        {
            dim: np.asarray(parts),
            other: np.asarray(parts),
            "group": groups,
            "checkpoint": readings.sortby("checkpoint")["checkpoint"].values,
        },
        {
            "variable": variable,
            "num_noise": num_noise,
            "seed": seed,
            "creode_version": __version__,
        },
    )


def _curves(readings: xr.Dataset, variable: str) -> tuple[Array, Array, str]:
    """Values and errors (P, N), NaN where a reading is left out, and the parts' dimension."""
    dims = [str(dim) for dim in readings[variable].dims if dim != "checkpoint"]
    if len(dims) != 1 or set(readings[f"{variable}_se"].dims) != set(readings[variable].dims):
        raise ValueError(
            f"{variable!r} has dimensions {readings[variable].dims} and its error "
            f"{readings[f'{variable}_se'].dims}; both need checkpoint and one more, that of the "
            "parts to be grouped."
        )
    ordered = readings.sortby("checkpoint")
    ok = ordered.get(f"{variable}_ok", trusted(ordered, variable))
    kept = ordered[[variable, f"{variable}_se"]].where(ok.astype(bool))
    value, error = (
        kept[name].transpose(dims[0], "checkpoint").values.astype(np.float64)
        for name in (variable, f"{variable}_se")
    )
    good = np.isfinite(value) & np.isfinite(error) & (error > 0)
    shared = good.astype(np.int64) @ good.T.astype(np.int64)
    if shared.min() < FEWEST:
        one, two = np.unravel_index(int(shared.argmin()), shared.shape)
        raise ValueError(
            f"parts {one} and {two} of {variable!r} share {shared.min()} usable readings with an "
            f"error above 0; shapes need at least {FEWEST}: read more checkpoints, or leave out "
            "parts whose readings are not ok."
        )
    return np.where(good, value, np.nan), np.where(good, error, np.nan), dims[0]


def _constant(value: Array, error: Array) -> Array:
    """(P,) probability of at least as much movement of a part that does not move."""
    from scipy.stats import chi2

    weight = error**-2
    level = np.nansum(weight * value, 1) / np.nansum(weight, 1)
    misfit = np.nansum(weight * (value - level[:, None]) ** 2, 1)
    p: Array = chi2.sf(misfit, np.isfinite(value).sum(1) - 1)
    return p


def _compare(value: Array, noise: Array) -> tuple[Array, Array]:
    """Correlations and distances, each (P, P), over the checkpoints that two parts share."""
    good = np.isfinite(value)
    seen, y, s = good.astype(np.float64), np.where(good, value, 0.0), np.where(good, noise, 0.0)
    count = seen @ seen.T
    mean = (y @ seen.T) / count  # of the row's part, over what it shares with the column's
    covariance = (y @ y.T) / count - mean * mean.T
    total = (y**2 @ seen.T) / count - mean**2
    chance = (s @ seen.T) / count * (count - 1) / count
    variance = np.maximum(total - chance, ALL_NOISE * total)
    r: Array = np.clip(covariance / np.sqrt(variance * variance.T), -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    nu = chance / variance
    distance: Array = np.maximum(1 - r, RESOLVED * (nu + nu.T) / np.sqrt(2 * count))
    np.fill_diagonal(distance, 0.0)
    return r, (distance + distance.T) / 2


def _groups(distance: Array) -> tuple[Labels, Array]:
    """Labels from 1, in order of appearance, and silhouettes."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    num = len(distance)
    alone = np.ones(num, np.int64), np.zeros(num)
    if num < 3:
        return alone
    tree = linkage(squareform(distance, checks=False), "average")
    cuts = [fcluster(tree, k, "maxclust").astype(np.int64) for k in range(2, num)]
    best = max(((cut, silhouettes(distance, cut)) for cut in cuts), key=lambda c: c[1].mean())
    if best[1].mean() < SEPARATE:
        return alone
    _, first, inverse = np.unique(best[0], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse] + 1, best[1]


def silhouettes(distance: Array, labels: Labels) -> Array:
    """(b − a) / max(a, b) of each member: a its mean distance to its own group, b to the nearest.

    0 for a member alone in its group, and for all if there is one group.

    Args:
        distance: (P, P), symmetric, 0 on the diagonal.
        labels: (P,).
    """
    names = np.unique(labels)
    if len(names) < 2:
        return np.zeros(len(labels))
    member = (labels[:, None] == names).astype(np.float64)  # (P, groups)
    total, size = distance @ member, member.sum(0)
    own = member.astype(bool)
    within = total[own] / np.maximum(size[own.argmax(1)] - 1, 1)
    nearest = np.where(own, np.inf, total / size).min(1)
    larger = np.maximum(within, nearest)
    width = np.divide(nearest - within, larger, out=np.zeros_like(larger), where=larger > 0)
    return np.where(size[own.argmax(1)] > 1, width, 0.0)


def _stability(
    value: Array, error: Array, labels: Labels, num_noise: int, rng: np.random.Generator
) -> Array:
    """(groups,) mean Jaccard index of each group with its best match under noise."""
    members = [labels == g for g in range(1, labels.max() + 1)]
    total = np.zeros(len(members))
    for _ in range(num_noise):
        noisy = value + error * rng.standard_normal(value.shape)
        again, _ = _groups(_compare(noisy, 2 * error**2)[1])
        found = [again == g for g in range(1, again.max() + 1)]
        total += [max((a & b).sum() / (a | b).sum() for b in found) for a in members]
    out: Array = total / num_noise
    return out


def _mean_shapes(value: Array, error: Array, labels: Labels, groups: Labels) -> tuple[Array, Array]:
    """(groups, N) mean standardised curves and their errors."""
    total = np.nanvar(value, 1)
    noise = np.nanmean(error**2, 1)
    scale = np.sqrt(np.maximum(total - noise, ALL_NOISE * total))[:, None]
    standard, spread = (value - np.nanmean(value, 1)[:, None]) / scale, error / scale
    shape, shape_se = (np.full((len(groups), value.shape[1]), np.nan) for _ in range(2))
    for i, group in enumerate(groups):
        rows, errors = standard[labels == group], spread[labels == group]
        count = np.isfinite(rows).sum(0)
        some = count > 0
        shape[i, some] = np.nansum(rows, 0)[some] / count[some]
        shape_se[i, some] = np.sqrt(np.nansum(errors**2, 0)[some]) / count[some]
    return shape, shape_se
