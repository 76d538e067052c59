"""Underdamped Langevin dynamics in the BAOAB splitting.

Here: the step.
Not here: gradients, noise and the order of steps (engine.py).
Symbols: h step size, p momentum (unit mass), η friction, ξ standard normal.
Source: Leimkuhler & Matthews, Robust and efficient configurational molecular sampling (2013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from creode.sampling.kernel import Coordinates, Target, check_positive
from creode.sampling.leapfrog import drift, kick


@dataclass(frozen=True, kw_only=True)
class BAOAB:
    """Kick h/2, drift h/2, Ornstein–Uhlenbeck, drift h/2, kick h/2: one gradient a step.

    B: p ← p − (h/2) ∇U(w);  A: w ← w + (h/2) p;  O: p ← c p + √(1 − c²) ξ, c = exp(−η h).
    On a quadratic with posterior precision a it is stable for h √a < 2 and its stationary law of
    the weights is exact with exact gradients; minibatch gradients heat it. The momentum is kept as
    it stands after O, where E[p²] = 1 whatever the step size; after the closing kick it is
    1 − h² a / 4.
    """

    step_size: float  # h, in weight
    friction: float  # η, in 1/weight

    name: ClassVar[str] = "baoab"
    slots: ClassVar[Mapping[str, str]] = MappingProxyType({"momentum": "normal"})
    has_momentum: ClassVar[bool] = True
    slot_start: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_positive("BAOAB", step_size=self.step_size, friction=self.friction)

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """B, A, O, A; the closing B waits for the gradient at the new weights.

        There it is one kick with the opening B of the next step; only the first step has none.
        """
        kick(at, target, self.step_size if step > 0 else self.step_size / 2)
        momentum = at.slots["momentum"]
        keep = math.exp(-self.friction * self.step_size)
        drift(at, self.step_size / 2)
        momentum.mul_(keep).add_(at.noise, alpha=math.sqrt(1 - keep**2))
        drift(at, self.step_size / 2)
