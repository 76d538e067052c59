"""A made-up development: λ̂ of a model and its heads rises, rests and falls; an alarm rings."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import synthetic_report
import xarray as xr

STEPS = np.unique(np.round(np.geomspace(1, 20_000, 26)).astype(int))
DOUBTFUL, LOST = 7, 12  # places of a reading in doubt, and of one without a value
FIRST, SECOND = 60.0, 2_500.0  # where λ̂ rises, and where it falls


def move(where: float, height: float) -> np.ndarray:
    """A move along log step."""
    return height / (1 + np.exp(-np.log(STEPS / where) / 0.25))


def make_trajectory() -> xr.Dataset:
    """Readings along checkpoints as a study has them."""
    rng = np.random.default_rng(3)
    truth = 4 + move(FIRST, 20.0) - move(SECOND, 9.0)
    se = rng.uniform(0.4, 0.9, len(STEPS))
    llc, ok = truth + se * rng.standard_normal(len(STEPS)), np.ones(len(STEPS), bool)
    ok[[DOUBTFUL, LOST]] = False
    llc[DOUBTFUL], llc[LOST], se[LOST] = -3.0, np.nan, np.nan
    loss = 5.5 - move(30.0, 1.4) - move(FIRST, 1.2) - move(SECOND, 0.05)
    heads = np.stack([2 + move(FIRST, 4.0), 1 + move(SECOND, 2.0), np.full(len(STEPS), 1.5)], 1)
    toward = np.stack([heads - 1.5, 2 - heads], 2) / 200
    toward_ok = np.ones(toward.shape, bool)
    toward_ok[5, 1, 0] = False
    three = ("checkpoint", "component", "probe")
    return xr.Dataset(
        {
            "chi": (three, toward + 0.002 * rng.standard_normal(toward.shape)),
            "chi_se": (three, np.full(toward.shape, 0.002)),
            "chi_ok": (three, toward_ok),
            "llc": ("checkpoint", llc),
            "llc_se": ("checkpoint", se),
            "ok": ("checkpoint", ok),
            "loss": ("checkpoint", loss),
            "component_llc": (
                ("checkpoint", "component"), heads + 0.2 * rng.standard_normal(heads.shape),
            ),
            "component_llc_se": (("checkpoint", "component"), np.full(heads.shape, 0.2)),
            "component_llc_ok": (("checkpoint", "component"), np.ones(heads.shape, bool)),
            "weight_norm": ("checkpoint", 5 + move(200.0, 8.0)),
            "hessian_trace": ("checkpoint", 90 - move(FIRST, 40.0) + rng.normal(0, 3, len(STEPS))),
            "hessian_trace_se": ("checkpoint", np.full(len(STEPS), 3.0)),
            "probe_loss": (("checkpoint", "probe"), np.stack([loss + 0.4, loss - 0.3], 1)),
            "probe_loss_se": (("checkpoint", "probe"), np.full((len(STEPS), 2), 0.06)),
        },
        {"checkpoint": STEPS, "component": ["l0h0", "l0h1", "l1h0"], "probe": ["prose", "code"]},
        {"component": "full"},
    )  # fmt: skip


FLIPPING, PEAKING = (0, 2), (1, 4)  # places of the pairs (query, sample) that do


@cache
def make_influence() -> xr.Dataset:
    """Influences of six samples on two queries; one flips where λ̂ falls, one peaks as it rises."""
    from creode.study.influence_along import influence_changes

    rng = np.random.default_rng(11)
    value = np.zeros((len(STEPS), 2, 6)) + np.linspace(-0.004, 0.004, 6)
    value[:, *FLIPPING] = -0.02 + move(SECOND, 0.04)
    value[:, *PEAKING] += -0.05 * np.exp(-((np.log(STEPS / FIRST) / 0.5) ** 2))
    value += 0.002 * rng.standard_normal(value.shape)
    ok = np.ones(len(STEPS), bool)
    ok[DOUBTFUL] = False
    dims = ("checkpoint", "query", "train")
    along = xr.Dataset(
        {
            "influence": (dims, value, {"dof": 31, "kind": "covariance", "component": "full"}),
            "influence_se": (dims, np.full(value.shape, 0.002)),
            "influence_ok": ("checkpoint", ok),
        },
        {"checkpoint": STEPS, "query": [0, 3], "train": [0, 2, 5, 11, 17, 40]},
    )
    texts = [f"def sample_{n}(values): return sorted(values)" for n in along["train"].values]
    found = influence_changes(along, make_development().stages, 0.05)
    found = found.assign_coords(query_text=("query", ["a query", "another"]))
    return found.assign_coords(train_text=("train", texts)).merge(along)


@cache
def make_development() -> Any:
    """What `creode.study.Development` concludes of these readings."""
    from pathlib import Path

    from creode.study import Development

    found = Development(Path("run"))
    vars(found)["trajectory"] = make_trajectory()
    return found


@cache
def make_records() -> list[dict[str, Any]]:
    """What `creode.study.Development` says of its stages."""
    return make_development().records()


def make_report(**changes: Any) -> Any:
    """A report of the development alone, with an alarm of λ̂ and one of a head."""
    from creode.study.influence_along import change_records
    from creode.viewer import DevelopmentReport

    found = make_development()
    fields: dict[str, Any] = {
        "trajectory": found.trajectory,
        "stages": make_records(),
        "events": [
            event("llc", 16),
            event("component_llc[l0h1]", 20),
            event("probe_loss[prose]", 22, asked=False),
        ],
        "curve": found.stages[["curve", "curve_se"]],
        "influence": make_influence(),
        "influence_changes": change_records(make_influence()),
        "chi_path": found.chi_path,
        "plane": make_plane(),
        "groups": [
            {"group": 1, "parts": ["l0h0", "l0h1"], "stability": 0.93, "stable": True},
            {"group": 2, "parts": ["l1h0"], "stability": 0.41, "stable": False},
            {"group": None, "parts": ["l1h1"], "stability": None, "stable": True},
        ],
    }
    llc = make_llc(found.trajectory)
    return synthetic_report.make_report(
        llc=llc, llc_on={}, training=None, traces={}, title="Development of a decoder",
        warnings=[], development=DevelopmentReport(**(fields | changes)),
    )  # fmt: skip


@cache
def make_plane(runs: tuple[str, ...] = ()) -> xr.Dataset:
    """A path that turns twice, beside three ideal predictors; of several runs, one a name."""
    from creode.development import trajectory_pca

    rng = np.random.default_rng(7)
    first, second = (rng.standard_normal((40, 30)) for _ in range(2))
    at = np.log(STEPS / STEPS[0]) / np.log(STEPS[-1] / STEPS[0])
    path = np.stack([a * first + np.sin(np.pi * a) * second for a in at])
    outputs = xr.DataArray(
        path + 0.1 * rng.standard_normal(path.shape), {"checkpoint": STEPS},
        ("checkpoint", "sample", "output"),
    )  # fmt: skip
    if runs:
        others = [outputs * (1 - 0.3 * n) + 0.4 * n * second for n in range(len(runs))]
        others[-1] = others[-1].isel(checkpoint=slice(3, None))  # not read at all steps
        outputs = xr.concat(others, xr.Variable("run", [*runs]), join="outer")
    ideals = {"uniform": 0 * first, "unigram": 0.4 * first + second, "bigram": 0.9 * first}
    return trajectory_pca(
        outputs, {n: xr.DataArray(v, dims=("sample", "output")) for n, v in ideals.items()}
    )


def event(reading: str, place: int, *, asked: bool = True) -> dict[str, Any]:
    """A change for which an alarm rang, if it was asked for."""
    return {
        "step": int(STEPS[place]), "since": int(STEPS[place - 2]),
        "since_low": int(STEPS[place - 3]), "since_high": int(STEPS[place - 1]),
        "reading": reading, "change": -4.2, "change_se": 0.6, "loss_change": -0.01,
        "loss_change_se": 0.02, "kind": "silent", "asked": asked,
    }  # fmt: skip


def make_llc(trajectory: xr.Dataset) -> xr.Dataset:
    """The same readings as of `creode.llc`."""

    def joined(whole: str, parts: str) -> xr.DataArray:
        first = trajectory[whole].expand_dims(component=["full"])
        return xr.concat([first, trajectory[parts]], "component").transpose("checkpoint", ...)

    ok = joined("ok", "component_llc_ok").astype(bool)
    numbers = {
        "llc": joined("llc", "component_llc"),
        "llc_se": joined("llc_se", "component_llc_se"),
    }
    numbers |= {"llc_variance": numbers["llc"], "llc_variance_se": numbers["llc_se"]}
    others = ("ess", "rhat", "virial", "virial_se", "temperature", "temperature_se")
    return xr.Dataset(
        numbers
        | {name: xr.ones_like(numbers["llc"]) for name in others}
        | {"ok": ok, "reasons": xr.where(ok, "", "R-hat is 1.31, above 1.05")}
    )
