"""Normal crossings: the shape every singular loss takes after resolution of singularities.

L(w) = Π_j δ_j^{2k_j},  δ = w − w*:  λ = 1/(2 max k),  m = how many k_j reach the maximum.

Here: the model and its data; gradient noise that keeps L exact.
Not here: expectations at finite nβ and γ (tests/oracles.py, by quadrature).
Symbols: k_j the exponents, d weights, N samples.
Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), Theorem 6.6.
Dimensions: B samples of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Batch
from creode.testbeds.testbed import Testbed, normal


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalCrossing(Testbed):
    """A monomial loss with its exponents."""

    exponents: tuple[int, ...]  # k_j, one per weight


class NormalCrossingModel(nn.Module):
    """The weights of a monomial loss and the point w* where its factors cross."""

    center: Tensor

    def __init__(self, exponents: Sequence[int], center: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(center.clone())
        self.register_buffer("center", center)
        self.exponents = tuple(exponents)

    def forward(self, amplitudes: Tensor, gradients: Tensor) -> Tensor:
        """s Π_j δ_j^{2k_j} + g·δ of each sample, (B,), nats."""
        delta = self.weight - self.center
        product = amplitudes
        for j, k in enumerate(self.exponents):  # one by one: prod() branches on zeros
            product = product * delta[j] ** (2 * k)
        return product + gradients @ delta


def normal_crossing_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The losses (B,) of a batch with columns amplitudes and gradients."""
    losses: Tensor = model(batch["amplitudes"], batch["gradients"])
    return losses


def normal_crossing(
    exponents: Sequence[int],
    *,
    num_samples: int = 1,
    amplitude_scale: float = 0.0,
    gradient_scale: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> NormalCrossing:
    """A monomial loss around a random w* away from the origin.

    The samples' losses are s_i Π δ_j^{2k_j} + g_i·δ with mean s = 1 and Σ g_i = 0: noise that is
    multiplicative (it vanishes at w*, as in a realisable model) and additive (it does not).

    Args:
        exponents: k_j ≥ 0, one per weight, not all zero.
        num_samples: N; 1 gives the exact loss from a single sample.
        amplitude_scale: the s_i are spread evenly over 1 ± amplitude_scale; in [0, 1).
        gradient_scale: standard deviation of the entries of g_i, nats per weight.
        seed: of w* and of the g_i.
        dtype: of the weights and the data.

    Raises:
        ValueError: an exponent below zero, none above it, a scale out of range, or a spread asked
            of one sample.
    """
    k = tuple(exponents)
    if not k or min(k) < 0 or max(k) == 0:
        raise ValueError(f"exponents must be ≥ 0 with at least one above 0, got {k}.")
    if not 0 <= amplitude_scale < 1 or gradient_scale < 0:
        raise ValueError(
            f"amplitude_scale must be in [0, 1) and gradient_scale ≥ 0, got {amplitude_scale} "
            f"and {gradient_scale}: each sample's loss must keep its minimum at w*."
        )
    if num_samples < 1 or (num_samples == 1 and max(amplitude_scale, gradient_scale) > 0):
        raise ValueError(
            f"num_samples={num_samples} cannot carry a spread over samples; "
            "give num_samples of at least 2, or both scales 0."
        )
    generator = torch.Generator().manual_seed(seed)
    center = normal(len(k), generator=generator)
    raw = normal(num_samples, len(k), generator=generator)
    spread = torch.linspace(-1, 1, num_samples, dtype=torch.float64) if num_samples > 1 else 0.0
    columns = {
        "amplitudes": torch.ones(num_samples, dtype=torch.float64) + amplitude_scale * spread,
        "gradients": gradient_scale * (raw - raw.mean(0)),
    }
    columns = {name: column.to(dtype) for name, column in columns.items()}
    return NormalCrossing(
        model=NormalCrossingModel(k, center.to(dtype)),
        task=normal_crossing_loss,
        data=Samples(columns=columns, source=f"normal_crossing(k={k}, seed={seed})"),
        llc=1 / (2 * max(k)),
        multiplicity=k.count(max(k)),
        exponents=k,
    )
