"""Whether the chains behind covariances of losses can be trusted.

Here: the checks of chains on the losses of the probes involved.
Not here: the checks and their thresholds (diagnostics/verdict.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import xarray as xr

from creode.diagnostics.convergence import convergence
from creode.diagnostics.evidence import Evidence, gather
from creode.diagnostics.excess import posterior_dataset
from creode.diagnostics.verdict import CHAIN_CHECKS, Verdict, verdict
from creode.response.factor import Factor


class Trust(NamedTuple):
    """A verdict, and what of the numbers may be shown."""

    verdict: Verdict
    whole: bool  # no chain failed: values are those of the draws
    moving: bool  # no chain stood still either: errors mean something

    def variables(self) -> dict[str, bool | str]:
        """The verdict as variables of a result."""
        return {
            "ok": self.verdict.ok,
            "reasons": self.verdict.reasons,
            "notes": self.verdict.notes,
        }


def trust(draws: xr.DataTree, factors: Sequence[Factor]) -> Trust:
    """Judge the chains by the mean losses of the probes whose units are read."""
    nbeta = float(posterior_dataset(draws).attrs["nbeta"])
    by_probe = {factor.probe: factor for factor in factors}
    evidence: dict[str, Evidence] = {}
    for probe, factor in by_probe.items():
        evidence[probe] = gather(convergence(draws, factor.loss.astype("float64")), nbeta=nbeta)
    found = {probe: verdict(e, CHAIN_CHECKS, (control,)) for probe, e in evidence.items()}
    judged = Verdict(
        ok=all(one.ok for one in found.values()),
        reasons=_joined({probe: one.reasons for probe, one in found.items()}),
        notes=_joined({probe: one.notes for probe, one in found.items()}),
    )
    return Trust(
        judged,
        whole=not any(e.num_failed for e in evidence.values()),
        moving=not any(e.num_still or e.num_failed for e in evidence.values()),
    )


def control(e: Evidence) -> str | None:
    """nβ = 0: what is read is the tether."""
    if e.nbeta != 0:
        return None
    return (
        "a control: nβ is 0, the loss was switched off, and what covaries does so under the tether "
        "alone"
    )


def _joined(sentences: dict[str, str]) -> str:
    """Sentences of all probes, one that all say once, the others with the probe's name."""
    if len(set(sentences.values())) == 1:
        return next(iter(sentences.values()))
    split = {probe: text.split("; ") if text else [] for probe, text in sentences.items()}
    shared = [s for s in next(iter(split.values())) if all(s in said for said in split.values())]
    own = [f"on {p!r}: {s}" for p, said in split.items() for s in said if s not in shared]
    return "; ".join([*shared, *own])
