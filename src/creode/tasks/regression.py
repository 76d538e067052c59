"""Regression: the negative log-likelihood of a Gaussian around the prediction, up to its constant.

Here: ‖y − f(x)‖²/(2σ²) per sample.
Not here: the model's call (forward.py), checks before sampling that hold for any task (checks.py).
Dimensions: B samples of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from creode.tasks.forward import full_precision, predict
from creode.tasks.losses import Batch, Losses

if TYPE_CHECKING:
    from creode.data import Samples


@dataclass(frozen=True, kw_only=True)
class Regression:
    """ℓ(x, y) = ‖y − f(x)‖²/(2σ²), nats: −log N(y; f(x), σ²I) without its constant.

    Columns: `inputs` (B, ...) and `targets` (B, ...) of the prediction's shape. The norm is over
    everything but the batch.
    """

    variance: float = 1.0  # σ²

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise ValueError(f"variance must be a finite number > 0, got {self.variance!r}.")

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses (B,) of the batch, every sample counted."""
        prediction, targets = predict(model, "inputs", batch), batch["targets"]
        if prediction.shape != targets.shape:
            raise ValueError(
                f"the model's prediction has shape {tuple(prediction.shape)} and the targets "
                f"{tuple(targets.shape)}; give both the same shape, since broadcasting would "
                "compare each sample with every other."
            )
        dtype = full_precision(prediction)
        error = targets - (prediction if dtype is None else prediction.to(dtype))
        values = error.square().flatten(1).sum(1) if error.ndim > 1 else error.square()
        values = values / (2 * self.variance)
        return Losses(values, values.new_ones(values.shape).bool())

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, that the columns are there and the targets finite."""
        for name in ("inputs", "targets"):
            if name not in samples.columns:
                raise ValueError(
                    f"Regression needs a column {name!r}; the samples have "
                    f"{sorted(samples.columns)}. Give a pair (inputs, targets)."
                )
        wrong = (~samples.columns["targets"].isfinite()).nonzero()
        if len(wrong):
            raise ValueError(
                f"the target of sample {int(wrong[0, 0])} is not finite; leave such samples out."
            )
