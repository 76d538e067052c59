"""Borrow the caller's model: it leaves as it came.

Here: evaluation mode, gradients only where they are asked for, and the restoring of weights,
modes, gradients and buffers whatever happens in between.
Not here: what is done with the model meanwhile (sequential.py, vectorised.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def borrowed(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode and without gradients; restored on leaving."""
    modes = {module: module.training for module in model.modules()}
    weights = {
        parameter: (parameter.data, parameter.grad, parameter.requires_grad)
        for parameter in model.parameters()
    }
    buffers = {buffer: buffer.detach().clone() for buffer in model.buffers()}
    try:
        model.eval()
        for parameter in weights:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield model
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, (data, gradient, requires_grad) in weights.items():
            parameter.grad = None
            parameter.data = data
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for buffer, value in buffers.items():
            buffer.copy_(value)
