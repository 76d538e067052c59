"""Record a tensor function once as a flat list of operations, and run that instead.

For small models a step is mostly bookkeeping: function transforms, autograd's tape, views. A traced
function has none of it and computes the same numbers.

Here: trace, drop operations that change nothing, check against the function on other inputs.
Not here: what is traced (vectorised.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

logger = logging.getLogger(__name__)

TensorFunction = Callable[..., tuple[Tensor, ...]]


class TracingError(RuntimeError):
    """The traced function does not reproduce the original on other inputs."""


def trace(
    function: TensorFunction, inputs: Sequence[Tensor], others: Sequence[Tensor]
) -> TensorFunction:
    """The traced form of a function, checked on inputs it was not traced with.

    Raises:
        TracingError: it differs there, as when the function branches on values.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    module = make_fx(function)(*inputs)
    _simplify(module)
    for given in (inputs, others):
        with torch.no_grad():
            traced = module(*given)
        for expected, got in zip(function(*given), traced, strict=True):
            if expected.shape != got.shape or not torch.allclose(
                expected, got, rtol=1e-4, atol=1e-6, equal_nan=True
            ):
                raise TracingError("the traced loss differs from the loss on another batch.")

    @torch.no_grad()
    def run(*args: Tensor) -> tuple[Tensor, ...]:
        return tuple(module(*args))

    return run


def _simplify(module: fx.GraphModule) -> None:
    """Drop detaches and the expands and views that keep the shape."""
    aten = torch.ops.aten
    same_shape = {aten.expand.default, aten.view.default, aten._unsafe_view.default}
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        drop = node.target is aten.detach.default
        if node.target in same_shape:
            before, after = source.meta.get("val"), node.meta.get("val")
            drop = before is not None and after is not None and before.shape == after.shape
        if drop:
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
