"""Clusters of rows of a response matrix, and which of them would be found again.

Here: clusters by density (HDBSCAN) or by conductance in a nearest-neighbour graph, the conductance
of each, and a stability that noise does not have.
Not here: the graph (graph.py), preprocessing and modes (modes.py), words (descriptions.py).
Stability: the replicates are cut into two halves at random, and each half keeps a random part of
the rows; both are clustered; for each cluster of the whole the best match in one half and the best
match in the other are compared, by the Jaccard index over rows that both halves keep. The halves
share no noise, so a cluster that is noise alone has different matches. Not seen by this: responses
that fill one connected shape can be cut in the same place twice; the cut parts are then found again
by conductance although nothing lies between them.
Source: arXiv:2601.12703 (clusters of low conductance); Hennig 2007, Comput. Stat. Data Anal. 52
(clusterwise stability; below a half a cluster is dissolved); Hubert and Arabie 1985 (adjusted Rand
index). Deviation: halves without common noise take the place of the bootstrap.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.structure.graph import (
    NONE,
    Array,
    Labels,
    conductance,
    low_conductance_sets,
    neighbour_graph,
)
from creode.structure.matrix import check_replicates, grouped
from creode.structure.modes import preprocess
from creode.version import __version__

Method = Literal["hdbscan", "conductance"]

STABLE = 0.5  # below, a cluster has lost more rows than it kept
KEPT = 0.7  # share of rows that a half keeps; two halves share about half of them
LARGEST_CONDUCTANCE = 0.3  # of sets sought by conductance


def clusters(
    replicates: xr.DataArray,
    *,
    loadings: xr.DataArray | None = None,
    method: Method = "hdbscan",
    fewest: int = 20,
    neighbours: int = 15,
    by: str | None = None,
    splits: int = 20,
    seed: int = 0,
) -> xr.Dataset:
    """Clusters of the rows of the mean of `replicates`, with conductance and stability.

    Args:
        replicates: (replicate, row, component), independent estimates of X (see response_matrix).
            Columns are standardised and rows centred, as by modes().
        loadings: (mode, component): cluster the scores on these modes, the resolved ones of
            modes() say, and leave the rest out as noise; None: cluster the rows as they are.
        method: "hdbscan" (of scikit-learn, in the extra [map]) or "conductance".
        fewest: rows of a cluster.
        neighbours: of a row, in the graph.
        by: a coordinate along replicate ("chain", "seed") that a split does not cut.
        splits: how often to cut the replicates into halves.
        seed: of the splits. The order of replicates, rows and components does not matter.

    Returns:
        label (row): the cluster of each row, −1 for none; cluster 0 is the largest.
        size, conductance (cluster).
        stability, stability_sd (cluster): mean Jaccard index over splits, and its standard
            deviation from split to split.
        stable (cluster): whether stability is at least one half.
        agreement, agreement_sd: adjusted Rand index of the halves, rows in no cluster being one
            group: 0 by chance, 1 if they agree.
        num_stable, ok, reasons, notes. With a replicate that is not finite there is no cluster.

    Raises:
        ImportError: method="hdbscan" without scikit-learn.
        TypeError: `replicates` is not a DataArray.
        ValueError: its dimensions or sizes do not serve, or a setting out of range.
    """
    _check_settings(method, fewest, neighbours, splits)
    values = check_replicates(grouped(replicates, by), fewest=2)
    num_rows = values.sizes["row"]
    if num_rows * KEPT < max(2 * fewest, neighbours + 2):
        raise ValueError(
            f"{num_rows} rows are too few for clusters of at least {fewest} with {neighbours} "
            "neighbours; give more rows, or lower fewest and neighbours."
        )
    attrs = {
        "method": method,
        "fewest": fewest,
        "neighbours": neighbours,
        "by": by or "replicate",
        "num_modes": 0 if loadings is None else loadings.sizes["mode"],
        "splits": splits,
        "seed": seed,
        "creode_version": __version__,
    }
    along = {name: c for name, c in values.coords.items() if c.dims == ("row",)}
    broken = np.flatnonzero(~np.isfinite(values.values).all((1, 2)))
    if len(broken):
        reason = (
            f"{len(broken)} replicates are not finite, the first is number {int(broken[0])}: a "
            "chain failed, or a row has no response; leave out such rows, or sample again"
        )
        nowhere = np.full(num_rows, NONE, np.int64)
        none = np.empty(0)
        return _result(nowhere, none, np.empty((0, 0)), none, along, reason).assign_attrs(attrs)

    points_RND = _points(values, loadings)
    points_RND = points_RND[np.argsort(np.linalg.norm(points_RND, axis=(1, 2)), kind="stable")]
    order = np.argsort(np.linalg.norm(points_RND.mean(0), axis=1), kind="stable")  # its own order
    points_RND = points_RND[:, order]
    mean_ND = points_RND.mean(0)
    graph = neighbour_graph(mean_ND, neighbours)
    labels = _by_size(_found(mean_ND, method, fewest, neighbours, graph), mean_ND)
    each = [conductance(graph, labels == c) for c in range(labels.max() + 1)]
    jaccard, rand = _halves(
        points_RND, labels, method, fewest, neighbours, splits, np.random.default_rng(seed)
    )
    in_given_order = np.empty_like(labels)
    in_given_order[order] = labels
    result = _result(in_given_order, np.array(each), jaccard, rand, along, "")
    return result.assign_attrs(attrs)


def _points(values: xr.DataArray, loadings: xr.DataArray | None) -> Array:
    rows_RNP = preprocess(values, standardise=True, centre=True).values
    if loadings is None:
        return rows_RNP
    if "mode" not in loadings.dims or not loadings.sizes["mode"]:
        raise ValueError(
            f"loadings have sizes {dict(loadings.sizes)}; give at least one mode, or None to "
            "cluster the rows as they are."
        )
    given = loadings.sel(component=values["component"]).transpose("component", "mode").values
    points: Array = rows_RNP @ given
    return points


def _found(
    points: Array, method: Method, fewest: int, neighbours: int, graph: Any = None
) -> Labels:
    if method == "hdbscan":
        return _hdbscan(points, fewest)
    if graph is None:
        graph = neighbour_graph(points, neighbours)
    return low_conductance_sets(
        graph, points, fewest=fewest, largest_conductance=LARGEST_CONDUCTANCE
    )


def _hdbscan(points: Array, fewest: int) -> Labels:
    try:
        from sklearn.cluster import HDBSCAN
    except ImportError as error:
        raise ImportError(
            'method="hdbscan" needs scikit-learn: pip install "creode[map]", or use '
            'method="conductance".'
        ) from error
    labels: Labels = HDBSCAN(min_cluster_size=fewest, copy=True).fit_predict(points)
    return labels.astype(np.int64)


def _by_size(labels: Labels, points: Array) -> Labels:
    """Clusters renumbered from the largest to the smallest, equals by their distance from 0."""
    found = np.unique(labels[labels != NONE])
    size = [(labels == c).sum() for c in found]
    distance = [np.linalg.norm(points[labels == c].mean(0)) for c in found]
    renumbered = np.full_like(labels, NONE)
    for new, at in enumerate(np.lexsort((distance, [-s for s in size]))):
        renumbered[labels == found[at]] = new
    return renumbered


# -- stability ------------------------------------------------------------------------------------


def _halves(
    points_RND: Array,
    labels: Labels,
    method: Method,
    fewest: int,
    neighbours: int,
    splits: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Jaccard indices (splits, clusters) and adjusted Rand indices (splits,) of halves."""
    num_replicates, num_rows, _ = points_RND.shape
    smallest = max(2, round(KEPT * fewest))
    jaccard, rand = np.zeros((splits, labels.max() + 1)), np.zeros(splits)
    for split in range(splits):
        replicates = rng.permutation(num_replicates)
        half = num_replicates // 2
        kept, found = [], []
        for part in (replicates[:half], replicates[half:]):
            rows = np.sort(rng.permutation(num_rows)[: round(KEPT * num_rows)])
            of_half = np.full(num_rows, NONE, np.int64)
            of_half[rows] = _found(points_RND[part][:, rows].mean(0), method, smallest, neighbours)
            kept.append(np.isin(np.arange(num_rows), rows))
            found.append(of_half)
        both = kept[0] & kept[1]
        first, second = found[0][both], found[1][both]
        rand[split] = adjusted_rand(first, second)
        for c in range(jaccard.shape[1]):
            of_whole = labels[both] == c
            jaccard[split, c] = _jaccard(
                _best_match(of_whole, first), _best_match(of_whole, second)
            )
    return jaccard, rand


def _best_match(members: NDArray[np.bool_], labels: Labels) -> NDArray[np.bool_]:
    """The cluster of `labels` with the largest Jaccard index with `members`; no row if none."""
    found = [labels == c for c in np.unique(labels[labels != NONE])]
    return max(found, key=lambda other: _jaccard(members, other), default=np.zeros_like(members))


def _jaccard(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    either = (first | second).sum()
    return float((first & second).sum() / either) if either else 0.0


def adjusted_rand(first: Labels, second: Labels) -> float:
    """Agreement of two labellings beyond chance: 1 if they are the same but for names, 0 by chance.

    1 if neither tells any two rows apart.
    """
    _, one = np.unique(first, return_inverse=True)
    _, two = np.unique(second, return_inverse=True)
    table = np.zeros((one.max() + 1, two.max() + 1))
    np.add.at(table, (one, two), 1)

    def pairs(counts: Any) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    together = pairs(table)
    in_one, in_two = pairs(table.sum(1)), pairs(table.sum(0))
    total = len(first) * (len(first) - 1) / 2
    by_chance = in_one * in_two / total
    highest = (in_one + in_two) / 2
    return (together - by_chance) / (highest - by_chance) if highest != by_chance else 1.0


# -- labels and words ------------------------------------------------------------------------------


def _result(
    labels: Labels,
    each: Array,
    jaccard: Array,
    rand: Array,
    along: dict[Any, xr.DataArray],
    reasons: str,
) -> xr.Dataset:
    number = len(each)
    spread = len(rand) > 1
    stability = jaccard.mean(0) if number else np.empty(0)
    stable = stability >= STABLE
    return xr.Dataset(
        {
            "label": ("row", labels),
            "size": ("cluster", np.bincount(labels[labels != NONE], minlength=number)),
            "conductance": ("cluster", each),
            "stability": ("cluster", stability),
            "stability_sd": ("cluster", jaccard.std(0, ddof=1) if number else np.empty(0)),
            "stable": ("cluster", stable),
            "agreement": rand.mean() if spread else np.nan,
            "agreement_sd": rand.std(ddof=1) if spread else np.nan,
            "num_stable": int(stable.sum()),
            "ok": not reasons,
            "reasons": reasons,
            "notes": "" if reasons else _notes(number, int(stable.sum())),
        },
        coords={"cluster": np.arange(number), **along},
    )


def _notes(number: int, stable: int) -> str:
    if number == 0:
        return "no cluster: no group of rows stands apart from the rest"
    if stable == 0:
        return (
            f"none of the {number} clusters is found again in halves of the draws: they are noise, "
            "or the draws are too few"
        )
    if stable < number:
        return f"{number - stable} of {number} clusters are not found again in halves of the draws"
    return ""


def _check_settings(method: str, fewest: int, neighbours: int, splits: int) -> None:
    if method not in ("hdbscan", "conductance"):
        raise ValueError(f"method must be 'hdbscan' or 'conductance', got {method!r}.")
    for name, value, least in (("fewest", fewest, 5), ("neighbours", neighbours, 2),
                               ("splits", splits, 2)):  # fmt: skip
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
