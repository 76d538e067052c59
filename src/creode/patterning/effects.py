"""What each sample's weight does to each observable, to first order, with replicates for its error.

Training on L_ρ = Σ ρ_j c_j ℓ_j / Σ ρ_j c_j instead of L moves ⟨φ_k⟩ by Σ_j E_kj (ρ_j − 1), with

    E_kj = d⟨φ_k⟩/dρ_j = nβ (c_j/Σc) χ_kj,   χ_kj = −Cov(φ_k, ℓ_j − L).

Where tokens are weighed one by one, j is a token that counts and c_j = 1.

Here: E from saved draws, by block of draws and chain; what changes of weights do, judged by draws
that had no part in making them.
Not here: χ as a reading (response/), weights that bring about an effect (pattern.py).
Symbols: ρ_j the weight of sample j, ℓ_j its mean loss, c_j the units (tokens) it counts.
Source: arXiv:2601.13548, χ_ij = −Cov(φ_i, ℓ_j − L); L_ρ is the weighted loss of training/loop.py up
to its scale, which the constraint of mean weight 1 holds.
Dimensions: C chains, b blocks, K observables, N units that are weighed: samples, or all tokens that
count, in the order of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.diagnostics.excess import posterior_dataset, probe_dataset
from creode.geometry import llc
from creode.response.replicates import Observable, blocks_of, replicates

Array = NDArray[np.float64]
Units = Literal["sample", "token"]


class Effects(NamedTuple):
    """E with what it was made of."""

    names: tuple[str, ...]  # K
    replicates: Array  # (C, b, K, N); their mean is E, nats of φ for a weight of 2 instead of 1
    ok: bool
    reasons: str  # why the draws cannot be trusted
    fingerprint: str  # of the samples, whose order the weights have
    mask: NDArray[np.bool_]  # (samples,) or (samples, tokens): which have a weight, N in all

    @property
    def mean(self) -> Array:
        """E (K, N)."""
        value: Array = self.replicates.mean((0, 1))
        return value

    @property
    def folds(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Masks (C, b) of replicates to learn from and to judge by: a chain, or of one a block."""
        chains, blocks = self.replicates.shape[:2]
        out = []
        for i in range(chains if chains > 1 else blocks):
            judged = np.zeros((chains, blocks), bool)
            judged[(i, slice(None)) if chains > 1 else (0, i)] = True
            out.append((~judged, judged))
        return out

    def by_unit(self, name: str, values: ArrayLike) -> NDArray[np.generic]:
        """What is known of samples or of tokens, as one value (N,) a unit that is weighed.

        Raises:
            ValueError: another shape than (samples,) or that of the mask.
        """
        given = np.asarray(values)
        if given.shape == self.mask.shape:
            return given[self.mask]
        if given.shape == (len(self.mask),):
            return given[np.nonzero(self.mask)[0]]
        needed = " or ".join(
            str(shape) for shape in dict.fromkeys([(len(self.mask),), self.mask.shape])
        )
        raise ValueError(
            f"{name} need one label a sample{' or token' if self.mask.ndim > 1 else ''}, {needed}; "
            f"got shape {given.shape}."
        )

    def judged(self, changes: Sequence[Array]) -> xr.DataArray:
        """What changes ρ − 1 do, each fold's (N,) read from what the fold was not made of.

        Returns:
            Replicates (chain, block, observable), in the units of the observables.
        """
        values = np.empty(self.replicates.shape[:-1])
        for (_, judged), change in zip(self.folds, changes, strict=True):
            values[judged] = self.replicates[judged] @ change
        dims = ("chain", "block", "observable")
        return xr.DataArray(values, dims=dims, coords={"observable": list(self.names)})


def effects(
    draws: xr.DataTree,
    on: str,
    observables: Mapping[str, Observable],
    units: Units = "sample",
    *,
    blocks: int | None = None,
) -> Effects:
    """E of the samples of a probe, or of its tokens.

    Args:
        draws: one posterior's tree.
        on: the probe that holds the training data, or samples that stand for it.
        observables: recorded names, or combinations of them, by name.
        units: what has a weight of its own.
        blocks: how many of each chain, as of `replicates`; the fewest that any of the observables
            allows if not given.

    Raises:
        ValueError: no such probe or observable; nβ is 0; fewer than 2 replicates; a failed chain;
            tokens of a probe whose losses are of samples.
    """
    if units not in ("sample", "token"):
        raise ValueError(f"units must be 'sample' or 'token', got {units!r}.")
    root = posterior_dataset(draws)
    nbeta = float(root.attrs["nbeta"])
    if nbeta == 0:
        raise ValueError("nβ is 0 in these draws: a control, in which the data have no effect.")
    probe = probe_dataset(draws, on)
    mask = xr.DataArray(probe["mask"].values.astype(bool), dims=probe["mask"].dims)
    if units == "token" and "token" not in mask.dims:
        raise ValueError(
            f"probe {on!r} has one loss a sample, so its tokens cannot be weighed; use "
            "units='sample'."
        )
    if blocks is None:
        blocks = min(blocks_of(draws, observable) for observable in observables.values())
    rows = []
    for name, observable in observables.items():
        found = replicates(draws, on, observable, blocks=blocks)
        chi = (found.data - found.units).where(mask, 0.0)
        if units == "sample" and "token" in chi.dims:
            chi = chi.sum("token", skipna=False)
        row = (nbeta / float(mask.sum())) * chi.transpose("chain", "block", "sample", ...).values
        if units == "token":
            row = row[:, :, mask.values]
        if not np.isfinite(row).all():
            raise ValueError(
                f"the effects on {name!r} are not finite: a chain failed; sample again with a "
                "smaller step."
            )
        rows.append(row)
    values = np.stack(rows, axis=2)
    if values.shape[0] * values.shape[1] < 2:
        raise ValueError(
            "one independent block of one chain tells no error; sample more draws or chains."
        )
    reading = llc(draws)
    return Effects(
        tuple(observables), values, bool(reading["ok"]), str(reading["reasons"].item()),
        str(probe.attrs["data_fingerprint"]),
        mask.values if units == "token" else np.ones(mask.sizes["sample"], bool),
    )  # fmt: skip
