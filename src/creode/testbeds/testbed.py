"""What every testbed hands out: a model at w*, the loss it is judged by, data, and the truth.

Here: the common record, and random numbers that do not depend on the dtype.
Not here: particular testbeds (one file each; each extends the record with its own truths).
Symbols: w* the weights the model holds, λ the learning coefficient, m its multiplicity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Testbed:
    """A model with a known truth and everything a local posterior needs.

    Sampling with a batch of `len(data)` uses exact gradients; a smaller batch, noisy ones.
    """

    __test__: ClassVar[bool] = False  # the name starts with Test; it is no test case

    model: nn.Module  # holds w*
    task: Task  # (model, batch) -> losses (B,), nats
    data: Samples
    llc: float | None  # λ at w*, in the limit nβ → ∞; None where no closed form is known
    multiplicity: int | None  # m, the order of the pole at −λ; None where λ is


def normal(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers from `generator`, drawn in float64 whatever the dtype returned."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
