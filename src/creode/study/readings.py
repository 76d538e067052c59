"""What is concluded from a run directory: its learning coefficients and its report.

Here: the readings of a run as records, and everything its report shows.
Not here: other conclusions (responses.py, attribution.py) and what they share (conclusion.py),
estimators (geometry/, diagnostics/), the page itself (viewer/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from creode.geometry import llc
from creode.study.conclusion import DATA, Conclusion, finite

if TYPE_CHECKING:
    from creode.viewer import Report

RECORD_FIELDS = (
    "llc", "llc_se", "llc_variance", "llc_variance_se", "mean_loss", "init_loss", "ess", "rhat",
    "virial", "temperature", "locality", "num_parameters", "ok", "reasons", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Readings(Conclusion):
    """The learning coefficients of one run directory, on its data and on every probe."""

    file: ClassVar[str] = "llc.json"
    subject: ClassVar[str] = "Learning coefficients"

    @cached_property
    def llc(self) -> dict[str, xr.Dataset]:
        """`creode.llc` by distribution: "data", then every probe."""
        first = next(node for node in self.draws.subtree if "distance_sq" in node.data_vars)
        probes = first["probes"].children if "probes" in first.children else {}
        others = {on: llc(self.draws, on=on) for on in probes if on != DATA}
        return {DATA: self.verdict} | others

    def records(self) -> list[dict[str, Any]]:
        """One flat record a reading: checkpoint, component, distribution, and its numbers."""
        return [
            {"checkpoint": step, "component": component, "on": on, **_plain(reading)}
            for on, dataset in self.llc.items()
            for step, component, reading in _each(dataset)
        ]

    def report(self) -> Report:
        """Everything the report of this run shows."""
        return self._report()

    def _report(self, **beside: Any) -> Report:
        from creode.viewer import Report

        return Report(
            llc=self.llc[DATA],
            llc_on={on: dataset for on, dataset in self.llc.items() if on != DATA},
            training=training_log(self.config.get("study", {}).get("model")),
            traces=self.traces(),
            **beside,
            **self.heading(),
        )


def training_log(model: str | None) -> xr.Dataset | None:
    """The training losses beside a directory of checkpoints; None where there is no log."""
    log = Path(model).expanduser() / "log.jsonl" if model else None
    if log is None or not log.is_file():
        return None
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = np.array([row["step"] for row in rows])
    return xr.Dataset(
        {"loss": ("step", np.array([row["loss"] for row in rows]))}, coords={"step": steps}
    )


def _each(dataset: xr.Dataset) -> list[tuple[int | None, str, xr.Dataset]]:
    """The readings of a dataset that were run, with checkpoint and component."""
    if "component" not in dataset.dims:
        return [(dataset.attrs.get("checkpoint"), str(dataset.attrs["component"]), dataset)]
    steps = dataset["checkpoint"].values if "checkpoint" in dataset.dims else [None]
    found = []
    for index, step in enumerate(steps):
        row = dataset if step is None else dataset.isel(checkpoint=index)
        for column, name in enumerate(dataset["component"].values):
            reading = row.isel(component=column)
            if str(reading["reasons"].item()) != "not run":
                found.append((None if step is None else int(step), str(name), reading))
    return found


def _plain(reading: xr.Dataset) -> Mapping[str, Any]:
    """Scalars as JSON can hold them: what is not finite becomes null."""
    return finite({name: reading[name].item() for name in RECORD_FIELDS})
