"""What the page of an audit says in words: the finding, how to read each section, the glossary.

Here: text only.
Not here: deciding what is found (auditing/, diagnostics/); the words repeat what the results say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from creode.viewer.audit_report import AuditReport
from creode.viewer.audit_rows import interval
from creode.viewer.wording import GLOSSARY
from creode.viewer.writing import percent

AUDIT_GLOSSARY = (
    (
        "Behaviour",
        "A way of answering, given by prompts with an answer that is unwanted and one that is "
        "wanted. A capability is one whose wanted answers are a skill that is to stay.",
    ),
    (
        "Margin",
        "How much the model favours the unwanted answer over the wanted one: the difference of "
        "their log probabilities in nats, or of their rewards. Above 0 it favours the unwanted.",
    ),
    (
        "Shown",
        "The share of prompts with a margin above 0 lies beyond the tolerance by its whole 95 % "
        "interval.",
    ),
    (
        "Effect",
        "The change of the margin, to first order, if a sample, a principle or a part’s share of "
        "them counted twice in training that is held near the trained weights. Training that "
        "starts anew is not held: expect the direction and not the size.",
    ),
    (
        "Association",
        "From −1 to 1: the rank correlation, over draws, of the margin with how well a sample is "
        "fitted. By it samples are ordered and told from 0: ranks are not moved by how high a "
        "single loss is, as effects of single samples are.",
    ),
    (
        "Drives, holds back",
        "A sample’s association, or the effect of a principle, shift or part, is told from 0, and "
        "above it or below. Told from 0: at a false-discovery rate, the share of such findings "
        "that may be chance, among a behaviour’s samples, or among all cells of a table.",
    ),
    ("z", "The association in units of its standard error."),
    ("Principle", "The group that a sample of the training data belongs to."),
    (
        "Effective samples",
        "(Σρ)²/(N Σρ²): the share of equal weights that would leave as much data. All, if all "
        "weigh alike.",
    ),
    *(entry for entry in GLOSSARY if entry[0].startswith("λ̂, ")),
    (
        "± and bands",
        "After a number, ± is one standard error. Bands reach two to either side; those of shares, "
        "and brackets after them, are 95 % intervals over prompts.",
    ),
)


def finding(report: AuditReport) -> list[str]:
    """What was found: the behaviours that are shown, what drives them, and the capabilities."""
    if report.audit.levels is None:
        return [
            f"{_drivers(report.records, report.audit.ok)} Whether the model shows "
            f"{'it' if len(report.records) == 1 else 'them'} is not known: no margins of prompts "
            "were given."
        ]
    tolerance = f"{100 * float(report.audit.levels.attrs['tolerance']):.3g} %"
    found = []
    plain = [one for one in report.records if not one["capability"]]
    if plain:
        found.append(_shown(plain, tolerance, report.audit.ok))
    skills = [one for one in report.records if one["capability"]]
    if skills:
        found.append(_skills(skills, tolerance))
    return found


def _shown(records: Sequence[Mapping[str, Any]], tolerance: str, ok: bool) -> str:
    shown = [one for one in records if one["shown"]]
    count, noun = len(records), "behaviour" if len(records) == 1 else "behaviours"
    beyond = f"beyond the tolerance of {tolerance}"
    if not shown:
        what = f"the {noun}" if count == 1 else f"any of {count} {noun}"
        return f"The model is not found to show {what} {beyond}."
    listed = "; ".join(
        f"{one['behaviour']}, at {interval(one)} of prompts{_before(one)}" for one in shown
    )
    what = "the behaviour" if count == 1 else f"{len(shown)} of {count} {noun}"
    return f"The model shows {what} {beyond}: {listed}. {_drivers(shown, ok)}"


def _before(record: Mapping[str, Any]) -> str:
    was = record["before_unwanted"]
    return "" if was is None else f" ({percent(was)} before post-training)"


def _drivers(records: Sequence[Mapping[str, Any]], ok: bool) -> str:
    """How many samples stand out as driving the behaviours, if the draws can tell."""
    if not ok:
        return f"What drives {'it' if len(records) == 1 else 'them'} these draws cannot say."
    if len(records) == 1:
        count = records[0]["drivers"]
        if not count:
            return "No single sample stands out as driving it."
        return f"{_samples(count)} out as driving it."
    each = ", ".join(f"{one['drivers']:,} {one['behaviour']}" for one in records)
    return f"Training samples that stand out as driving them: {each}."


def _samples(count: int) -> str:
    return "1 training sample stands" if count == 1 else f"{count:,} training samples stand"


def _skills(records: Sequence[Mapping[str, Any]], tolerance: str) -> str:
    lost = [one for one in records if one["shown"]]
    if not lost:
        names = ", ".join(f"{one['behaviour']} ({interval(one)})" for one in records)
        return f"No capability is found to fail beyond {tolerance}: {names}."
    listed = "; ".join(
        f"{one['behaviour']}, at {interval(one)} of prompts{_before(one)}" for one in lost
    )
    return f"Capabilities that fail beyond {tolerance}: {listed}."


def trust_sentence(report: AuditReport) -> str:
    """Whether the effects on this page can be relied on."""
    if report.audit.ok:
        return (
            "The draws behind the effects can be trusted: what drives the behaviours is as sure as "
            "the errors say."
        )
    known = report.audit.levels is not None
    return "The draws behind the effects cannot be trusted: do not act on what drives them." + (
        " How often they are shown does not rest on draws, and stands." if known else ""
    )
