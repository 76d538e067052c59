"""Weights on data and their proof as rows of charts and tables.

Here: rows of weights, of predicted and achieved changes, of arms; extremes with their text.
Not here: their container (writing_report.py), charts (writing_charts.py), any estimate.
Data sets: `weights`, `weight_groups`, `changes`, `arms`, `along`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.readings import Row, rounded
from creode.viewer.wording import number, short, with_error
from creode.viewer.writing_report import Writing

ALL = "all samples"
MOST_WEIGHTS = 4000  # drawn of each; of more, evenly spaced ones in their order
EXTREMES = 4  # samples of either side that are shown with their text
ARMS = {
    "patterned": "weights",
    "uniform": "no weights",
    "permuted": "shuffled",
}


def datasets(writings: Sequence[Writing]) -> dict[str, list[Row]]:
    """The rows of every data set of the charts."""
    return {
        "weights": [row for one in writings for row in weight_rows(one)],
        "weight_groups": [row for one in writings for row in group_rows(one)],
        "changes": [row for one in writings for row in change_rows(one)],
        "arms": [row for one in writings for row in arm_rows(one)],
        "along": [row for one in writings for row in along_rows(one)],
    }


def weight_rows(writing: Writing) -> list[Row]:
    """A row a sample: its weight and domain."""
    index = np.arange(len(writing.weights))
    if len(index) > MOST_WEIGHTS:
        order = np.argsort(writing.weights, kind="stable")
        index = order[np.linspace(0, len(order) - 1, MOST_WEIGHTS).round().astype(int)]
    return [
        {
            "writing": writing.name,
            "weight": rounded(float(writing.weights[i])),
            "group": ALL if writing.groups is None else writing.groups[i],
        }
        for i in index.tolist()
    ]


def group_rows(writing: Writing) -> list[Row]:
    """A row a domain, the heaviest first: mean weight, the middle four fifths, shares."""
    if writing.groups is None:
        return []
    labels = np.array(writing.groups)
    total = writing.weights.sum()
    rows = []
    for name in dict.fromkeys(writing.groups):
        own = writing.weights[labels == name]
        low, high = np.quantile(own, [0.1, 0.9])
        rows.append(
            {
                "writing": writing.name,
                "group": name,
                "samples": len(own),
                "mean": rounded(float(own.mean())),
                "low": rounded(float(low)),
                "high": rounded(float(high)),
                "mean_text": short(float(own.mean())),
                "before": percent(len(own) / len(labels)),
                "after": percent(float(own.sum() / total)),
                "title": f"{name}, {writing.name}",
                "text": f"mean weight {short(float(own.mean()))} of {len(own):,} {writing.unit}s",
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def extremes(writing: Writing) -> dict[str, list[Row]]:
    """The heaviest and the lightest samples with their text."""
    order = np.argsort(writing.weights, kind="stable")

    def side(index: Any) -> list[Row]:
        return [
            {
                "sample": int(i),
                "weight": short(float(writing.weights[i])),
                "group": "" if writing.groups is None else writing.groups[i],
                "text": "" if writing.texts is None else writing.texts[i],
            }
            for i in index
        ]

    return {
        "Weigh most": side(order[::-1][:EXTREMES]),
        "Weigh least": side(order[:EXTREMES]),
    }


def change_rows(writing: Writing) -> list[Row]:
    """Wanted, predicted and achieved change of the aim, each with its interval."""
    told = writing.effect.sel(observable=writing.aim)
    predicted, error = float(told["predicted"]), float(told["predicted_se"])
    rows = [
        _change(writing, "wanted", float(told["wanted"]), math.nan, math.nan),
        _change(
            writing, "predicted", predicted, predicted - 1.96 * error, predicted + 1.96 * error
        ),
    ]
    if writing.proof is not None:
        shown = writing.proof.sel(observable=writing.aim)
        for label, name in (("achieved", "achieved"), ("against shuffled", "gap")):
            ends = (float(shown[name]), float(shown[f"{name}_low"]), float(shown[f"{name}_high"]))
            rows.append(_change(writing, label, *ends))
    return rows


def _change(writing: Writing, what: str, value: float, low: float, high: float) -> Row:
    interval = "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"
    return {
        "writing": writing.name,
        "what": what,
        "value": rounded(value),
        "low": rounded(low),
        "high": rounded(high),
        "title": f"{what}: {writing.name}",
        "text": f"{number(value)}{interval} nats",
    }


def arm_rows(writing: Writing) -> list[Row]:
    """A row an arm and seed of the aim's value, and of the step where one is known."""
    proof = writing.proof
    if proof is None:
        return []
    panels = {f"loss on {writing.called(writing.aim)} at the end, nats": writing.aim}
    if writing.when is not None:
        panels["training step at which the level is reached"] = writing.when
    rows = []
    for panel, observable in panels.items():
        for arm in map(str, proof["arm"].values):
            for seed in map(int, proof["seed"].values):
                value = float(proof["value"].sel(arm=arm, seed=seed, observable=observable))
                rows.append(
                    {
                        "writing": writing.name,
                        "panel": panel,
                        "arm": arm_name(arm),
                        "seed": seed,
                        "value": rounded(value),
                        "title": f"{arm_name(arm)}, seed {seed}",
                        "text": number(value),
                    }
                )
    return rows


def along_rows(writing: Writing) -> list[Row]:
    """A row an arm and step: the aim's mean loss over seeds, and the least and the greatest."""
    if writing.proof is None or "along" not in writing.proof:
        return []
    losses = writing.proof["along"].sel(probe=writing.aim)
    return [
        row for arm in map(str, losses["arm"].values) for row in _arm_along(writing, losses, arm)
    ]


def _arm_along(writing: Writing, losses: xr.DataArray, arm: str) -> Iterator[Row]:
    assert writing.proof is not None
    level = float(writing.proof.attrs.get("level", math.nan))
    for step in map(int, losses["step"].values):
        values = losses.sel(arm=arm, step=step).values
        yield {
            "writing": writing.name,
            "arm": arm_name(arm),
            "step": step,
            "value": rounded(float(values.mean())),
            "low": rounded(float(values.min())),
            "high": rounded(float(values.max())),
            "level": rounded(level),
            "title": f"{arm_name(arm)} at step {step:,}",
            "text": f"{number(float(values.mean()))} nats, mean of {len(values)} seeds",
        }


def proof_rows(writing: Writing) -> list[Row]:
    """A row an observable of the proof: predicted, achieved, and the gap to shuffled weights."""
    if writing.proof is None:
        return []
    return [_proof_row(writing, str(name)) for name in writing.proof["observable"].values]


def _proof_row(writing: Writing, name: str) -> Row:
    assert writing.proof is not None
    one = writing.proof.sel(observable=name)
    predicted, error = float(one["predicted"]), float(one["predicted_se"])

    def with_ends(what: str) -> str:
        ends = (number(float(one[f"{what}_{end}"])) for end in ("low", "high"))
        return f"{number(float(one[what]))} [{', '.join(ends)}]"

    return {
        "observable": writing.called(name),
        "aim": name == writing.aim,
        "step": name == writing.when,
        "predicted": "–" if math.isnan(predicted) else with_error(predicted, error),
        "achieved": with_ends("achieved"),
        "gap": with_ends("gap"),
        "told": not float(one["gap_low"]) <= 0 <= float(one["gap_high"]),
    }


def explained_rows(writing: Writing) -> list[Row]:
    """A row a trivial explanation: how much of the weights it is, and what they do beyond it."""
    if writing.explained is None:
        return []
    told = writing.explained.sel(observable=writing.aim)
    rows = []
    for name in map(str, told["explanation"].values):
        one = told.sel(explanation=name)
        rows.append(
            {
                "explanation": name,
                "r2": short(float(one["r2"])),
                "predicted": with_error(float(one["predicted"]), float(one["predicted_se"])),
                "beyond": with_error(float(one["beyond"]), float(one["beyond_se"])),
            }
        )
    return rows


def arm_name(arm: str) -> str:
    """An arm for people; those of explanations by what explains."""
    return ARMS.get(arm, f"by {arm} alone")


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f} %"
