"""Toy model of superposition: features on the corners of a polygon, critical points known.

f(x) = ReLU(WᵀWx + b), W (2, n): n features pass through two hidden dimensions. One feature is
active at a time, x = t e_i with i and t uniform, t in [0, 1]. L(w) = E ½‖x − f(x)‖², nats.

Here: the expected loss in closed form (piecewise polynomial), the regular k-gon critical points,
their Hessian spectrum and, where the point is smooth and the minimum is a manifold, λ = ½ rank.
Not here: irregular critical points; training.
Conventions: the k used features sit at angles 2πi/k and radius l with bias b < 0 where k > 4 and
b = 0 where k ≤ 4; the n − k unused ones have zero columns and a bias of either −1 (inactive: the
output is dead, its column and bias are free) or 1/(2n), the best constant (active). A dead output
whose bias wanders above 0 comes alive and lowers the loss, so the reading at an inactive point is
local only if the tether holds it: γ ≥ 10 keeps zero three standard deviations away.
Symbols: W weight, b bias, n features, k corners, a = WᵀW e_i slopes, d = 3n weights.
Source: arXiv:2310.06301, k-gon critical points; l and b are found here by Newton's method.
Dimensions: B samples of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import grad, hessian

from creode.data import Samples
from creode.tasks import Batch, Regression, Task
from creode.testbeds.testbed import Testbed


@dataclass(frozen=True, kw_only=True, eq=False)
class Superposition(Testbed):
    """The toy model at a regular k-gon; the truths are those of the expected loss."""

    corners: int  # k
    radius: float  # l, length of the used columns
    bias: float  # b, bias of the used features
    init_loss: float  # L(w*), nats
    spectrum: Tensor  # eigenvalues of the Hessian at w*, ascending, (d,), float64
    flat: int  # dimension of the manifold of equal loss through w*: rotation, dead outputs


class SuperpositionModel(nn.Module):
    """f(x) = ReLU(WᵀWx + b), with W the parameter `weight` (2, n) and b `bias` (n,)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, inputs: Tensor, *, activate: bool = True) -> Tensor:
        """The outputs (B, n) for inputs (B, n), or their values before the ReLU."""
        affine = inputs @ self.weight.mT @ self.weight + self.bias
        return affine.relu() if activate else affine


def expected_loss(model: nn.Module, batch: Batch) -> Tensor:
    """E_t ½‖tx − f(tx)‖² for t uniform on [0, 1], per input x, (B,), nats.

    The model is affine in t before its ReLU, so each output is active on one interval of t and the
    integral is a polynomial in the ends of that interval.
    """
    x = batch["inputs"]
    b = model(torch.zeros_like(x), activate=False)
    a = model(x, activate=False) - b
    return _integrated(x, a, b)


def superposition(
    corners: int,
    *,
    num_features: int = 6,
    unused: Literal["inactive", "active"] = "inactive",
    num_samples: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Superposition:
    """The toy model of superposition at its regular k-gon.

    λ is None where it has no closed form: for k ≤ 4 outputs sit on the kink of their ReLU, and a
    spectrum with a negative value is a saddle. Known: λ = 7 (k = 5) and 8.5 (k = 6) for n = 6.

    Args:
        corners: k, the number of features in use, 2…n.
        num_features: n.
        unused: whether the outputs of the other features are dead or constant.
        num_samples: None gives the expected loss: n samples, one a feature, with t integrated
            exactly. A multiple of n gives that many inputs t e_i, t at the midpoints of equal
            intervals: the loss is then the usual ½‖x − f(x)‖², and on these samples the truths
            hold up to O((n/num_samples)²) and for posteriors wider than the spacing of t.
        dtype: of the weights and the data.

    Raises:
        ValueError: corners or num_samples out of range, or an unknown `unused`.
    """
    n, k = num_features, corners
    if not 2 <= k <= n:
        raise ValueError(f"corners must be in 2..num_features={n}, got {k}.")
    if unused not in ("inactive", "active"):
        raise ValueError(f"unused must be 'inactive' or 'active', got {unused!r}.")
    if num_samples is not None and (num_samples < n or num_samples % n):
        raise ValueError(f"num_samples must be a positive multiple of {n}, got {num_samples}.")
    idle_bias = 1 / (2 * n) if unused == "active" else -1.0
    radius, bias = _regular_polygon(k)
    model = SuperpositionModel(*_polygon_weights(k, n, radius, bias, idle_bias))
    features = torch.eye(n, dtype=torch.float64)
    init_loss = float(expected_loss(model, {"inputs": features}).detach().mean())
    spectrum = _spectrum(model, features)
    flat = 1 + (3 * (n - k) if unused == "inactive" else 0)
    rounding = 1e-9 * float(spectrum.abs().max())
    rank = int((spectrum.abs() > rounding).sum())
    smooth, minimum = bias != 0, float(spectrum.min()) > -rounding
    known = smooth and minimum and rank + flat == 3 * n

    task: Task = expected_loss
    columns = {"inputs": features}
    if num_samples is not None:
        t = (torch.arange(num_samples // n, dtype=torch.float64) + 0.5) * n / num_samples
        inputs = (t[:, None, None] * features).reshape(-1, n)
        columns, task = {"inputs": inputs, "targets": inputs}, Regression()
    return Superposition(
        model=model.to(dtype),
        task=task,
        data=Samples(
            columns={name: column.to(dtype) for name, column in columns.items()},
            source=f"superposition(k={k}, n={n}, {unused})",
        ),
        llc=rank / 2 if known else None,
        multiplicity=1 if known else None,
        corners=k,
        radius=radius,
        bias=bias,
        init_loss=init_loss,
        spectrum=spectrum,
        flat=flat,
    )


def _integrated(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """∫ ½‖tx − ReLU(at + b)‖² dt over [0, 1], (B,), for x, slopes a and biases b, all (B, n)."""
    m0, m1, m2 = _active_moments(a, b)
    square = a**2 * m2 + 2 * a * b * m1 + b**2 * m0
    cross = x * (a * m2 + b * m1)
    return (x**2 / 3 - 2 * cross + square).sum(-1) / 2


def _active_moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """∫ t^p dt for p = 0, 1, 2 over the part of [0, 1] where at + b > 0."""
    slanted = a != 0
    root = torch.where(slanted, -b / torch.where(slanted, a, 1), 0.0).clamp(0, 1)
    level = (b > 0).to(a.dtype)
    low = torch.where(slanted, torch.where(a > 0, root, 0.0), 1 - level)
    high = torch.where(slanted & (a < 0), root, 1.0)
    return high - low, (high**2 - low**2) / 2, (high**3 - low**3) / 3


def _polygon_weights(
    k: int, n: int, radius: float, bias: float, idle_bias: float
) -> tuple[Tensor, Tensor]:
    """W (2, n) and b (n,) of the regular k-gon, float64."""
    used = (torch.arange(n) < k).to(torch.float64)
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / k
    weight = radius * used * torch.stack([angle.cos(), angle.sin()])
    return weight, bias * used + idle_bias * (1 - used)


def _regular_polygon(k: int) -> tuple[float, float]:
    """Radius and bias at which a regular k-gon of k features is critical.

    At right or obtuse angles no feature disturbs another, so (1, 0) is exact. Beyond, the loss per
    feature as a function of the two is minimised: the best of a grid, then Newton's method.

    Unused features do not move the critical point: they meet the k-gon's outputs at slope zero and
    a negative bias, where these are silent.
    """
    if k <= 4:
        return 1.0, 0.0
    first = torch.eye(k, dtype=torch.float64)[0]
    cosines = (2 * math.pi * torch.arange(k, dtype=torch.float64) / k).cos()

    def loss(points: Tensor) -> Tensor:
        radius, bias = points[..., :1], points[..., 1:]
        return _integrated(first, radius**2 * cosines, bias.expand(*points.shape[:-1], k))

    grid = torch.cartesian_prod(
        torch.linspace(0.8, 3, 45, dtype=torch.float64),
        torch.linspace(-4, -0.1, 40, dtype=torch.float64),
    )
    point = grid[loss(grid).argmin()]
    slope = grad(loss)(point)
    for _ in range(50):
        if float(slope.abs().max()) < 1e-14:
            break
        point = point - torch.linalg.solve(hessian(loss)(point), slope)
        slope = grad(loss)(point)
    radius, bias = point.tolist()
    if not (float(slope.abs().max()) < 1e-12 and bias < 0):
        raise ArithmeticError(
            f"no regular {k}-gon was found: Newton's method ended at radius {radius:.3g}, bias "
            f"{bias:.3g} with the gradient {slope.tolist()}; choose another number of corners."
        )
    return radius, bias


def _spectrum(model: SuperpositionModel, features: Tensor) -> Tensor:
    """Eigenvalues of the Hessian of the expected loss at w*, ascending."""
    n = len(features)

    def loss(vector: Tensor) -> Tensor:
        weight, bias = vector[: 2 * n].view(2, n), vector[2 * n :]
        return _integrated(features, weight.mT @ weight, bias.expand(n, n)).mean()

    at = torch.cat([p.detach().flatten() for p in model.parameters()])
    eigenvalues: Tensor = torch.linalg.eigvalsh(hessian(loss)(at))
    return eigenvalues
