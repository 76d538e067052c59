"""How the readings of a study depend on its settings, and the files that say so.

Here: the grid around a choice, as records, as a file and as a page beside the file of settings.
Not here: sampling and slopes (study/sensitivity.py, geometry/plateau.py), the page (viewer/).
"""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from creode.fingerprint import model_fingerprint
from creode.geometry.over_study import NOT_RUN
from creode.sampling import Calibration
from creode.store import Store
from creode.study.config import StudyConfig
from creode.study.run import pilot_posterior
from creode.study.sensitivity import AXES, READ, SETTINGS, WORDS, Grid, OnCell, sensitivity

if TYPE_CHECKING:
    from creode.viewer import SensitivityReport


def study_sensitivity(
    study: StudyConfig,
    calibration: Calibration,
    grid: Grid | None = None,
    *,
    store: Store | None = None,
    on_progress: OnCell | None = None,
) -> xr.Dataset:
    """`creode.study.sensitivity` of what the study's settings are chosen on."""
    return sensitivity(
        pilot_posterior(study),
        calibration,
        grid=grid,
        schedule=study.schedule,
        execution=study.execution,
        store=store,
        on_progress=on_progress,
    )


def open_sensitivity(study: StudyConfig, grid: Grid, settings: Path) -> Store:
    """Where a pilot and its grid keep what is finished: settings.json has settings.draws.

    Cells are found again whatever other cells the grid has; of other lengths they are others.

    Raises:
        ValueError: the directory holds the draws of another study.
    """
    posterior = pilot_posterior(study)
    config = {
        "kind": "sensitivity",
        "study": study.model_dump(mode="json"),
        "steps": grid.steps,
        "fingerprints": {
            "data": posterior.data.fingerprint(),
            "model": model_fingerprint(posterior.model),
        },
    }
    return Store.open(settings.with_suffix(".draws"), config)


def sensitivity_record(readings: xr.Dataset) -> dict[str, Any]:
    """The readings around a choice as plain values: cells, slopes, and what they cost."""
    cells = []
    for at in product(*(range(readings.sizes[name]) for name in AXES)):
        cell = readings.isel(dict(zip(AXES, at, strict=True)))
        if cell["reasons"].item() == NOT_RUN:
            continue
        names = (*AXES, "nbeta_factor", "gamma_factor", *SETTINGS, *READ, "ok", *WORDS)
        cells.append({name: _plain(cell[name].item()) for name in names})
    slopes = [
        {
            "direction": str(name),
            **{
                column: _plain(readings[column].values[at].item())
                for column in ("slope", "slope_se", "slope_ok")
            },
            "level": str(readings["level"].values[at]),
            "sentence": str(readings["sentence"].values[at]),
        }
        for at, name in enumerate(readings["direction"].values)
    ]
    return {"cells": cells, "slopes": slopes, **readings.attrs}


def save_sensitivity(readings: xr.Dataset, settings: Path) -> Path:
    """Write the record beside a file of settings: settings.json has settings.sensitivity.json."""
    target = settings.with_suffix(".sensitivity.json")
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(sensitivity_record(readings), indent=1) + "\n", encoding="utf-8")
    return partial.replace(target)


def sensitivity_report(
    readings: xr.Dataset, calibration: Calibration, study: StudyConfig
) -> SensitivityReport:
    """What the page of these readings shows."""
    from creode.viewer import SensitivityReport

    return SensitivityReport(
        title=f"Settings for {Path(study.model).name}, and what λ̂ owes to them",
        readings=readings,
        config={"chosen": calibration.record(), "study": study.model_dump(mode="json")},
    )


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
