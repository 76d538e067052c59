"""Record a tensor function once as a flat list of operations, and run that instead.

For small models a step is mostly bookkeeping: function transforms, autograd's tape, views. A traced
function has none of it and computes the same numbers.

Here: trace, simplify, check against the function on other inputs.
Not here: what is traced (vectorised.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

logger = logging.getLogger(__name__)
aten = torch.ops.aten

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
    module = operations(function, inputs)
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


def operations(function: TensorFunction, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """The operations of a function on inputs of these shapes, and no more of them than it takes.

    What no input changes is computed once, what changes nothing is dropped, and transposed copies
    are spared.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    module = make_fx(function)(*inputs)
    if not any(_writes(node) for node in module.graph.nodes):
        _fold_constants(module)
    _drop_idle(module)
    _transpose_early(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _writes(node: fx.Node) -> bool:
    """Whether an operation writes into an argument, or differs from call to call."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return node.target._schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags


def _fold_constants(module: fx.GraphModule) -> None:
    """Replace what depends on the shapes of the inputs alone by its value."""
    of_shape = {aten.new_ones, aten.new_zeros, aten.new_full, aten.ones_like, aten.zeros_like}
    of_shape |= {aten.full_like}
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and isinstance(node.target, str):
            values[node] = module.get_buffer(node.target) if _is_buffer(module, node) else None
            continue
        if node.op != "call_function":
            continue
        overload = node.target
        packet = getattr(overload, "overloadpacket", None)
        if packet in of_shape and isinstance(node.args[0], fx.Node):
            stand_in = node.args[0].meta["val"]
            like = torch.empty(stand_in.shape, dtype=stand_in.dtype, device=stand_in.device)
            values[node] = overload(like, *node.args[1:], **node.kwargs)
        elif all(values.get(source) is not None for source in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = overload(*args, **kwargs)
    for number, (node, value) in enumerate(values.items()):
        outside = any(values.get(user) is None for user in node.users)
        if node.op != "call_function" or not outside or not isinstance(value, Tensor):
            continue
        name = f"folded_{number}"
        module.register_buffer(name, value)
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant)


def _drop_idle(module: fx.GraphModule) -> None:
    """Drop detaches, first powers, factors of 1, and expands and views that keep the shape."""
    same_shape = {aten.expand.default, aten.view.default, aten._unsafe_view.default}
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        drop = node.target is aten.detach.default
        drop |= node.target in (aten.pow.Tensor_Scalar, aten.mul.Scalar) and node.args[1] == 1
        if node.target in same_shape:
            before, after = source.meta.get("val"), node.meta.get("val")
            drop = before is not None and after is not None and before.shape == after.shape
        if drop:
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)


def _transpose_early(module: fx.GraphModule) -> None:
    """(A B)ᵀ as Bᵀ Aᵀ: a transposed argument costs nothing, a transposed result is copied."""
    graph = module.graph
    for node in list(graph.nodes):
        product = _transposed(node)
        if product is None:
            continue
        if product.target is aten.transpose.int and _transposed(product) is not None:
            node.replace_all_uses_with(_transposed(product))
        elif product.target is aten.bmm.default and len(product.users) == 1:
            left, right = product.args
            with graph.inserting_before(node):
                turned = [
                    _transposed(argument)
                    or graph.call_function(aten.transpose.int, (argument, 1, 2))
                    for argument in (right, left)
                ]
                direct = graph.call_function(aten.bmm.default, tuple(turned))
            direct.meta = dict(node.meta)
            for user in list(node.users):
                copied = user.target is aten.clone.default
                if copied and user.kwargs.get("memory_format") is torch.contiguous_format:
                    user.replace_all_uses_with(direct)
            node.replace_all_uses_with(direct)


def _transposed(node: Any) -> fx.Node | None:
    """What a node is the transpose of, in its two last dimensions of three; None if it is not."""
    if not isinstance(node, fx.Node) or node.target is not aten.transpose.int:
        return None
    return node.args[0] if node.args[1:] == (1, 2) else None  # type: ignore[return-value]


def _is_buffer(module: fx.GraphModule, node: fx.Node) -> bool:
    return str(node.target) in dict(module.named_buffers())
