"""What accuracy.py reads: points of models whose learning coefficient is known, or can be computed.

Here: the testbeds by name, each a list of cases by a seed; training the trained ones.
Not here: deep linear shapes (networks.py), reading (methods.py), values at finite nβ and γ
(references.py).
Truths: λ of the limit. `trained` has one only where every factorisation of the true map has the
same: with a map of the rank of the narrowest layer the fibre is a manifold, and λ is half its
codimension wherever training ends. At lower ranks training ends on strata whose λ is not known in
general (the deepest is a set of measure zero), so such networks are left out. `nonlinear` has none:
its readings are compared with exact draws at their own nβ and γ.
Noise on targets leaves the loss of deep linear networks as it is, up to a constant, so it is read
with minibatches only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import cycle, islice, pairwise

import torch
from networks import Shape, shapes

from creode.data import Samples
from creode.testbeds import classifier, normal_crossing, superposition
from creode.testbeds.deep_linear import DeepLinear, DeepLinearModel
from creode.testbeds.testbed import Testbed, normal
from creode.training import TrainingConfig, train

NUM_SAMPLES = 5000  # of what is read with minibatches; n/log n = 587
NOISE = 0.5  # standard deviation of noisy targets, of signals of size 1 to 2
TRAINED_LOSS = 1e-7  # nats, above which training has not arrived


@dataclass(frozen=True, kw_only=True)
class Case:
    """A point to be read."""

    testbed: str
    name: str
    num_weights: int
    make: Callable[[bool], Testbed]  # with exact gradients cheap, or with samples for minibatches
    num_samples: int = NUM_SAMPLES  # n of the n/log n of the literature
    noisy: bool = False  # nothing new with exact gradients
    has_llc: bool = True  # whether λ is known


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which cases of a testbed; sizes are of those that come in sizes."""

    count: int
    least: float
    most: float
    seed: int


def cases(testbed: str, wanted: Wanted) -> list[Case]:
    """The cases of a testbed, the same whenever asked for."""
    return list(islice(TESTBEDS[testbed](wanted), wanted.count))


def _deep_linear(wanted: Wanted, noise: float = 0.0, depth: int | None = None) -> Iterator[Case]:
    name = "reduced-rank" if depth else "deep-linear-noisy" if noise else "deep-linear"
    drawn = shapes(
        wanted.count, least=wanted.least, most=wanted.most, seed=wanted.seed, depth=depth
    )
    for shape in drawn:
        yield Case(
            testbed=name,
            name=_shape_name(shape),
            num_weights=shape.num_weights,
            make=partial(_make_deep_linear, shape, noise),
            noisy=noise > 0,
        )


def _make_deep_linear(shape: Shape, noise: float, exact: bool) -> DeepLinear:
    return shape.make(shape.widths[0] if exact else NUM_SAMPLES, noise)


def _trained(wanted: Wanted) -> Iterator[Case]:
    drawn = shapes(wanted.count, least=wanted.least, most=wanted.most, seed=wanted.seed)
    for shape in drawn:
        full = replace(shape, rank=min(shape.widths))
        yield Case(
            testbed="trained",
            name=_shape_name(full),
            num_weights=full.num_weights,
            make=partial(_make_trained, full),
        )


def _make_trained(shape: Shape, exact: bool) -> Testbed:
    net = _make_deep_linear(shape, 0.0, exact)
    return replace(net, model=copy.deepcopy(_train(shape)))


@cache
def _train(shape: Shape) -> DeepLinearModel:
    """From an initialisation of variance 1/fan-in to a loss of nearly 0.

    Raises:
        ValueError: training did not arrive there.
    """
    net = _make_deep_linear(shape, 0.0, True)
    generator = torch.Generator().manual_seed(shape.seed)
    start = DeepLinearModel(
        [
            normal(*weight.shape, generator=generator) / weight.shape[1] ** 0.5
            for weight in net.model.parameters()
        ]
    )
    data = Samples(columns={name: c.double() for name, c in net.data.columns.items()})
    config = TrainingConfig(
        steps=6000, batch_size=len(data), learning_rate=0.01, optimizer="Adam", schedule="cosine",
        warmup_steps=100, checkpoints=2,
    )  # fmt: skip
    result = train(start, net.task, data, config)
    loss = float(result.losses[-1])
    if not loss < TRAINED_LOSS:
        raise ValueError(f"training ended at a loss of {loss:.2g}, not at a minimum.")
    model = result.model.float()
    assert isinstance(model, DeepLinearModel)
    return model


# Weights that cross alone (m = 1) and together; of at most two weights the law at finite nβ and γ
# is known by quadrature.
CROSSINGS = ((1, 2), (2,), (1, 1), (3,), (2, 2), (1, 3), (1, 1, 2), (3, 3))


def _normal_crossings(wanted: Wanted) -> Iterator[Case]:
    for seed, exponents in enumerate(cycle(CROSSINGS)):
        gradient_scale = 0.1 * (seed % 2)  # noise that stays at w*, of every other one
        yield Case(
            testbed="normal-crossing",
            name=f"{exponents}{' noisy' if gradient_scale else ''}",
            num_weights=len(exponents),
            make=partial(_make_crossing, exponents, gradient_scale, wanted.seed + seed),
        )


def _make_crossing(
    exponents: tuple[int, ...], gradient_scale: float, seed: int, exact: bool
) -> Testbed:
    if exact:
        return normal_crossing(exponents, seed=seed, dtype=torch.float32)
    return normal_crossing(
        exponents, num_samples=NUM_SAMPLES, amplitude_scale=0.5, gradient_scale=gradient_scale,
        seed=seed, dtype=torch.float32,
    )  # fmt: skip


# The smooth critical points of six features in two dimensions, then of others.
POLYGONS = (
    (5, 6, "inactive"), (5, 6, "active"), (6, 6, "inactive"), (5, 5, "inactive"),
    (5, 7, "active"), (6, 7, "active"), (6, 7, "inactive"), (7, 7, "inactive"),
)  # fmt: skip


def _superposition(wanted: Wanted) -> Iterator[Case]:
    for corners, num_features, unused in POLYGONS:
        idle = f", {unused}" if corners < num_features else ""
        yield Case(
            testbed="superposition",
            name=f"{corners} of {num_features}{idle}",
            num_weights=3 * num_features,
            make=partial(_make_superposition, corners, num_features, unused),
        )


def _make_superposition(corners: int, num_features: int, unused: str, exact: bool) -> Testbed:
    whole = NUM_SAMPLES // num_features * num_features
    return superposition(
        corners, num_features=num_features, unused=unused,  # type: ignore[arg-type]
        num_samples=None if exact else whole, dtype=torch.float32,
    )  # fmt: skip


HIDDEN = ((4,), (6,), (8,), (4, 4), (5, 5), (12,))
LEAST_ACCURACY = 0.7  # below, ReLUs died in training


def _nonlinear(wanted: Wanted) -> Iterator[Case]:
    for number, hidden in enumerate(cycle(HIDDEN)):
        widths = (2, *hidden, 3)
        yield Case(
            testbed="nonlinear",
            name=f"ReLU {'-'.join(map(str, widths))}",
            num_weights=sum((a + 1) * b for a, b in pairwise(widths)),
            make=partial(_make_classifier, hidden, wanted.seed + 100 * number),
            num_samples=600,
            has_llc=False,
        )


def _make_classifier(hidden: tuple[int, ...], seed: int, exact: bool) -> Testbed:
    return _classifier(hidden, seed)


@cache
def _classifier(hidden: tuple[int, ...], seed: int) -> Testbed:
    """The first of the seeds that trains; its gradient at w* is that of a real minimum."""
    for attempt in range(100):
        trained = classifier(hidden=hidden, steps=4000, seed=seed + attempt)
        if trained.accuracy > LEAST_ACCURACY:
            return trained
    raise ValueError(f"no network with hidden layers {hidden} could be trained.")


TESTBEDS: dict[str, Callable[[Wanted], Iterator[Case]]] = {
    "deep-linear": _deep_linear,
    "deep-linear-noisy": partial(_deep_linear, noise=NOISE),
    "trained": _trained,
    "reduced-rank": partial(_deep_linear, depth=2),
    "normal-crossing": _normal_crossings,
    "superposition": _superposition,
    "nonlinear": _nonlinear,
}


def _shape_name(shape: Shape) -> str:
    return f"{'-'.join(map(str, shape.widths))} rank {shape.rank}"
