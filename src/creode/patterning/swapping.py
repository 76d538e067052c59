"""Negative weights on preferences: pairs with their answers swapped, weighed by what is left.

A weight of −ρ on a pair pushes its margin Δ down: the gradient of −ρ ℓ(Δ) is ρ β σ(−βΔ) ∇Δ, for
ℓ(Δ) = −log σ(βΔ). The swapped pair of weight ρ pushes it down too, with ρ β σ(βΔ) ∇Δ: the same at
Δ = 0, more where the model already prefers the chosen answer, and bounded where −ρℓ is not.

Here: which pairs are swapped and how they weigh.
Not here: making weights (pattern.py), exchanging answers (data/preferences.py).
Source: arXiv:2601.13548 leaves open what negative weights mean.
Dimensions: N pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from creode.data import Samples, swap_answers
from creode.patterning.weights import SampleWeights


class Swapped(NamedTuple):
    """Pairs some of whose answers are exchanged, and weights that are not negative."""

    samples: Samples
    weights: SampleWeights  # |ρ|, of mean 1
    swapped: Tensor  # (N,) bool
    scale: float  # mean |ρ|, by which |ρ| was divided; training feels it as a larger step


def swap_negative(samples: Samples, weights: SampleWeights) -> Swapped:
    """Swap the pairs whose weight is negative.

    Args:
        samples: the pairs that the weights were made for.
        weights: of `creode.pattern` with `MinimumNorm`, say.

    Raises:
        ValueError: weights of other data, or samples that are no pairs.
    """
    weights.check_data(samples)
    swapped = torch.from_numpy(weights.values < 0)
    pairs = swap_answers(samples, swapped)
    size = np.abs(weights.values)
    scale = float(size.mean())
    made = SampleWeights(
        values=size / scale, fingerprint=pairs.fingerprint(), ids=weights.ids, groups=weights.groups
    )
    return Swapped(pairs, made, swapped, scale)
