"""Replicates of a posterior's covariances: one for every independent block of draws of every chain.

Each is its block's share of its chain's covariance, centred on the chain's means, so that their
mean is the covariance. Blocks that a chain's memory ties together are joined (independence.py).
Linear functionals of the covariances (means over units, mixtures of data, differences of
observables, modes) are the same functionals of the replicates, and so are their errors.

Here: replicates of Cov(φ, ℓ_z) and Cov(φ, L) from one posterior's saved draws, how many there are.
Not here: their recording (sampling/), value and error from replicates (uncertainty.py).
Symbols: φ the observable, ℓ_z the loss of unit z, L the mean loss of the data, n draws of a chain.
L(w) is seen on a minibatch. Where φ is that same loss, Cov(φ, L) is Var L: it is taken from the
squares that have the noise of the minibatch mean subtracted, as the variance form of the learning
coefficient is. Every other covariance here is of a noisy L(w) with something else, and unbiased as
it stands, since the minibatch is drawn independently of the weights it is scored at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from creode.diagnostics.excess import excess_loss, posterior_dataset, probe_dataset
from creode.response.independence import (
    autocorrelation_time,
    independent_blocks,
    join_blocks,
)

LOSS = "loss"
Observable = str | Mapping[str, float]  # a name, or a combination of names with coefficients


class Replicates(NamedTuple):
    """Replicates of one posterior's covariances; their means over chain and block are values."""

    units: xr.DataArray  # of Cov(φ, ℓ_z), (chain, block, sample[, token]); NaN where masked
    data: xr.DataArray  # of Cov(φ, L), (chain, block)


def replicates(
    draws: xr.DataTree, on: str, observable: Observable = LOSS, *, blocks: int | None = None
) -> Replicates:
    """Replicates of the covariances of an observable with a probe's losses and the data's.

    Args:
        draws: one posterior's tree, as saved.
        on: the name of a probe.
        observable: a name, or coefficients by name: {"code": 1, "prose": -1} is a difference.
        blocks: how many of each chain, where several posteriors or observables are to have as many;
            `blocks_of` if not given.

    Raises:
        ValueError: there is no such probe or observable, or the draws have no covariances.
    """
    coefficients = coefficients_of(draws, observable)
    probe = probe_dataset(draws, on)
    if "cov" not in probe:
        raise ValueError(f"probe {on!r} has no covariances; sample again with this version.")
    units = _combined(
        {name: probe["cov"].sel(observable=name, drop=True) for name in coefficients}, coefficients
    )
    data = _combined({name: _with_data(draws, name) for name in coefficients}, coefficients)
    groups = blocks_of(draws, observable) if blocks is None else blocks
    return Replicates(join_blocks(units, groups).where(probe["mask"]), join_blocks(data, groups))


def blocks_of(draws: xr.DataTree, observable: Observable = LOSS) -> int:
    """How many blocks of each chain are independent, as the memory of the observable tells.

    Raises:
        ValueError: there is no such observable.
    """
    root = posterior_dataset(draws)
    coefficients = coefficients_of(draws, observable)
    observed = root["observed"]
    phi = _combined({name: observed.sel(observable=name) for name in coefficients}, coefficients)
    time = float(autocorrelation_time(phi - phi.mean("draw", skipna=False)))  # as covariances are
    recorded = int(root["block_of_draw"].max()) + 1
    return independent_blocks(time, observed.sizes["draw"], recorded)


def coefficients_of(draws: xr.DataTree, observable: Observable) -> dict[str, float]:
    """The observable as coefficients by recorded name.

    Raises:
        ValueError: one of them was not recorded.
    """
    named = {observable: 1.0} if isinstance(observable, str) else dict(observable)
    root = posterior_dataset(draws)
    known = [str(name) for name in root["observable"].values] if "observable" in root else []
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        raise ValueError(
            f"observable {unknown or named} was not recorded; these draws have {known}. Sample "
            "with probes, and name observables beside the loss in creode.sample(observables=...)."
        )
    return named


def observed_mean(draws: xr.DataTree, observable: Observable) -> xr.DataArray:
    """E[φ(w) − φ(w*)] by chain, (chain,)."""
    root = posterior_dataset(draws)
    means = {
        name: excess_loss(draws)["excess"].mean("draw", skipna=False)
        if name == LOSS
        else root["observed"].sel(observable=name, drop=True).mean("draw", skipna=False)
        for name in coefficients_of(draws, observable)
    }
    return _combined(means, coefficients_of(draws, observable))


def _with_data(draws: xr.DataTree, name: str) -> xr.DataArray:
    """Replicates of Cov(φ, L), (chain, block)."""
    root = posterior_dataset(draws)
    if name == LOSS:
        losses = excess_loss(draws)
        mean = losses["excess"].mean("draw", skipna=False)
        product = losses["excess_sq"] - 2 * mean * losses["excess"] + mean**2
    else:
        pair = root["observed"].sel(observable=[name, LOSS])
        centred = pair - pair.mean("draw", skipna=False)
        product = centred.isel(observable=0, drop=True) * centred.isel(observable=1, drop=True)
    return _by_block(product, root["block_of_draw"])


def _by_block(product: xr.DataArray, block_of_draw: xr.DataArray) -> xr.DataArray:
    """Each block's share of Σ product/(n − 1), so scaled that the mean over blocks is the whole."""
    blocks = int(block_of_draw.max()) + 1
    member = xr.DataArray(
        block_of_draw.values[:, None] == np.arange(blocks), dims=("draw", "block")
    )
    n = product.sizes["draw"]
    share: xr.DataArray = (product.drop_vars("draw", errors="ignore") * member).sum(
        "draw", skipna=False
    )
    return share * (blocks / (n - 1))


def _combined(parts: Mapping[str, xr.DataArray], coefficients: Mapping[str, float]) -> xr.DataArray:
    terms = [coefficients[name] * part.astype("float64") for name, part in parts.items()]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total.drop_vars("observable", errors="ignore")
