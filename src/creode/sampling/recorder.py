"""What is kept of a block of chains: a few numbers a draw, and moments of the probes' losses.

Memory grows with draws for the scalars and with probes for the moments, never with their product,
unless full traces are asked for. Arrays over units are kept in the precision of the losses.

Here: what is kept of a draw, its state for snapshots, the labelled result.
Not here: the accumulation of moments (comoments.py), estimates (geometry/, response/), storage
(store.py).
Dimensions: C chains, D draws, K observables, B samples of a probe, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from creode.sampling.comoments import CoMoments, block_of
from creode.sampling.probes import Probe
from creode.tasks import Losses

SCALARS = (
    "loss", "init_loss", "excess_sq", "virial", "loss_virial", "distance_sq", "temperature",
    "step_heat",
)  # fmt: skip


class _ProbeRecord:
    """Moments of a probe's unit losses, their mean at every draw, and their trace if asked for."""

    def __init__(
        self, probe: Probe, chains: int, draws: int, observables: int, keep_trace: bool
    ) -> None:
        shape = probe.init.values.shape
        self.moments = CoMoments(probe.init, chains, draws, observables)
        self.loss = torch.full((chains, draws), torch.nan, dtype=torch.float64)
        self.trace = (
            torch.full((chains, draws, *shape), torch.nan, dtype=torch.float32)
            if keep_trace
            else None
        )

    def add(self, draw: int, losses: Losses, observed: Tensor) -> None:
        values = losses.values.cpu()
        self.moments.add(draw, values, observed)
        self.loss[:, draw] = mean_loss(losses).cpu()
        if self.trace is not None:
            self.trace[:, draw] = values.float()

    def end(self, draws: int) -> None:
        self.moments.end(draws)
        self.loss = self.loss[:, :draws]
        self.trace = None if self.trace is None else self.trace[:, :draws]

    def state(self) -> dict[str, Any]:
        return {"moments": self.moments.state(), "loss": self.loss, "trace": self.trace}

    def restore(self, state: dict[str, Any]) -> None:
        self.moments.restore(state["moments"])
        self.loss, self.trace = state["loss"], state["trace"]


def mean_loss(losses: Losses) -> Tensor:
    """The mean loss (C,) of losses (C, B[, T]) over counted units, float64."""
    counts = losses.mask[0].sum()  # the mask is the data's, the same in every chain
    return losses.values.flatten(1).sum(1, dtype=torch.float64) / counts


class Recorder:
    """Scalars (C, D), observables (C, D, K) and probe moments of one block of chains."""

    def __init__(
        self,
        chains: int,
        draws: int,
        probes: Sequence[Probe],
        traces: Sequence[str] = (),
        observables: Sequence[str] = (),
    ) -> None:
        self._probes, self._names = list(probes), list(observables)
        self._num_draws = draws
        self._scalars = {
            name: torch.full((chains, draws), torch.nan, dtype=torch.float64) for name in SCALARS
        }
        self._failed_at = torch.full((chains,), -1, dtype=torch.int64)
        self._observed = torch.full(
            (chains, draws, len(self._names)), torch.nan, dtype=torch.float64
        )
        self._records = {
            p.name: _ProbeRecord(p, chains, draws, len(self._names), p.name in traces)
            for p in probes
        }

    def draw(self, draw: int, scalars: dict[str, Tensor]) -> None:
        """Keep the scalars (C,) of a draw."""
        for name, values in scalars.items():
            kept = values.to("cpu", torch.float64)
            self._scalars[name][:, draw] = kept.masked_fill(self.failed, torch.nan)

    def observe(self, draw: int, observed: Tensor, scored: Mapping[str, Losses]) -> None:
        """Keep observables (C, K), as deviations from w*, and probes' losses (C, B[, T])."""
        observed = observed.to("cpu", torch.float64)
        self._observed[:, draw] = observed.masked_fill(self.failed[:, None], torch.nan)
        for name, losses in scored.items():
            record = self._records[name]
            record.add(draw, losses, observed)
            record.loss[self.failed, draw] = torch.nan

    def stand_for_data(self, draw: int, probe: Probe) -> None:
        """Take the data's losses at a draw from a probe's."""
        loss = self._records[probe.name].loss[:, draw]
        self._scalars["loss"][:, draw] = loss
        self._scalars["init_loss"][:, draw] = probe.init_loss
        self._scalars["excess_sq"][:, draw] = (loss - probe.init_loss).square()

    def fail(self, chains: Tensor, step: int) -> None:
        """Mark chains (C,) bool as not finite from `step` on."""
        new = chains.cpu() & (self._failed_at < 0)
        self._failed_at[new] = step

    @property
    def failed(self) -> Tensor:
        """Chains (C,) that are no longer finite."""
        return self._failed_at >= 0

    def excess(self, draws: int) -> xr.DataArray:
        """L(w) − L(w*) at the first draws, dims (chain, draw), NaN where a chain failed."""
        loss, init_loss = (self._scalars[name][:, :draws] for name in ("loss", "init_loss"))
        return xr.DataArray((loss - init_loss).numpy(), dims=("chain", "draw"))

    def end(self, draws: int) -> None:
        """No draws come after so many, the end of a block of them."""
        self._scalars = {name: values[:, :draws] for name, values in self._scalars.items()}
        self._observed = self._observed[:, :draws]
        for record in self._records.values():
            record.end(draws)

    def state(self) -> dict[str, Any]:
        """Everything accumulated, for a snapshot."""
        return {
            "scalars": self._scalars,
            "failed_at": self._failed_at,
            "observed": self._observed,
            "probes": {name: record.state() for name, record in self._records.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._scalars, self._failed_at = state["scalars"], state["failed_at"]
        self._observed = state["observed"]
        for name, saved in state["probes"].items():
            self._records[name].restore(saved)

    def tree(self, first_chain: int, init: Sequence[float] = ()) -> xr.DataTree:
        """The labelled record: scalars at the root, one child a probe.

        Args:
            first_chain: the number of the block's first chain.
            init: the observables at w*, (K,).
        """
        chains, taken = self._scalars["loss"].shape
        coords = {"chain": np.arange(first_chain, first_chain + chains)}
        root = xr.Dataset(
            {name: (("chain", "draw"), values.numpy()) for name, values in self._scalars.items()},
            coords=coords,
        )
        root["failed_at"] = ("chain", self._failed_at.numpy())
        if self._names:
            root = root.assign_coords(observable=self._names)
            root["observed"] = (("chain", "draw", "observable"), self._observed.numpy())
            root["observed_init"] = ("observable", np.array(init, dtype=np.float64))
            blocks = block_of(torch.arange(taken), self._num_draws)
            root["block_of_draw"] = ("draw", blocks.numpy())
        children = {
            f"probes/{probe.name}": self._probe_dataset(probe, coords) for probe in self._probes
        }
        return xr.DataTree.from_dict({"/": root, **children})

    def _probe_dataset(self, probe: Probe, coords: dict[str, Any]) -> xr.Dataset:
        record = self._records[probe.name]
        units = ("sample", "token")[: probe.init.values.ndim]
        dataset = xr.Dataset(
            {
                "loss": (("chain", "draw"), record.loss.numpy()),
                "unit_init_loss": (units, probe.init.values.double().cpu().numpy()),
                "mask": (units, probe.init.mask.cpu().numpy()),
                "unit_mean": (("chain", *units), self._kept(record.moments.mean(), probe)),
                "unit_var": (("chain", *units), self._kept(record.moments.variance(), probe)),
            },
            coords=coords,
        )
        if self._names:
            dims = ("chain", "block", "observable", *units)
            dataset["cov"] = (dims, self._kept(record.moments.covariance(), probe))
        if record.trace is not None:
            dataset["unit_loss"] = (("chain", "draw", *units), record.trace.numpy())
        dataset.attrs = {
            "data_fingerprint": probe.samples.fingerprint(),
            "num_samples": len(probe.samples),
        }
        if probe.population is not None:
            dataset.attrs["population"] = probe.population
        return dataset

    def _kept(self, values: Tensor, probe: Probe) -> Any:
        """Values (C, ...) in the precision of the losses, NaN where the chain failed."""
        values[self.failed] = torch.nan
        precise = probe.init.values.dtype == torch.float64
        return values.to(torch.float64 if precise else torch.float32).numpy()
