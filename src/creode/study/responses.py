"""What is concluded from a run directory of responses: χ of every component to every probe.

Here: the table of a run (component × probe), its two files, what its report shows.
Not here: χ itself (response/), the learning coefficients of the same draws (readings.py).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from creode.response import significant, susceptibility
from creode.response.replicates import LOSS
from creode.store import Store
from creode.study.readings import Readings, finite

NUMBERS = ("chi", "chi_se", "p", "chi_standard", "chi_standard_se", "p_standard")
VERDICT = ("ok", "reasons", "ess", "rhat")
PER_OBSERVABLE = ("chi", "chi_se", "chi_dof", "z", "p")
UNITS_FILE = "response.zarr"


@dataclass(frozen=True)
class Responses(Readings):
    """The susceptibilities of one run directory, by observable: to data sets, and to units."""

    file: ClassVar[str] = "response.json"
    subject: ClassVar[str] = "Responses to data"

    @cached_property
    def observables(self) -> tuple[str, ...]:
        """What was observed: the loss, then what the study names."""
        return (LOSS, *self.config["study"]["observables"])

    @cached_property
    def by_dataset(self) -> dict[str, xr.Dataset]:
        """χ to each probe as a whole, standardised over the units of all probes."""
        return {
            name: susceptibility(self.draws, observable=name, by="dataset", standardise="columns")
            for name in self.observables
        }

    def by_unit(self) -> xr.Dataset:
        """χ to each token or sample, over all observables."""
        results = [susceptibility(self.draws, observable=name) for name in self.observables]
        joined = results[0].drop_vars(PER_OBSERVABLE)
        for name in PER_OBSERVABLE:
            joined[name] = xr.concat([result[name] for result in results], "observable")
        joined.attrs.pop("observable", None)
        return joined.assign_coords(observable=list(self.observables))

    def records(self) -> list[dict[str, Any]]:
        """One flat record for each checkpoint, observable, component and probe.

        `significant` is of the standardised χ, `significant_plain` of χ itself, both among all
        records of the run at the false-discovery rate of the study.
        """
        records = []
        for observable, dataset in self.by_dataset.items():
            series = dataset if "checkpoint" in dataset.dims else dataset.expand_dims("checkpoint")
            for index in np.ndindex(*(series.sizes[d] for d in ("checkpoint", "component"))):
                cell = series.isel(checkpoint=index[0], component=index[1])
                if str(cell["reasons"].item()) == "not run":
                    continue
                verdict = {name: cell[name].item() for name in VERDICT}
                for number, probe in enumerate(cell["probe"].values):
                    values = {name: cell[name].isel(probe=number).item() for name in NUMBERS}
                    records.append(
                        {
                            "checkpoint": _step(cell),
                            "observable": observable,
                            "component": str(cell["component"].item()),
                            "probe": str(probe),
                            **finite(values),
                            **finite(verdict),
                        }
                    )
        rate = self.config["study"]["rate"]
        for flag, name in (("significant", "p_standard"), ("significant_plain", "p")):
            p = xr.DataArray([np.nan if r[name] is None else r[name] for r in records])
            for record, found in zip(records, significant(p, rate).values, strict=True):
                record[flag] = bool(found)
        return records

    def save(self) -> Path:
        """Write the records, and χ to every unit as `response.zarr`, into the run directory."""
        target = self.path / UNITS_FILE
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        units = self.by_unit().drop_encoding()
        for name in PER_OBSERVABLE:
            units[name] = units[name].astype("float32")
        texts = [name for name, values in units.variables.items() if values.dtype.kind == "U"]
        for text in texts:  # zarr v3 specifies strings of any length only
            units[text] = units[text].astype(object)
        units.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        return super().save()


def conclusions(path: Path) -> Readings:
    """What a run directory is concluded to say, by the kind of reading its study names."""
    with Store.open(path, mode="read") as store:
        reading = store.config.get("study", {}).get("reading", "llc")
    return Responses(path) if reading == "response" else Readings(path)


def _step(cell: xr.Dataset) -> int | None:
    """The checkpoint of a cell, training steps; None for a model that is not of a series."""
    return int(cell["checkpoint"]) if "checkpoint" in cell.coords else None
