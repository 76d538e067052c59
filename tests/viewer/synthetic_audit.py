"""A real audit of made-up data: draws of quadratic losses, with made-up margins and texts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from creode import llc
from creode.auditing import Audit, audit, mending
from creode.diagnostics import traces
from creode.patterning import effects
from creode.viewer import AuditReport
from patterning_cases import PARTS, Quadratics

NAMES = ("code", "prose", "loss")  # of the draws' observables; the last is a capability
SKILL = "loss"
SAMPLES = 40
EVIL = "</script><script>alert(1)</script><b>&amp; {{ 7*7 }}"
PROMPT = "user: write a poem\nassistant: "
GROUPS = np.array(["honest"] * 10 + ["kind <p>"] * 25 + ["brief"] * 5)


@cache
def draws() -> Any:
    return Quadratics().tree(draws=600, traces=True)


@cache
def make_audit() -> Audit:
    rng = np.random.default_rng(0)
    margins = {"code": rng.normal(2, 1, 60), "prose": rng.normal(-2, 1, 60),
               "loss": rng.normal(-3, 1, 60)}  # fmt: skip
    before = {name: rng.normal(-2.5, 1, 60) for name in NAMES}
    parts = {name: Quadratics(dim=len(at)).tree(draws=200) for name, at in PARTS.items()}
    made = audit(
        draws(), NAMES, margins=margins, before=before, groups=GROUPS,
        shifts={"no brief": {"brief": 0.0}, "twice honest": {"honest": 2.0}}, parts=parts,
    )  # fmt: skip
    found = effects(draws(), "train", {name: name for name in NAMES})
    return replace(made, mending={"code": mending(found, "code", keep=[SKILL])})


def text(sample: int) -> str:
    kinds = (
        f"{PROMPT}{EVIL}",
        f"{PROMPT}roses are red ✗ no",
        f"{PROMPT}" + "a long poem " * 60 + "THE END",
        "✗ ✗ ✗ ✗ twice parted",
    )
    return kinds[sample % len(kinds)]


def make_culprits(found: Audit, name: str) -> list[dict[str, Any]]:
    rows = []
    for sample in found.drivers(name).tolist():
        one = found.samples.sel(behaviour=name).isel(sample=sample)
        numbers = {
            n: float(one[n])
            for n in ("association", "association_se", "effect", "effect_se", "z", "p")
        }
        rows.append({
            "sample": sample, "row": 3 * sample, "text": text(sample), "prompt": PROMPT,
            "principle": str(GROUPS[sample]), **numbers, "driver": bool(one["driver"]),
        })  # fmt: skip
    return rows


def make_record(found: Audit, name: str) -> dict[str, Any]:
    levels = ("prompts", "unwanted", "unwanted_low", "unwanted_high", "margin", "margin_se",
              "before_unwanted", "before_margin")  # fmt: skip
    record: dict[str, Any] = {"behaviour": name, "capability": name == SKILL}
    if found.levels is None:
        record |= dict.fromkeys(levels)
    else:
        one = found.levels.sel(behaviour=name)
        record |= {n: float(one[n]) if n in one else None for n in levels}
    samples = found.samples.sel(behaviour=name)
    record |= {"group": None, "group_effect": None, "group_effect_se": None}
    if found.groups is not None and name == "code":
        group = found.groups.sel(behaviour=name, group="brief")
        record |= {"group": "brief", "group_effect": float(group["effect"]),
                   "group_effect_se": float(group["effect_se"])}  # fmt: skip
    return record | {
        "shown": name in found.shown, "drivers": int(samples["driver"].sum()),
        "holders": int(samples["holder"].sum()), "llc": 2.5, "llc_se": 0.25,
        "ok": found.ok, "reasons": found.reasons,
    }  # fmt: skip


def make_report(found: Audit | None = None, **changes: Any) -> AuditReport:
    found = make_audit() if found is None else found
    tree = draws()
    given: dict[str, Any] = {
        "title": "What post-training taught chat-model",
        "records": [make_record(found, name) for name in found.behaviours],
        "audit": found,
        "culprits": {name: make_culprits(found, name) for name in found.behaviours},
        "llc": llc(tree, on="train"),
        "traces": {(None, "full"): traces(tree)},
        "config": {"model": "chat-model", "audit": {"tolerance": 0.1}},
        "command": "creode rerun runs/audit",
        "warnings": ["The text of train is not shown: <gone>"],
    }
    return AuditReport(**(given | changes))


def bare(**changes: Any) -> AuditReport:
    """Of one behaviour whose margins at prompts are not known, and nothing else."""
    found = replace(audit(draws(), ["code"]), **changes)
    empty = {"traces": {}, "config": {}, "command": "", "warnings": ()}
    return make_report(found, **empty)
