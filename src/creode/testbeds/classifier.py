"""A small ReLU classifier, trained in seconds on generated points in the plane.

Here: overlapping Gaussian clusters or noisy spirals, a network trained on them by full-batch Adam,
and the symmetry every ReLU network has.
Not here: a closed form for λ (none is known); training with checkpoints (training.py).
What is known: rescaling a hidden unit's inputs by c and its outputs by 1/c changes no output, so
any reading that depends on the function alone must not move.
Dimensions: B samples of a batch, D features, K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Classification
from creode.testbeds.testbed import Testbed, normal

Shape = Literal["clusters", "spirals"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier(Testbed):
    """A trained classifier; `llc` and `multiplicity` are None."""

    accuracy: float  # share of the data classified rightly
    init_loss: float  # L(w*), nats per sample
    gradient_norm: float  # ‖∇L(w*)‖: how far w* is from a critical point


class ReluClassifier(nn.Module):
    """Linear layers with ReLUs between; parameters `layers.0.weight`, `layers.0.bias`, …"""

    def __init__(self, widths: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(before, after, dtype=dtype, device="meta").to_empty(device="cpu")
            for before, after in pairwise(widths)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits (B, K) for inputs (B, D)."""
        hidden = inputs
        for depth, layer in enumerate(self.layers):
            hidden = layer(hidden.relu() if depth else hidden)
        return hidden


def classifier(
    shape: Shape = "clusters",
    *,
    hidden: Sequence[int] = (16, 16),
    num_classes: int = 3,
    num_samples: int = 600,
    steps: int = 1500,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Classifier:
    """Train a ReLU classifier on points in the plane; the same seed gives the same weights.

    The classes overlap, so that the loss keeps a minimum at finite weights instead of falling for
    ever as they grow. The learning rate falls to zero along a cosine.

    Args:
        shape: Gaussian clusters on a circle, or interleaved spirals with noise.
        hidden: widths of the hidden layers.
        num_classes: K ≥ 2; classes are balanced up to one sample.
        num_samples: N ≥ K.
        steps: full-batch Adam steps.
        seed: of the points and the initial weights.
        dtype: of the weights and the data.

    Raises:
        ValueError: an unknown shape, or a count out of range.
    """
    if shape not in ("clusters", "spirals"):
        raise ValueError(f"shape must be 'clusters' or 'spirals', got {shape!r}.")
    if num_classes < 2 or num_samples < num_classes or steps < 1 or min(hidden, default=1) < 1:
        raise ValueError(
            "needed: num_classes ≥ 2, num_samples ≥ num_classes, steps ≥ 1 and hidden widths ≥ 1; "
            f"got {num_classes}, {num_samples}, {steps} and {tuple(hidden)}."
        )
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_samples) % num_classes
    points = _clusters if shape == "clusters" else _spirals
    inputs = points(labels, num_classes, generator).to(dtype)
    model = ReluClassifier((2, *hidden, num_classes), dtype)
    _initialise(model, generator)
    data = Samples(
        columns={"inputs": inputs, "targets": labels},
        source=f"classifier({shape}, seed={seed})",
        domain=labels,
        domain_names=tuple(f"class {c}" for c in range(num_classes)),
    )
    task = Classification()
    batch = data.batch(torch.arange(num_samples))
    _train(model, task, batch, steps)

    loss = task(model, batch).values.mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        right = model(inputs).argmax(1) == labels
    return Classifier(
        model=model,
        task=task,
        data=data,
        llc=None,
        multiplicity=None,
        accuracy=float(right.double().mean()),
        init_loss=float(loss.detach()),
        gradient_norm=float(torch.cat([g.flatten() for g in gradients]).norm()),
    )


def rescaled(model: ReluClassifier, layer: int, factors: Tensor) -> ReluClassifier:
    """A copy with the inputs of each hidden unit of `layer` times c > 0 and its outputs over c.

    Args:
        model: left as it came.
        layer: index of the layer whose outputs are the hidden units; not the last.
        factors: c, one per hidden unit.

    Raises:
        ValueError: no such hidden layer, or factors not positive or not one per unit.
    """
    if not 0 <= layer < len(model.layers) - 1:
        raise ValueError(f"layer {layer} is not hidden; choose one of 0..{len(model.layers) - 2}.")
    twin = copy.deepcopy(model)
    into, out = twin.layers[layer], twin.layers[layer + 1]
    assert isinstance(into, nn.Linear)
    assert isinstance(out, nn.Linear)
    if factors.shape != (into.out_features,) or not bool((factors > 0).all()):
        raise ValueError(
            f"factors of shape {tuple(factors.shape)} must be positive, one for each of the "
            f"{into.out_features} units of layer {layer}."
        )
    with torch.no_grad():
        into.weight.mul_(factors[:, None])
        into.bias.mul_(factors)
        out.weight.div_(factors)
    return twin


def _clusters(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """Unit Gaussians around corners 1.5 apart from the origin: neighbours overlap."""
    angle = 2 * math.pi * labels.double() / num_classes
    centers = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return centers + normal(len(labels), 2, generator=generator)


def _spirals(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """Arms of three quarters of a turn, radius 0.3 to 2, with noise a quarter of their distance."""
    along = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    angle = 2 * math.pi * labels.double() / num_classes + 1.5 * math.pi * along
    radius = 0.3 + 1.7 * along
    arms = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return arms + 0.25 * normal(len(labels), 2, generator=generator)


def _initialise(model: ReluClassifier, generator: torch.Generator) -> None:
    """Gaussian weights of variance 2/fan-in (He et al., arXiv:1502.01852), biases zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
            else:
                drawn = normal(*parameter.shape, generator=generator)
                parameter.copy_(drawn * (2 / parameter.shape[1]) ** 0.5)


def _train(
    model: ReluClassifier, task: Classification, batch: dict[str, Tensor], steps: int
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        task(model, batch).values.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
