"""How a model is trained: optimiser, schedule, batch size, steps, and which steps are kept.

Here: the configuration, which checks itself, the learning rate of each step.
Not here: the loop (loop.py), the batches (order.py), steps with equal ratios (steps.py).
Symbols: s a step, counted from 0; checkpoint s holds w_s, so 0 is the start and `steps` the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from creode.training.steps import log_spaced


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained; with the model, the task and the data it fixes the result."""

    steps: int
    batch_size: int  # samples
    learning_rate: float  # at its highest
    seed: int = 0  # of batch order and dropout; the model brings its own weights
    optimizer: str = "AdamW"  # a class of torch.optim
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)  # apart from lr
    schedule: Literal["constant", "cosine", "linear"] = "constant"  # after warm-up, down to 0
    warmup_steps: int = 0  # steps of linear growth of the learning rate
    clip_norm: float | None = None  # highest norm of the gradient
    checkpoints: int | tuple[int, ...] = 20  # how many, log-spaced, or the steps themselves
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("warmup_steps", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number ≥ {least}, got {value!r}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be finite and > 0, got {self.learning_rate!r}.")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be > 0, or None for no clipping: {self.clip_norm!r}.")
        if self.schedule not in ("constant", "cosine", "linear"):
            raise ValueError(
                f"schedule {self.schedule!r} is not one of 'constant', 'cosine', 'linear'."
            )
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} must be below steps {self.steps}: "
                "the learning rate would never be reached."
            )
        if not isinstance(self.checkpoints, int):
            object.__setattr__(self, "checkpoints", tuple(self.checkpoints))
        self.checkpoint_steps()
        self.build_optimizer([nn.Parameter(torch.zeros(1, 1))])
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"device {self.device!r} is none of torch's: {error}") from error

    def build_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over `parameters`."""
        kind = getattr(torch.optim, self.optimizer, None)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)) or kind in (
            torch.optim.Optimizer,
            torch.optim.LBFGS,
        ):
            raise ValueError(
                f"optimizer {self.optimizer!r} is not a one-gradient-a-step class of torch.optim, "
                "such as 'AdamW', 'Adam', 'SGD'."
            )
        try:
            return kind(parameters, lr=self.learning_rate, **self.optimizer_options)  # type: ignore[call-arg]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"optimizer_options {dict(self.optimizer_options)} do not suit "
                f"torch.optim.{self.optimizer}: {error}."
            ) from error

    def checkpoint_steps(self) -> list[int]:
        """Steps whose weights are kept, ascending."""
        if isinstance(self.checkpoints, int):
            return log_spaced_steps(self.steps, self.checkpoints)
        steps = list(self.checkpoints)
        if (
            not steps
            or not 0 <= steps[0] <= steps[-1] <= self.steps
            or any(a >= b for a, b in pairwise(steps))
        ):
            raise ValueError(
                f"checkpoints {steps} must be ascending steps between 0 and {self.steps}."
            )
        return steps

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of the move from w_s to w_{s+1}."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "linear":
                return self.learning_rate * (1 - done)
            case "cosine":
                return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


def log_spaced_steps(total: int, count: int) -> list[int]:
    """`count` steps from 0 to `total` with equal ratios from 1 on, as far as whole numbers allow.

    Both ends are in; early steps that would coincide move up to the next free one. Fewer than
    `count` come back only if there are fewer steps.
    """
    if count < 2 or total < 1:
        raise ValueError(
            f"at least 2 steps (the first and the last) of at least 1 are needed, "
            f"got count={count}, total={total}."
        )
    if min(count, total + 1) == 2:
        return [0, total]
    return log_spaced(1, total, count - 1, zero=True)
