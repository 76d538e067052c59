"""What a page shows of weights on data and of their proof: the labelled results, checked once.

Here: the containers that writing_page.py and loop_page.py read.
Not here: computing any of it (patterning/, study/), rows and charts (writing.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

EFFECT_VARIABLES = ("wanted", "predicted", "predicted_se")
PROOF_VARIABLES = (
    "value", "achieved", "achieved_low", "achieved_high", "gap", "gap_low", "gap_high",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Writing:
    """Weights for one wanted change, with what is known of them."""

    name: str  # of the change, such as "hasten dialogue"
    weights: NDArray[np.float64]  # (N,), of mean 1
    effect: xr.Dataset  # of `creode.pattern`, by observable
    aim: str  # the observable that is shown first
    unit: str = "sample"  # that is weighed, or token
    proof: xr.Dataset | None = None  # of `verify`; with along (arm, seed, probe, step) if known
    when: str | None = None  # an observable of the proof that is a training step
    texts: Sequence[str] | None = None  # (N,)
    groups: Sequence[str] | None = None  # (N,), domains
    clusters: Sequence[Mapping[str, object]] = ()  # cluster, description, tokens, weight
    explained: xr.Dataset | None = None  # by explanation: r2; and by observable predicted, beyond
    shown: Mapping[str, str] = field(default_factory=dict)  # observables' names for people

    def __post_init__(self) -> None:
        missing = [name for name in EFFECT_VARIABLES if name not in self.effect]
        if missing or self.aim not in self.effect["observable"].values:
            what = ", ".join(missing) or f"the observable {self.aim!r}"
            raise ValueError(f"effect lacks {what}; give the effect of a pattern.")
        if self.proof is not None:
            missing = [name for name in PROOF_VARIABLES if name not in self.proof]
            if missing or self.aim not in self.proof["observable"].values:
                what = ", ".join(missing) or f"the observable {self.aim!r}"
                raise ValueError(f"proof lacks {what}; give what verify returned.")
        for name in ("texts", "groups"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.weights):
                raise ValueError(
                    f"{len(self.weights)} weights need as many {name}, got {len(given)}."
                )

    def called(self, observable: str) -> str:
        """An observable's name for people."""
        return self.shown.get(observable, observable)

    @property
    def effective_share(self) -> float:
        """(Σρ)²/(N Σρ²)."""
        rho = self.weights
        return float(rho.sum() ** 2 / (len(rho) * (rho**2).sum()))


@dataclass(frozen=True, kw_only=True, eq=False)
class WritingReport:
    """The weights that one page shows."""

    title: str
    writings: Sequence[Writing]
    config: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.writings:
            raise ValueError("the report has nothing to show; give writings.")
        names = [writing.name for writing in self.writings]
        if len(set(names)) < len(names):
            raise ValueError(f"writings must have different names, got {names}.")
