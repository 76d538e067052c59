"""From two tethers to none: Richardson's extrapolation of λ̂ in γ.

The tether −(γ/2)‖w − w*‖² that keeps chains near w* also hides directions that the loss hardly
resolves, so λ̂(γ) lies below the λ̂ that the loss alone would give, and rises as γ falls. For a
quadratic λ̂ = ½ Σ h/(h + γ/nβ): the bias is proportional to γ, and λ̂(γ) + [λ̂(γ) − λ̂(2γ)] is free of
it to first order. Where the loss is singular the bias can fall more slowly than γ; the correction
is then too small, seldom by more than its own size, and its error says so.

Here: the correction, shrunk where chance can explain it, and its error.
Not here: drawing at two tethers (sampling/), λ̂ at one of them (llc.py).
Symbols: s = λ̂(γ) − λ̂(2γ), σ its Monte Carlo error.
Source: Richardson's extrapolation; positive-part shrinkage after James and Stein. If the bias goes
as γ^p, what is left is s (1/(2^p − 1) − 1): −s/3 … 1.4 s for p from 2 to ½, hence EXTRAPOLATION.
"""

from __future__ import annotations

import xarray as xr

EXTRAPOLATION = 1.0  # standard error of the correction, in units of itself
UNSEEN = 2.0  # σ; a shift up to so much can be there and not be seen


def untether(
    llc: xr.DataArray, llc_se: xr.DataArray, tighter: xr.DataArray, tighter_se: xr.DataArray
) -> xr.Dataset:
    """λ̂ at γ → 0 from λ̂ at γ and at 2γ, all dimensionless.

    Args:
        llc, llc_se: λ̂ at γ, (), and its Monte Carlo error.
        tighter, tighter_se: the same at 2γ, from independent chains.

    Returns:
        llc, llc_se: λ̂ + k s with k = max(0, 1 − σ²/s²), 0 for s < 0; the error is the Monte Carlo
        one and EXTRAPOLATION × max(s, UNSEEN σ) for what the extrapolation may miss.
        llc_tethered, llc_tethered_se: λ̂ at γ as it came. tether_shift, tether_shift_se: s, σ.
    """
    shift = llc - tighter
    chance_sq = llc_se**2 + tighter_se**2
    kept = (1 - chance_sq / shift.where(shift > 0) ** 2).clip(min=0).fillna(0.0)
    missed = EXTRAPOLATION * shift.clip(min=UNSEEN * chance_sq**0.5)
    variance = ((1 + kept) * llc_se) ** 2 + (kept * tighter_se) ** 2 + missed**2
    return xr.Dataset(
        {
            "llc": llc + kept * shift,
            "llc_se": variance**0.5,
            "llc_tethered": llc,
            "llc_tethered_se": llc_se,
            "tether_shift": shift,
            "tether_shift_se": chance_sq**0.5,
        }
    )
