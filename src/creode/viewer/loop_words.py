"""The story of a loop in sentences, for who has read what the package is for and no more.

Here: the headline, a lead for each chapter, what is in doubt.
Not here: words that pages share (wording.py); a number that is not in the records or results.
"""

from __future__ import annotations

import math
from typing import Any

from creode.viewer import wording
from creode.viewer.loop_report import LoopReport
from creode.viewer.wording import number
from creode.viewer.writing import percent
from creode.viewer.writing_report import Writing

STARTS = {
    "scratch": "from new random starts",
    "first": "from the first checkpoint",
    "last": "on from the last checkpoint",
}


def story(report: LoopReport) -> list[str]:
    """What happened, in its order."""
    name = report.behaviour
    row = next(one for one in report.records["formed"] if one["probe"] == name)
    told = [
        f"The behaviour followed here is predicting {name}: the loss on {name} text that was not "
        f"trained on. In {report.steps:,} steps of training it fell from {number(row['first'])} to "
        f"{number(row['last'])} nats, and {percent(report.level)} of that fall was done by step "
        f"{row['step']:,.0f}."
    ]
    domains = [one for one in report.records["by_domain"] if one["effect"] is not None]
    if domains:
        best = domains[0]
        told.append(
            f"Asked which of the {report.num_samples:,} training samples this rests on, creode "
            f"points first to {best['domain']}, without being told which sample is of which kind."
        )
    return told + [_proved(report, one) for one in report.writings]


def _proved(report: LoopReport, writing: Writing) -> str:
    """What one direction's weights did."""
    proof = writing.proof
    assert proof is not None
    mean = proof["value"].mean("seed")
    if writing.when is None:
        observable, form = writing.aim, "{:.3f}"
        what, unit = f"the loss on {report.behaviour} ended at ", " nats"
    else:
        observable, form = writing.when, "{:,.0f}"
        what, unit = f"{report.behaviour} reached that level of loss at step ", ""
    steps = {arm: form.format(float(mean.sel(arm=arm, observable=observable))) for arm in
             ("patterned", "uniform", "permuted")}  # fmt: skip
    gap = proof.sel(observable=observable)
    clear = not float(gap["gap_low"]) <= 0 <= float(gap["gap_high"])
    never = _never(report, writing)
    return (
        f"With weights to {writing.name.split(' ')[0]} it, models trained again "
        f"{STARTS[report.start]}: {what}{steps['patterned']}{unit}{never}, against "
        f"{steps['uniform']}{unit} without weights and {steps['permuted']}{unit} with the same "
        f"weights shuffled. {'Told from chance' if clear else 'Not told from chance'} by "
        f"{proof.sizes['seed']} seeds."
    )


def _never(report: LoopReport, writing: Writing) -> str:
    """How many models did not reach the level, if any."""
    proof = writing.proof
    if proof is None or writing.when is None or "along" not in proof:
        return ""
    level = float(proof.attrs.get("level", math.nan))
    least = proof["along"].sel(arm="patterned", probe=writing.aim).min("step")
    missed = int((least > level).sum())
    if not missed:
        return ""
    return f" ({missed} of {proof.sizes['seed']} did not within {report.steps:,} steps)"


def chapters(report: LoopReport) -> dict[str, str]:
    """A lead for each chapter, by its name."""
    response = report.response.response
    assert response is not None
    order = ", then ".join(one["probe"] for one in report.records["formed"])
    stages = [one for one in report.records["stages"] if one["stage"] is not None]
    samples = report.records["samples"]
    told = sum(one["significant"] for rows in samples.values() for one in rows)
    listed = sum(len(rows) for rows in samples.values())
    significant = int(response["significant"].sum()) if "significant" in response else 0
    return {
        "development": f"In the order in which {percent(report.level)} of the fall was done: "
        f"{order}.",
        "stages": "The learning coefficient λ̂ says how complex the solution is that training has "
        "found: it climbs while structure forms. " + _told_apart(len(stages)),
        "response": f"{significant} of {response['chi'].size} pairs of a part of the model and a "
        "kind of text are told from chance.",
        "attribution": f"creode draws many sets of weights near the trained ones, and looks which "
        f"training samples’ losses rise and fall with the loss on {report.behaviour}. Of the "
        f"{listed} samples listed, {told} are told from chance.",
        "weights": "From the same draws: weights on the training samples, of mean 1, that change "
        "the data least for the wanted change.",
        "proof": f"Models trained again {STARTS[report.start]}, in three arms: with the weights, "
        "without, and with the same weights shuffled among the samples. Only a difference to the "
        "shuffled arm shows that the choice of samples mattered.",
    }


def _told_apart(count: int) -> str:
    if count > 1:
        return f"{count} stages are told apart."
    return "It is one stage: no boundary within it is told." if count else "No stages are told."


def doubts(report: LoopReport) -> list[dict[str, Any]]:
    """Which results of which chapter cannot be trusted, and why; reasons of one kind once."""
    names = {
        "stages": "What formed when",
        "response": "Which part answers to which text",
        "by_domain": "Which data made it so",
        "weights": "Other weights on the same data",
        "proof": "Before and after",
    }
    found = []
    for table, name in names.items():
        rows = report.records[table]
        count = sum(not one["ok"] for one in rows)
        if count:
            reasons = [one.reason for one in wording.doubts(rows)]
            found.append({"name": name, "count": count, "total": len(rows), "reasons": reasons})
    return found
