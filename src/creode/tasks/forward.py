"""What a model is given of a batch, and where its prediction is read.

Here: one forward call for plain modules, Hugging Face models and TransformerLens models alike,
decided from the signature of the model's forward.
Not here: losses (one task per file), moving batches between devices (sampling/).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

TARGETS = frozenset({"labels", "targets"})  # never shown to the model: the task compares with them


class Accepted(NamedTuple):
    """The named parameters of a forward, and whether it takes any further ones."""

    names: frozenset[str]
    open: bool


def predict(model: nn.Module, main: str, columns: Mapping[str, Tensor]) -> Tensor:
    """The model's prediction from the column `main` and every other column its forward names.

    `main` goes in by name where the forward has that name and first otherwise. Targets stay out,
    and no cache of keys and values is built. The prediction is the tensor that comes back, its
    `.logits`, or the first of a tuple.
    """
    accepted = accepted_by(model)
    given: dict[str, Any] = {
        name: column
        for name, column in columns.items()
        if name in accepted.names and name not in TARGETS and name != main
    }
    if _takes_cache(model, accepted):
        given["use_cache"] = False
    if main in accepted.names:
        given[main] = columns[main]
        return _prediction(model(**given), model)
    return _prediction(model(columns[main], **given), model)


def accepted_by(model: nn.Module) -> Accepted:
    """What the model's forward takes; a compiled or parallel wrapper is looked through."""
    accepted = _parameters(model.forward)
    while accepted.open and not accepted.names:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            break
        model, accepted = inner, _parameters(inner.forward)
    return accepted


def _parameters(forward: Callable[..., Any]) -> Accepted:
    return _parameters_of(getattr(forward, "__func__", forward))


@lru_cache(maxsize=128)
def _parameters_of(function: Callable[..., Any]) -> Accepted:
    parameters = inspect.signature(function).parameters.values()
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = frozenset(p.name for p in parameters if p.kind not in fixed) - {"self"}
    return Accepted(names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters))


def _takes_cache(model: nn.Module, accepted: Accepted) -> bool:
    if "use_cache" in accepted.names:
        return True
    return accepted.open and hasattr(getattr(model, "config", None), "use_cache")


def _prediction(output: Any, model: nn.Module) -> Tensor:
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "logits", None)
    if found is None and isinstance(output, Mapping):
        found = output.get("logits")
    if found is None and isinstance(output, tuple) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise TypeError(
            f"{type(model).__name__} returned {type(output).__name__} without logits; its forward "
            "must return a tensor, an object with .logits, or a tuple that begins with the tensor. "
            "For anything else write the task as a callable (model, batch) -> losses."
        )
    return found


def full_precision(prediction: Tensor) -> torch.dtype | None:
    """The dtype a loss is taken in: float32 for half precisions, None to keep what came."""
    return torch.float32 if prediction.dtype in (torch.bfloat16, torch.float16) else None
