"""SGLD with the diagonal metric of RMSProp.

Here: the step, with the start and the freezing of the metric as options.
Not here: gradients, noise and the order of steps (engine.py).
Symbols: ε step size, v running mean of squared gradients, a its decay, s a floor, ξ standard
normal.
Source: arXiv:2507.21449, which follows Li et al. 2016 (arXiv:1512.07666). Deviations: the metric
can be frozen after burn-in (the default), without which the kernel has no stationary law; the
start of v is an option because published code disagrees on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from creode.sampling.kernel import Coordinates, Target, check_positive, dot


@dataclass(frozen=True, kw_only=True)
class RMSPropSGLD:
    """w' = w − ε_t/2 [nβ ∇L_m(w) + γ (w − w*)] + √ε_t ξ  with  ε_t = ε / (√v̂ + s).

    v' = a v + (1 − a) (∇L_m)²; v̂ = v / (1 − a^t) with bias correction, else v.
    """

    step_size: float  # ε, in weight² · (nats/weight)
    decay: float = 0.99  # a
    floor: float = 0.1  # s, in nats/weight
    start: float = 0.0  # v at the first step
    bias_correction: bool = True
    freeze: bool = True  # keep v as it stands at the end of burn-in

    name: ClassVar[str] = "rmsprop_sgld"
    slots: ClassVar[Mapping[str, str]] = MappingProxyType({"second_moment": "constant"})
    has_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("RMSPropSGLD", step_size=self.step_size, floor=self.floor)
        if not 0 <= self.decay < 1:
            raise ValueError(f"RMSPropSGLD: decay must be in [0, 1), got {self.decay!r}.")
        if not 0 <= self.start < float("inf"):
            raise ValueError(f"RMSPropSGLD: start must be finite and ≥ 0, got {self.start!r}.")

    @property
    def slot_start(self) -> float:
        """v before the first gradient."""
        return self.start

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """Update v, then the step above; with `freeze` v rests after burn-in (of at least 1)."""
        v = at.slots["second_moment"]
        num_gradients = self._num_gradients(step, burnin)
        if num_gradients == step + 1:
            v.mul_(self.decay).addcmul_(at.gradient, at.gradient, value=1 - self.decay)
        scale, rsqrt = self._metric(at, num_gradients)
        at.noise.mul_(rsqrt)
        metric = rsqrt.square_()  # ε_t / scale
        half = scale / 2
        at.position.addcmul_(at.position, metric, value=-half * target.localization)
        at.position.addcmul_(at.anchor, metric, value=half * target.localization)
        at.position.addcmul_(at.gradient, metric, value=-half * target.nbeta)
        at.position.add_(at.noise, alpha=scale**0.5)  # √ε_t ξ

    def heat(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> Tensor:
        """(nβ)² Σ (ε_t/4) (∂L_m)² of a piece, (C,), in the metric that v gives as it stands."""
        scale, rsqrt = self._metric(at, max(self._num_gradients(step, burnin), 1))
        scaled = rsqrt.mul_(at.gradient)
        return scale / 4 * target.nbeta**2 * dot(scaled, scaled)

    def _num_gradients(self, step: int, burnin: int) -> int:
        """t, the gradients that v holds once this step has taken its own."""
        return min(step + 1, max(burnin, 1)) if self.freeze else step + 1

    def _metric(self, at: Coordinates, num_gradients: int) -> tuple[float, Tensor]:
        """A scale and, in the scratch, rsqrt with ε_t = scale · rsqrt² = scale/(√v + s root)."""
        root = (1 - self.decay**num_gradients) ** 0.5 if self.bias_correction else 1.0  # √(v/v̂)
        v = at.slots["second_moment"]
        rsqrt = torch.sqrt(v, out=at.scratch).add_(self.floor * root).rsqrt_()
        return self.step_size * root, rsqrt
