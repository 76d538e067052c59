"""Replicates of a response matrix: rows are tokens, samples or data sets, columns components.

A replicate is one estimate of the whole matrix from one block of draws of one chain; the mean over
replicates is the estimate, and how they differ is its error.

Here: that array from responses by block, and its checks.
Not here: the responses themselves (response/), what is read off the matrix (modes.py, clusters.py).
Dimensions: R replicates, N rows, P components.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

DIMS = ("replicate", "row", "component")
_REPLICATE_DIMS = ("chain", "block")


def response_matrix(responses: xr.DataArray, mask: xr.DataArray | None = None) -> xr.DataArray:
    """Responses by block as replicates of one matrix.

    Args:
        responses: dims chain and/or block, component, and those of the rows: (sample, token),
            (sample,), (dataset,) or any others.
        mask: bool, over dims of the rows; rows where it is False are left out.

    Returns:
        dims (replicate, row, component). The coordinates chain and block stay along replicate,
        those of the rows along row; one that was not given is numbered from 0.

    Raises:
        ValueError: a dimension is missing, or no row is left.
    """
    by = [dim for dim in _REPLICATE_DIMS if dim in responses.dims]
    rows = [dim for dim in responses.dims if dim not in (*by, "component")]
    if "component" not in responses.dims or not by or not rows:
        raise ValueError(
            f"responses have dimensions {responses.dims}; they need 'component', 'chain' or "
            "'block', and at least one for the rows, such as 'sample'."
        )
    numbered = {
        dim: np.arange(responses.sizes[dim]) for dim in by + rows if dim not in responses.coords
    }
    labelled = responses.assign_coords(numbered)
    stacked = labelled.stack(replicate=by, row=rows).transpose(*DIMS)
    if mask is not None:
        kept = mask.broadcast_like(labelled.isel(dict.fromkeys([*by, "component"], 0), drop=True))
        stacked = stacked[:, kept.stack(row=rows).values.astype(bool)]
    if not stacked.sizes["row"]:
        raise ValueError("the mask leaves no row; give one with at least one True.")
    return stacked.reset_index(["replicate", "row"])


def check_replicates(replicates: xr.DataArray, *, fewest: int) -> xr.DataArray:
    """The replicates as float64 with dims (replicate, row, component).

    Raises:
        TypeError: not a DataArray.
        ValueError: other dimensions, too few replicates, or a matrix too small to have structure.
    """
    if not isinstance(replicates, xr.DataArray):
        raise TypeError(
            f"replicates must be a DataArray with dims {DIMS}, got {type(replicates).__name__}."
        )
    if set(replicates.dims) != set(DIMS):
        raise ValueError(
            f"replicates have dimensions {replicates.dims}; they need {DIMS} "
            "(creode.structure.response_matrix makes them from responses by block)."
        )
    sizes = replicates.sizes
    if sizes["replicate"] < fewest:
        raise ValueError(
            f"{sizes['replicate']} replicates, but at least {fewest} are needed to tell structure "
            "from noise; cut each chain into more blocks, or run more chains."
        )
    if sizes["row"] < 2 or sizes["component"] < 2:
        raise ValueError(
            f"a matrix of {sizes['row']} rows and {sizes['component']} components has no "
            "structure to find; give at least 2 of each."
        )
    return replicates.transpose(*DIMS).astype("float64")


def grouped(replicates: xr.DataArray, by: Hashable | None) -> xr.DataArray:
    """Replicates averaged within each value of the coordinate `by`, such as "chain" or "seed".

    Raises:
        ValueError: no such coordinate along replicate, or groups of different size.
    """
    if by is None:
        return replicates
    if by not in replicates.coords or replicates[by].dims != ("replicate",):
        known = [name for name, c in replicates.coords.items() if c.dims == ("replicate",)]
        raise ValueError(f"by={by!r} is not a coordinate along replicate; known: {known}.")
    values, counts = np.unique(replicates[by].values, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise ValueError(
            f"groups of {by!r} have {counts.min()} to {counts.max()} replicates; give each the "
            "same number, so that the mean of their means is the estimate."
        )
    means = [replicates.isel(replicate=replicates[by].values == v).mean("replicate", skipna=False)
             for v in values]  # fmt: skip
    return xr.concat(means, dim="replicate", coords="minimal", compat="override")
