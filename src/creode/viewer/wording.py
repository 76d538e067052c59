"""What the page says in words: verdicts, numbers with their errors, and the glossary.

Here: text only.
Not here: deciding a verdict (diagnostics/); the words repeat what the results say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Below 10 to TINY a number that needs more places than MOST_PLACES is written with a power of ten.
MOST_PLACES, TINY = 6, -3

GLOSSARY = (
    (
        "λ̂, the local learning coefficient (LLC)",
        "How degenerate the loss is around the weights: the smaller, the more ways there are to "
        "move the weights without losing much. λ̂ = nβ (E[L(w)] − L(w*)), in no unit.",
    ),
    (
        "Refined λ̂",
        "The same with only one component's weights free to move, such as one attention head; "
        "data-refined: with the loss taken on other data, a probe.",
    ),
    (
        "λ̂ by variance",
        "A second estimate, from how much the loss varies between draws. It needs no L(w*). "
        "For a well-behaved minimum the two agree.",
    ),
    (
        "nβ",
        "Inverse temperature times number of samples: how strongly the draws are held to low loss.",
    ),
    (
        "γ, localization",
        "The strength of the pull that keeps the draws near the checkpoint w*, in 1/weight².",
    ),
    (
        "ESS, effective sample size",
        "How many independent draws the correlated draws of the chains are worth.",
    ),
    (
        "R-hat",
        "How far the chains disagree, relative to their own spread: 1 when they tell the same "
        "story, larger when they have not met.",
    ),
    (
        "Virial",
        "E[(w − w*)·∇U(w)]/d, exactly 1 for true draws. Below 1, flat directions are not explored "
        "yet; above 1, step size or gradient noise heats the chain.",
    ),
    (
        "Temperature",
        "E‖p‖²/d, 1 for a sampler with momentum at the right temperature; others have none.",
    ),
    (
        "± and shaded bands",
        "After a number, ± is one standard error. Bands and intervals reach two standard errors to "
        "either side.",
    ),
)

RESPONSE_GLOSSARY = (  # the part of the page that needs the word, the word, its meaning
    (
        "response",
        "χ, the susceptibility",
        "How a component answers to data: −Cov of the component’s loss with the data’s, over draws "
        "of the component’s weights, in nats². Below 0 the component supports the data; above 0 it "
        "suppresses them.",
    ),
    (
        "response",
        "Standardised χ",
        "χ less its mean over all tokens of all probes, divided by its standard deviation over "
        "them, for each component by itself. The spread is of estimates, noise included: a "
        "component known badly is shrunk towards 0.",
    ),
    (
        "modes",
        "Mode",
        "A pattern over components, with a score for each row, that explains as much of the "
        "response matrix as one pattern can; the next as much of the rest.",
    ),
    (
        "modes",
        "Noise floor",
        "What the singular value of a mode would exceed one time in twenty if there were only "
        "noise. A mode is resolved if it, and all before it, stand above theirs.",
    ),
    (
        "clusters",
        "Cluster",
        "Tokens whose responses are alike. Its stability is the share of it that is found again "
        "when the draws are halved; below a half it is not stable.",
    ),
    (
        "queries",
        "Influence",
        "−Cov of a training sample’s loss with the query’s over draws: below 0, more weight on the "
        "sample lowers the query’s loss.",
    ),
    (
        "",
        "± and lines across",
        "After a number, ± is one standard error. Error bars reach two to either side.",
    ),
)


WRITING_GLOSSARY = (
    (
        "Loss",
        "How badly the model predicts: minus the log of the probability it gave to what came, in "
        "nats per token. Lower is better.",
    ),
    (
        "Weight of a sample",
        "How much its loss counts in training; the mean is 1. With weight 2 a sample counts as if "
        "it were there twice.",
    ),
    (
        "Effective samples",
        "(Σρ)²/Σρ²: how many equal weights would leave as much data. All, if all weigh alike.",
    ),
    (
        "Predicted",
        "The first-order change of the loss where training is held near the trained weights, from "
        "draws that had no part in making the weights. Training that starts anew is not held, and "
        "usually moves further: expect the direction and not the size.",
    ),
    (
        "Confirmed",
        "What was aimed at moved as wanted against the shuffled arm, with a 95 % interval over "
        "seeds.",
    ),
    (
        "± and intervals",
        "After a number, ± is one standard error. In brackets: a 95 % interval over seeds.",
    ),
)

LOOP_GLOSSARY = (
    *(entry for entry in GLOSSARY if entry[0].startswith("λ̂, ")),
    *(
        (word, meaning)
        for part, word, meaning in RESPONSE_GLOSSARY
        if part in ("response", "queries")
    ),
    *WRITING_GLOSSARY,
)

SENSITIVITY_GLOSSARY = (
    *(entry for entry in GLOSSARY if entry[0].startswith(("λ̂, ", "nβ", "γ", "Virial"))),
    (
        "Step size",
        "ε × 1 is the step that the automatic rule gives at a reading’s own nβ and γ. Its bias "
        "shows as a difference between colours.",
    ),
    (
        "Plateau",
        "Doubling the setting moves λ̂ by less than a twentieth, two standard errors included. "
        "Where λ̂ moves with nβ or γ it is a property of the choice too: compare it at equal "
        "settings only.",
    ),
    (
        "Short chains",
        "Every reading here is of chains shorter than those of a run at the chosen settings, as "
        "many relaxation times each. Nothing is extrapolated.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One kind of reason, with the readings that give it."""

    reason: str  # as the first of these readings says it
    readings: Sequence[Mapping[str, Any]]


def verdict_sentence(ok: int, total: int) -> str:
    """How many readings can be trusted, as a sentence."""
    if total == 1:
        return "The reading can be trusted." if ok else "The reading cannot be trusted."
    if ok == total:
        return f"All {total:,} readings can be trusted."
    if ok == 0:
        return f"None of the {total:,} readings can be trusted."
    return f"{ok:,} of {total:,} readings can be trusted."


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many readings can be trusted, in a sentence, and why the others cannot.

    Each doubt names its readings with their places among the rows.
    """
    ok = sum(row["ok"] for row in rows)
    order = {id(row): i for i, row in enumerate(rows)}
    return {
        "sentence": verdict_sentence(ok, len(rows)),
        "ok": ok,
        "total": len(rows),
        "doubts": [
            {"reason": doubt.reason, "readings": [(order[id(row)], row) for row in doubt.readings]}
            for doubt in doubts(rows)
        ],
    }


def doubts(rows: Iterable[Mapping[str, Any]]) -> list[Doubt]:
    """Reasons that differ only in their numbers, together; the most frequent first."""
    found: dict[str, tuple[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row["ok"]:
            continue
        for reason in str(row["reasons"]).split("; "):
            kind = re.sub(r"[-−+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", "#", reason)
            found.setdefault(kind, (reason, []))[1].append(row)
    ordered = sorted(found.values(), key=lambda item: -len(item[1]))
    return [Doubt(reason=reason, readings=rows) for reason, rows in ordered]


def reading_name(row: Mapping[str, Any]) -> str:
    """A reading's name: its component, with the step where there is one."""
    name = "the full model" if row["component"] == "full" else str(row["component"])
    return name if row["step"] is None else f"{name} at step {row['step']:,}"


def with_error(value: float, error: float) -> str:
    """ "12.34 ± 0.56": the error to two significant digits, the value to the same place."""
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(error) and error > 0):
        return number(value)
    places = _places(error, 2)
    power = math.floor(math.log10(max(abs(value), error)))
    if places > MOST_PLACES and power < TINY:
        scale = 10.0**-power
        return f"({with_error(value * scale, error * scale)}) × 10{_raised(power)}"
    return f"{_minus(f'{value:,.{places}f}')} ± {error:,.{places}f}"


def number(value: float) -> str:
    """Three significant digits, a power of ten only if it is tiny; "–" if not finite."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = _places(value, 3)
    power = math.floor(math.log10(abs(value)))
    if places > MOST_PLACES:  # then it is below 10 to TINY, too
        return f"{_minus(f'{value * 10.0**-power:.2f}')} × 10{_raised(power)}"
    return _minus(f"{value:,.{places}f}")


def short(value: float) -> str:
    """Two places, for numbers of the size of 1; "–" if not finite."""
    return _minus(f"{value:.2f}").replace("−0.00", "0.00") if math.isfinite(value) else "–"


def _places(value: float, digits: int) -> int:
    """Decimal places that show so many significant digits."""
    return min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), 9)


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _minus(text: str) -> str:
    return text.replace("-", "−")
