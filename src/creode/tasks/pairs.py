"""Both answers of a pair in one call of a model.

Here: the columns of a pair, its sides as one batch, log-probabilities of the answers, the loss of a
toss.
Not here: losses of pairs (dpo.py, reward.py), reading pairs (data/preferences.py).
Dimensions: B pairs, T tokens of a prompt with its answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from creode.tasks.losses import Batch
from creode.tasks.next_token import NextToken

if TYPE_CHECKING:
    from creode.data import Samples

SIDES = ("chosen", "rejected")
TOSS = math.log(2)  # nats, the loss of a pair of whose order nothing is known
TOKENS = ("input_ids", "attention_mask", "labels")


def as_one_batch(batch: Batch) -> dict[str, Tensor]:
    """The chosen answers, then the rejected ones: columns without the side's name, (2B, T)."""
    names = [name for name in TOKENS if f"{SIDES[0]}_{name}" in batch]
    return {name: torch.cat([batch[f"{side}_{name}"] for side in SIDES]) for name in names}


def answer_log_probs(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """log p(answer | prompt) of the chosen and the rejected answers, each (B,), nats."""
    chosen, rejected = (-NextToken()(model, as_one_batch(batch)).total).chunk(2)
    return chosen, rejected


def check_pairs(samples: Samples, task: str) -> None:
    """Refuse samples that are no pairs of one form.

    Raises:
        ValueError: a column missing, or sides of different shapes.
    """
    columns = samples.columns
    wanted = [f"{side}_{name}" for side in SIDES for name in TOKENS]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(
            f"{task} needs the columns {', '.join(missing)}; the samples have {sorted(columns)}. "
            "Read pairs with creode.data.load_preferences."
        )
    shapes = {tuple(columns[name].shape) for name in wanted}
    if len(shapes) > 1:
        raise ValueError(
            f"the columns {', '.join(wanted)} have the shapes {sorted(shapes)}; pad both answers "
            "to one length."
        )


def side_of(samples: Samples, side: str) -> Samples:
    """One side of the pairs as samples of tokens."""
    from creode.data import Samples as Made

    columns = {name: samples.columns[f"{side}_{name}"] for name in TOKENS}
    return Made(columns=columns, source=f"{samples.source}, {side} answers")
