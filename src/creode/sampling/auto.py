"""The sampler that chooses for itself: what it may spend.

Here: the request for automatic settings, in the place of a kernel.
Not here: how they are found (calibration.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

LEAST_BUDGET = 200


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Kernel, step size, friction and schedule, and nβ and γ where they are "auto", by a pilot.

    The budget also decides how finely the posterior can be resolved: more gradient evaluations
    allow a higher nβ at the same tether. With `extrapolate`, part of it goes to chains at twice the
    localization, where that is "auto", and `creode.llc` extrapolates to none.
    """

    budget: int = 20_000  # gradient evaluations of a chain, a fifth of them set aside for the pilot
    extrapolate: bool = True

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.budget, float) and self.budget == int(self.budget):
            object.__setattr__(self, "budget", int(self.budget))  # 1e4, as a command line gives it
        if not isinstance(self.budget, int) or self.budget < LEAST_BUDGET:
            raise ValueError(
                f"sampler 'auto': budget must be a whole number ≥ {LEAST_BUDGET} of gradient "
                f"evaluations a chain, got {self.budget!r}; 20000 is usual."
            )
