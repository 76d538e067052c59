"""The sampler that chooses for itself: what it may spend.

Here: the request for automatic settings, in the place of a kernel.
Not here: how they are found (calibration.py, pilot.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

LEAST_BUDGET = 200


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Kernel, step size, friction and schedule, and nβ and γ where they are "auto", by a pilot.

    The budget also decides how finely the posterior can be resolved: more gradient evaluations
    allow a higher nβ at the same tether. With `relative_error` chains end as soon as the standard
    error of λ̂ (at the localization sampled, of chance alone) is that share of it, or when the
    budget is spent; the draws' attribute `ended_by` says which. With `extrapolate`, part of the
    budget goes to chains at twice the localization, where that is "auto", and `creode.llc`
    extrapolates to none.

    With `rise` nβ and γ are such that over the draws the loss lies that much above L(w*): for
    responses of models that fit their data, which a wider posterior forgets, and of which a
    narrower one tells little. λ̂ is then that of one scale, and not extrapolated.
    """

    budget: int = 20_000  # gradient evaluations of a chain, a fifth of them set aside for the pilot
    extrapolate: bool = True
    relative_error: float | None = None  # Monte Carlo error over λ̂ at which chains may end early
    rise: float | None = None  # nats, E[L(w)] − L(w*)

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.budget, float) and self.budget == int(self.budget):
            object.__setattr__(self, "budget", int(self.budget))  # 1e4, as a command line gives it
        if not isinstance(self.budget, int) or self.budget < LEAST_BUDGET:
            raise ValueError(
                f"sampler 'auto': budget must be a whole number ≥ {LEAST_BUDGET} of gradient "
                f"evaluations a chain, got {self.budget!r}; 20000 is usual."
            )
        error = self.relative_error
        if error is not None and not (isinstance(error, (int, float)) and 0 < error < 1):
            raise ValueError(
                f"sampler 'auto': relative_error must be between 0 and 1, got {error!r}; 0.02 asks "
                "for a standard error of 2 % of llc."
            )
        rise = self.rise
        if rise is not None and not (isinstance(rise, (int, float)) and 0 < rise < math.inf):
            raise ValueError(
                f"sampler 'auto': rise must be a number of nats above 0, got {rise!r}; 0.1 is "
                "usual."
            )
