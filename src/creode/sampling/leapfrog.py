"""Kick and drift: the two moves that every splitting of underdamped Langevin dynamics shares.

Here: B and A, on one piece of the weights.
Not here: what refreshes the momentum, and the order of moves (baoab.py, badodab.py).
Symbols: p momentum (unit mass), w* anchor, nβ inverse temperature, γ localization.
"""

from __future__ import annotations

import torch

from creode.sampling.kernel import Coordinates, Target


def kick(at: Coordinates, target: Target, length: float) -> None:
    """B: p ← p − length · [nβ ∇L_m(w) + γ (w − w*)]."""
    momentum = at.slots["momentum"]
    momentum.add_(at.gradient, alpha=-length * target.nbeta)
    displacement = torch.sub(at.position, at.anchor, out=at.scratch)
    momentum.add_(displacement, alpha=-length * target.localization)


def drift(at: Coordinates, length: float) -> None:
    """A: w ← w + length · p."""
    at.position.add_(at.slots["momentum"], alpha=length)
