"""The samples behind each behaviour, as a page lists them: association, bar, text in parts.

Here: their rows with the geometry of their bars, in per cent of the widest; texts cut and parted.
Not here: which samples those are (auditing/), other rows (audit_rows.py), the markup (template/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creode.viewer.audit_report import AuditReport
from creode.viewer.audit_rows import told
from creode.viewer.readings import Row
from creode.viewer.wording import short

BEGINNING = 280  # characters of a text that are shown at once
REJECTED = " ✗ "  # between a pair's chosen answer and its rejected one


def culprit_tables(report: AuditReport) -> list[Row]:
    """By behaviour, the samples that surely drive it the most, with the geometry of their bars."""
    tables = []
    for record in report.records:
        culprits = report.culprits.get(record["behaviour"], ())
        ends = [_end(one) for one in culprits]
        reach = max(ends, default=0.0) or 1.0
        tables.append(
            {
                "behaviour": record["behaviour"],
                "drivers": record["drivers"],
                "holders": record["holders"],
                "rows": [_culprit(one, reach) for one in culprits],
            }
        )
    return tables


def _end(culprit: Mapping[str, Any]) -> float:
    return abs(float(culprit["association"] or 0)) + 2 * float(culprit["association_se"] or 0)


def _culprit(one: Mapping[str, Any], reach: float) -> Row:
    size, error = abs(one["association"] or 0.0), one["association_se"] or 0.0
    low, high = max(0.0, size - 2 * error), size + 2 * error
    return {
        "row": one["row"],
        "principle": one["principle"],
        "association": told(one["association"], one["association_se"]),
        "effect": told(one["effect"], one["effect_se"]),
        "z": "–" if one["z"] is None else short(one["z"]),
        "driver": bool(one["driver"]),
        "bar": round(100 * size / reach, 2),
        "low": round(100 * low / reach, 2),
        "high": round(100 * high / reach, 2),
        "parts": sample_text(one["text"], one.get("prompt")),
    }


def sample_text(text: str | None, prompt: str | None = None) -> list[Row]:
    """A sample's text in parts, each with its name, its beginning, and the whole if that is more.

    Args:
        text: of the sample, of pairs "chosen ✗ rejected"; None where it cannot be shown.
        prompt: what the text begins with before the answer, if that is known.
    """
    if text is None:
        return []
    parts = []
    if prompt and text.startswith(prompt):
        parts.append(("prompt", prompt))
        text = text[len(prompt) :]
    name = "answer" if parts else ""
    if text.count(REJECTED) == 1:  # of more, which of them parts the answers is not known
        chosen, rejected = text.split(REJECTED)
        parts += [("chosen answer" if parts else "prompt and chosen answer", chosen)]
        parts += [("rejected answer", rejected)]
    else:
        parts.append((name, text))
    return [_part(name, content) for name, content in parts]


def _part(name: str, text: str) -> Row:
    cut = len(text) > BEGINNING
    beginning = f"{text[: BEGINNING - 1]}…" if cut else text
    return {"name": name, "beginning": beginning, "whole": text if cut else None}
