"""What is concluded from a run directory of an audit: behaviours, and the data behind them.

Here: the study of an audit, the audit of a run, its table by behaviour, culprits with their rows
and text, its files.
Not here: the audit itself (auditing/), behaviours of a study (margins.py), the page (viewer/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from creode.auditing import Audit, audit
from creode.geometry import llc
from creode.response.susceptibility import WHOLE
from creode.sampling import Auto
from creode.store import Store
from creode.study.conclusion import Conclusion, finite
from creode.study.config import StudyConfig
from creode.study.margins import BEFORE, read_margins
from creode.study.texts import Texts, texts_of
from creode.study.writing import domains_of

if TYPE_CHECKING:
    from creode.viewer import AuditReport

TRAIN = "train"  # the probe that holds the post-training data
WANTED = "wanted-"  # begins the names of probes of behaviours' wanted answers
RISE = 0.1  # nats, of the loss over draws; what was not fitted by more is forgotten there
BUDGET = 10_000  # gradient evaluations of a chain, with RISE
SAMPLES_FILE, CULPRITS_FILE = "audit_samples.zarr", "culprits.parquet"
TABLES = ("groups", "shifts", "modes", "parts", "llc")  # each kept as audit_<name>.zarr
NUMBERS = ("association", "association_se", "z", "p", "effect", "effect_se")  # of a sample
LEVEL = (
    "prompts", "unwanted", "unwanted_low", "unwanted_high", "margin", "margin_se",
    "before_unwanted", "before_margin",
)  # fmt: skip


def audit_study(study: Mapping[str, Any], asked: Mapping[str, Any]) -> StudyConfig:
    """The study of an audit; where nothing is said of the draws, they raise the loss by RISE.

    Args:
        study: the fields of a `StudyConfig`; its data are the post-training data.
        asked: the fields of an `AuditConfig`.
    """
    fields = dict(study)
    form = "behaviour" if fields.get("task") in ("dpo", "reward") else "wanted"
    wanted = {
        f"{WANTED}{name}": {**data, "form": form} for name, data in asked["behaviours"].items()
    }
    fields |= {
        "reading": "audit",
        "audit": dict(asked),
        "probes": {TRAIN: fields["data"], **wanted},
    }
    fields["schedule"] = {**fields.get("schedule", {}), "traces": (TRAIN,)}
    free = all(fields.get(name, "auto") == "auto" for name in ("nbeta", "localization"))
    sampler = dict(fields.get("sampler", {}))
    if free and sampler.get("name", Auto.name) == Auto.name:
        fields["sampler"] = {"name": Auto.name, "rise": RISE, "budget": BUDGET} | sampler
    components = fields.get("components", (WHOLE,))
    fields["components"] = tuple(dict.fromkeys((WHOLE, *components)))
    return StudyConfig.model_validate(fields)


@dataclass(frozen=True)
class Audits(Conclusion):
    """The audit of one run directory."""

    file: ClassVar[str] = "audit.json"
    subject: ClassVar[str] = "What post-training taught"

    @cached_property
    def study(self) -> StudyConfig:
        """What the run was asked for."""
        return StudyConfig.model_validate(self.config["study"])

    @cached_property
    def audit(self) -> Audit:
        """The audit of the run's last checkpoint."""
        asked = self.study.audit
        assert asked is not None
        step, parts = self._posteriors()
        with Store.open(self.path, mode="read") as store:
            margins, before = read_margins(store, step), read_margins(store, BEFORE)
        principles = self.principles
        return audit(
            parts[WHOLE], list(asked.behaviours), on=TRAIN, margins=margins, before=before,
            tolerance=asked.tolerance, groups=principles,
            shifts=asked.shifts if principles is not None else None,
            parts={name: tree for name, tree in parts.items() if name != WHOLE},
            rate=self.study.rate,
        )  # fmt: skip

    @cached_property
    def principles(self) -> Any:
        """The principle, or domain, of each sample (N,); None where there are not two."""
        return domains_of(self.path, TRAIN)

    @cached_property
    def refined(self) -> dict[str, xr.Dataset]:
        """λ̂ of the loss on each behaviour's wanted answers."""
        _, parts = self._posteriors()
        return {name: llc(parts[WHOLE], on=f"{WANTED}{name}") for name in self.audit.behaviours}

    def records(self) -> list[dict[str, Any]]:
        """One record a behaviour: how it is shown, what drives it, its λ̂, and the verdict."""
        found = self.audit
        asked = self.study.audit
        assert asked is not None
        records = []
        for name in found.behaviours:
            one = found.samples.sel(behaviour=name)
            record: dict[str, Any] = {"behaviour": name, "capability": name in asked.capabilities}
            record |= self._level(name)
            record |= {
                "shown": name in found.shown,
                "drivers": int(one["driver"].sum()),
                "holders": int(one["holder"].sum()),
                **self._strongest_group(name),
                **finite({n: float(self.refined[name][n]) for n in ("llc", "llc_se")}),
                "ok": found.ok,
                "reasons": found.reasons,
            }
            records.append(record)
        return records

    def culprits(self, k: int = 10) -> dict[str, list[dict[str, Any]]]:
        """The k samples with which each behaviour grows the most surely, with row and text.

        Returns:
            By behaviour, the strongest first: sample, row (its number in the user's data), text
            (None where it cannot be shown), prompt (what of it comes before the one answer; None
            where that is not known), principle, association, association_se, z, p, driver, effect,
            effect_se.
        """
        return {
            name: [self._culprit(name, int(i)) for i in self.audit.drivers(name, k)]
            for name in self.audit.behaviours
        }

    def save(self, records: Sequence[Mapping[str, Any]] | None = None) -> Path:
        """Write the records, and every sample's effects, culprits and tables, into the run."""
        self._write_zarr(SAMPLES_FILE, self.audit.samples)
        for name in TABLES:
            table = getattr(self.audit, name)
            if table is not None:
                self._write_zarr(f"audit_{name}.zarr", table)
        for name, table in self.audit.mending.items():
            place = self.audit.behaviours.index(name)
            self._write_zarr(f"audit_mending_{place}.zarr", table)
        self._write_culprits()
        return super().save(records)

    def report(self) -> AuditReport:
        """Everything the report of this run shows."""
        from creode.viewer import AuditReport

        missing = [f"The text of {name} is not shown: {why}" for name, why in
                   self._texts.missing.items()]  # fmt: skip
        return AuditReport(
            records=self.records(),
            audit=self.audit,
            culprits=self.culprits(),
            llc=self.verdict,
            traces=self.traces(),
            warnings=[*missing, *self.audit.notes],
            **self.heading(),
        )

    def _posteriors(self) -> tuple[str, dict[str, xr.DataTree]]:
        """The last checkpoint's group, and its draws by component."""
        step = max(self.draws.children)
        nodes = self.draws[step].children.values()
        return step, {str(node.attrs["component"]): node for node in nodes}

    def _level(self, name: str) -> dict[str, float | None]:
        if self.audit.levels is None:
            return dict.fromkeys(LEVEL)
        one = self.audit.levels.sel(behaviour=name)
        return finite({n: float(one[n]) if n in one else float("nan") for n in LEVEL})

    def _strongest_group(self, name: str) -> dict[str, Any]:
        """The principle that drives a behaviour the most, if one surely does."""
        if self.audit.groups is None:
            return {"group": None, "group_effect": None, "group_effect_se": None}
        one = self.audit.groups.sel(behaviour=name)
        best = one.isel(group=int(one["effect"].values.argmax()))
        if not bool(best["driver"]):
            return {"group": None, "group_effect": None, "group_effect_se": None}
        effect = {
            "group_effect": float(best["effect"]),
            "group_effect_se": float(best["effect_se"]),
        }
        return {"group": str(best["group"].item()), **finite(effect)}

    def _culprit(self, name: str, sample: int) -> dict[str, Any]:
        one = self.audit.samples.sel(behaviour=name).isel(sample=sample)
        text = self._texts.found.get(TRAIN)
        numbers = {n: float(one[n]) for n in NUMBERS}
        return {
            "sample": sample,
            "row": self._rows[sample],
            "text": None if text is None else text.of(sample),
            "prompt": None if text is None else text.prompt(sample),
            "principle": None if self.principles is None else str(self.principles[sample]),
            **finite(numbers),
            "driver": bool(one["driver"]),
        }

    @cached_property
    def _texts(self) -> Texts:
        return texts_of(self.study, self.config["fingerprints"]["probes"], [TRAIN])

    @cached_property
    def _rows(self) -> list[int]:
        """The number of each sample's row in the user's data; of text, the sample's own."""
        text = self._texts.found.get(TRAIN)
        count = self.audit.samples.sizes["sample"]
        if text is None or "row" not in text.samples.columns:
            return list(range(count))
        rows: list[int] = text.samples.columns["row"].tolist()
        return rows

    def _write_culprits(self) -> None:
        """Every sample's effect on every behaviour as a table, with its row."""
        import pandas as pd

        samples = self.audit.samples
        parts = []
        for name in self.audit.behaviours:
            one = samples.sel(behaviour=name)
            columns = {n: one[n].values for n in (*NUMBERS, "driver", "holder")}
            part = pd.DataFrame({"behaviour": name, "sample": np.arange(len(self._rows))} | columns)
            part.insert(2, "row", self._rows)
            if self.principles is not None:
                part.insert(3, "principle", self.principles)
            parts.append(part.sort_values("association", ascending=False, kind="stable"))
        target = self.path / CULPRITS_FILE
        partial = target.with_name(f"{target.name}.partial")
        pd.concat(parts, ignore_index=True).to_parquet(partial, index=False)
        partial.replace(target)
