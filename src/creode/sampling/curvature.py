"""The curvature of the loss at w* as a reading: its largest eigenvalue and its trace.

Here: both, from gradients at the weights that a posterior's component leaves free.
Not here: products with the Hessian (landscape.py), curvature as a bound for steps (pilot.py).
Symbols: H = ∇²L over the free weights, P of them.
Accuracy: of a batch of samples, the same at every checkpoint of a series with the same data; what
other samples would give is not in the error. Gradients are differenced over |w*|/10⁴, and not
differentiated: fused attention has no second derivative. In float32 that leaves about a thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from creode.posterior import LocalPosterior
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.flat import FlatWeights
from creode.sampling.landscape import Landscape
from creode.sampling.schedule import Execution
from creode.sampling.unit import on_device

SAMPLES = 128  # of the data, at most, that the Hessian is of
VECTORS = 32  # of random signs
DISPLACEMENT = 1e-4  # of |w*|
TOLERANCE = 1e-3  # of the largest eigenvalue
KEPT, MOST_RESTARTS = 16, 40  # vectors as long as the free weights, in float64; of Lanczos' method

Array = NDArray[np.float64]


class Curvature(NamedTuple):
    """Curvature at w*, nats/weight²."""

    largest: float  # eigenvalue of H, with its sign; NaN where Lanczos' method did not settle
    trace: float  # tr H
    trace_se: float  # over the vectors of signs


def weight_norm(posterior: LocalPosterior) -> float:
    """|w*| over the weights that the posterior leaves free."""
    flat = FlatWeights(posterior.model, posterior.selection())
    pieces = (piece.double().square().sum() for piece in flat.anchor(0, flat.size))
    return math.sqrt(float(sum(pieces)))


def curvature(
    posterior: LocalPosterior,
    execution: Execution | None = None,
    *,
    samples: int = SAMPLES,
    vectors: int = VECTORS,
    seed: int = 0,
) -> Curvature:
    """The largest eigenvalue and the trace of the Hessian of the posterior's loss at w*.

    Args:
        posterior: model, task, data and component; its nβ and γ are not used.
        execution: device, precision, and samples at once.
        samples: of the data, at random, that the loss is taken on.
        vectors: of random signs for the trace, at least two; its error falls as their root.
        seed: of samples and vectors.
    """
    if vectors < 2:
        raise ValueError(f"the error of a trace needs at least 2 vectors, got {vectors}.")
    execution = execution or Execution()
    placed = on_device(posterior, execution.device)
    size = min(samples, len(placed.data))
    reach = 20 * DISPLACEMENT * (weight_norm(placed) or 1.0)  # a landscape steps a twentieth
    flat = FlatWeights(placed.model, placed.selection())
    with borrowed(placed.model):
        block = make_block(placed, flat, execution, mode="sequential", chains=1)
        landscape = Landscape(block, placed.data, size, seed)

        def product(vector: Array) -> Array:
            unit = torch.from_numpy(vector).to(block.position)[None]
            return landscape.product(unit, reach)[0].double().cpu().numpy()

        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (vectors, flat.size))
        traces = [float(z @ product(z / math.sqrt(flat.size))) for z in signs]
        largest = _largest(product, signs[0])
    error = float(np.std(traces, ddof=1)) / math.sqrt(vectors)
    return Curvature(
        largest, math.sqrt(flat.size) * float(np.mean(traces)), math.sqrt(flat.size) * error
    )


def _largest(product: Callable[[Array], Array], start: Array) -> float:
    """The largest eigenvalue by Lanczos' method with restarts, to TOLERANCE of its size."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    size = len(start)
    first = product(start / np.linalg.norm(start))
    if size == 1:
        return float(first[0])
    if not first.any():
        return 0.0

    def unit_product(vector: Array) -> Array:
        norm = float(np.linalg.norm(vector))
        return norm * product(vector.ravel() / (norm or 1.0))

    operator = LinearOperator((size, size), matvec=unit_product, dtype=np.float64)
    try:
        found = eigsh(
            operator, k=1, which="LA", v0=start, ncv=min(size, KEPT), tol=TOLERANCE,
            maxiter=MOST_RESTARTS, return_eigenvectors=False,
        )  # fmt: skip
    except ArpackNoConvergence:
        return math.nan
    return float(found[0])
