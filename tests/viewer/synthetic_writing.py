"""Made-up weights on data with their proof, and a made-up loop around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import synthetic_development
import synthetic_responses
import xarray as xr

SAMPLES, SEEDS, STEPS = 60, [1, 2, 3], [0, 50, 100, 200]
ARMS = ["patterned", "uniform", "permuted"]
AIM, OTHER, WHEN = "query", "code", "step at the level"
LEVEL = 2.4
EVIL = '</script><b>&amp; "quoted" {{ 7*7 }}'
GROUPS = ("dialogue", "code", "c <headers>")
END = {"patterned": 1.9, "uniform": 2.2, "permuted": 2.3}


def make_weights(toward: float = 1.0) -> np.ndarray:
    """Weights of mean 1, the first third heavy or light."""
    rho = 1 + toward * np.where(np.arange(SAMPLES) < SAMPLES // 3, 0.6, -0.3)
    rho += 0.05 * np.sin(np.arange(SAMPLES))
    return np.asarray(rho / rho.mean())


def make_effect(toward: float = 1.0) -> xr.Dataset:
    return xr.Dataset(
        {
            "wanted": ("observable", [-0.04 * toward, np.nan]),
            "predicted": ("observable", [-0.033 * toward, 0.011]),
            "predicted_se": ("observable", [0.003, 0.004]),
            "ok": True,
            "reasons": "",
        },
        {"observable": [AIM, OTHER]},
        {"creode_version": "0.1.0", "on": "train"},
    )


def make_proof(toward: float = 1.0, *, told: bool = True) -> xr.Dataset:
    """Arms whose gap to shuffled weights is told from none, or is not."""
    seeds = np.arange(len(SEEDS))
    start, noise = 5.5, 0.01 if told else 1.0
    value = np.empty((len(ARMS), len(SEEDS), 3))
    along = np.empty((len(ARMS), len(SEEDS), 2, len(STEPS)))
    for i, arm in enumerate(ARMS):
        end = 2.2 + toward * (END[arm] - 2.2) + noise * np.cos(3 * seeds + i)
        value[i, :, 0], value[i, :, 1] = end, 3.0 + 0.01 * i
        value[i, :, 2] = 150 + 60 * (end - 2.2)
        fall = np.linspace(0, 1, len(STEPS)) ** 0.5
        along[i, :, 0] = start + (end[:, None] - start) * fall
        along[i, :, 1] = 3.0
    array = xr.DataArray(
        value,
        {"arm": ARMS, "seed": SEEDS, "observable": [AIM, OTHER, WHEN]},
        ["arm", "seed", "observable"],
    )
    told_of = make_effect(toward).reindex(observable=[AIM, OTHER, WHEN])
    out = told_of[["wanted", "predicted", "predicted_se"]].assign(value=array)
    for name, other in (("achieved", "uniform"), ("gap", "permuted")):
        paired = array.sel(arm="patterned", drop=True) - array.sel(arm=other, drop=True)
        half = 4.3 * paired.std("seed", ddof=1) / len(SEEDS) ** 0.5
        middle = paired.mean("seed")
        out[name], out[f"{name}_low"], out[f"{name}_high"] = middle, middle - half, middle + half
    verdict = "confirmed" if told else "not confirmed"
    reasons = "" if told else f"{AIM} is not told from the permuted arm"
    out.attrs = {"verdict": verdict, "reasons": reasons, "level": LEVEL}
    return out.assign(along=(("arm", "seed", "probe", "step"), along)).assign_coords(
        probe=[AIM, OTHER], step=STEPS
    )


def make_writing(name: str = "hasten dialogue", toward: float = 1.0, **changes: Any) -> Any:
    from creode.viewer import Writing

    third = SAMPLES // 3
    texts = [f"sample {i}: words\n" for i in range(SAMPLES)]
    texts[int(np.argmax(make_weights(toward)))] = EVIL
    given = {
        "name": name,
        "weights": make_weights(toward),
        "effect": make_effect(toward),
        "aim": AIM,
        "proof": make_proof(toward),
        "when": WHEN,
        "texts": texts,
        "groups": [group for group in GROUPS for _ in range(third)],
        "shown": {AIM: "dialogue"},
    }
    return Writing(**(given | changes))


def make_report(**changes: Any) -> Any:
    from creode.viewer import WritingReport

    given: dict[str, Any] = {"title": "Weights <to> hasten dialogue", "writings": [make_writing()]}
    return WritingReport(**(given | changes))


def make_explained() -> xr.Dataset:
    """Two trivial explanations, as a pattern tells them."""
    dims = ("explanation", "observable")
    return xr.Dataset(
        {
            "r2": ("explanation", [0.03, 0.71]),
            "predicted": (dims, [[-0.001, 0.0], [-0.024, 0.01]]),
            "predicted_se": (dims, [[0.002, 0.001], [0.003, 0.004]]),
            "beyond": (dims, [[-0.032, 0.011], [-0.009, 0.001]]),
            "beyond_se": (dims, [[0.003, 0.004], [0.002, 0.002]]),
        },
        {"explanation": ["length", "domain <b>"], "observable": [AIM, OTHER]},
    )


def make_loop(**changes: Any) -> Any:
    """A loop's report around two directions."""
    from creode.viewer import LoopReport

    sample = {"text": EVIL, "domain": "dialogue", "bif": -4e-4, "bif_se": 1e-4, "z": -4.0}
    records = {
        "behaviour": "dialogue",
        "formed": [
            {"probe": "code", "first": 5.5, "last": 2.5, "level": 2.8, "step": 80.0, "after": 50,
             "until": 100},
            {"probe": "dialogue", "first": 5.5, "last": 2.2, "level": 2.53, "step": 140.0,
             "after": 100, "until": 200},
        ],
        "stages": synthetic_development.make_records(),
        "response": [{"ok": False, "reasons": "<i>chains drift</i> by 3", "component": "l0h0"},
                     {"ok": True, "reasons": "", "component": "l0h1"}],
        "by_domain": [
            {"domain": "dialogue", "samples": 20, "effect": -0.01, "effect_se": 0.001, "p": 1e-9,
             "ok": True, "reasons": ""},
            {"domain": "c <headers>", "samples": 20, "effect": 0.004, "effect_se": 0.001,
             "p": 1e-4, "ok": True, "reasons": ""},
        ],
        "samples": {"helpful": [{"train": 3, "significant": True, **sample}],
                    "harmful": [{"train": 7, "significant": False, **sample, "bif": 2e-4}]},
        "weights": [{"ok": True, "reasons": ""}],
        "proof": [{"ok": True, "reasons": ""}],
    }  # fmt: skip
    given = {
        "title": "How a <small> model learned dialogue",
        "about": "A model & its data.",
        "behaviour": "dialogue",
        "records": records,
        "losses": [
            {"probe": probe, "step": step, "loss": 5.5 - step / 70 - shift}
            for probe, shift in (("dialogue", 0.0), ("code", 0.1))
            for step in STEPS
        ],
        "level": 0.9,
        "start": "scratch",
        "num_samples": SAMPLES,
        "steps": 200,
        "development": synthetic_development.make_report(),
        "response": synthetic_responses.make_report(),
        "writings": [make_writing(), make_writing("delay dialogue", -1.0)],
        "details": {"What formed when": "development/report.html"},
        "config": {"behaviour": "dialogue"},
        "command": "creode run study.yaml",
    }
    return LoopReport(**(given | changes))
