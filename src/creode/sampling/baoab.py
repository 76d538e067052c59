"""Underdamped Langevin dynamics in the BAOAB splitting.

Here: the step.
Not here: gradients, noise and the order of steps (engine.py).
Symbols: h step size, p momentum, η friction, ξ standard normal.
Source: Leimkuhler & Matthews, Robust and efficient configurational molecular sampling (2013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from creode.sampling.kernel import Coordinates, Target, check_positive
from creode.sampling.leapfrog import STRETCH, drift, kick, learn_masses, learns

UNSTABLE = 2.0  # h √a, on a quadratic


@dataclass(frozen=True, kw_only=True)
class BAOAB:
    """Kick h/2, drift h/2, Ornstein–Uhlenbeck, drift h/2, kick h/2: one gradient a step.

    B: p ← p − (h/2) ∇U(w);  A: w ← w + (h/2) p;  O: p ← c p + √(1 − c²) ξ, c = exp(−η h).
    On a quadratic with posterior precision a it is stable for h √a < 2 and its stationary law of
    the weights is exact with exact gradients; minibatch gradients heat it. The momentum is kept as
    it stands after O, where E[p²] = 1 whatever the step size; after the closing kick it is
    1 − h² a / 4.

    With `stiffness` each weight has a mass, learnt in burn-in and then frozen (leapfrog.py): give
    the largest curvature of the posterior, and directions less stiff are walked through faster.
    Then a friction of about √stiffness suits them all, and h √stiffness is to be below 1.

    With `relative_step` steps answer to the curvature where the chain is (stride.py): they are as
    long as that allows, in parts where it asks for that, and `step_size` is the longest there is.
    """

    step_size: float  # h, in weight
    friction: float  # η, in 1/weight
    stiffness: float | None = None  # curvature of U that gets mass 1, in 1/weight²; None: all do
    relative_step: float | None = None  # most h √a, a the largest curvature of U; None: h is fixed

    name: ClassVar[str] = "baoab"
    has_momentum: ClassVar[bool] = True
    slot_start: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_positive("BAOAB", step_size=self.step_size, friction=self.friction)
        if self.stiffness is not None:
            check_positive("BAOAB", stiffness=self.stiffness)
        if self.relative_step is None:
            return
        check_positive("BAOAB", relative_step=self.relative_step)
        if self.relative_step >= UNSTABLE or self.stiffness is not None:
            raise ValueError(
                f"BAOAB: relative_step must be below {UNSTABLE:g}, where steps are unstable, and "
                f"has no masses beside it; got {self.relative_step!r} with "
                f"stiffness={self.stiffness!r}."
            )

    def halved(self, times: int) -> BAOAB:
        """The same with steps half as long, so many times."""
        by = 2.0**-times
        relative = None if self.relative_step is None else by * self.relative_step
        return replace(self, step_size=by * self.step_size, relative_step=relative)

    @property
    def slots(self) -> Mapping[str, str]:
        """The momentum, and √M where masses are learnt."""
        masses = {} if self.stiffness is None else {"root_mass": "constant"}
        return {"momentum": "normal", **masses}

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """B, A, O, A; the closing B waits for the gradient at the new weights.

        There it is one kick with the opening B of the next step; only the first step has none.
        """
        h = self.step_size
        if learns(self.stiffness, step=step, burnin=burnin):
            learn_masses(at, target, self.stiffness, step=step)
            h *= STRETCH
        self.stride(at, target, before=h if step > 0 else 0.0, length=h)

    def stride(self, at: Coordinates, target: Target, *, before: float, length: float) -> None:
        """The same for one `length` after another, `before`, which is 0 at the start."""
        momentum = at.slots["momentum"]
        keep = math.exp(-self.friction * length)
        kick(at, target, (before + length) / 2)
        drift(at, length / 2)
        momentum.mul_(keep).add_(at.noise, alpha=math.sqrt(1 - keep**2))
        drift(at, length / 2)
