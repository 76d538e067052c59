"""The losses of a probe's units over draws, centred in each chain: the factor of their covariances.

With X[d, z] = ℓ_z(w_d) − (mean of ℓ_z over the draws of d's chain), Cov(ℓ_z, ℓ_z') is XᵀX up to a
constant, of rank below the number of draws. Whoever holds X (draws × units) has every entry of the
matrix (units × units) that nobody needs to hold.

Here: which units a probe has, columns of X read from the saved traces when they are wanted, and how
long the draws take to forget a unit's loss.
Not here: covariances and their errors (covariance.py), readings (influence.py, loss_kernel.py).
A sample's loss is the mean over its counted tokens; tokens that do not count are no units, nor are
samples without any that count.
Centring in each chain leaves out what chains disagree on in their means, and with it a share of
about τ/D of every covariance, τ the autocorrelation time in draws.
Dimensions: C chains, D draws of each, U units asked for, S samples, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.diagnostics.excess import probe_dataset
from creode.diagnostics.trace import SAMPLE_DIMS
from creode.response.independence import autocorrelation_time

By = Literal["sample", "token"]
Array = NDArray[np.float64]
Index = NDArray[np.int64]
Unit = int | tuple[int, int]  # a sample's position in the data, or (sample, token)

TIMED = 32  # units whose autocorrelation times are looked at
BUFFER = 1 << 25  # bytes of losses in memory at a time


class Factor:
    """Columns of a probe's centred losses, read when they are asked for."""

    def __init__(self, draws: xr.DataTree, probe: str, by: str = "sample") -> None:
        """Find the probe's traces and its units.

        Raises:
            TypeError: `draws` is not a DataTree.
            ValueError: no such probe, no full traces of it, or no such units.
        """
        if by not in ("sample", "token"):
            raise ValueError(f"by must be 'sample' or 'token', got {by!r}.")
        record = probe_dataset(draws, probe)
        if "unit_loss" not in record.data_vars:
            raise ValueError(
                f"probe {probe!r} was recorded without full traces, so losses at single draws are "
                f"not known; sample again with traces=({probe!r},)."
            )
        if by == "token" and "token" not in record["mask"].dims:
            raise ValueError(
                f"probe {probe!r} has one loss a sample and no tokens; use by='sample'."
            )
        self.probe, self.by = probe, by
        self.loss = record["loss"].compute()
        units = [dim for dim in ("sample", "token") if dim in record["mask"].dims]
        self._trace = record["unit_loss"].transpose(*SAMPLE_DIMS, *units)
        mask = record["mask"].transpose(*units).values.astype(bool)
        self._mask = mask if mask.ndim == 2 else mask[:, None]  # (S, T)
        if by == "token":
            self.samples, self.tokens = (axis.astype(np.int64) for axis in np.nonzero(self._mask))
        else:
            self.samples = np.flatnonzero(self._mask.any(1)).astype(np.int64)
            self.tokens = np.full(len(self.samples), -1, np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def num_chains(self) -> int:
        """C."""
        return int(self._trace.sizes["chain"])

    @property
    def num_draws(self) -> int:
        """D."""
        return int(self._trace.sizes["draw"])

    @property
    def chains(self) -> NDArray[Any]:
        """The labels of the chains."""
        known = self._trace.coords.get("chain")
        return np.arange(self.num_chains) if known is None else np.asarray(known.values)

    def find(self, unit: Unit) -> int:
        """The column of a unit.

        Raises:
            ValueError: there is no such unit, or it does not count.
        """
        pair = isinstance(unit, tuple)
        if pair != (self.by == "token"):
            wanted = "a pair (sample, token)" if self.by == "token" else "a sample's position"
            raise ValueError(f"a unit of probe {self.probe!r} is {wanted}, got {unit!r}.")
        sample, token = unit if isinstance(unit, tuple) else (unit, -1)
        found = np.flatnonzero((self.samples == sample) & (self.tokens == token))
        if not len(found):
            what = f"token {token} of sample {sample}" if pair else f"sample {sample}"
            num_samples, num_tokens = self._mask.shape
            inside = 0 <= sample < num_samples and (not pair or 0 <= token < num_tokens)
            why = "is masked" if inside else f"is not in 0..{num_samples - 1}"
            if pair and not inside:
                why = f"is not among {num_samples} samples of {num_tokens} tokens"
            raise ValueError(f"probe {self.probe!r}: {what} {why}.")
        return int(found[0])

    def find_all(self, units: Sequence[Unit] | None) -> Index:
        """The columns of units; of all for None."""
        if units is None:
            return np.arange(len(self), dtype=np.int64)
        return np.array([self.find(unit) for unit in units], np.int64)

    def labels(self, dim: str) -> dict[str, Index]:
        """What names every column: the sample's position in the data, and the token's."""
        if self.by == "token":
            return {f"{dim}_sample": self.samples, f"{dim}_token": self.tokens}
        return {dim: self.samples}

    def coords(self, dim: str, index: Index) -> dict[str, Any]:
        """The labels of some columns as coordinates along `dim`."""
        return {name: (dim, label[index]) for name, label in self.labels(dim).items()}

    def columns(self, index: Index) -> Array:
        """X at these columns, (C, D, U), float64, nats."""
        columns = self._losses(index)
        columns -= columns.mean(1, keepdims=True)
        return columns

    def _losses(self, index: Index) -> Array:
        """ℓ_z at these columns, (C, D, U), float64, nats, not centred."""
        wanted = self.samples[index]
        read = np.unique(wanted)
        contiguous = len(read) and read[-1] - read[0] + 1 == len(read)
        chosen = slice(int(read[0]), int(read[-1]) + 1) if contiguous else read
        losses = self._trace.isel(sample=chosen).values  # (C, D, S[, T])
        at = np.searchsorted(read, wanted)
        if self.by == "token":
            columns = losses[:, :, at, self.tokens[index]].astype(np.float64)
        elif losses.ndim == 3:
            columns = losses.astype(np.float64)
        else:
            mask = self._mask[read]
            columns = np.where(mask, losses, 0.0).sum(-1, dtype=np.float64)
            columns /= mask.sum(-1)
        if self.by == "sample" and not np.array_equal(at, np.arange(len(read))):
            columns = columns[:, :, at]
        return columns

    def autocorrelation_time(self) -> float:
        """τ of a typical unit's loss, in draws: the mean over the first few that change.

        NaN where none has an effective sample size.
        """
        some = self._losses(self.find_all(None)[:TIMED])
        times = autocorrelation_time(xr.DataArray(some, dims=(*SAMPLE_DIMS, "unit")))
        return float(times.mean())

    def slabs(self, index: Index) -> Iterator[Index]:
        """These columns in pieces that fit in memory, in their order."""
        read = 8 * self.num_chains * self.num_draws
        read *= self._mask.shape[1] if self.by == "sample" else 1
        size = max(1, BUFFER // read)
        for start in range(0, len(index), size):
            yield index[start : start + size]
