"""Quadratic losses: the local posterior is Gaussian, so every reading has a closed form.

ℓ_i(w) = c_i + g_i·δ + ½ δᵀA_iδ,  δ = w − w*,  Σ g_i = 0,  mean A_i = H,  so L = c̄ + ½ δᵀHδ.

Here: the model, its data (one sample is one (c_i, g_i, A_i)), its exact Hessian.
Not here: the closed forms themselves (tests/oracles.py).
Symbols: d weights, N samples, H the Hessian of the mean loss, λ = ½ rank H.
Dimensions: B samples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Batch
from creode.testbeds.testbed import Testbed, normal


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadratic(Testbed):
    """A quadratic mean loss, with the derivatives at w* of each sample's loss."""

    hessian: Tensor  # H, (d, d), float64, in the order of `model.parameters()`, flattened
    offsets: Tensor  # c_i, (N,), nats
    gradients: Tensor  # g_i, (N, d)
    curvatures: Tensor  # A_i, (N, d, d)


class QuadraticModel(nn.Module):
    """The weights of a quadratic loss, split over named parameters, and its centre w*."""

    center: Tensor

    def __init__(self, blocks: Mapping[str, tuple[int, ...]], center: Tensor) -> None:
        super().__init__()
        self._blocks = tuple(blocks)
        sizes = [prod(shape) for shape in blocks.values()]
        for (name, shape), part in zip(blocks.items(), torch.split(center, sizes), strict=True):
            self.register_parameter(name, nn.Parameter(part.clone().view(shape)))
        self.register_buffer("center", center)

    def displacement(self) -> Tensor:
        """δ = w − w*, (d,)."""
        parts = [getattr(self, name).flatten() for name in self._blocks]
        return torch.cat(parts) - self.center

    def forward(self, offsets: Tensor, gradients: Tensor, curvatures: Tensor) -> Tensor:
        """c + g·δ + ½ δᵀAδ of each sample, (B,), nats."""
        delta = self.displacement()
        return offsets + gradients @ delta + (curvatures @ delta) @ delta / 2


def quadratic_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The losses (B,) of a batch with columns offsets, gradients and curvatures."""
    losses: Tensor = model(batch["offsets"], batch["gradients"], batch["curvatures"])
    return losses


def quadratic(
    hessian: Tensor | Sequence[float],
    *,
    num_samples: int = 1,
    offset_scale: float = 0.0,
    gradient_scale: float = 0.0,
    curvature_scale: float = 0.0,
    blocks: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Quadratic:
    """A quadratic loss around a random w* away from the origin.

    g_i = gradient_scale · H^½ z_i and A_i = H^½ (I + curvature_scale · E_i) H^½, with z_i and the
    symmetric E_i Gaussian and centred over the samples: a direction that is flat in H is flat for
    every sample, and at gradient_scale 1 the gradients' covariance is H, as in a true model.

    Args:
        hessian: H, symmetric and positive semi-definite, (d, d), or its diagonal, (d,).
        num_samples: N; 1 gives the exact loss from a single sample.
        offset_scale: standard deviation of the offsets c_i, nats; their mean stays in L(w*).
        gradient_scale: size of the per-sample gradients at w*, relative to H^½.
        curvature_scale: size of the spread of the per-sample Hessians, relative to H.
        blocks: shapes by parameter name, d weights in all; default two halves, left and right.
        seed: of w* and of the samples.
        dtype: of the weights and the data.

    Raises:
        ValueError: H is not symmetric positive semi-definite, the blocks do not hold d weights, or
            a spread is asked of one sample.
    """
    h = torch.as_tensor(hessian, dtype=torch.float64)
    h = torch.diag(h) if h.ndim == 1 else h
    eigenvalues, basis = _eigen(h)
    d = len(h)
    if blocks is None:
        blocks = {"left": (d // 2,), "right": (d - d // 2,)} if d > 1 else {"weight": (1,)}
    held = sum(prod(shape) for shape in blocks.values())
    if held != d:
        raise ValueError(f"blocks hold {held} weights, the Hessian has {d}; give shapes for {d}.")
    scales = (offset_scale, gradient_scale, curvature_scale)
    if min(scales) < 0 or num_samples < 1 or (num_samples == 1 and max(scales) > 0):
        raise ValueError(
            f"num_samples={num_samples} with offset_scale, gradient_scale, curvature_scale of "
            f"{scales}: scales are ≥ 0, and a spread over samples needs at least 2 of them."
        )
    generator = torch.Generator().manual_seed(seed)
    root = basis * eigenvalues.sqrt() @ basis.T
    center = normal(d, generator=generator)
    offsets = offset_scale * normal(num_samples, generator=generator)
    gradients = gradient_scale * _centered(normal(num_samples, d, generator=generator)) @ root
    raw = _centered(normal(num_samples, d, d, generator=generator))
    perturbation = (raw + raw.mT) / (2 * d**0.5)
    curvatures = h + curvature_scale * root @ perturbation @ root
    columns = {"offsets": offsets, "gradients": gradients, "curvatures": curvatures}
    columns = {name: column.to(dtype) for name, column in columns.items()}
    return Quadratic(
        model=QuadraticModel(blocks, center.to(dtype)),
        task=quadratic_loss,
        data=Samples(columns=columns, source=f"quadratic(d={d}, seed={seed})"),
        llc=int((eigenvalues > 0).sum()) / 2,
        multiplicity=1,
        hessian=h,
        **columns,
    )


def _centered(values: Tensor) -> Tensor:
    return values - values.mean(0)


def _eigen(h: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (d,), rounding-level ones set to zero, and eigenvectors (d, d) of H."""
    if h.ndim != 2 or not len(h) or not torch.equal(h, h.mT):
        raise ValueError(
            f"hessian of shape {tuple(h.shape)} is not symmetric; give a symmetric (d, d) matrix "
            "or a diagonal (d,)."
        )
    eigenvalues, basis = torch.linalg.eigh(h)
    rounding = 1e-12 * float(eigenvalues.abs().max())
    if float(eigenvalues.min()) < -rounding:
        raise ValueError(
            f"hessian has the eigenvalue {float(eigenvalues.min()):.3g}, so w* would not be a "
            "minimum; give a positive semi-definite matrix."
        )
    return torch.where(eigenvalues <= rounding, 0.0, eigenvalues), basis
