"""How surely each sample's loss moves with each observable: rank correlations, with replicates.

A model that fits its data holds most single losses near 0, with rare high ones, in draws as in
training. Covariances, and so effects, are then those of a few draws, and their order over samples
is mostly noise. Ranks within a chain are not moved by how high a loss is. They tell which samples
move an observable, not by how much.

    A_kj = −Corr(rank φ_k, rank ℓ_j), over draws, ranks taken and centred within each chain

Here: A as `Effects`, whose replicates have the errors of A with that of its scales; what may be
done with them is what needs no unit: an order of samples, a direction for `Furthest`.
Not here: effects in the unit of the observables (effects.py), weights along A (pattern.py).
Source: Spearman's rank correlation; the error of a correlation by its linearisation.
Dimensions: C chains, D draws, b blocks, K observables, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.diagnostics.excess import posterior_dataset
from creode.patterning.effects import Effects
from creode.response.factor import Factor
from creode.response.replicates import Observable, coefficients_of

Array = NDArray[np.float64]


def associations(
    draws: xr.DataTree, on: str, observables: Mapping[str, Observable], found: Effects
) -> Effects:
    """A of the samples of a probe.

    Args:
        draws: one posterior's tree, with full traces of the probe (`traces=(on,)`).
        on: the probe that holds the training data.
        observables: recorded names, or combinations of them, by name.
        found: the effects of the same samples on the same observables.

    Returns:
        `Effects` with A in the place of effects: from −1 to 1; positive, more of the sample raises
        the observable. 0 where a sample's loss, or an observable, never changes.

    Raises:
        ValueError: no full traces of the probe, or effects that are of its tokens.
    """
    factor = Factor(draws, on, "sample")
    if found.mask.ndim > 1:
        raise ValueError("ranks are of the losses of samples; effects of tokens have none.")
    root = posterior_dataset(draws)
    recorded = root["block_of_draw"].values
    groups = np.array_split(np.arange(recorded.max() + 1), found.replicates.shape[1])  # as found's
    block = np.repeat(np.arange(len(groups)), [len(some) for some in groups])[recorded]
    phi = _normalised(np.stack([_trace(root, draws, one) for one in observables.values()], 2))
    values = np.empty_like(found.replicates)
    for columns in factor.slabs(factor.find_all(None)):
        losses = _normalised(factor.columns(columns))
        values[..., factor.samples[columns]] = _by_block(phi, losses, block)
    counted = np.isin(np.arange(values.shape[-1]), factor.samples)
    values[..., ~counted] = 0.0
    return found._replace(names=tuple(observables), replicates=-values)


def _trace(root: xr.Dataset, draws: xr.DataTree, observable: Observable) -> Array:
    """φ (C, D)."""
    observed = root["observed"].transpose("chain", "draw", "observable")
    parts = [
        coefficient * observed.sel(observable=name).values.astype(np.float64)
        for name, coefficient in coefficients_of(draws, observable).items()
    ]
    total: Array = np.sum(parts, axis=0)
    return total


def _normalised(values_CDU: Array) -> Array:
    """Ranks within each chain, centred, of variance 1 over all draws; 0 where nothing changes."""
    from scipy.stats import rankdata

    ranks = rankdata(values_CDU, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    spread = np.sqrt(np.square(ranks).mean((0, 1)))
    out: Array = ranks / np.where(spread > 0, spread, 1.0)
    return out


def _by_block(phi_CDK: Array, losses_CDN: Array, block: NDArray[np.int64]) -> Array:
    """Replicates (C, b, K, N) whose mean is the correlation, with the error of its scales in."""
    num_draws, num_blocks = len(block), int(block.max()) + 1
    member = (block[:, None] == np.arange(num_blocks)) * (num_blocks / num_draws)  # (D, b)
    products = np.einsum("db,cdk,cdn->cbkn", member, phi_CDK, losses_CDN, optimize=True)
    value = products.mean((0, 1))
    tilt = (
        np.einsum("db,cdk->cbk", member, np.square(phi_CDK))[..., None]
        + np.einsum("db,cdn->cbn", member, np.square(losses_CDN))[:, :, None]
    )
    out: Array = products - value * (tilt - tilt.mean((0, 1))) / 2
    return out
