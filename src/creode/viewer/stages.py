"""Stages and alarms as the page's tables show them.

Here: words for each stage and event.
Not here: finding them (development/), the markup (template/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

WORDS = {  # of variables of a trajectory, with their labels
    "llc": "λ̂",
    "component_llc": "λ̂ of {}",
    "probe_llc": "λ̂ on {}",
    "probe_loss": "loss on {}",
    "chi": "χ of {} to {}",
    "hessian_max": "largest Hessian eigenvalue",
    "hessian_trace": "Hessian trace",
}


def stage_rows(stages: Sequence[Record]) -> list[dict[str, Any]]:
    """Each stage in words; where there is none, its reason alone."""
    return [
        {"reasons": stage["reasons"], "ok": stage["ok"], "stage": None}
        if stage["stage"] is None
        else {
            "stage": stage["stage"],
            "steps": f"{stage['start']:,} – {stage['end']:,}",
            "begins": _interval(stage["begins_low"], stage["begins_high"]),
            "probability": _number(stage["begins_probability"]),
            "kind": stage["kind"],
            "type": stage["type"],
            "llc": _with_error(stage.get("llc_delta"), stage.get("llc_delta_se")),
            "loss": _with_error(stage.get("loss_delta"), stage.get("loss_delta_se")),
            "moved": [
                f"{in_words(one['reading'])} {_with_error(one['delta'], one['delta_se'])}"
                for one in stage["moved"]
            ],
            "ok": stage["ok"],
            "reasons": stage["reasons"],
        }
        for stage in stages
    ]


def group_rows(groups: Sequence[Record]) -> list[dict[str, str]]:
    """Each group of parts in words."""
    return [
        {
            "group": "do not move" if one["group"] is None else str(one["group"]),
            "parts": ", ".join(one["parts"]),
            "stability": _number(one["stability"]),
            "doubt": "" if one["stable"] else "not found again under noise of its errors",
        }
        for one in groups
    ]


def event_rows(events: Sequence[Record]) -> list[dict[str, str]]:
    """Each change that the alarm found in words, whether it rang or was not asked."""
    return [
        {
            "step": f"{event['step']:,}",
            "since": f"{event['since']:,}",
            "interval": _interval(event["since_low"], event["since_high"]),
            "reading": in_words(event["reading"]),
            "change": _with_error(event["change"], event["change_se"]),
            "loss": _with_error(event["loss_change"], event["loss_change_se"]),
            "kind": event["kind"] + ("" if event["asked"] else ", not asked for: no ring"),
        }
        for event in events
    ]


def in_words(reading: str) -> str:
    """A reading of a trajectory by its variable and labels, `component_llc[l0h1]`, for people."""
    name, _, rest = reading.partition("[")
    labels = rest.removesuffix("]").split(",")
    pattern = WORDS.get(name)
    if pattern is None or pattern.count("{}") != (len(labels) if rest else 0):
        return reading.replace("_", " ")
    return pattern.format(*labels)


def _with_error(value: float | None, error: float | None) -> str:
    """A signed difference with its standard error, if it has one."""
    if value is None:
        return "–"
    signed = f"{value:+.3g}".replace("-", "−")
    return signed if not error else f"{signed} ± {error:.2g}"


def _interval(low: int | None, high: int | None) -> str:
    return "–" if low is None or high is None else f"{low:,} – {high:,}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
