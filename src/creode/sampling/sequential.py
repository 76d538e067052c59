"""One chain at a time, in place: the model's own parameters are the chain's weights.

Here: losses and gradients of a block of one chain, with gradient accumulation. Memory: the anchor
(the caller's tensors), the position, the gradient, and the activations of one forward pass.
Not here: several chains at once (vectorised.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from creode.sampling.block import BatchLosses, autocast
from creode.sampling.flat import FlatWeights
from creode.tasks import Batch, Losses, Task, as_losses


class SequentialBlock:
    """A block of one chain. Use inside `borrowed(model)`, which undoes what it does."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        flat: FlatWeights,
        *,
        forward_dtype: str | None = None,
        microbatch: int | None = None,
    ) -> None:
        self._model, self._task, self._flat = model, task, flat
        self._forward_dtype, self._microbatch = forward_dtype, microbatch
        self.position = torch.empty(1, flat.size, dtype=flat.dtype, device=flat.device)
        self.gradient = torch.zeros_like(self.position)
        parameters = dict(model.named_parameters())
        self._partial: list[tuple[slice, Tensor, nn.Parameter]] = []
        for part in flat.parts:
            parameter = parameters[part.name]
            self.position[0, part.span] = flat.anchor_of(part)
            if part.index is None:
                parameter.data = self.position[0, part.span].view(part.anchor.shape)
            else:
                parameter.data = part.anchor.clone()
                self._partial.append((part.span, part.index, parameter))
            parameter.requires_grad_()
            parameter.grad = (
                self.gradient[0, part.span].view(part.anchor.shape)
                if part.index is None
                else torch.zeros_like(parameter)
            )

    def differentiate(self, batch: Batch) -> BatchLosses:
        """Losses on a batch (1, m, ...) and the gradient of its mean."""
        self.gradient.zero_()
        for _, _, parameter in self._partial:
            assert parameter.grad is not None
            parameter.grad.zero_()
        size = len(next(iter(batch.values()))[0])
        chunk = self._microbatch or size
        kept: BatchLosses | None = None  # one array for all passes, as in the engine's probes
        for start in range(0, size, chunk):
            piece = {name: column[0, start : start + chunk] for name, column in batch.items()}
            with torch.enable_grad(), autocast(self._flat.device, self._forward_dtype):
                losses = as_losses(self._task(self._model, piece))
                total, count = losses.total, losses.count
                objective = total.sum() / count.sum() if chunk >= size else total.sum()
            if not objective.requires_grad:
                raise ValueError(
                    "the loss does not depend on the sampled weights; choose a component that the "
                    "model uses, and a task that computes its loss from the model it is given."
                )
            objective.backward()  # type: ignore[no-untyped-call]
            if kept is None:
                kept = BatchLosses(total.new_empty(1, size), count.new_empty(1, size))
            kept.total[0, start : start + chunk] = total.detach()
            kept.units[0, start : start + chunk] = count
        assert kept is not None  # no batch is empty
        for span, index, parameter in self._partial:
            assert parameter.grad is not None
            self.gradient[0, span] = parameter.grad.flatten()[index]
        if chunk < size:
            self.gradient.div_(kept.units.sum())
        return kept

    @torch.no_grad()
    def losses(self, batch: Batch) -> Losses:
        """Losses (1, B[, T]) of one batch (B, ...)."""
        with autocast(self._flat.device, self._forward_dtype):
            losses = as_losses(self._task(self._model, batch))
        return Losses(losses.values[None], losses.mask[None])

    @torch.no_grad()
    def evaluate(self, function: Callable[[nn.Module], Tensor]) -> Tensor:
        """A scalar function of the model under the chain's weights, (1,)."""
        with autocast(self._flat.device, self._forward_dtype):
            return function(self._model).reshape(1)

    def moved(self) -> None:
        """Write the moved weights into the parameters that are sampled in part."""
        for span, index, parameter in self._partial:
            parameter.data.view(-1).index_copy_(0, index, self.position[0, span])
