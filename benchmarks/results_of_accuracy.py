"""Readings beside their truths: errors, order, coverage, verdicts, and the table of them.

Here: one result, the summary of many, the table.
Not here: making results (accuracy.py).
An error is of λ̂ against λ, and holds everything: finite nβ and γ, step size, gradient noise,
chance. Where the exact value at the method's own nβ and γ is known it is split in two: its
difference to λ is the bias of nβ and γ, and the difference of λ̂ *at that γ* to it the sampler's
error. A small error against λ with a large error of the sampler is a cancellation. Where λ is not
known, the exact value takes its place. A failed reading counts as an error of 100 %, as a wrong
order and as not covered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, Self

import numpy as np
from methods import NAN, Reading

Z = 1.96
EXACT_GRADIENTS = "exact"


@dataclass(frozen=True, kw_only=True)
class Result(Reading):
    """One point read by one method."""

    testbed: str
    case: str
    num_weights: int
    gradients: str  # "exact", or the size of minibatches
    method: str
    tuned_on: bool | None = None  # whether the point helped to choose the method's settings
    exact: float | None  # λ, None where it is not known
    finite: float | None = None  # what exact draws would read at the method's nβ and γ
    finite_se: float = 0.0
    finite_source: str = ""
    seconds: float = NAN

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """From a line of JSON."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})

    @property
    def failed(self) -> bool:
        """Whether there is no figure."""
        return not math.isfinite(self.llc)

    @property
    def truth(self) -> float | None:
        """λ, or where it is not known the exact value at finite nβ and γ."""
        return self.finite if self.exact is None else self.exact

    @property
    def error(self) -> float:
        """Relative, signed; −1 for a reading that failed, NaN where there is no truth."""
        if self.failed:
            return -1.0
        if self.truth is None:
            return NAN
        return self._compared[0] / self.truth - 1

    @property
    def covered(self) -> bool | None:
        """Whether the truth lies in the 95 % interval."""
        if self.failed:
            return False
        if self.truth is None:
            return None
        value, error = self._compared
        return abs(value - self.truth) <= Z * error

    @property
    def bias(self) -> float:
        """Of finite nβ and γ, relative; NaN where it is not known."""
        if self.exact is None or self.finite is None:
            return NAN
        return self.finite / self.exact - 1

    @property
    def sampler_error(self) -> float:
        """Of λ̂ at γ against the exact value there, relative."""
        if self.finite is None:
            return NAN
        return -1.0 if self.failed else self.llc_tethered / self.finite - 1

    @property
    def finite_covered(self) -> bool | None:
        """Whether the exact value at γ lies in the 95 % interval of λ̂ at γ."""
        if self.finite is None:
            return None
        error = math.hypot(self.llc_tethered_se, self.finite_se)
        return not self.failed and abs(self.llc_tethered - self.finite) <= Z * error

    @property
    def _compared(self) -> tuple[float, float]:
        """The figure that is compared with the truth, and its error."""
        if self.exact is not None:
            return self.llc, self.llc_se
        return self.llc_tethered, math.hypot(self.llc_tethered_se, self.finite_se)


def summary(results: Sequence[Result]) -> dict[str, float]:
    """Errors, order, coverage and verdicts of one method on one testbed; NaN: not applicable."""
    errors = _known(abs(result.error) for result in results)
    judged = [result for result in results if result.ok is not None]
    trusted = [result for result in results if result.ok]
    sampler = _known(abs(result.sampler_error) for result in results)
    return {
        "points": len(results),
        "median": _of(np.median, errors),
        "90 %": _of(lambda values: np.quantile(values, 0.9), errors),
        "worst": _of(np.max, errors),
        "order kept": _share(_ordered(results)),
        "ok": _share([bool(result.ok) for result in judged]),
        "covered, ok": _share([result.covered for result in trusted]),
        "covered": _share([result.covered for result in results]),
        "bias of nβ, γ": _of(np.median, _known(result.bias for result in results)),
        "sampler, median": _of(np.median, sampler),
        "sampler, worst": _of(np.max, sampler),
        "covered at γ, ok": _share([result.finite_covered for result in trusted]),
        "gradients": float(np.mean([result.evaluations for result in results])),
        "seconds": float(np.median([result.seconds for result in results])),
    }


COUNTS = ("points", "gradients")
PLAIN = (*COUNTS, "seconds")


def table(results: Iterable[Result]) -> str:
    """A row of Markdown for every testbed, kind of gradients and method, in their order."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        split = {None: "", True: " (tuned on these)", False: " (not tuned on these)"}
        key = (result.testbed, result.gradients, result.method + split[result.tuned_on])
        groups.setdefault(key, []).append(result)
    rows = []
    testbeds = list(dict.fromkeys(key[0] for key in groups))
    for key in sorted(groups, key=lambda key: (testbeds.index(key[0]), _size(key[1]))):
        members = groups[key]
        cells = [_cell(name, value) for name, value in summary(members).items()]
        rows.append([*key, *cells])
    if not rows:
        return "no results"
    header = ["testbed", "gradients", "method", *summary(next(iter(groups.values())))]
    return markdown(header, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _size(gradients: str) -> int:
    """Exact gradients come first."""
    return 0 if gradients == EXACT_GRADIENTS else int(gradients)


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    if name in COUNTS:
        return f"{value:.0f}"
    return f"{value:.3g}" if name in PLAIN else f"{100 * value:.3g} %"


def _ordered(results: Sequence[Result]) -> list[bool]:
    """Of every pair with different λ, whether λ̂ is ordered as λ is."""
    return [
        not one.failed and not other.failed and (one.llc < other.llc) == (one.exact < other.exact)
        for one, other in combinations(results, 2)
        if one.exact is not None and other.exact is not None and one.exact != other.exact
    ]


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _of(statistic: Any, values: Sequence[float]) -> float:
    return float(statistic(values)) if values else NAN


def _share(flags: Iterable[bool | None]) -> float:
    known = [flag for flag in flags if flag is not None]
    return float(np.mean(known)) if known else NAN
