"""Cross-entropy per unit from logits, with as few copies of large logits as it takes.

A language model's logits are its largest activation: 32 × 128 tokens over 50,000 words are 0.8 GB.
The gradient of −log softmax is written over the log-probabilities, which spares two copies.

Here: −log softmax(z)_y for every unit, and its gradient.
Not here: where logits and targets come from (next_token.py, classification.py).
Dimensions: N units, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from creode.tasks.forward import full_precision

LARGE = 1 << 22  # logits above which copies are spared; a second backward pass is then an error


def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """−log softmax(logits)_target, (N,), nats; 0 where the target (N,) is `ignore_index`.

    Logits (N, K) in a lower precision are taken to float32 first. Equal to
    `torch.nn.functional.cross_entropy(..., reduction="none")`, gradient included.
    """
    dtype = full_precision(logits)
    if logits.numel() < LARGE:
        log_probs = F.log_softmax(logits, -1, dtype=dtype)
        return F.nll_loss(log_probs, targets, ignore_index=ignore_index, reduction="none")
    full = logits if dtype is None else logits.to(dtype)
    values: Tensor = _InPlace.apply(full, targets, ignore_index)[0]  # type: ignore[no-untyped-call]
    return values


class _InPlace(torch.autograd.Function):
    """The same, where the backward pass turns the log-probabilities into the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, targets: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        log_probs = F.log_softmax(logits, -1)
        return (
            F.nll_loss(log_probs, targets, ignore_index=ignore_index, reduction="none"),
            log_probs,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, targets, ctx.ignore_index = inputs
        _, log_probs = output
        ctx.mark_non_differentiable(log_probs)
        ctx.save_for_backward(log_probs, targets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        log_probs, targets = ctx.saved_tensors
        counts = targets != ctx.ignore_index
        weight = torch.where(counts, gradients[0], 0.0)[:, None]
        chosen = torch.where(counts, targets, 0)[:, None]
        gradient = log_probs.exp_().mul_(weight)
        return gradient.scatter_add_(1, chosen, -weight), None, None
