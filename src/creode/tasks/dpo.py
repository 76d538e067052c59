"""Direct preference optimisation: the logistic loss of a pair's margin over a reference model.

Here: the loss of a pair.
Not here: log-probabilities under the reference (reference.py), reading pairs (data/preferences.py).
Source: Rafailov et al. 2023, arXiv:2305.18290; smoothed labels as in arXiv:2305.18290's
conservative form.
Symbols: y⁺, y⁻ the chosen and the rejected answer to x, β the strength of the reference.
Dimensions: B pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import nn

from creode.tasks.losses import Batch, Losses
from creode.tasks.next_token import NextToken
from creode.tasks.pairs import SIDES, TOSS, answer_log_probs, check_pairs, side_of

if TYPE_CHECKING:
    from creode.data import Samples

REFERENCE = tuple(f"ref_{side}_logps" for side in SIDES)


@dataclass(frozen=True, kw_only=True)
class DPO:
    """ℓ = −(1 − s) log σ(βΔ) − s log σ(−βΔ), nats per pair.

    Δ = log p(y⁺|x)/p_ref(y⁺|x) − log p(y⁻|x)/p_ref(y⁻|x), and s is `label_smoothing`. Columns as of
    `creode.data.load_preferences`, and `ref_chosen_logps`, `ref_rejected_logps` (B,) of
    `with_reference`.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0  # the share of pairs taken to be labelled the wrong way

    ignorance: ClassVar[float] = TOSS  # nats, that of a model no better than the reference

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"beta must be finite and > 0, got {self.beta!r}.")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing!r}.")

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses (B,) of the batch, every pair counted."""
        chosen, rejected = answer_log_probs(model, batch)
        of_chosen, of_rejected = (batch[name].to(chosen) for name in REFERENCE)
        logit = self.beta * ((chosen - of_chosen) - (rejected - of_rejected))
        values = -F.logsigmoid(logit)
        if self.label_smoothing:
            smooth = self.label_smoothing
            values = (1 - smooth) * values - smooth * F.logsigmoid(-logit)
        return Losses(values, values.new_ones(values.shape).bool())

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, that every pair can be scored by this model.

        Raises:
            ValueError: no pairs, no log-probabilities of a reference, or as of `NextToken`.
        """
        check_pairs(samples, "DPO")
        missing = [name for name in REFERENCE if name not in samples.columns]
        if missing:
            raise ValueError(
                f"DPO compares with a reference model, and the samples have no {missing}: "
                "samples = creode.tasks.with_reference(samples, reference), where reference is the "
                "model that post-training began from."
            )
        for side in SIDES:
            NextToken().validate(model, side_of(samples, side))
