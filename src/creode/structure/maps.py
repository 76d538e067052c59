"""A two-dimensional map of rows: a picture of which are alike, with a number for what it hides.

Here: UMAP, t-SNE or the two directions of largest variance, and the share of neighbours each keeps.
Not here: what is in the data (modes.py, clusters.py): distances in a map are no estimates, and
clusters are not read off it.
Source: UMAP, arXiv:1802.03426, of umap-learn; t-SNE, van der Maaten and Hinton 2008, of
scikit-learn. Both are of the extra [map].
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.version import __version__

Array = NDArray[np.float64]
Method = Literal["umap", "tsne", "pca"]

MODULES = {"umap": "umap", "tsne": "sklearn", "pca": "numpy"}  # what each method needs


def map_rows(
    values: xr.DataArray,
    *,
    method: Literal["auto", "umap", "tsne", "pca"] = "auto",
    neighbours: int = 15,
    seed: int = 0,
) -> xr.Dataset:
    """Rows as points of a plane.

    Args:
        values: (row, …) with one other dimension, such as the scores (mode, row) of modes().
        method: "auto" takes the first of "umap", "tsne" and "pca" whose library is installed.
        neighbours: how many of a row's neighbours the map is asked to keep, and is measured by.
        seed: of UMAP and t-SNE; their maps depend on the order of rows too.

    Returns:
        x, y (row): in no unit.
        kept_neighbours: share of the nearest neighbours of a row that are so in the map, the mean
            over rows; a map of random points keeps about neighbours/rows.
        The attribute `method` names what made it; notes say so if "auto" had to do without one.

    Raises:
        ImportError: a method that was asked for and whose library is not installed.
        ValueError: other dimensions, values that are not finite, or too few rows.
    """
    if method not in ("auto", *MODULES):
        raise ValueError(f"method must be auto, umap, tsne or pca, got {method!r}.")
    points = _points(values, neighbours)
    chosen = _chosen(method)
    if chosen == "umap":
        plane = _umap(points, neighbours, seed)
    elif chosen == "tsne":
        plane = _tsne(points, neighbours, seed)
    else:
        plane = _pca(points)
    missing = [name for name in MODULES if not _installed(name)] if method == "auto" else []
    notes = f"not installed: {', '.join(missing)} (creode[map])" if missing else ""
    along = {name: c for name, c in values.coords.items() if c.dims == ("row",)}
    return xr.Dataset(
        {
            "x": ("row", plane[:, 0]),
            "y": ("row", plane[:, 1]),
            "kept_neighbours": kept_neighbours(points, plane, neighbours),
            "notes": notes,
        },
        coords=along,
        attrs={
            "method": chosen,
            "neighbours": neighbours,
            "seed": seed,
            "creode_version": __version__,
        },
    )


def kept_neighbours(points: Array, plane: Array, neighbours: int) -> float:
    """Mean share of the nearest neighbours of a row in `points` that are so in `plane`."""
    first, second = _nearest(points, neighbours), _nearest(plane, neighbours)
    shares = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shares) / neighbours)


def _nearest(points: Array, neighbours: int) -> NDArray[np.intp]:
    from scipy.spatial import cKDTree

    near: NDArray[np.intp] = cKDTree(points).query(points, k=neighbours + 1)[1]
    return near[:, 1:]


def _points(values: xr.DataArray, neighbours: int) -> Array:
    if "row" not in values.dims or values.ndim != 2:
        raise ValueError(f"values have dimensions {values.dims}; they need 'row' and one other.")
    points: Array = values.transpose("row", ...).values.astype("float64")
    if not np.isfinite(points).all():
        broken = int((~np.isfinite(points).all(1)).sum())
        raise ValueError(f"{broken} rows are not finite; leave them out, they have no place.")
    if len(points) < neighbours + 2:
        raise ValueError(
            f"{len(points)} rows are too few for a map with {neighbours} neighbours; give more "
            "rows, or lower neighbours."
        )
    return points


def _installed(method: str) -> bool:
    try:
        return find_spec(MODULES[method]) is not None
    except ValueError:  # a module that was put out of the way
        return False


def _chosen(method: str) -> Method:
    if method == "auto":
        return next(name for name in ("umap", "tsne", "pca") if _installed(name))
    if not _installed(method):
        raise ImportError(
            f"a map by {method} needs {MODULES[method]}, which is not installed: "
            'pip install "creode[map]", or use method="pca".'
        )
    return method  # type: ignore[return-value]


def _umap(points: Array, neighbours: int, seed: int) -> Array:
    import umap

    # One thread: with a seed there is no other way, and umap-learn warns if it must say so.
    reducer: Any = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(points), dtype=np.float64)


def _tsne(points: Array, neighbours: int, seed: int) -> Array:
    from sklearn.manifold import TSNE

    # A perplexity is about a number of neighbours, and has to be below that of rows.
    reducer: Any = TSNE(perplexity=neighbours, random_state=seed, init="pca")
    return np.asarray(reducer.fit_transform(points), dtype=np.float64)


def _pca(points: Array) -> Array:
    """The two directions of largest variance, the largest coordinate of each positive."""
    centred = points - points.mean(0)
    u, sigma, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(points), 2))
    plane[:, : len(sigma)] = (u * sigma)[:, :2]
    largest = np.abs(plane).argmax(0)
    sign: Array = np.where(plane[largest, [0, 1]] < 0, -1.0, 1.0)
    return plane * sign
