"""Plan and run the units of a study: every checkpoint × component, whichever are missing.

Here: the order of work, one model in memory at a time, fingerprints that guard the directory.
Not here: one unit of work (sampling/), the draws of a directory (draws.py), readings of the result
(readings.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from creode import components
from creode.data import Samples
from creode.development import Checkpoint
from creode.fingerprint import model_fingerprint, task_fingerprint
from creode.models import load_model
from creode.posterior import LocalPosterior
from creode.response.susceptibility import WHOLE
from creode.sampling import Auto, Calibration, find_calibration, run_posterior
from creode.sampling.probes import as_probes
from creode.store import Store
from creode.study.beside import Beside
from creode.study.companions import companions, is_taken, take_companion
from creode.study.config import StudyConfig
from creode.study.draws import open_draws
from creode.study.margins import margins_of, observables_of, take_before
from creode.study.metrics import load_metric
from creode.study.traced import check_pairs, recorded

CONTROL = "control"  # the run directory of the control, within that of the run
PILOT = "choosing settings"  # the name of the pilot, where units of work have theirs
MODEL = "fingerprint_of_"  # begins the names of models among what a run resolved
OnUnit = Callable[[str, int, int], None]  # unit, chain-steps done, chain-steps of the whole study


@dataclass(frozen=True)
class Unit:
    """One posterior of a study."""

    checkpoint: Checkpoint | None
    component: str

    @property
    def key(self) -> tuple[str, ...]:
        """Its group in the store, below which its blocks of chains lie."""
        step = "model" if self.checkpoint is None else f"step_{self.checkpoint.step:08d}"
        return (step, components.slug(self.component))

    @property
    def label(self) -> str:
        """Its name for people."""
        where = "" if self.checkpoint is None else f"step {self.checkpoint.step}, "
        return f"{where}{self.component}"


def run_study(
    study: StudyConfig,
    out: str | Path,
    *,
    resolved: Mapping[str, Any] | None = None,
    on_progress: OnUnit | None = None,
) -> xr.DataTree:
    """Sample every posterior of the study that the directory does not hold yet.

    Args:
        study: what is read.
        out: the run directory; an interrupted study in it continues.
        resolved: decisions of an earlier run to take over, so that this one repeats its bits.
        on_progress: called with the unit's name and chain-steps done and in all.

    Returns:
        A tree with one posterior's draws at `/<checkpoint>/<component>`.

    Raises:
        ValueError: the study cannot be run, or `out` holds another one.
    """
    series, plan, task = study.series(), study.plan(), study.build_task()
    first = load_study_model(study, series[0])
    source = study.model if series[0] is None else series[0].path
    data = study.load(study.data, source)
    every = {name: study.load(probe, source) for name, probe in study.every_probe.items()}
    probes = as_probes(every)
    check_pairs(study, probes)
    units = list_units(study, series, first)
    others = companions(study, first)
    metrics = {spec: load_metric(spec) for spec in study.metrics}
    margins = margins_of(study, source)
    observables = observables_of(study, probes, margins)
    config = {
        "kind": "study",
        "study": study.model_dump(mode="json"),
        "fingerprints": {
            "data": data.fingerprint(),
            "probes": {name: samples.fingerprint() for name, samples in probes.items()},
            "metrics": {spec: task_fingerprint(metric) for spec, metric in metrics.items()},
            **(
                {"behaviours": {name: task_fingerprint(one) for name, one in margins.items()}}
                if margins
                else {}
            ),
        },
    }
    with Store.open(out, config) as store:
        for name, decision in (resolved or {}).items():
            store.resolve(name, decision)
        for name, fingerprint in _fingerprints(study, series, first).items():
            _hold_model(store, name, fingerprint)
        for one in others:
            model = load_model(one.checkpoint.path, dtype=torch.float32)
            name = f"{one.run}_step_{one.checkpoint.step}"
            _hold_model(store, name, model_fingerprint(model))
        schedule = plan.schedule
        if isinstance(plan.kernel, Auto):
            if "calibration" not in store.resolved:
                calibrate_study(
                    study, probes=probes, data=data, store=store, on_progress=on_progress
                )
            schedule = Calibration.of(store.resolved["calibration"]).schedule(schedule)
        each = replace(
            study.execution, microbatch=study.execution.microbatch or schedule.batch_size
        )
        if study.audit is not None and study.audit.before is not None:
            take_before(store, study.audit.before, margins, each)
        per_unit = schedule.chains * schedule.num_steps
        total = per_unit * len(units)
        subject = subject_of(unit.component for unit in units if unit.checkpoint is series[0])
        for one in [one for one in others if not is_taken(store, one)]:
            model = load_model(one.checkpoint.path, dtype=torch.float32)
            shown = LocalPosterior(model, task, data, nbeta=1.0, localization=1.0)
            take_companion(store, one, shown, each)
        whole: LocalPosterior | None = None  # of the checkpoint that is in memory
        for index, unit in enumerate(units):
            if index == 0 or unit.checkpoint is not units[index - 1].checkpoint:
                model = first if index == 0 else load_study_model(study, unit.checkpoint)
                whole = LocalPosterior(
                    model, task, data, nbeta=study.nbeta, localization=study.localization
                )
                beside = Beside(study.measures, metrics, each, margins)
                beside.take(store, unit.key[0], whole, unit.checkpoint)
            assert whole is not None

            def report(
                done: int, _: int, unit: Unit = unit, before: int = index * per_unit
            ) -> None:
                if on_progress is not None:
                    on_progress(unit.label, before + done, total)

            scored, planned = recorded(study, probes, plan, unit.component, subject)
            run_posterior(
                replace(whole, component=unit.component),
                scored,
                planned,
                unit=unit.key,
                observables=observables,
                store=store,
                checkpoint=None if unit.checkpoint is None else unit.checkpoint.step,
                on_progress=report,
            )
        decided = dict(store.resolved)
    if study.control is not None:
        told = None if on_progress is None else partial(_of_control, on_progress)
        run_study(
            study.as_control(), Path(out) / CONTROL, resolved=_for_control(study, decided),
            on_progress=told,
        )  # fmt: skip
    return open_draws(out)


def _for_control(study: StudyConfig, decided: Mapping[str, Any]) -> dict[str, Any]:
    """What the control takes over of what the run decided, but for its own nβ."""
    kept = {name: value for name, value in decided.items() if not name.startswith(MODEL)}
    if study.control == "prior" and "calibration" in kept:
        kept["calibration"] = {**kept["calibration"], "nbeta": 0.0}
    return kept


def _of_control(on_progress: OnUnit, unit: str, done: int, total: int) -> None:
    on_progress(f"control, {unit}", done, total)


def calibrate_study(
    study: StudyConfig,
    *,
    probes: Mapping[str, Samples] | None = None,
    data: Samples | None = None,
    store: Store | None = None,
    on_progress: OnUnit | None = None,
) -> Calibration:
    """The settings of a study with the automatic sampler, recorded in the store if there is one.

    One choice serves all checkpoints and components, so that they can be compared. The pilot runs
    on the last checkpoint, on the first component.
    """
    posterior = pilot_posterior(study, data)
    return find_calibration(
        posterior,
        probes or {},
        study.plan(),
        store,
        on_round=None if on_progress is None else partial(on_progress, PILOT),
    )


def pilot_posterior(study: StudyConfig, data: Samples | None = None) -> LocalPosterior:
    """What settings are chosen on: the first component at the last checkpoint."""
    last = study.series()[-1]
    model = load_study_model(study, last)
    if data is None:
        data = study.load(study.data, study.model if last is None else last.path)
    return LocalPosterior(
        model,
        study.build_task(),
        data,
        nbeta=study.nbeta,
        localization=study.localization,
        component=expand(model, study.components)[0],
    )


def list_units(study: StudyConfig, series: list[Checkpoint | None], model: nn.Module) -> list[Unit]:
    """Every posterior of a study, checkpoints first; unknown components raise here."""
    everywhere = expand(model, study.components)
    if study.form == "two-chain":
        everywhere.append(WHOLE)
    at_end = [name for name in expand(model, study.final_components) if name not in everywhere]
    for name in (*everywhere, *at_end):
        components.resolve(model, name)
    units = [Unit(checkpoint, name) for checkpoint in series for name in everywhere]
    return units + [Unit(series[-1], name) for name in at_end]


def subject_of(names: Iterable[str]) -> str:
    """Of which component stages and influences are: the whole model, or else the first."""
    known = [*names]
    return WHOLE if WHOLE in known else known[0]


def expand(model: nn.Module, names: tuple[str, ...]) -> list[str]:
    """Component names, with the plural of a kind ("heads", "layers", "mlps") standing for all."""
    known = components.list(model)
    found: dict[str, None] = {}
    for name in names:
        of_kind = [component.name for component in known if f"{component.kind}s" == name]
        found |= dict.fromkeys(of_kind or [name])
    return list(found)


def load_study_model(study: StudyConfig, checkpoint: Checkpoint | None) -> nn.Module:
    """The model of a checkpoint, in float32."""
    if checkpoint is None:
        return load_model(study.model, revision=study.revision, dtype=torch.float32)
    return load_model(checkpoint.path, revision=checkpoint.revision, dtype=torch.float32)


def _fingerprints(
    study: StudyConfig, series: list[Checkpoint | None], first: nn.Module
) -> dict[str, str]:
    def models() -> Iterator[tuple[Checkpoint | None, nn.Module]]:
        yield series[0], first
        for checkpoint in series[1:]:
            yield checkpoint, load_study_model(study, checkpoint)

    return {
        "model" if checkpoint is None else f"step_{checkpoint.step}": model_fingerprint(model)
        for checkpoint, model in models()
    }


def _hold_model(store: Store, name: str, fingerprint: str) -> None:
    """Record the model of a checkpoint; one that comes later is added, none may become another."""
    key = f"{MODEL}{name}"
    if store.resolved.get(key, fingerprint) != fingerprint:
        raise ValueError(
            f"{store.path} holds draws of another {name.replace('_', ' ')} than the weights that "
            "are there now; give a new directory, or put those weights back."
        )
    store.resolve(key, fingerprint)
