"""A nearest-neighbour graph of rows, the conductance of sets in it, and sets of low conductance.

Here: the graph, the measure, a search by sweeps over personalised PageRank.
Not here: whether a set found is more than noise (clusters.py).
Symbols: of a set S, cut(S) the edges that leave it, vol(S) the sum of its degrees,
φ(S) = cut(S) / min(vol(S), vol(rest)): 0 for a set that no edge leaves, 1 if every edge does.
Source: Andersen, Chung and Lang 2006 (local partitioning by PageRank vectors). Deviation: the
vector is iterated over the whole graph and not pushed locally, and cuts are searched one at a time
from the densest row that is in none yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

NONE = -1  # the label of a row in no cluster
RESTART = 0.05  # chance that the walk returns to its seed: a reach of about 20 steps
_STEPS = 60  # (1 − RESTART)^60 = 0.05 of the walk is left out


def neighbour_graph(points: Array, neighbours: int) -> Any:
    """Edges between each row and its nearest ones, either way, unweighted: sparse (N, N)."""
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    num_rows = len(points)
    _, near = cKDTree(points).query(points, k=neighbours + 1)
    start = np.repeat(np.arange(num_rows), neighbours + 1)
    stop = near.ravel()
    apart = start != stop  # a row is its own nearest, or one of several in one place
    edges = csr_array(
        (np.ones(apart.sum()), (start[apart], stop[apart])), shape=(num_rows, num_rows)
    )
    return edges.maximum(edges.T).tocsr()


def conductance(graph: Any, members: NDArray[np.bool_]) -> float:
    """φ of the rows where `members` is True; NaN for no row, or all."""
    degree = np.asarray(graph.sum(1)).ravel()
    inside = float(degree[members].sum())
    smaller = min(inside, float(degree.sum()) - inside)
    kept = float((graph @ members.astype(float))[members].sum())
    return (inside - kept) / smaller if smaller > 0 else float("nan")


def low_conductance_sets(
    graph: Any, points: Array, *, fewest: int, largest_conductance: float
) -> Labels:
    """Disjoint sets of at least `fewest` rows with φ below the limit when found, (N,) labels.

    From each seed, the best cut of the rows in order of PageRank over degree; at most half the
    rows. Rows of earlier sets leave a later one.
    """
    num_rows = graph.shape[0]
    degree = np.asarray(graph.sum(1)).ravel()
    walk = (graph / np.maximum(degree, 1)[:, None]).T.tocsr()
    seeds = np.argsort(_spread(graph, points), kind="stable")
    labels = np.full(num_rows, NONE, np.int64)
    tried = np.zeros(num_rows, bool)
    for seed in seeds:
        if tried[seed] or labels[seed] != NONE:
            continue
        members, phi = _sweep(graph, degree, _pagerank(walk, seed), fewest)
        tried[seed] = True
        tried[graph.indices[graph.indptr[seed] : graph.indptr[seed + 1]]] = True
        if phi > largest_conductance:
            tried[members] = True  # the neighbourhood has no better cut
            continue
        new = members[labels[members] == NONE]
        if len(new) >= fewest:
            labels[new] = labels.max() + 1
    return labels


def _spread(graph: Any, points: Array) -> Array:
    """The mean distance of each row to its neighbours: small where rows are dense."""
    coo = graph.tocoo()
    distance = np.linalg.norm(points[coo.row] - points[coo.col], axis=1)
    total = np.bincount(coo.row, distance, minlength=len(points))
    spread: Array = total / np.maximum(np.bincount(coo.row, minlength=len(points)), 1)
    return spread


def _pagerank(walk: Any, seed: int) -> Array:
    rank = np.zeros(walk.shape[0])
    rank[seed] = 1.0
    for _ in range(_STEPS):
        rank = (1 - RESTART) * (walk @ rank)
        rank[seed] += RESTART
    return rank


def _sweep(graph: Any, degree: Array, rank: Array, fewest: int) -> tuple[NDArray[np.intp], float]:
    """The prefix of rows by rank over degree with the least φ, and that φ."""
    order = np.argsort(-rank / np.maximum(degree, 1), kind="stable")
    order = order[rank[order] > 0]
    position = np.full(len(degree), len(degree))
    position[order] = np.arange(len(order))
    coo = graph.tocoo()
    later = np.maximum(position[coo.row], position[coo.col])
    # each edge is stored both ways: inside the prefix from the later of its ends on
    inside = np.bincount(later, minlength=len(degree) + 1)[: len(order)].cumsum()
    volume = degree[order].cumsum()
    smaller = np.minimum(volume, degree.sum() - volume)
    sizes = np.arange(1, len(order) + 1)
    allowed = (sizes >= fewest) & (sizes <= len(degree) // 2) & (smaller > 0)
    if not allowed.any():
        return order[:0], 1.0
    phi = np.where(allowed, (volume - inside) / np.maximum(smaller, 1), np.inf)
    best = int(phi.argmin())
    return order[: best + 1], float(phi[best])
