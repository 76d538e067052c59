"""What is kept of a block of chains: a few numbers a draw, and moments of the probes' losses.

Memory grows with draws for the scalars and with probes for the moments, never with their product,
unless full traces are asked for.

Here: accumulation, its state for snapshots, the labelled result.
Not here: estimates (geometry/, response/), storage (store.py).
Dimensions: C chains, D draws, m samples of a batch, B samples of a probe, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from creode.sampling.probes import Probe
from creode.tasks import Losses

SCALARS = ("loss", "init_loss", "excess_sq", "virial", "loss_virial", "distance_sq", "temperature")


class _Moments:
    """Running mean and sum of squared deviations of a probe's unit losses (Welford)."""

    def __init__(self, probe: Probe, chains: int, draws: int, keep_trace: bool) -> None:
        shape = (chains, *probe.init.values.shape)
        self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.squares = torch.zeros(shape, dtype=torch.float64)
        self.loss = torch.full((chains, draws), torch.nan, dtype=torch.float64)
        self.trace = (
            torch.full((chains, draws, *shape[1:]), torch.nan, dtype=torch.float32)
            if keep_trace
            else None
        )

    def add(self, draw: int, losses: Losses) -> None:
        values = losses.values.to("cpu", torch.float64)
        counts = losses.mask[0].sum().cpu()  # the mask is the data's, the same in every chain
        self.count += 1
        delta = values - self.mean
        self.mean += delta / self.count
        self.squares += delta * (values - self.mean)
        self.loss[:, draw] = values.flatten(1).sum(1) / counts
        if self.trace is not None:
            self.trace[:, draw] = values.float()

    def state(self) -> dict[str, Any]:
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Recorder:
    """Scalars (C, D) and probe moments of one block of chains."""

    def __init__(
        self, chains: int, draws: int, probes: Sequence[Probe], traces: Sequence[str] = ()
    ) -> None:
        self._probes = list(probes)
        self._scalars = {
            name: torch.full((chains, draws), torch.nan, dtype=torch.float64) for name in SCALARS
        }
        self._failed_at = torch.full((chains,), -1, dtype=torch.int64)
        self._moments = {p.name: _Moments(p, chains, draws, p.name in traces) for p in probes}

    def draw(self, draw: int, scalars: dict[str, Tensor]) -> None:
        """Keep the scalars (C,) of a draw."""
        for name, values in scalars.items():
            kept = values.to("cpu", torch.float64)
            self._scalars[name][:, draw] = kept.masked_fill(self.failed, torch.nan)

    def probe(self, draw: int, name: str, losses: Losses, *, stands_for_data: bool) -> None:
        """Keep a probe's losses (C, B[, T]) at a draw."""
        moments = self._moments[name]
        moments.add(draw, losses)
        moments.loss[self.failed, draw] = torch.nan
        if stands_for_data:
            probe = next(p for p in self._probes if p.name == name)
            init_loss = probe.init.values.double().sum() / probe.init.mask.sum()
            excess = moments.loss[:, draw] - init_loss.cpu()
            self._scalars["loss"][:, draw] = moments.loss[:, draw]
            self._scalars["init_loss"][:, draw] = init_loss
            self._scalars["excess_sq"][:, draw] = excess.square()

    def fail(self, chains: Tensor, step: int) -> None:
        """Mark chains (C,) bool as not finite from `step` on."""
        new = chains.cpu() & (self._failed_at < 0)
        self._failed_at[new] = step

    @property
    def failed(self) -> Tensor:
        """Chains (C,) that are no longer finite."""
        return self._failed_at >= 0

    def state(self) -> dict[str, Any]:
        """Everything accumulated, for a snapshot."""
        return {
            "scalars": self._scalars,
            "failed_at": self._failed_at,
            "moments": {name: moments.state() for name, moments in self._moments.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._scalars, self._failed_at = state["scalars"], state["failed_at"]
        for name, saved in state["moments"].items():
            self._moments[name].restore(saved)

    def tree(self, first_chain: int) -> xr.DataTree:
        """The labelled record: scalars at the root, one child a probe."""
        chains = len(self._failed_at)
        coords = {"chain": np.arange(first_chain, first_chain + chains)}
        root = xr.Dataset(
            {name: (("chain", "draw"), values.numpy()) for name, values in self._scalars.items()},
            coords=coords,
        )
        root["failed_at"] = ("chain", self._failed_at.numpy())
        children = {
            f"probes/{probe.name}": self._probe_dataset(probe, coords) for probe in self._probes
        }
        return xr.DataTree.from_dict({"/": root, **children})

    def _probe_dataset(self, probe: Probe, coords: dict[str, Any]) -> xr.Dataset:
        moments = self._moments[probe.name]
        units = ("sample", "token")[: probe.init.values.ndim]
        variance = moments.squares / max(moments.count - 1, 1)
        broken = self.failed.view(-1, *[1] * len(units))
        unit_mean = moments.mean.masked_fill(broken, torch.nan).numpy()
        unit_var = variance.masked_fill(broken, torch.nan).numpy()
        dataset = xr.Dataset(
            {
                "loss": (("chain", "draw"), moments.loss.numpy()),
                "unit_init_loss": (units, probe.init.values.double().cpu().numpy()),
                "mask": (units, probe.init.mask.cpu().numpy()),
                "unit_mean": (("chain", *units), unit_mean),
                "unit_var": (("chain", *units), unit_var),
            },
            coords=coords,
        )
        if moments.trace is not None:
            dataset["unit_loss"] = (("chain", "draw", *units), moments.trace.numpy())
        dataset.attrs = {
            "data_fingerprint": probe.samples.fingerprint(),
            "num_samples": len(probe.samples),
        }
        if probe.population is not None:
            dataset.attrs["population"] = probe.population
        return dataset
