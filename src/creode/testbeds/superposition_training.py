"""The toy model of superposition in training: down a staircase of k-gons.

Features may share a corner of a k-gon, k ≤ 4: columns r_i u with Σ r_i² = 1 over those of a corner,
and b = 0, have the loss of the k-gon whose other features are silent, (n − k)/(6n), and are
critical. They are saddles: features that turn away from each other, into an empty right angle, go
down along a curvature of −2/(3n). Near one, training waits: with displacement δ and step size ε a
feature leaves its corner after about (3n/2ε) log(1/δ) steps. Then the polygon has one corner more.

Here: training from a 2-gon of shared corners, its features displaced by very different amounts, so
that they leave one after another; and which k-gon some weights are, from their columns alone.
Not here: the model, its loss and its regular k-gons (superposition.py); learning coefficients.
Symbols: W weight, b bias, n features, k corners. Dimensions: T checkpoints.
Source: arXiv:2310.06301, k-gons as plateaus of training. Deviation: that trains by SGD; here it is
gradient descent on the expected loss, since the noise of small batches displaces all features at
once, and from shared corners, so that no feature is dead on the way and has to come alive again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from creode.data import Samples
from creode.tasks import Task
from creode.testbeds.superposition import SuperpositionModel, expected_loss
from creode.testbeds.testbed import normal
from creode.training import TrainingConfig, train

SIZEABLE = 0.4  # length from which a column is no idle one; six in one corner have 0.41
APART = math.radians(40)  # neighbours in direction closer than this share a corner

# A displacement is 10^-d times a normal number, d the decades of one feature ± JITTER: BETWEEN
# apart up to the LAST, which must stay below 15, where rounding displaces features too.
FIRST, BETWEEN, LAST = 2.5, 3.5, 13.5
JITTER = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class SuperpositionRun:
    """Checkpoints of one training run, with the expected loss as task and data."""

    task: Task
    data: Samples
    steps: tuple[int, ...]  # (T,)
    weight: Tensor  # W, (T, 2, n)
    bias: Tensor  # b, (T, n)
    loss: Tensor  # expected, nats, (T,)

    @property
    def corners(self) -> tuple[int, ...]:
        """k at every checkpoint."""
        return tuple(num_corners(weight) for weight in self.weight)

    def model(self, checkpoint: int) -> SuperpositionModel:
        """The model at a checkpoint, by its number from 0."""
        return SuperpositionModel(self.weight[checkpoint].clone(), self.bias[checkpoint].clone())


def superposition_run(
    *,
    num_features: int = 6,
    steps: int = 960,
    every: int = 30,
    learning_rate: float = 0.5,
    seed: int = 0,
) -> SuperpositionRun:
    """Train from a 2-gon of shared corners; the same seed gives the same weights.

    Args:
        num_features: n.
        steps: of gradient descent on the expected loss, in float64.
        every: steps from one checkpoint to the next; a feature takes about twice as many as the
            default to move from one corner to another.
        learning_rate: of gradient descent, which diverges from about 2 on.
        seed: of the displacements.

    Raises:
        ValueError: fewer than three features, or checkpoints that do not fit the steps.
        FloatingPointError: training diverged.
    """
    if num_features < 3:
        raise ValueError(f"some corner must be shared: num_features ≥ 3, got {num_features}.")
    if every < 1 or steps < every or steps % every:
        raise ValueError(f"steps must be a multiple of every ≥ 1, got {steps} and {every}.")
    generator = torch.Generator().manual_seed(seed)
    model = shared_polygon(2, num_features=num_features)
    with torch.no_grad():
        model.weight.add_(_displacements(num_features, generator))
    data = Samples(
        columns={"inputs": torch.eye(num_features, dtype=torch.float64)},
        source=f"superposition in training (n={num_features})",
    )
    config = TrainingConfig(
        steps=every, batch_size=num_features, learning_rate=learning_rate, optimizer="SGD"
    )
    models = [model]
    for _ in range(steps // every):  # without momentum there is no state to carry over
        trained = train(models[-1], expected_loss, data, config).model
        assert isinstance(trained, SuperpositionModel)
        models.append(trained)
    losses = [expected_loss(one, data.columns).mean() for one in models]
    return SuperpositionRun(
        task=expected_loss,
        data=data,
        steps=tuple(range(0, steps + 1, every)),
        weight=torch.stack([one.weight for one in models]).detach(),
        bias=torch.stack([one.bias for one in models]).detach(),
        loss=torch.stack(losses).detach(),
    )


def shared_polygon(corners: int, *, num_features: int = 6) -> SuperpositionModel:
    """The regular k-gon whose corners all features share evenly, a saddle; k = 2, 3 or 4, float64.

    Raises:
        ValueError: another k, where features in one corner disturb others, or too few features.
    """
    n = num_features
    if corners not in (2, 3, 4) or n < corners:
        raise ValueError(f"corners must be 2, 3 or 4 and at most n={n} features, got {corners}.")
    corner = torch.arange(n) % corners
    length = 1 / torch.bincount(corner)[corner].to(torch.float64).sqrt()
    angle = 2 * math.pi * corner.to(torch.float64) / corners
    return SuperpositionModel(
        length * torch.stack([angle.cos(), angle.sin()]), torch.zeros(n, dtype=torch.float64)
    )


def num_corners(weight: Tensor) -> int:
    """How many corners the columns of W (2, n) make, up to 8: the k of a k-gon, shared or not.

    Columns shorter than `SIZEABLE` are idle. The others are taken by direction; a gap of at least
    `APART` between neighbours parts two corners. 0 if all are idle.
    """
    used = weight[:, weight.norm(dim=0) >= SIZEABLE]
    if not used.shape[1]:
        return 0
    angle = torch.atan2(used[1], used[0]).sort().values
    gaps = angle.diff(append=angle[:1] + 2 * math.pi)
    return int((gaps >= APART).sum())


def _displacements(n: int, generator: torch.Generator) -> Tensor:
    """(2, n): of every column, each of another order of magnitude.

    Features of the two corners alternate, and so do the features that leave: of three in a corner
    only two can.
    """
    decades = (FIRST + BETWEEN * torch.arange(n, dtype=torch.float64)).clamp(max=LAST)
    jitter = JITTER * (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1)
    return normal(2, n, generator=generator) * 10 ** -(decades + jitter)
