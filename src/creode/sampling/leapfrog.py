"""Kick and drift: the two moves that every splitting of underdamped Langevin dynamics shares.

With masses M the momentum is kept as p = M^{−½} · (mass · velocity), a standard normal whatever M,
so that neither what refreshes it nor its temperature needs to know of masses. A diagonal M changes
how fast directions are walked through, never the law of the weights.

Masses are learnt in burn-in as M_i = E[(∂_iU)²]/a. In equilibrium E[(∂_iU)²] = E[∂_i²U], so M_i is
the mean curvature of weight i over a, and every direction along an axis becomes as stiff as a.
Directions across the axes can become stiffer, up to d times in d dimensions. Steps are therefore
longer while masses are learnt: were they unstable, forces and with them masses would grow until
they are not, so that afterwards the shorter steps have room.

Here: B and A on one piece of the weights, and the learning of M.
Not here: what refreshes the momentum, and the order of moves (baoab.py, badodab.py).
Symbols: U = nβ L + (γ/2)|w − w*|², M masses, a the curvature of U that gets mass 1.
Source of the moves: Leimkuhler & Matthews, Molecular Dynamics (2015), chapter 7. The masses are
ours; dividing by the mean square of the gradient is RMSProp's preconditioner (arXiv:1512.07666)
without its second root.
"""

from __future__ import annotations

import torch
from torch import Tensor

from creode.sampling.kernel import Coordinates, Target

PRIOR = 20.0  # steps that the masses of the start, 1, count for
LEARNING = 0.75  # of burn-in; in the rest chains find their way with masses as they then stay
STRETCH = 2.0  # of a step while masses are learnt over one afterwards


def kick(at: Coordinates, target: Target, length: float) -> None:
    """B: p ← p − length · M^{−½} [nβ ∇L_m(w) + γ (w − w*)]."""
    momentum, root = at.slots["momentum"], at.slots.get("root_mass")
    if root is not None:
        momentum.addcdiv_(_force(at, target), root, value=-length)
        return
    momentum.add_(at.gradient, alpha=-length * target.nbeta)
    displacement = torch.sub(at.position, at.anchor, out=at.scratch)
    momentum.add_(displacement, alpha=-length * target.localization)


def drift(at: Coordinates, length: float) -> None:
    """A: w ← w + length · M^{−½} p."""
    momentum, root = at.slots["momentum"], at.slots.get("root_mass")
    if root is not None:
        at.position.addcdiv_(momentum, root, value=length)
    else:
        at.position.add_(momentum, alpha=length)


def learns(stiffness: float | None, *, step: int, burnin: int) -> bool:
    """Whether masses are still to be learnt at this step."""
    return stiffness is not None and step < LEARNING * burnin


def learn_masses(at: Coordinates, target: Target, stiffness: float | None, *, step: int) -> None:
    """M ← (1 − ρ) M + ρ (∂U)²/a, not below γ/a, with ρ = 2/(step + PRIOR + 2).

    So the t-th gradient counts in proportion to t + PRIOR: what the chain saw on its way counts
    less and less. No direction is expected to be less stiff than the tether.
    """
    assert stiffness is not None
    root, force = at.slots["root_mass"], _force(at, target)
    rate = 2 / (step + PRIOR + 2)
    root.square_().mul_(1 - rate).addcmul_(force, force, value=rate / stiffness)
    root.clamp_(min=target.localization / stiffness).sqrt_()


def _force(at: Coordinates, target: Target) -> Tensor:
    """∇U, in the scratch."""
    displacement = torch.sub(at.position, at.anchor, out=at.scratch)
    return displacement.mul_(target.localization).add_(at.gradient, alpha=target.nbeta)
