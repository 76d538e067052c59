"""Stochastic gradient Nosé–Hoover thermostat (SGNHT) in its symmetric BADODAB splitting.

Gradient noise of unknown strength heats Langevin dynamics at a fixed friction. Here the friction is
a state of the chain: it rises while the momenta are too hot and falls while they are too cold.

Here: the moves of a step and the law of the friction.
Not here: gradients, noise, the sums over a chain's weights and the order of sweeps (engine.py).
Symbols: h step size, p momentum, A injected noise, ζ friction of the thermostat, μ its
mass, d sampled weights, ξ standard normal.
Sources: the thermostat, Ding et al., Bayesian sampling using stochastic gradient thermostats
(2014); the splitting, arXiv:1505.06889. Deviation: μ is given in units of d/A², so that one setting
serves models of every size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creode.sampling.kernel import Coordinates, Target, check_positive
from creode.sampling.leapfrog import STRETCH, drift, kick, learn_masses, learns


@dataclass(frozen=True, kw_only=True)
class BADODAB:
    """Kick h/2, drift h/2, ζ h/2, Ornstein–Uhlenbeck, ζ h/2, drift h/2, kick h/2: one gradient.

    B: p ← p − (h/2) ∇U(w);  A: w ← w + (h/2) p;  D: ζ ← ζ + (h/2) (‖p‖² − d)/μ;
    O: p ← c p + √(A (1 − c²)/ζ) ξ, c = exp(−ζ h).
    With exact gradients ζ fluctuates about A with variance 1/μ. Gradient noise of covariance s² I
    (of ∇U) raises its mean by about h s²/2 and leaves the law of the weights as it was, on a
    quadratic up to O(h³); noise that differs between weights is balanced in their mean only. It is
    stable where BAOAB is, h √a < 2. With `stiffness` the weights have masses, as in BAOAB.
    """

    step_size: float  # h, in weight
    friction: float  # A, in 1/weight; ζ starts there
    inertia: float = 1.0  # μ A²/d: large, and ζ answers slowly and fluctuates little
    stiffness: float | None = None  # curvature of U that gets mass 1, in 1/weight²; None: all do

    name: ClassVar[str] = "badodab"
    has_momentum: ClassVar[bool] = True
    slot_start: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_positive(
            "BADODAB", step_size=self.step_size, friction=self.friction, inertia=self.inertia
        )
        if self.stiffness is not None:
            check_positive("BADODAB", stiffness=self.stiffness)

    @property
    def slots(self) -> Mapping[str, str]:
        """The momentum, ζ/A, and √M where masses are learnt."""
        masses = {} if self.stiffness is None else {"root_mass": "constant"}
        return {"momentum": "normal", "thermostat": "chain", **masses}

    def kick(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """The closing B of the step before and the opening B of this one, as one.

        The A of the definition comes after D in `move`: the two commute.
        """
        if learns(self.stiffness, step=step, burnin=burnin):
            learn_masses(at, target, self.stiffness, step=step)
        h = self._step(step, burnin)
        kick(at, target, h if step > 0 else h / 2)

    def regulate(
        self, slots: Mapping[str, Tensor], temperature: Tensor, *, step: int, burnin: int
    ) -> None:
        """D, given ‖p‖²/d of each chain, (C,); ζ rests while masses are learnt."""
        if not learns(self.stiffness, step=step, burnin=burnin):
            pace = self.step_size / 2 * self.friction / self.inertia
            slots["thermostat"].add_((temperature - 1)[:, None], alpha=pace)

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """A, O, A; D comes before, after `kick`, and again after, once all weights have moved."""
        momentum, h = at.slots["momentum"], self._step(step, burnin)
        exponent = at.slots["thermostat"] * (self.friction * h)  # ζ h
        keep = torch.exp(-exponent)
        lost = torch.where(exponent == 0, 2.0, -torch.expm1(-2 * exponent) / exponent)
        spread = (self.friction * h * lost).sqrt()
        drift(at, h / 2)
        momentum.mul_(keep.to(momentum.dtype))
        momentum.addcmul_(at.noise, spread.to(momentum.dtype))
        drift(at, h / 2)

    def _step(self, step: int, burnin: int) -> float:
        learning = learns(self.stiffness, step=step, burnin=burnin)
        return STRETCH * self.step_size if learning else self.step_size
