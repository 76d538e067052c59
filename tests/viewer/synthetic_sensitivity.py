"""Readings around a choice of settings, made up: one in doubt, one without a number."""

from __future__ import annotations

import numpy as np
import xarray as xr

from creode.geometry import plateau
from creode.viewer import SensitivityReport

AXES = ("epsilon", "nbeta", "gamma")
NBETA, GAMMA = 400.0, 12.0
DOUBTFUL = {"epsilon": 2.0, "nbeta": NBETA, "gamma": GAMMA}
FAILED = {"epsilon": 1.0, "nbeta": 4 * NBETA, "gamma": GAMMA}
REASON = "R-hat of the loss is 1.31, above 1.05: the chains disagree or still drift"
LOST = "chain 2 became non-finite at step 30 <b>&</b>"


def make_readings() -> xr.Dataset:
    """The cells of the axes; the other places were not run."""
    coords = {
        "epsilon": [0.5, 1.0, 2.0],
        "nbeta": [NBETA / 4, NBETA, 4 * NBETA],
        "gamma": [GAMMA / 2, GAMMA, 2 * GAMMA],
    }
    shape = (3, 3, 3)
    moved = (np.indices(shape) != 1).sum(0)
    run = moved <= 1
    rng = np.random.default_rng(5)
    numbers = {
        "llc": 30 + rng.normal(0, 0.6, shape), "llc_se": rng.uniform(0.4, 0.8, shape),
        "llc_variance": 30 + rng.normal(0, 2, shape), "ess": rng.uniform(120, 300, shape),
        "rhat": rng.uniform(1.0, 1.04, shape), "rhat_distance": rng.uniform(1.0, 1.5, shape),
        "virial": rng.normal(1, 0.02, shape), "temperature": rng.normal(1, 0.01, shape),
        "step_size": rng.uniform(1e-3, 4e-3, shape), "friction": np.full(shape, 10.0),
        "steps": rng.integers(500, 4000, shape).astype(float),
    }  # fmt: skip
    variables = {name: (AXES, np.where(run, values, np.nan)) for name, values in numbers.items()}
    data = xr.Dataset(
        {
            **variables,
            "ok": (AXES, run.copy()),
            "reasons": (AXES, np.where(run, "", "not run").astype(object)),
            "notes": (AXES, np.full(shape, "", dtype=object)),
        },
        coords,
    )
    data = data.assign_coords(
        nbeta_factor=data["nbeta"] / NBETA, gamma_factor=data["gamma"] / GAMMA
    )
    for place, reason in ((DOUBTFUL, REASON), (FAILED, LOST)):
        data["ok"].loc[place] = False
        data["reasons"].loc[place] = reason
    data["llc"].loc[FAILED] = np.nan
    data["llc_se"].loc[FAILED] = np.nan
    data.attrs = {
        "nbeta": NBETA, "localization": GAMMA, "step_size": 2e-3, "chains": 4, "batch_size": 32,
        "seed": 0, "num_cells": 7, "gradient_evaluations": 12_345, "component": "full",
        "creode_version": "0.1.0", "model_fingerprint": "model", "data_fingerprint": "data",
    }  # fmt: skip
    return data.merge(plateau(data), combine_attrs="override")


def make_report(**changes: object) -> SensitivityReport:
    """The report of these readings."""
    fields = {
        "title": "Settings for a decoder",
        "readings": make_readings(),
        "config": {"chosen": {"nbeta": NBETA}},
    }
    return SensitivityReport(**(fields | changes))
