"""Reward models: the Bradley–Terry loss of a pair's difference in reward.

Here: the loss of a pair, from any model that gives one number a sequence.
Not here: giving a language model such a head (scalar_head.py), reading pairs (data/preferences.py).
Source: Bradley and Terry 1952; centred rewards, Eisenstein et al. 2023, arXiv:2312.09244.
Symbols: r⁺, r⁻ the rewards of the chosen and the rejected answer, m a margin.
Dimensions: B pairs, T tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from creode.tasks.checks import untouched
from creode.tasks.forward import predict
from creode.tasks.losses import Batch, Losses
from creode.tasks.pairs import TOSS, as_one_batch, check_pairs, side_of

if TYPE_CHECKING:
    from creode.data import Samples


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """ℓ = −log σ(r⁺ − r⁻ − m) + c (r⁺ + r⁻)², nats per pair.

    m is the column `margin` (B,) where there is one, c is `center`. Columns as of
    `creode.data.load_preferences`. The model gives one number a sequence, (B, 1) or (B,), as
    sequence classifiers of transformers with num_labels=1 and `creode.ScalarHead` do.
    """

    center: float = 0.0  # holds rewards near 0, which pairs leave free

    ignorance: ClassVar[float] = TOSS  # nats, that of equal rewards

    def __post_init__(self) -> None:
        if not (math.isfinite(self.center) and self.center >= 0):
            raise ValueError(f"center must be finite and ≥ 0, got {self.center!r}.")

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses (B,) of the batch, every pair counted."""
        chosen, rejected = self.rewards(model, as_one_batch(batch)).chunk(2)
        margin = batch.get("margin")
        logit = chosen - rejected
        values = -F.logsigmoid(logit if margin is None else logit - margin.to(logit))
        if self.center:
            values = values + self.center * (chosen + rejected) ** 2
        return Losses(values, values.new_ones(values.shape).bool())

    def rewards(self, model: nn.Module, tokens: Batch) -> Tensor:
        """Rewards (B,) of sequences with `input_ids` and `attention_mask` (B, T).

        Raises:
            ValueError: the model gives another shape.
        """
        out = predict(model, "input_ids", tokens)
        size = len(tokens["input_ids"])
        if out.shape not in ((size, 1), (size,)):
            raise ValueError(
                f"the model returned shape {tuple(out.shape)} for {size} sequences; a reward model "
                "gives one number a sequence, (batch, 1). Give a sequence classifier with "
                "num_labels=1, or put a head on a language model: creode.ScalarHead.of(model)."
            )
        return out.view(size).float() if out.dtype in _HALF else out.view(size)

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, that every pair can be scored by this model.

        Raises:
            ValueError: no pairs, a model without one number a sequence, or one that would take
                padding for tokens.
        """
        check_pairs(samples, "RewardModel")
        _check_padding(model, samples)
        first = side_of(samples.select(torch.tensor([0])), "chosen")
        with untouched(model) as place:
            self.rewards(model, place(first.columns))


_HALF = (torch.bfloat16, torch.float16)


def _check_padding(model: nn.Module, samples: Samples) -> None:
    """Classifiers of transformers find the last token by the padding's id, not by the mask."""
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(config, "num_labels"):
        return
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    pad = getattr(text, "pad_token_id", None)
    if pad is None:
        raise ValueError(
            f"{type(model).__name__} has no padding token, by which it finds the end of a "
            "sequence; set model.config.pad_token_id to the tokenizer's."
        )
    for side in ("chosen", "rejected"):
        ids, mask = (samples.columns[f"{side}_{name}"] for name in ("input_ids", "attention_mask"))
        wrong = ids[(mask == 0) & (ids != pad)]
        if len(wrong):
            raise ValueError(
                f"the samples are padded with token {int(wrong[0])} and the model's padding is "
                f"{pad}, so it would read rewards at padding; set model.config.pad_token_id to "
                f"{int(wrong[0])}, or the tokenizer's pad_token to the model's."
            )
