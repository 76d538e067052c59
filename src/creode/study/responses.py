"""What is concluded from a run directory of responses: χ of every component to every probe.

Here: the table of a run (component × probe), its files, what its report shows.
Not here: χ itself (response/), modes and clusters (structure.py), the learning coefficients of the
same draws (readings.py), the page (viewer/).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from creode.response import significant, subtract_baseline, susceptibility
from creode.response.replicates import LOSS
from creode.response.susceptibility import WHOLE, Form
from creode.study.conclusion import Conclusion, finite
from creode.study.config import StudyConfig
from creode.study.run import CONTROL
from creode.study.structure import Structure, find_structure
from creode.study.texts import Texts, texts_of, token_texts_of

if TYPE_CHECKING:
    from creode.viewer import ResponseReport

NUMBERS = ("chi", "chi_se", "p", "chi_standard", "chi_standard_se", "p_standard")
VERDICT = ("ok", "reasons", "ess", "rhat")
CONTROL_NUMBERS = ("chi_control", "chi_control_se", "chi_less", "chi_less_se", "p_less")
CONTROL_VERDICT = ("ok_less", "reasons_less")
PER_OBSERVABLE = ("chi", "chi_se", "chi_dof", "z", "p")
SHOWN = ("chi_standard", "chi_standard_se", "chi", "chi_se")
UNITS_FILE = "response.zarr"
MODES_FILE, WORDS_FILE, CLUSTERS_FILE = "modes.zarr", "words.zarr", "clusters.zarr"


@dataclass(frozen=True)
class Responses(Conclusion):
    """The susceptibilities of one run directory, by observable: to data sets, and to units."""

    file: ClassVar[str] = "response.json"
    subject: ClassVar[str] = "Responses to data"

    @cached_property
    def observables(self) -> tuple[str, ...]:
        """What was observed: the loss, then what the study names."""
        return (LOSS, *self.config["study"]["observables"])

    @property
    def form(self) -> Form:
        """Of the susceptibilities."""
        found: Form = self.config["study"]["form"]
        return found

    @cached_property
    def control(self) -> Responses | None:
        """The run of the control, which lies within this one; None without."""
        return None if self.config["study"]["control"] is None else Responses(self.path / CONTROL)

    @cached_property
    def less(self) -> dict[str, dict[Hashable, xr.DataArray]]:
        """By observable, χ of the control to each probe, and χ less that, with its verdict."""
        return {name: self._less(name) for name in self.observables}

    def _less(self, observable: str) -> dict[Hashable, xr.DataArray]:
        assert self.control is not None
        base = self.control._susceptibility(
            self.control.draws, observable=observable, by="dataset", control=True
        )
        less = subtract_baseline(self.by_dataset[observable], base)
        renamed = {name: f"{name}_less" for name in ("chi", "chi_se", "p", "ok", "reasons")}
        renamed["chi_se"] = "chi_less_se"
        found: dict[Hashable, xr.DataArray] = {renamed[name]: less[name] for name in renamed}
        return found | {"chi_control": base["chi"], "chi_control_se": base["chi_se"]}

    def _susceptibility(self, draws: xr.DataTree, **options: Any) -> xr.Dataset:
        """χ of the parts in the study's form; the whole model's draws are then no part."""
        if self.form == "single-chain":
            return susceptibility(draws, **options)
        return susceptibility(_parts(draws), form=self.form, unrestricted=draws, **options)

    @cached_property
    def by_dataset(self) -> dict[str, xr.Dataset]:
        """χ to each probe as a whole, standardised over the units of all probes."""
        return {
            name: self._susceptibility(
                self.draws, observable=name, by="dataset", standardise="columns"
            )
            for name in self.observables
        }

    def by_unit(self) -> xr.Dataset:
        """χ to each token or sample, over all observables."""
        results = [self._susceptibility(self.draws, observable=name) for name in self.observables]
        joined = results[0].drop_vars(PER_OBSERVABLE)
        for name in PER_OBSERVABLE:
            joined[name] = xr.concat([result[name] for result in results], "observable")
        joined.attrs.pop("observable", None)
        return joined.assign_coords(observable=list(self.observables))

    def records(self) -> list[dict[str, Any]]:
        """One flat record for each checkpoint, observable, component and probe.

        `significant` is of the standardised χ, `significant_plain` of χ itself, and with a control
        `significant_less` of χ less the control's (`chi_less`), each among all records of the run
        at the false-discovery rate of the study.
        """
        records = []
        numbers, verdicts = list(NUMBERS), list(VERDICT)
        flags = {"significant": "p_standard", "significant_plain": "p"}
        if self.control is not None:
            numbers, verdicts = [*NUMBERS, *CONTROL_NUMBERS], [*VERDICT, *CONTROL_VERDICT]
            flags["significant_less"] = "p_less"
        for observable, plain in self.by_dataset.items():
            dataset = plain if self.control is None else plain.assign(self.less[observable])
            series = dataset if "checkpoint" in dataset.dims else dataset.expand_dims("checkpoint")
            for index in np.ndindex(*(series.sizes[d] for d in ("checkpoint", "component"))):
                cell = series.isel(checkpoint=index[0], component=index[1])
                if str(cell["reasons"].item()) == "not run":
                    continue
                verdict = {name: cell[name].item() for name in verdicts}
                for number, probe in enumerate(cell["probe"].values):
                    values = {name: cell[name].isel(probe=number).item() for name in numbers}
                    records.append(
                        {
                            "checkpoint": _step(cell),
                            "observable": observable,
                            "form": self.form,
                            "control": self.config["study"]["control"],
                            "component": str(cell["component"].item()),
                            "probe": str(probe),
                            **finite(values),
                            **finite(verdict),
                        }
                    )
        rate = self.config["study"]["rate"]
        for flag, name in flags.items():
            p = xr.DataArray([np.nan if r[name] is None else r[name] for r in records])
            for record, found in zip(records, significant(p, rate).values, strict=True):
                record[flag] = bool(found)
        return records

    def save(self, records: Sequence[Mapping[str, Any]] | None = None) -> Path:
        """Write the records, and χ to every unit, modes and clusters, into the run directory."""
        units = self.by_unit().drop_encoding()
        for name in PER_OBSERVABLE:
            units[name] = units[name].astype("float32")
        self._write_zarr(UNITS_FILE, units)
        for name, found in (
            (MODES_FILE, self.structure.modes),
            (WORDS_FILE, self.structure.words),
            (CLUSTERS_FILE, self.structure.clusters),
        ):
            if found is not None:
                self._write_zarr(name, found)
        return super().save(records)

    @cached_property
    def last(self) -> xr.Dataset:
        """χ of the loss to every unit, with replicates, at the last checkpoint."""
        children = self.draws.children
        tree = children[max(children)] if self.config.get("kind") == "study" else self.draws
        return self._susceptibility(tree, keep_replicates=True)

    @cached_property
    def texts(self) -> Texts:
        """The texts of the probes, or why there are none."""
        study = StudyConfig.model_validate(self.config["study"])
        probes = list(dict.fromkeys(self.last["probe"].values.tolist()))
        return texts_of(study, self.config["fingerprints"]["probes"], probes)

    @cached_property
    def structure(self) -> Structure:
        """Modes and clusters of the responses of the loss at the last checkpoint."""
        texts = None if self.texts.missing else list(self.texts.found.values())
        return find_structure(self.last["chi_replicates"], texts)

    def report(self) -> ResponseReport:
        """Everything the report of this run shows."""
        from creode.viewer import ResponseReport

        missing = self.texts.missing.items()
        return ResponseReport(
            response=self._table(),
            control=self.config["study"]["control"] or "",
            less=[] if self.control is None else self.records(),
            modes=self.structure.modes,
            words=self.structure.words,
            clusters=self.structure.clusters,
            tokens=self._tokens(),
            llc=self.verdict,
            traces=self.traces(),
            warnings=[
                *(f"The text of {probe} is not shown: {why}" for probe, why in missing),
                *self.structure.notes,
            ],
            **self.heading(),
        )

    def _table(self) -> xr.Dataset:
        """The records as (view, component, dataset), a view being an observable at a checkpoint."""
        import pandas as pd

        frame = pd.DataFrame(self.records()).rename(columns={"probe": "dataset"})
        steps = frame["checkpoint"].dropna().unique()
        frame["view"] = frame["observable"]
        if len(steps) > 1:
            frame["view"] += [f" at step {step:,}" for step in frame["checkpoint"]]

        def place(observables: pd.Series[str]) -> pd.Series[int]:
            return observables.map(self.observables.index)

        ordered = frame.iloc[::-1].sort_values("observable", key=place, kind="stable")
        order = {"view": ordered["view"].unique()}
        order |= {name: frame[name].unique() for name in ("component", "dataset")}
        numbers, flags = [*SHOWN], ["significant", "significant_plain", "ok"]
        frame[numbers] = frame[numbers].astype("float64")
        table = frame.set_index([*order])[[*numbers, *flags]].to_xarray().reindex(order)
        table[flags] = table[flags].fillna(False).astype(bool)
        return table.assign_attrs(self.last.attrs, false_discovery=self.config["study"]["rate"])

    def _tokens(self) -> xr.Dataset | None:
        """χ and its error of every token at the last checkpoint, with the token's text."""
        if "token" not in self.last.dims or self.texts.missing:
            return None
        shown = self.last[["chi", "chi_se"]]
        return shown.assign_coords(sample=np.arange(shown.sizes["sample"])).assign(
            text=token_texts_of(list(self.texts.found.values()))
        )


def _parts(draws: xr.DataTree) -> xr.DataTree:
    """The posteriors that are not of the whole model."""
    whole = [
        f"{node.path}/"
        for node in draws.subtree
        if "distance_sq" in node.data_vars and node.attrs.get("component") == WHOLE
    ]
    return draws.filter(lambda node: not any(f"{node.path}/".startswith(path) for path in whole))


def _step(cell: xr.Dataset) -> int | None:
    """The checkpoint of a cell, training steps; None for a model that is not of a series."""
    return int(cell["checkpoint"]) if "checkpoint" in cell.coords else None
