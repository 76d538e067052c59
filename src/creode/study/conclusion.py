"""What every kind of conclusion from a run directory shares: draws, verdict, records, report.

Here: reading the directory, the verdict on each posterior with its chains, writing.
Not here: what is concluded (readings.py, responses.py, attribution.py), the page (viewer/).
"""

from __future__ import annotations

import json
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr

from creode.geometry import llc
from creode.store import Store
from creode.study.run import MODEL, open_draws

if TYPE_CHECKING:
    from creode.viewer import AuditReport, Report, ResponseReport

DATA = "data"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Conclusion(ABC):
    """What one run directory says."""

    path: Path
    file: ClassVar[str]  # of the records, in the run directory
    subject: ClassVar[str]  # of the report's title

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """What is concluded, as plain values, each with ok and reasons."""

    @abstractmethod
    def report(self) -> Report | ResponseReport | AuditReport:
        """Everything the report of this run shows."""

    @cached_property
    def draws(self) -> xr.DataTree:
        """The saved draws."""
        return open_draws(self.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration the run was made with."""
        with Store.open(self.path, mode="read") as store:
            return store.config

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """What the run decided for itself: chains in turn or side by side, automatic settings."""
        with Store.open(self.path, mode="read") as store:
            resolved = dict(store.resolved).items()
        found = {name: value for name, value in resolved if not name.startswith(MODEL)}
        return {"chosen": found} if found else {}

    @cached_property
    def verdict(self) -> xr.Dataset:
        """`creode.llc` of every posterior on its own data, with the verdict on its draws."""
        return llc(self.draws, on=DATA)

    def traces(self) -> dict[tuple[int | None, str], xr.Dataset]:
        """The chains of every posterior, by checkpoint and component."""
        from creode.diagnostics import traces

        nodes = [node for node in self.draws.subtree if "distance_sq" in node.data_vars]
        return {
            (node.attrs.get("checkpoint"), node.attrs["component"]): traces(node) for node in nodes
        }

    def heading(self) -> dict[str, Any]:
        """Title, configuration and command of the report."""
        study = self.config.get("study", {})
        return {
            "title": f"{self.subject} of {Path(study.get('model', self.path)).name}",
            "config": (study or self.config) | self.chosen,
            "command": f"creode rerun {self.path}" if study else "",
        }

    def save(self, records: Sequence[Mapping[str, Any]] | None = None) -> Path:
        """Write the records, all unless some are given, to a file in the run directory."""
        return self._write_json(self.file, self.records() if records is None else list(records))

    def write_report(self, report: Report | ResponseReport | AuditReport | None = None) -> Path:
        """Write the report, the run's unless one is given, as `report.html` into the directory."""
        from creode.viewer import (
            AuditReport,
            Report,
            write_audit_report,
            write_report,
            write_response_report,
        )

        page = self.path / REPORT_FILE
        shown = self.report() if report is None else report
        if isinstance(shown, Report):
            return write_report(shown, page)
        if isinstance(shown, AuditReport):
            return write_audit_report(shown, page)
        return write_response_report(shown, page)

    def _write_json(self, name: str, content: Any) -> Path:
        return write_json(self.path / name, content)

    def _write_zarr(self, name: str, content: xr.Dataset) -> None:
        write_zarr(self.path / name, content)


def write_json(target: Path, content: Any) -> Path:
    """Write plain values, in the place of a file that is there once it is complete."""
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return partial.replace(target)


def write_zarr(target: Path, content: xr.Dataset) -> None:
    """Write a table as zarr v3, in the place of one that is there once it is complete."""
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    plain = content.copy()
    texts = [name for name, values in plain.variables.items() if values.dtype.kind == "U"]
    for text in texts:  # zarr v3 specifies strings of any length only
        plain[text] = plain[text].astype(object)
    plain.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON can hold them: what is not finite becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
