"""Supervised fine-tuning: cross-entropy of the answers' tokens given what came before them.

Here: the check that the labels tell answers from prompts.
Not here: the loss, which is that of next tokens (next_token.py); reading demonstrations (data/).
Dimensions: N samples, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from creode.tasks.next_token import NextToken

if TYPE_CHECKING:
    from creode.data import Samples


@dataclass(frozen=True, kw_only=True)
class SFT(NextToken):
    """ℓ_t = −log p(x_{t+1} | x_1 … x_t) where x_{t+1} is of an answer, nats per token.

    Columns as of `NextToken`, with `labels` that are `ignore_index` outside the answers, as
    `creode.data.load_demonstrations` makes them.
    """

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, what `NextToken` asks, and that answers are marked.

        Raises:
            ValueError: as of `NextToken`; no labels, or a sample without any that counts.
        """
        if "labels" not in samples.columns:
            raise ValueError(
                "SFT needs a column 'labels' that marks the answers; the samples have "
                f"{sorted(samples.columns)}. Read them with creode.data.load_demonstrations, or "
                "use NextToken to count every token."
            )
        super().validate(model, samples)
        asked = (samples.columns["labels"][:, 1:] != self.ignore_index).any(1)
        if not asked.all():
            raise ValueError(
                f"sample {int((~asked).nonzero()[0])} has no answer: all its labels are "
                f"{self.ignore_index}. Leave such samples out."
            )
