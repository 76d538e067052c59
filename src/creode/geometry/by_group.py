"""Learning coefficients refined to groups of a probe's samples, from the moments that were kept.

λ̂_g = nβ (E[L_g(w)] − L_g(w*)), L_g the mean loss over the units of group g. Weighted by their
units, the groups' λ̂ have the probe's λ̂ for their mean.

Here: that reading, with its error between chains.
Not here: λ̂ of whole probes with all checks (llc.py).
Source: arXiv:2410.02984, data refinement. Per-draw losses of single samples are not kept, so the
error is that between chains, with C − 1 degrees of freedom.
Dimensions: C chains, N samples, G groups.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from creode.diagnostics.excess import posterior_dataset, probe_dataset


def llc_by_group(draws: xr.DataTree, on: str, groups: ArrayLike) -> xr.Dataset:
    """λ̂ of each group of a probe's samples.

    Args:
        draws: one posterior's tree.
        on: a probe.
        groups: a label a sample (N,).

    Returns:
        By group: llc, llc_se (NaN of one chain), size: its samples.

    Raises:
        ValueError: no such probe, or another number of labels than samples.
    """
    probe = probe_dataset(draws, on)
    given = np.asarray(groups)
    count = probe.sizes["sample"]
    if given.shape != (count,):
        raise ValueError(f"groups need one label a sample, ({count},); got shape {given.shape}.")
    labels, member = np.unique(given, return_inverse=True)
    nbeta = float(posterior_dataset(draws).attrs["nbeta"])
    mask = probe["mask"].astype(bool)
    excess = (probe["unit_mean"] - probe["unit_init_loss"]).astype("float64").where(mask, 0.0)
    within = [dim for dim in mask.dims if dim != "sample"]
    totals = excess.sum(within, skipna=False).transpose("chain", "sample").values
    units = mask.sum(within).values
    belongs = (member[:, None] == np.arange(len(labels))).astype(np.float64)
    by_chain = nbeta * (totals @ belongs) / (units @ belongs)  # (C, G)
    chains = len(by_chain)
    error = by_chain.std(0, ddof=1) / chains**0.5 if chains > 1 else np.full(len(labels), np.nan)
    return xr.Dataset(
        {
            "llc": ("group", by_chain.mean(0)),
            "llc_se": ("group", error),
            "size": ("group", np.bincount(member)),
        },
        coords={"group": labels},
    )
