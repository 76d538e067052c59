"""How many blocks of a chain's draws are independent enough to be replicates of each other.

Blocks next to each other share what a chain does not forget from one to the next. Where they do,
their spread is smaller than that of independent runs, and an error from it too small. So blocks are
joined until each lasts several autocorrelation times; at last a chain is one block, and the error
is that between chains, which is right whatever a chain forgets.

Here: the autocorrelation time of a trace; how many blocks it allows; joining blocks of replicates.
Not here: replicates (replicates.py), blocks of full traces (covariance.py), errors
(uncertainty.py).
Symbols: φ the observable, ℓ_z the loss of a unit; D draws and b blocks of a chain; τ the integrated
autocorrelation time of φ, draws over effective sample size, in draws.
Why φ: where φ and ℓ_z correlate weakly, the autocorrelation of their product is that of the one
times that of the other, so a product forgets no more slowly than φ does. A mean over a block of m
draws misses a share of about (τ − 1/τ)/m of its variance, which is 0 for independent draws: half of
it or less because neighbours correlate, the rest because a chain's own means are taken off.
Source: batch means, Flegal & Jones, arXiv:0811.1729. Deviation: the length of a block is chosen by
the measured τ and not by D alone. `benchmarks/response_ess.py` measures what comes of it.
Dimensions: C chains, D draws, b blocks.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from creode.diagnostics.ess import ess

# A block of 8 (τ − 1/τ) draws misses about an eighth of its variance, a sixteenth of the error.
BLOCK_TIMES = 8.0


def autocorrelation_time(trace: xr.DataArray) -> xr.DataArray:
    """τ of a trace in draws: all its draws over its effective sample size.

    Args:
        trace: dims (chain, draw) and any others.

    Returns:
        τ over (chain, draw); chains that disagree lengthen it. NaN where there is no effective
        sample size: fewer than 4 draws, a chain that failed or never moved.
    """
    num_draws = trace.sizes["chain"] * trace.sizes["draw"]
    return (num_draws / ess(trace)).rename("autocorrelation_time")


def shortest_block(time: float) -> float:
    """The draws that a block must last, for a trace of autocorrelation time `time`; 0 for NaN."""
    return BLOCK_TIMES * max(time - 1 / time, 0.0) if time > 0 else 0.0


def independent_blocks(time: float, num_draws: int, blocks: int) -> int:
    """How many groups of a chain's blocks are long enough to be independent; 1 to `blocks`.

    Args:
        time: τ in draws; NaN where it is not known, and no block is joined.
        num_draws: D, of a chain.
        blocks: b, of equal length.
    """
    together = max(1, math.ceil(shortest_block(time) * blocks / num_draws))
    return max(1, blocks // together)


def join_blocks(replicates: xr.DataArray, groups: int) -> xr.DataArray:
    """Replicates of longer blocks: each of so many groups of neighbours as one.

    The mean over a chain's replicates stays. A group of more blocks than the others counts for its
    length: with v the chain's mean, m of b blocks become v + (m · groups/b)(their mean − v).

    Args:
        replicates: dims (block, …), of one chain or of several.
        groups: 1 to b.
    """
    blocks = replicates.sizes["block"]
    if groups >= blocks:
        return replicates
    whole = replicates.mean("block", skipna=False)
    joined = [
        whole + (len(some) * groups / blocks) * (
            replicates.isel(block=some).mean("block", skipna=False) - whole
        )
        for some in np.array_split(np.arange(blocks), groups)
    ]  # fmt: skip
    return xr.concat(joined, "block").transpose(*replicates.dims)
