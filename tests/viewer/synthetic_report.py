"""A realistic report made of synthetic results: ten checkpoints of a two-layer transformer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import xarray as xr

CHECKPOINTS = [0, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000]
HEADS = [f"l{layer}h{head}" for layer in range(2) for head in range(4)]
COMPONENTS = ["full", "embed", *HEADS[:4], "l0 mlp", *HEADS[4:], "l1 mlp"]
SCALE = {"full": 212.0, "embed": 38.0, "l0 mlp": 64.0, "l1 mlp": 51.0}
CHAINS, DRAWS, LAGS, NBETA = 4, 200, 40, 30.0

DIVERGED = (0, "embed")
UNMIXED = (5_000, "l1h2")
HOT = (50_000, "l0h3")
BELOW_ZERO = (100, "l1 mlp")
NOT_OK = {
    DIVERGED: "chain 2 became non-finite at step 341",
    UNMIXED: "R-hat is 1.31, above 1.05; ESS is 17, below 100",
    HOT: "virial is 1.24 ± 0.02, above 1.1: step size or gradient noise heats the chain",
    BELOW_ZERO: "λ̂ is −1.9, below 0: w* is not a local minimum of this loss",
}


def true_llc(step: int, component: str) -> float:
    """A rise in two stages, of a size of the component's own."""
    rng = np.random.default_rng(abs(hash_of(component)))
    scale = SCALE.get(component, rng.uniform(3.0, 11.0))
    onset, late = np.exp(rng.uniform(5.8, 7.0)), np.exp(rng.uniform(8.0, 9.5))
    rise = 0.62 / (1 + (onset / (step + 1)) ** 1.8) + 0.38 / (1 + (late / (step + 1)) ** 2.5)
    return scale * (0.06 + rise)


def hash_of(text: str) -> int:
    return sum((i + 7) * ord(letter) for i, letter in enumerate(text))


def make_llc(factor: float = 1.0, seed: int = 0) -> xr.Dataset:
    """Readings as of creode.llc for a study, four of them not ok."""
    rng = np.random.default_rng(seed)
    shape = (len(CHECKPOINTS), len(COMPONENTS))
    truth = np.array([[true_llc(step, name) for name in COMPONENTS] for step in CHECKPOINTS])
    truth = truth * factor
    se = truth * rng.uniform(0.012, 0.04, shape) + 0.02
    numbers = {
        "llc": truth + se * rng.standard_normal(shape),
        "llc_se": se,
        "llc_variance": truth + 3 * se * rng.standard_normal(shape),
        "llc_variance_se": 3 * se,
        "ess": rng.uniform(180, 640, shape),
        "rhat": 1 + rng.exponential(0.006, shape),
        "virial": 1 + 0.012 * rng.standard_normal(shape),
        "virial_se": rng.uniform(0.006, 0.014, shape),
        "temperature": 1 + 0.003 * rng.standard_normal(shape),
        "temperature_se": rng.uniform(0.001, 0.004, shape),
    }
    ok = np.ones(shape, bool)
    reasons = np.full(shape, "", dtype=object)
    for (step, name), reason in NOT_OK.items():
        at = CHECKPOINTS.index(step), COMPONENTS.index(name)
        ok[at], reasons[at] = False, reason
        if (step, name) == DIVERGED:
            for values in numbers.values():
                values[at] = np.nan
        if (step, name) == UNMIXED:
            numbers["rhat"][at], numbers["ess"][at] = 1.3147, 17.2
            numbers["llc_se"][at] *= 6
        if (step, name) == HOT:
            numbers["virial"][at], numbers["llc"][at] = 1.24, numbers["llc"][at] * 1.22
        if (step, name) == BELOW_ZERO:
            numbers["llc"][at] = -1.9
    dims = ("checkpoint", "component")
    return xr.Dataset(
        {name: (dims, values) for name, values in numbers.items()}
        | {"ok": (dims, ok), "reasons": (dims, reasons)},
        coords={"checkpoint": CHECKPOINTS, "component": COMPONENTS},
        attrs={
            "creode_version": "0.1.0",
            "model_fingerprint": "3f1c9b7a52d04e6688aa17c0",
            "data_fingerprint": "b80d4e51a9c2f7731e0655d2",
        },
    )


def make_sparse() -> xr.Dataset:
    """The full model at every checkpoint, everything else at the last: the rest was not run."""
    llc = make_llc()
    run = (llc["component"] == "full") | (llc["checkpoint"] == CHECKPOINTS[-1])
    numbers = [name for name in llc.data_vars if llc[name].dtype.kind == "f"]
    llc[numbers] = llc[numbers].where(run)
    llc["ok"] = llc["ok"] & run
    llc["reasons"] = llc["reasons"].where(run, "not run")
    llc["notes"] = llc["reasons"].copy(data=np.full(llc["ok"].shape, "", dtype=object))
    llc["notes"].loc[{"checkpoint": 1_000, "component": "full"}] = "more draws would help"
    return llc


@cache
def make_trace(llc: float, key: tuple[int, str], seed: int) -> xr.Dataset:
    """Autoregressive chains around the reading; one drifts, one ends in NaN where it should."""
    rng = np.random.default_rng(seed)
    llc = llc if np.isfinite(llc) else 4.0
    rho = 0.97 if key == UNMIXED else 0.62
    noise = rng.standard_normal((CHAINS, DRAWS)) * np.sqrt(1 - rho**2)
    path = np.zeros((CHAINS, DRAWS))
    path[:, 0] = rng.standard_normal(CHAINS)
    for draw in range(1, DRAWS):
        path[:, draw] = rho * path[:, draw - 1] + noise[:, draw]
    excess = (llc + 0.3 * abs(llc) * path) / NBETA
    if key == UNMIXED:
        excess += np.linspace(-0.4, 0.5, CHAINS)[:, None] * llc / NBETA
    init = 3.1 + 0.02 * rng.standard_normal((CHAINS, DRAWS))
    if key == DIVERGED:
        excess[2, 70:] = np.nan
    running = NBETA * np.cumsum(excess, axis=1) / np.arange(1, DRAWS + 1)
    lags = np.arange(LAGS)
    decay = rho**lags + 0.03 * rng.standard_normal((CHAINS, LAGS)) * (lags > 0)
    return xr.Dataset(
        {
            "loss": (("chain", "draw"), init + excess),
            "init_loss": (("chain", "draw"), init),
            "running_llc": (("chain", "draw"), running),
            "autocorrelation": (("chain", "lag"), decay),
        },
        coords={"chain": range(CHAINS), "draw": range(DRAWS), "lag": lags},
    )


def make_training() -> xr.Dataset:
    """Losses with a plateau and a late fall, and two held-out domains at the checkpoints."""
    rng = np.random.default_rng(5)
    steps = np.unique(np.r_[np.arange(0, 1000, 10), np.arange(1000, 50_001, 100)])
    curve = 1.9 + 2.4 / (1 + (steps / 240) ** 1.1) + 1.1 / (1 + (steps / 6500) ** 2.6)
    noisy = curve + 0.03 * rng.standard_normal(len(steps))
    data = {"loss": ("step", noisy, {"units": "nats per token"})}
    for name, gap in (("prose", 0.35), ("code", -0.15)):
        held_out = np.where(np.isin(steps, CHECKPOINTS), curve + gap, np.nan)
        data[name] = ("step", held_out, {"long_name": f"held-out {name}"})
    return xr.Dataset(data, coords={"step": steps})


def make_report(**changes: Any) -> Any:
    from creode.viewer import Report

    llc = make_llc()
    keys = [(step, name) for step in CHECKPOINTS for name in COMPONENTS]
    values = llc["llc"].values.reshape(-1)
    fields: dict[str, Any] = {
        "title": "Two-layer transformer on Python code and prose",
        "llc": llc,
        "llc_on": {
            "code": make_llc(1.18, seed=1),
            "prose": make_llc(0.83, seed=2),
        },
        "training": make_training(),
        "traces": {
            key: make_trace(value, key, seed)
            for seed, (key, value) in enumerate(zip(keys, values, strict=True))
        },
        "config": {
            "model": "checkpoints/two-layer",
            "task": "NextToken",
            "data": {"source": "corpus:python", "samples": 4096, "length": 128},
            "posterior": {"nbeta": NBETA, "localization": 100.0},
            "sampler": {"kernel": "baoab", "step_size": 3e-4, "steps_per_draw": 5},
            "chains": CHAINS,
            "draws": DRAWS,
            "burnin": 100,
            "seed": 0,
        },
        "command": "creode rerun runs/two-layer",
        "warnings": ["The probe “prose” has 64 samples; its intervals are wide."],
    }
    return Report(**(fields | changes))
