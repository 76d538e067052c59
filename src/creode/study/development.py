"""What is concluded from readings along checkpoints: stages, and what an alarm would have said.

Here: the readings of a run as one Dataset over checkpoints, its stages as records, its files.
Not here: how stages are found (development/), the readings themselves (readings.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr

from creode.components import slug
from creode.development import alarms, response_path, stages
from creode.response import susceptibility
from creode.store import Store
from creode.study.companions import own_name
from creode.study.conclusion import DATA, finite
from creode.study.config import QUERY, TRAIN, StudyConfig
from creode.study.draws import open_draws
from creode.study.influence_along import (
    NAMES,
    change_records,
    influence_changes,
    influences,
    without_traced,
)
from creode.study.measures import measured
from creode.study.moved import moved_most
from creode.study.outputs import NAME, plane
from creode.study.readings import Readings
from creode.study.run import subject_of
from creode.study.shape_groups import group_records, shapes_of
from creode.study.texts import texts_of
from creode.study.trajectory import readings_along

if TYPE_CHECKING:
    from creode.viewer import Report

TRAJECTORY_FILE, STAGES_FILE, ALARMS_FILE = "trajectory.zarr", "stages.zarr", "alarms.zarr"
PLANE_FILE, SHAPES_FILE = "plane.zarr", "shapes.zarr"
CHI_FILE = "chi_path.zarr"
INFLUENCE_FILE, CHANGES_FILE = "influence.zarr", "influence.json"


@dataclass(frozen=True)
class Development(Readings):
    """The stages of the whole model, or else of the first component, and what moved in each."""

    file: ClassVar[str] = "stages.json"
    subject: ClassVar[str] = "Development"

    @cached_property
    def trajectory(self) -> xr.Dataset:
        """Readings along checkpoints, dim checkpoint in training steps.

        llc, llc_se, ok of the whole model, or else the first component; loss, loss_se, loss_ok,
        L(w*) on its data, nats, with the error of the minibatches it was seen on. Where they were
        read at every checkpoint, with _se and _ok: component_llc (component) of the others;
        probe_llc (probe); probe_loss (probe), with the error over the probe's samples, which are
        the same at all checkpoints, so that a difference is known better than these errors say; and
        where there are both, chi (component, probe), nats², the susceptibility of a component to a
        probe's data set. Further what the study measured: weight_norm; of the Hessian of the loss
        on samples of the data hessian_max, its largest eigenvalue, and hessian_trace with
        hessian_trace_se; what its metrics returned; and with influence what `influences` of
        influence_along.py returns.
        """
        names = [str(name) for name in self.verdict["component"].values]
        first = subject_of(names)
        on_probes = {probe: self.llc[probe] for probe in self.probes}
        found = readings_along(first, self.verdict, on_probes, lambda: self.responses)
        found = found.merge(self.measured, join="left")
        if self.influences is not None:
            found = found.merge(self.influences, join="left")
        return found.transpose("checkpoint", ...).assign_attrs(component=first)

    @property
    def probes(self) -> list[str]:
        """Names of the data that are read beside the posterior's own."""
        return sorted(on for on in self.llc if on != DATA)  # a directory on disk has no order

    @cached_property
    def responses(self) -> xr.Dataset:
        """`creode.susceptibility` of every component to each probe as a data set."""
        return susceptibility(self.draws, on=self.probes, by="dataset")

    @cached_property
    def measured(self) -> xr.Dataset:
        """What was read of the weights themselves, along checkpoints."""
        with Store.open(self.path, mode="read") as store:
            return measured(store)

    @cached_property
    def draws(self) -> xr.DataTree:
        """The saved draws, without probes that were recorded for influence alone."""
        return without_traced(open_draws(self.path))

    @cached_property
    def influences(self) -> xr.Dataset | None:
        """The influence of training samples on queries along checkpoints, if the study asked."""
        asked = self.config.get("study", {}).get("influence")
        return None if asked is None else influences(open_draws(self.path), asked["kind"])

    @cached_property
    def influence_changes(self) -> xr.Dataset | None:
        """Flips of sign and peaks of influences, beside the stages' boundaries, with texts."""
        if self.influences is None:
            return None
        study = StudyConfig.model_validate(self.config["study"])
        stages = None if isinstance(self.stages, str) else self.stages
        found = influence_changes(self.influences, stages, study.rate)
        known = texts_of(study, self.config["fingerprints"]["probes"], (QUERY, TRAIN)).found
        shown = {
            f"{name}_text": (name, [known[name].of(int(unit)) for unit in found[name].values])
            for name in (QUERY, TRAIN)
            if name in known
        }
        return found.assign_coords(shown)

    @cached_property
    def plane(self) -> xr.Dataset | None:
        """Principal components of the outputs along training, if the study kept outputs.

        With the dimension run, the study's own first, if it names others.
        """
        with Store.open(self.path, mode="read") as store:
            return plane(store, self._runs)

    @cached_property
    def chi_path(self) -> xr.Dataset | None:
        """`creode.development.response_path` of χ that can be trusted; None where there is none."""
        if "chi" not in self.trajectory:
            return None
        trusted = self.trajectory["chi"].where(self.trajectory["chi_ok"])
        try:
            return response_path(trusted, self.trajectory["chi_se"])
        except ValueError:
            return None

    @cached_property
    def stages(self) -> xr.Dataset | str:
        """`creode.development.stages` of llc, or why there are none."""
        try:
            return stages(self._told_alone)
        except ValueError as error:
            return str(error)

    @cached_property
    def alarms(self) -> xr.Dataset:
        """The events of an alarm that had watched every reading of the trajectory."""
        return alarms(self._told_alone)

    @cached_property
    def shapes(self) -> xr.Dataset | str:
        """`creode.development.shapes` of the parts' λ̂, or why there are none."""
        return shapes_of(self.trajectory)

    @property
    def _told_alone(self) -> xr.Dataset:
        """The trajectory without influences, whose many pairs have tests of their own."""
        return self.trajectory.drop_vars(NAMES, errors="ignore").drop_dims(
            (QUERY, TRAIN), errors="ignore"
        )

    def readings(self) -> list[dict[str, Any]]:
        """The learning coefficients that the stages rest on, one flat record each."""
        return super().records()

    def records(self) -> list[dict[str, Any]]:
        """One flat record a stage."""
        found = self.stages
        if isinstance(found, str):
            return [{"stage": None, "ok": False, "reasons": found}]
        return [self._record(found, index) for index in range(found.sizes["stage"])]

    def save(self, records: Sequence[Mapping[str, Any]] | None = None) -> Path:
        """Write the records, and as zarr beside them trajectory, stages, events and shapes."""
        self._write_zarr(TRAJECTORY_FILE, self.trajectory)
        self._write_zarr(ALARMS_FILE, self.alarms)
        if self.plane is not None:
            self._write_zarr(PLANE_FILE, self.plane)
        if self.chi_path is not None:
            self._write_zarr(CHI_FILE, self.chi_path)
        if self.influence_changes is not None:
            self._write_zarr(INFLUENCE_FILE, self.influence_changes)
            self._write_json(CHANGES_FILE, self.influence_records())
        for name, found in ((STAGES_FILE, self.stages), (SHAPES_FILE, self.shapes)):
            if isinstance(found, xr.Dataset):
                self._write_zarr(name, found)
            else:  # those of fewer checkpoints would not be of these readings
                shutil.rmtree(self.path / name, ignore_errors=True)
        return super().save(records)

    def report(self) -> Report:
        """Everything the report of this run shows."""
        from creode.viewer import DevelopmentReport

        curve = None if isinstance(self.stages, str) else self.stages[["curve", "curve_se"]]
        return self._report(
            development=DevelopmentReport(
                trajectory=self.trajectory,
                stages=self.records(),
                events=self.events(),
                curve=curve,
                influence=self._shown_influence,
                influence_changes=self.influence_records(),
                plane=self.plane,
                chi_path=self.chi_path,
                groups=[] if isinstance(self.shapes, str) else group_records(self.shapes),
            )
        )

    @property
    def _runs(self) -> dict[str, str] | None:
        """Names of several runs by their names in the store."""
        study = self.config.get("study", {})
        others = study.get("runs")
        if not others:
            return None
        own = own_name(StudyConfig.model_validate(study))
        return {NAME: own} | {slug(name): name for name in others}

    @property
    def _shown_influence(self) -> xr.Dataset | None:
        if self.influences is None or self.influence_changes is None:
            return None
        return self.influence_changes.merge(self.influences, combine_attrs="override")

    def influence_records(self) -> list[dict[str, Any]]:
        """Influences that flip or peak, surest first, as plain values; none without influence."""
        found = self.influence_changes
        return [] if found is None else change_records(found)

    def events(self) -> list[dict[str, Any]]:
        """The alarm's events as plain values."""
        table = self.alarms
        return [
            finite({str(name): table[name].values[i].item() for name in table.data_vars})
            for i in range(table.sizes["event"])
        ]

    def _record(self, found: xr.Dataset, index: int) -> dict[str, Any]:
        one = found.isel(stage=index)
        start, end = int(one["stage_start"]), int(one["stage_end"])
        steps = self.trajectory["checkpoint"]
        within = self.trajectory["ok"].where((steps >= start) & (steps <= end), drop=True)
        doubted = int((within == 0).sum())
        reasons = f"{doubted} of {within.size} readings are not ok and were left out"
        begins = _boundary(found, index - 1) if index else {}
        numbers = {
            name: float(one[name])
            for name in ("llc_delta", "llc_delta_se", "loss_delta", "loss_delta_se")
            if name in one
        }
        return finite(
            {
                "stage": index + 1, "start": start, "end": end,
                "kind": str(one["stage_kind"].item()), "type": str(one["stage_type"].item()),
                "begins_low": None, "begins_high": None, "begins_probability": None, **begins,
                **numbers, "moved": moved_most(self.trajectory, one), "ok": doubted == 0,
                "reasons": reasons if doubted else "",
            }
        )  # fmt: skip


def _boundary(found: xr.Dataset, index: int) -> dict[str, Any]:
    """What is known of where a stage begins."""
    one = found.isel(boundary=index)
    return {
        "begins_low": int(one["boundary_low"]),
        "begins_high": int(one["boundary_high"]),
        "begins_probability": float(one["boundary_probability"]),
    }
