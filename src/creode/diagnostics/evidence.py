"""What the verdict knows of one reading: scalars only.

Here: their names, and those of the chains from what `convergence` found.
Not here: computing them (convergence.py, geometry/), judging them (verdict.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

NAN = math.nan

OVER_CHAINS = (
    "ess",
    "rhat",
    "rhat_distance",
    "memory",
    "virial",
    "virial_se",
    "temperature",
    "temperature_se",
    "heat",
    "heat_se",
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the verdict knows of one reading: scalars only. NaN: not known, or not applicable."""

    # the chains
    num_chains: int
    num_draws: int  # per chain
    num_failed: int = 0  # chains that became non-finite
    failed_chain: int = -1  # the first of them
    failed_at: int = -1  # its step; -1: not recorded
    failed_draw: int = -1  # its first non-finite draw; -1: none
    num_still: int = 0  # chains that never moved
    still_chain: int = -1  # the first of them
    num_flat: int = 0  # chains with the same loss at every draw
    nbeta: float = NAN
    localization: float = NAN
    ess: float = NAN
    rhat: float = NAN
    rhat_distance: float = NAN
    memory: float = NAN  # share of the start that burn-in left
    virial: float = NAN
    virial_se: float = NAN
    temperature: float = NAN
    temperature_se: float = NAN
    heat: float = NAN  # of the directions that the loss resolves
    heat_se: float = NAN
    # the reading
    llc: float = NAN
    llc_se: float = NAN
    init_loss: float = NAN  # at w*
    mean_loss: float = NAN  # over the draws
    ignorance: float = NAN  # the sampled loss of a model that knows nothing
    num_parameters: float = NAN  # d, sampled weights
    descent: float = NAN  # what llc lacks because draws lie below L(w*)
    drift: float = NAN  # what unmixed flat directions can be worth in llc
    locality: float = NAN
    locality_se: float = NAN
    tether_shift: float = NAN  # what λ̂ falls by when the localization is doubled
    on: str = "data"  # the loss that was read; only "data" is the one that was sampled


def gather(chains: xr.Dataset, **reading: Any) -> Evidence:
    """Everything known of the chains, from `convergence`, with the scalars of a reading.

    Args:
        chains: what `convergence` returned.
        reading: further fields of `Evidence`.
    """
    num_chains = chains.sizes["chain"]
    labels = chains["chain"].values if "chain" in chains.coords else np.arange(num_chains)
    failed, still = (chains[flag].values for flag in ("failed", "still"))
    first = int(np.argmax(failed))
    over_chains: dict[str, Any] = {name: float(chains[name]) for name in OVER_CHAINS}
    return Evidence(
        num_chains=num_chains,
        num_draws=int(chains["num_draws"]),
        num_failed=int(failed.sum()),
        failed_chain=int(labels[first]) if failed.any() else -1,
        failed_at=int(chains["failed_at"].values[first]),
        failed_draw=int(chains["failed_draw"].values[first]),
        num_still=int(still.sum()),
        still_chain=int(labels[np.argmax(still)]) if still.any() else -1,
        num_flat=int(chains["flat"].values.sum()),
        **over_chains,
        **reading,
    )
