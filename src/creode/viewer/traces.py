"""Chains of the readings, thinned and packed for the page, and as rows for a still chart.

Here: the excess loss L(w) − L(w*) and the running λ̂ at each draw, and the autocorrelation.
Not here: computing them (diagnostics/).
Numbers for drawing are kept as 16-bit steps of their range, finer than a pixel; the numbers of the
table are not touched by this.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.readings import Row, rounded

MAX_DRAWS = 400  # draws of a chain that are drawn; of more, every k-th
MAX_LAGS = 200  # first lags that are drawn
_TOP = 65534  # the largest level; 65535 stands for NaN


def drawn(trace: xr.Dataset) -> dict[str, xr.DataArray]:
    """What is drawn: excess and running (chain, draw), and autocorrelation (chain, lag)."""
    stride = draw_stride(trace)
    kept = trace.isel(draw=slice(None, None, stride))
    excess = (kept["loss"] - kept["init_loss"]).transpose("chain", "draw")
    return {
        "excess": excess,
        "running": kept["running_llc"].transpose("chain", "draw"),
        "autocorrelation": trace["autocorrelation"]
        .isel(lag=slice(MAX_LAGS))
        .transpose("chain", "lag"),
    }


def draw_stride(trace: xr.Dataset) -> int:
    """k, where every k-th draw is drawn."""
    return max(1, math.ceil(trace.sizes["draw"] / MAX_DRAWS))


def packed(trace: xr.Dataset) -> dict[str, Any]:
    """The drawn arrays as text for the page."""
    return {"stride": draw_stride(trace)} | {
        name: pack(values.values) for name, values in drawn(trace).items()
    }


def pack(values: np.ndarray) -> dict[str, Any]:
    """A 2-d array as base64 of little-endian 16-bit levels between its extremes."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = (values - low) / (high - low) if high > low else np.where(np.isnan(values), values, 0)
    levels = np.where(np.isfinite(scaled), np.round(scaled * _TOP), _TOP + 1).astype("<u2")
    text = base64.b64encode(levels.tobytes()).decode("ascii")
    return {"low": low, "high": high, "shape": list(values.shape), "levels": text}


def rows(trace: xr.Dataset) -> tuple[list[Row], list[Row]]:
    """Rows (chain, draw, excess, running) and rows (chain, lag, autocorrelation)."""
    arrays = drawn(trace)
    stride = draw_stride(trace)
    draws = [
        {"chain": c, "draw": d * stride, "excess": rounded(excess), "running": rounded(running)}
        for c, (one, two) in enumerate(
            zip(arrays["excess"].values, arrays["running"].values, strict=True)
        )
        for d, (excess, running) in enumerate(zip(one, two, strict=True))
    ]
    lags = [
        {"chain": c, "lag": lag, "autocorrelation": rounded(value)}
        for c, chain in enumerate(arrays["autocorrelation"].values)
        for lag, value in enumerate(chain)
    ]
    return draws, lags
