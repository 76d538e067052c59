"""Deep linear networks, y = W_L ⋯ W_1 x: the largest family of networks whose λ is known.

Here: Aoyagi's λ and multiplicity; a network at the deepest point of the fibre over its truth, with
data on which that point is exactly a minimum. Two factors are reduced-rank regression.
Not here: other points of the same fibre, whose local λ differs.
Symbols: H_0…H_L widths, r rank of the true map, M_i = H_i − r, ℓ = |S| − 1, T = Σ_S M_i.
Source: Aoyagi, "Consideration on the learning efficiency of multiple-layered neural networks with
linear units" (Neural Networks, 2024), main theorem; quoted in arXiv:2308.12108, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Regression
from creode.testbeds.testbed import Testbed, normal


@dataclass(frozen=True, kw_only=True, eq=False)
class DeepLinear(Testbed):
    """A deep linear network at the deepest stratum of the fibre over its true map."""

    widths: tuple[int, ...]  # H_0…H_L
    rank: int  # r
    true_map: Tensor  # W*_L ⋯ W*_1, (H_L, H_0), float64
    covariance: Tensor  # second moment of the inputs in the data, (H_0, H_0), float64
    hessian_rank: int  # of L at w*; far below the 2λ of a regular model where r is small


class DeepLinearModel(nn.Module):
    """W_L ⋯ W_1, no biases; parameters `layers.0.weight` (W_1) to `layers.{L−1}.weight`."""

    def __init__(self, factors: Sequence[Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for factor in factors:
            rows, columns = factor.shape
            layer = nn.Linear(columns, rows, bias=False, device="meta")  # draws no random numbers
            layer.weight = nn.Parameter(factor)
            self.layers.append(layer)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs (B, H_L) for inputs (B, H_0)."""
        outputs: Tensor = self.layers(inputs)
        return outputs


def deep_linear_llc(widths: Sequence[int], rank: int) -> tuple[float, int]:
    """Learning coefficient λ and multiplicity m of a deep linear network at the deepest stratum.

    S holds the smallest M's, as few as give T < ℓ min M_rest; then max M_S < min M_rest and
    T ≥ ℓ max M_S, the theorem's other two conditions, hold too. With M = ⌈T/ℓ⌉, a = T − (M − 1)ℓ:
    λ = (r(H_0 + H_L) − r²)/2 + a(ℓ − a)/(4ℓ) − ℓ(ℓ − 1)/4 · (T/ℓ)² + ½ Σ_{i<j∈S} M_i M_j,
    m = a(ℓ − a) + 1.

    Args:
        widths: H_0…H_L, inputs first; at least two.
        rank: r of the true map, 0…min H_i; every factor at w* has this rank.

    Raises:
        ValueError: fewer than two widths, a width below 1, or a rank out of range.
    """
    _check(widths, rank)
    chosen = _smallest([width - rank for width in widths])
    ell, total = len(chosen) - 1, sum(chosen)
    a = total - (-(-total // ell) - 1) * ell
    pairs = sum(x * y for x, y in combinations(chosen, 2))
    twice = (
        rank * (widths[0] + widths[-1])
        - rank**2
        + Fraction(a * (ell - a), 2 * ell)
        - Fraction((ell - 1) * total**2, 2 * ell)
        + pairs
    )
    return float(twice / 2), a * (ell - a) + 1


def deep_linear(
    widths: Sequence[int],
    rank: int,
    *,
    num_samples: int,
    noise: float = 0.0,
    covariance: Tensor | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> DeepLinear:
    """A deep linear network whose factors all have rank r, with data it fits exactly.

    The factors are W_l = U_l S^{1/L} U_{l−1}ᵀ in random orthonormal bases U_l (H_l, r), so the map
    has the singular values S, r of them between 1 and 2. The inputs' second moment is exactly the
    given covariance and the noise is orthogonal to the inputs, so on these very samples
    L(w) = L(w*) + ½ tr[(B − B*) Σ (B − B*)ᵀ] with B = W_L ⋯ W_1: w* is a global minimum and λ is
    exact, with or without noise. The loss is ½‖y − f(x)‖² whatever the noise.

    Args:
        widths: H_0…H_L, inputs first.
        rank: r of the true map and of every factor.
        num_samples: N ≥ H_0, and above it with noise; N = H_0 makes exact gradients cheap.
        noise: standard deviation of the noise on each target; 0 is realisable.
        covariance: second moment Σ of the inputs, (H_0, H_0), positive definite; default identity.
        seed: of the bases, the inputs and the noise.
        dtype: of the weights and the data.

    Raises:
        ValueError: widths, rank or covariance out of range, or too few samples.
    """
    llc, multiplicity = deep_linear_llc(widths, rank)
    inputs_width, outputs_width = widths[0], widths[-1]
    if num_samples < inputs_width + (noise > 0):
        raise ValueError(
            f"num_samples={num_samples} cannot span {inputs_width} inputs"
            f"{' and noise orthogonal to them' if noise > 0 else ''}; "
            f"give at least {inputs_width + (noise > 0)}."
        )
    generator = torch.Generator().manual_seed(seed)
    bases = [_orthonormal(width, rank, generator) for width in widths]
    depth = len(widths) - 1
    roots = torch.linspace(1, 2, rank, dtype=torch.float64) ** (1 / depth)
    factors = [after * roots @ before.T for before, after in pairwise(bases)]
    true_map = bases[-1] * roots**depth @ bases[0].T

    sigma = torch.eye(inputs_width) if covariance is None else covariance
    sigma = sigma.to(torch.float64)
    frame = _orthonormal(num_samples, inputs_width, generator)
    inputs = num_samples**0.5 * frame @ _cholesky(sigma, inputs_width).T
    errors = noise * normal(num_samples, outputs_width, generator=generator)
    targets = inputs @ true_map.T + errors - frame @ (frame.T @ errors)
    return DeepLinear(
        model=DeepLinearModel([factor.to(dtype) for factor in factors]),
        task=Regression(),
        data=Samples(
            columns={"inputs": inputs.to(dtype), "targets": targets.to(dtype)},
            source=f"deep_linear({tuple(widths)}, rank={rank}, noise={noise}, seed={seed})",
        ),
        llc=llc,
        multiplicity=multiplicity,
        widths=tuple(widths),
        rank=rank,
        true_map=true_map,
        covariance=sigma,
        hessian_rank=inputs_width * outputs_width
        if depth == 1
        else rank * (inputs_width + outputs_width - rank),
    )


def _smallest(excess: Sequence[int]) -> list[int]:
    """The M's of S: the smallest, as few as give T < ℓ min M_rest, or all of them."""
    ordered = sorted(excess)
    for size in range(2, len(ordered)):
        if sum(ordered[:size]) < (size - 1) * ordered[size]:
            return ordered[:size]
    return ordered


def _check(widths: Sequence[int], rank: int) -> None:
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two numbers ≥ 1, got {tuple(widths)}.")
    if not 0 <= rank <= min(widths):
        raise ValueError(
            f"rank must be in 0..{min(widths)} for widths {tuple(widths)}, got {rank}."
        )


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Random orthonormal columns, (rows, columns)."""
    basis: Tensor = torch.linalg.qr(normal(rows, columns, generator=generator))[0]
    return basis


def _cholesky(covariance: Tensor, width: int) -> Tensor:
    symmetric = covariance.shape == (width, width) and torch.equal(covariance, covariance.mT)
    factor, failed = torch.linalg.cholesky_ex(covariance) if symmetric else (covariance, 1)
    if failed:
        raise ValueError(
            f"covariance of shape {tuple(covariance.shape)} is not symmetric positive definite; "
            f"give such a matrix of shape ({width}, {width})."
        )
    return factor
