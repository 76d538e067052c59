"""The path of a training run through the space of its susceptibilities.

A checkpoint is a point with one coordinate for each component and data set, χ of the one to the
other. The points of all checkpoints, less their mean, have one SVD, X = U S Vᵀ: the scores U S are
the path, the loadings V say which responses it is a path of.

Here: scale, scores, loadings, explained shares, and their errors.
Not here: χ and its errors (response/), paths of outputs (trajectory.py).
Scale: a component's χ is divided by its root mean square deviation over checkpoints and data sets,
since components differ in it by what has nothing to do with data (arXiv:2601.12703).
Errors: of chains, as χ has them, taken as independent and normal; χ is seen anew with them (a
parametric bootstrap), each time turned onto the path that was seen by the orthogonal matrix that
fits best. Noise makes axes of its own, so shares are told beside that of the errors alone.
Source: the PCA of arXiv:2501.17745, here of responses.
Dimensions: T checkpoints, F responses, K axes.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from creode.version import __version__

Array = NDArray[np.float64]

FEWEST = 3  # checkpoints


def response_path(
    chi: xr.DataArray,
    chi_se: xr.DataArray,
    *,
    num_axes: int = 3,
    num_bootstrap: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Principal components of χ over checkpoints.

    Args:
        chi: dims (checkpoint, component, probe); a checkpoint with a NaN is left out.
        chi_se: its standard errors.
        num_axes: at most so many.
        num_bootstrap: how often χ is seen anew.
        seed: of the bootstrap.

    Returns:
        score, score_se (checkpoint, axis); loading, loading_se (axis, component, probe), of unit
        length over (component, probe); explained, explained_se (axis,), shares of the variance over
        checkpoints; noise (), the share that errors alone would have. The sign of an axis makes its
        largest score positive.

    Raises:
        ValueError: fewer than 3 checkpoints without NaN, or nothing that changes.
    """
    dims = ("checkpoint", "component", "probe")
    value, error = (one.sortby("checkpoint").transpose(*dims) for one in (chi, chi_se))
    whole = (value.notnull() & error.notnull()).all(dims[1:]).values
    if whole.sum() < FEWEST:
        raise ValueError(
            f"χ is known of every component to every probe at {int(whole.sum())} checkpoints, and "
            f"a path needs {FEWEST}."
        )
    value, error = value.isel(checkpoint=whole), error.isel(checkpoint=whole)
    scale = ((value - value.mean("checkpoint")) ** 2).mean(("checkpoint", "probe")) ** 0.5
    moving = scale.values > 0
    if not moving.any():
        raise ValueError("χ is the same at every checkpoint, so there is no path.")
    value, error = ((one / scale).isel(component=moving) for one in (value, error))
    rows = value.values.reshape(len(value), -1).astype(np.float64)
    errors = error.values.reshape(rows.shape)
    K = min(num_axes, len(rows) - 1, rows.shape[1])
    places, loadings, explained = _axes(rows, K)
    sign = np.sign(places[np.abs(places).argmax(0), np.arange(K)])
    places, loadings = places * sign, loadings * sign
    rng = np.random.default_rng(seed)
    again: list[tuple[Array, Array, Array]] = []
    for _ in range(num_bootstrap):
        other, others, shares = _axes(rows + errors * rng.standard_normal(rows.shape), K)
        turn, _ = orthogonal_procrustes(other, places)
        again.append((other @ turn, others @ turn, shares))
    score_se, loading_se, share_se = (
        np.std(one, axis=0, ddof=1) for one in zip(*again, strict=True)
    )
    shape = (K, *value.shape[1:])
    centred = rows - rows.mean(0)
    noise = (1 - 1 / len(rows)) * (errors**2).sum() / (centred**2).sum()
    return xr.Dataset(
        {
            "score": (("checkpoint", "axis"), places),
            "score_se": (("checkpoint", "axis"), score_se),
            "loading": (("axis", *dims[1:]), loadings.T.reshape(shape)),
            "loading_se": (("axis", *dims[1:]), loading_se.T.reshape(shape)),
            "explained": ("axis", explained),
            "explained_se": ("axis", share_se),
            "noise": ((), noise),
        },
        {name: value[name] for name in dims} | {"axis": np.arange(1, K + 1)},
        {"seed": seed, "num_bootstrap": num_bootstrap, "creode_version": __version__},
    )


def _axes(rows: Array, K: int) -> tuple[Array, Array, Array]:
    """Scores (T, K), loadings (F, K) and shares (K,) of rows less their mean."""
    U, S, Vt = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return U[:, :K] * S[:K], Vt[:K].T, S[:K] ** 2 / (S**2).sum()
