"""What every kernel shares: the target it samples and the coordinates it moves.

A kernel is a frozen configuration with one move on flat coordinates, from weights whose gradient is
known to the next; observables are read before it. It writes in place and treats each coordinate
alike, so one implementation serves one chain cut into chunks and many chains side by side.

Here: the target, the coordinates of a move, the protocol.
Not here: the kernels (one file each), gradients (sequential.py, vectorised.py), the loop
(engine.py).
Dimensions: C chains of a block, P sampled weights (or a chunk of them).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from creode.posterior import LocalPosterior


@dataclass(frozen=True, kw_only=True)
class Target:
    """∇U(w) = nβ ∇L(w) + γ (w − w*): the strengths of loss and tether."""

    nbeta: float  # nβ
    localization: float  # γ, in 1/weight²

    @classmethod
    def of(cls, posterior: LocalPosterior) -> Self:
        """The strengths of a posterior, which must be numbers."""
        nbeta, localization = posterior.strengths()
        return cls(nbeta=nbeta, localization=localization)


class Coordinates(NamedTuple):
    """A piece of the sampled weights of one or more chains, and what a move needs of it."""

    position: Tensor  # (C, P), w; written
    gradient: Tensor  # (C, P), ∇L_m(w), nats/weight
    anchor: Tensor  # (P,), w*
    noise: Tensor  # (C, P), standard normals of this step
    scratch: Tensor  # (C, P), free for the kernel's use
    slots: Mapping[str, Tensor]  # what the kernel carries from step to step; written by piece


class Kernel(Protocol):
    """A Markov kernel that leaves the local posterior (nearly) invariant."""

    name: ClassVar[str]
    has_momentum: ClassVar[bool]

    @property
    def slots(self) -> Mapping[str, str]:
        """What is carried, by name: how it starts and what it is of.

        "normal" or "constant": of each weight, (C, P); "chain": constant, of each chain, (C, 1)
        and float64.
        """
        ...

    @property
    def step_size(self) -> float:
        """ε (or h for kernels with momentum)."""
        ...

    @property
    def slot_start(self) -> float:
        """Value at which "constant" and "chain" slots start."""
        ...

    def move(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """Move to the next weights; what a kernel learns it learns while step < burnin."""
        ...


@runtime_checkable
class Overdamped(Kernel, Protocol):
    """A kernel without momentum, which can tell what its step adds to the spread of the weights."""

    def heat(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> Tensor:
        """(nβ)² Σ (ε/4) (∂L_m)² of a piece, (C,) float64: what a step adds to E[(w − w*)·nβ∇L].

        From E‖w'‖² = E‖w‖², in the metric of the step: E[(w − w*)·∇U] = d + (ε/4) E‖∇U_m‖².
        """
        ...


@runtime_checkable
class Thermostat(Kernel, Protocol):
    """A kernel that looks at the temperature ‖p‖²/d of whole chains in the course of a step.

    Then a step is two sweeps over the weights: `kick` on all pieces, `regulate`, `move` on all
    pieces, `regulate`.
    """

    def kick(self, at: Coordinates, target: Target, *, step: int, burnin: int) -> None:
        """What comes before the first look; it leaves the position alone and has no noise."""
        ...

    def regulate(
        self, slots: Mapping[str, Tensor], temperature: Tensor, *, step: int, burnin: int
    ) -> None:
        """Answer to ‖p‖²/d of each chain, (C,) float64, in the "chain" slots."""
        ...


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Row-wise inner products (C,), accumulated over pieces in float64."""
    return torch.stack([torch.dot(*rows) for rows in zip(left, right, strict=True)]).double()


def check_positive(owner: str, **values: float) -> None:
    """Raise ValueError unless every value is a finite number above zero."""
    for name, value in values.items():
        if isinstance(value, str) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"{owner}: {name} must be a finite number > 0, got {value!r}.")
