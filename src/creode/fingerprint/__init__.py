"""Fingerprints of models and losses: equal for the same one made again, different otherwise.

A fingerprint is a SHA-256 over what decides the result: code as bytecode, constants, defaults,
closures, helpers, the state of objects, the bytes of tensors. Nothing of the process enters: no
addresses, no order of sets, no device, no file names. Bytecode belongs to a minor version of
Python, so fingerprints compare within one.

Here: the two public functions.
Not here: how values (digester.py), code (code.py) and modules (modules.py) are taken apart; the
fingerprint of data (creode.data).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from creode.fingerprint.digester import Digester


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model as it stands: classes, forward code, settings, parameters and buffers.

    The mode (train or eval), the device and requires_grad do not enter. Objects inside a module
    that cannot be taken apart enter by their class alone.

    Raises:
        TypeError: not a module.
        ValueError: a parameter or buffer without data (on the meta device).
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    return Digester(lenient=True).digest(model, "model").hex()


def task_fingerprint(task: Callable[..., Any]) -> str:
    """SHA-256 of a loss: a dataclass, function, lambda, closure, partial or callable object.

    Functions and classes it uses are followed wherever they are not part of an installed library;
    those of libraries enter by their name.

    Raises:
        TypeError: not callable, or it holds an object whose state cannot be read, so that two
            different losses could not be told apart; names the way to it.
    """
    if not callable(task):
        raise TypeError(
            f"task must be a callable (model, batch) -> losses, got {type(task).__name__}."
        )
    return Digester(lenient=False).digest(task, getattr(task, "__name__", "task")).hex()


__all__ = ["model_fingerprint", "task_fingerprint"]
