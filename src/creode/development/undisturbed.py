"""Reading a model in the middle of its training without the training noticing.

Here: what training depends on, put back bit for bit: weights and buffers, where they lie, their
gradients, which are trained, modes, and every global random state.
Not here: when to read (saving.py), what is read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module, seed: int) -> Iterator[None]:
    """Inside, the model may be evaluated, sampled, moved or changed; afterwards it is as before.

    Random numbers inside follow `seed` alone, so that a reading can be repeated by itself. All
    weights are copied once, where they are.
    """
    modules = [
        (module, module.training, dict(module._parameters), dict(module._buffers))
        for module in model.modules()
    ]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    gradients = [grad.detach().clone() if grad is not None else None for _, _, grad in parameters]
    held = [(t, t.data, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]
    state = random_state()
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        with torch.enable_grad():
            for parameter, _, _ in parameters:
                parameter.grad = None  # so that a gradient inside does not add to one outside
            yield
    finally:
        for module, training, own_parameters, own_buffers in modules:
            module.training = training
            module._parameters.clear()
            module._parameters.update(own_parameters)
            module._buffers.clear()
            module._buffers.update(own_buffers)
        with torch.no_grad():
            for tensor, place, values in held:
                tensor.data = place
                tensor.copy_(values)
            for (parameter, trained, grad), kept in zip(parameters, gradients, strict=True):
                parameter.requires_grad_(trained)
                if grad is not None and kept is not None:
                    grad.copy_(kept)
                parameter.grad = grad
        set_random_state(state)


def random_state() -> dict[str, Any]:
    """The global random states of torch, numpy and Python, as plain values and tensors."""
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, *rest = state["numpy"]
    own: Tensor = keys
    np.random.set_state(("MT19937", own.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
