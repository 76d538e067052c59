"""Classification: cross-entropy of a label under the model's logits.

Here: −log softmax(f(x))_y per sample, for plain classifiers and Hugging Face sequence classifiers.
Not here: the model's call (forward.py), checks before sampling that hold for any task (checks.py).
Dimensions: B samples of a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from creode.tasks.checks import untouched
from creode.tasks.cross_entropy import cross_entropy
from creode.tasks.forward import predict
from creode.tasks.losses import Batch, Losses

if TYPE_CHECKING:
    from creode.data import Samples

INPUTS = ("inputs", "input_ids", "pixel_values")
LABELS = ("targets", "labels")


@dataclass(frozen=True, kw_only=True)
class Classification:
    """ℓ(x, y) = −log softmax(f(x))_y, nats per sample.

    Columns: `inputs`, `input_ids` or `pixel_values` for the model (with any further column its
    forward names, such as `attention_mask`), and `targets` or `labels` (B,), integers in 0..K−1.
    """

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses (B,) of the batch, every sample counted."""
        logits, labels = self.logits(model, batch), batch[_first(LABELS, batch)].long()
        values = cross_entropy(logits, labels)
        return Losses(values, values.new_ones(values.shape).bool())

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's logits, (B, K).

        Raises:
            ValueError: they have another shape.
        """
        main = _first(INPUTS, batch)
        logits = predict(model, main, batch)
        if logits.ndim != 2 or len(logits) != len(batch[main]):
            raise ValueError(
                f"the model returned logits of shape {tuple(logits.shape)} for {len(batch[main])} "
                "samples; Classification needs (batch, classes). For tokens use NextToken."
            )
        return logits

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, that every label is a class of the model.

        Raises:
            ValueError: a column missing, labels that are not one integer per sample, or one
                outside 0..K−1.
        """
        _first(INPUTS, samples.columns)
        name = _first(LABELS, samples.columns)
        labels = samples.columns[name]
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"column {name!r} has shape {tuple(labels.shape)} and dtype {labels.dtype}; "
                "give one integer class per sample, shape (samples,)."
            )
        with untouched(model) as place:
            classes = self.logits(model, place(samples.batch(torch.tensor([0])))).shape[1]
        wrong = ((labels < 0) | (labels >= classes)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"the label of sample {row} is {int(labels[row])}, and the model has the classes "
                f"0..{classes - 1}; renumber the labels or give the model more outputs."
            )


def _first(names: tuple[str, ...], columns: Mapping[str, Tensor]) -> str:
    for name in names:
        if name in columns:
            return name
    raise ValueError(
        f"Classification needs one of the columns {', '.join(names)}; got {sorted(columns)}."
    )
