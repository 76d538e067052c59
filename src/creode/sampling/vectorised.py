"""Chains side by side: one batched forward and backward pass for all of them.

Here: losses and gradients of a block of C chains through `torch.func`, traced once.
Not here: one chain in place (sequential.py); whether this is worth it (choice.py).
Seen in trials: the gradient of a vmapped forward pass is faster than the vmapped gradient, and
tracing halves it again for small models.
Dimensions: C chains, P sampled weights, m samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from creode.sampling.block import BatchLosses, autocast
from creode.sampling.flat import FlatWeights
from creode.sampling.tracing import TensorFunction, trace
from creode.tasks import Batch, Losses, Task, as_losses


class _LossModule(nn.Module):
    """Model and task as one module, so that its parameters can be replaced in a call."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return tuple(as_losses(self._task(self.model, batch)))  # type: ignore[return-value]


class _FunctionModule(nn.Module):
    """A function of a model as a module, so that the model's parameters can be replaced."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self) -> Tensor:
        return self._function(self.model)


class VectorisedBlock:
    """A block of C chains. Use inside `borrowed(model)`."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        flat: FlatWeights,
        *,
        chains: int,
        forward_dtype: str | None = None,
    ) -> None:
        self._module = _LossModule(model, task)
        self._flat, self._forward_dtype = flat, forward_dtype
        self.position = torch.cat([flat.anchor_of(part) for part in flat.parts]).repeat(chains, 1)
        self.gradient = torch.zeros_like(self.position)
        self._columns: list[str] = []
        self._traced: TensorFunction | None = None

    def differentiate(self, batch: Batch) -> BatchLosses:
        """Losses on batches (C, m, ...) and the gradient of each chain's mean."""
        if self._traced is None:
            self._columns = list(batch)
            inputs = [self.position, *(batch[name] for name in self._columns)]
            others = [self.position, *(batch[name].roll(1, 0).flip(1) for name in self._columns)]
            self._traced = trace(self._differentiate, inputs, others)
        columns = [batch[name] for name in self._columns]
        total, count, self.gradient = self._traced(self.position, *columns)
        return BatchLosses(total, count)

    @torch.no_grad()
    def losses(self, batch: Batch) -> Losses:
        """Losses (C, B[, T]) of one batch (B, ...) under every chain's weights."""

        def of_chain(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            values, mask = functional_call(self._module, weights, (batch,))
            return values, mask

        with autocast(self.position.device, self._forward_dtype):
            values, mask = vmap(of_chain)(self._weights(self.position))
        return Losses(values, mask)

    @torch.no_grad()
    def evaluate(self, function: Callable[[nn.Module], Tensor]) -> Tensor:
        """A scalar function of the model under every chain's weights, (C,), one after another."""
        module = _FunctionModule(self._module.model, function)
        weights = self._weights(self.position)
        with autocast(self.position.device, self._forward_dtype):
            values = [
                functional_call(module, {n: w[chain] for n, w in weights.items()}, ())
                for chain in range(len(self.position))
            ]
        return torch.stack([value.reshape(()) for value in values])

    def moved(self) -> None:
        """Nothing: every pass reads `position`."""

    def _weights(self, position: Tensor) -> dict[str, Tensor]:
        pieces = torch.split(position, [part.size for part in self._flat.parts], dim=1)
        return {
            f"model.{part.name}": self._flat.assemble(part, piece)
            for part, piece in zip(self._flat.parts, pieces, strict=True)
        }

    def _differentiate(self, position: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
        leaf = position.detach().requires_grad_()

        def of_chain(weights: dict[str, Tensor], *columns: Tensor) -> tuple[Tensor, Tensor]:
            batch = dict(zip(self._columns, columns, strict=True))
            values, mask = functional_call(self._module, weights, (batch,))
            return values, mask

        with torch.enable_grad(), autocast(position.device, self._forward_dtype):
            losses = Losses(*vmap(of_chain)(self._weights(leaf), *columns))
            total = losses.values if losses.values.ndim == 2 else losses.values.sum(2)
            counted = losses.mask.to(total.dtype)
            count = counted if counted.ndim == 2 else counted.sum(2)
            objective = (total.sum(1) / count.sum(1)).sum()
        if not objective.requires_grad:
            raise ValueError(
                "the loss does not depend on the sampled weights; choose a component that the "
                "model uses, and a task that computes its loss from the model it is given."
            )
        (gradient,) = torch.autograd.grad(objective, leaf)
        return total.detach(), count, gradient
