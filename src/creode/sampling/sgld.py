"""Stochastic gradient Langevin dynamics (SGLD).

Here: the step.
Not here: gradients, noise and the order of steps (engine.py).
Symbols: ε step size, nβ inverse temperature, γ localization, w* anchor, ξ standard normal.
Source: Welling & Teh 2011; localised as in arXiv:2308.12108.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from creode.sampling.kernel import Coordinates, Target, check_positive, dot


@dataclass(frozen=True, kw_only=True)
class SGLD:
    """w' = w − ε/2 [nβ ∇L_m(w) + γ (w − w*)] + √ε ξ.

    On a quadratic with posterior precision a it is stable for ε a < 4 and its stationary variance
    is 1 / (a (1 − ε a / 4)).
    """

    step_size: float  # ε, in weight²

    name: ClassVar[str] = "sgld"
    slots: ClassVar[Mapping[str, str]] = MappingProxyType({})
    has_momentum: ClassVar[bool] = False
    slot_start: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_positive("SGLD", step_size=self.step_size)

    def heat(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> Tensor:
        """(nβ)² (ε/4) ‖∇L_m‖² of a piece, (C,)."""
        return self.step_size / 4 * target.nbeta**2 * dot(at.gradient, at.gradient)

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """w' = w − ε/2 [nβ ∇L_m(w) + γ (w − w*)] + √ε ξ."""
        half = self.step_size / 2
        at.position.lerp_(at.anchor.expand_as(at.position), half * target.localization)
        at.position.add_(at.gradient, alpha=-half * target.nbeta)
        at.position.add_(at.noise, alpha=self.step_size**0.5)
