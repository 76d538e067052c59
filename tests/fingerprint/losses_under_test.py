"""Losses and models of every kind, made again and again to compare their fingerprints."""

from __future__ import annotations

import enum
import functools
import json
import logging
import re
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from creode.fingerprint import model_fingerprint, task_fingerprint
from creode.tasks import Losses

SCALE = 0.5
NAMES = {"alpha", "beta", "gamma", "delta"}
LOG = logging.getLogger("losses")
Pair = namedtuple("Pair", "a b")


class Mode(enum.Enum):
    SUM = 1
    MEAN = 2


def helper(x: Any) -> Any:
    return x * SCALE if "alpha" in NAMES else x


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


@dataclass(frozen=True, kw_only=True)
class Weighted:
    beta: float = 0.1
    mode: Mode = Mode.SUM
    names: frozenset[str] = field(default_factory=lambda: frozenset(NAMES))

    def __call__(self, model: nn.Module, batch: Any) -> Losses:
        LOG.debug("loss")
        values = helper(model(batch["x"])) * self.beta
        return Losses(values, torch.ones_like(values).bool())

    @functools.cached_property
    def large(self) -> list[int]:
        return list(range(9))


class Stateful:
    def __init__(self, **state: Any) -> None:
        self.__dict__ |= state

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        return model(batch["x"])

    def method(self, model: nn.Module, batch: Any) -> Any:
        return self(model, batch)


class Net(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.activation = F.gelu
        self.last = nn.Linear(width, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return helper(self.norm(self.last(self.activation(self.first(x)))))


def net(width: int = 3) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(width)


def closure(value: Any) -> Any:
    def loss(model: nn.Module, batch: Any) -> Any:
        return model(batch["x"]) - value

    return loss


def same_everywhere() -> dict[str, str]:
    """Fingerprints of new objects; every kind of value appears."""
    values = {
        "tensor": torch.arange(5.0),
        "bfloat16": torch.ones(2).bfloat16(),
        "array": np.arange(4),
        "text": np.array(["a", None], dtype=object),
        "set": set(NAMES),
        "set of functions": {even, odd, helper},
        "nested": {"a": [1, (2.0, None)], "b": {3: b"x"}},
        "ordered": OrderedDict(b=1, a=2),
        "pair": Pair(1, 2),
        "enum": Mode.MEAN,
        "pattern": re.compile("a+", re.I),
        "path": Path("a") / "b",
        "module": net(),
        "loss module": nn.CrossEntropyLoss(label_smoothing=0.1),
        "generator": torch.Generator().manual_seed(3),
        "function": helper,
        "recursive": even,
        "lambda": lambda x: x in {"p", "q", "r"},
        "partial": functools.partial(helper, x=3),
        "cached": functools.lru_cache(helper),
        "bound": Stateful(a=1).method,
        "builtin": torch.exp,
        "library": F.mse_loss,
        "class": Weighted,
        "instance": Stateful(b=2, a=NAMES),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "range": range(3),
        "slice": slice(1, None),
    }
    prints = {name: task_fingerprint(closure(value)) for name, value in values.items()}
    prints["task"] = task_fingerprint(Weighted())
    prints["model"] = model_fingerprint(net())
    return prints


def main() -> None:
    """Print them as JSON."""
    print(json.dumps(same_everywhere()))
