"""A trace: one number for every draw of every chain, and whether it is fit for statistics.

Here: which chains of a trace change at all, and the trace on its own scale.
Not here: the statistics themselves (ess.py, rhat.py, mcse.py).
Dimensions: C chains, D draws; any further dimension is carried along.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

SAMPLE_DIMS = ("chain", "draw")

Values = NDArray[Any]


def check_trace(trace: xr.DataArray) -> None:
    """Raise if `trace` is not labelled by chain and draw.

    Raises:
        ValueError: a dimension is missing.
    """
    missing = [dim for dim in SAMPLE_DIMS if dim not in trace.dims]
    if missing:
        raise ValueError(
            f"trace {trace.name!r} has dimensions {trace.dims} and lacks {missing}; "
            "give one number per draw of each chain, dims (chain, draw)."
        )


def changes(trace: xr.DataArray) -> xr.DataArray:
    """Whether each chain takes more than one value, (chain,), bool; a non-finite chain does not."""
    check_trace(trace)
    result: xr.DataArray = xr.apply_ufunc(
        _changes, trace, input_core_dims=[SAMPLE_DIMS], output_core_dims=[["chain"]]
    )
    return result


def standardise(trace: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The trace centred and scaled to unit standard deviation, and that scale, over all draws.

    A trace with a chain that is not finite or never changes becomes NaN, scale included: such a
    chain has no effective sample size, and without it nothing can be said of the others' mean.
    Rescaling first also keeps thresholds that are absolute in arviz-stats (a range below 1e-15
    counts as constant there) from deciding about losses that are small in nats.
    """
    check_trace(trace)
    standard, scale = xr.apply_ufunc(
        _standardise, trace, input_core_dims=[SAMPLE_DIMS], output_core_dims=[SAMPLE_DIMS, []]
    )
    return standard, scale


def _changes(values_CD: Values) -> Values:
    changed: Values = np.isfinite(values_CD).all(-1) & (values_CD.max(-1) > values_CD.min(-1))
    return changed


def _standardise(values_CD: Values) -> tuple[Values, Values]:
    fit: Values = np.asarray(_changes(values_CD).all(-1))
    kept = np.where(fit[..., None, None], values_CD, np.nan)
    centred = kept - kept.mean((-2, -1), keepdims=True)
    size = centred.shape[-2] * centred.shape[-1]
    scale = np.sqrt(np.square(centred).sum((-2, -1)) / (size - 1 if size > 1 else np.nan))
    return centred / scale[..., None, None], scale
