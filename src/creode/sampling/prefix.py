"""The frozen prefix: what lies below a component is the same at every draw, so it is skipped.

The input of the first layer that holds sampled weights is computed once for each batch of a probe
and put in its place; the layers below become the identity while that probe is scored. Embeddings
are still looked up. Steps visit the same rows again, too: where they fit, the layer's inputs on
every row of the data become one more column, which minibatches carry. Backward passes stop at the
component without that, since autograd follows no weights that are not sampled.

Here: which layers can be skipped, their cached output on probes and on the rows of the data, the
check that skipping changes no loss.
Not here: the passes (sequential.py, vectorised.py), which know nothing of it.
Dimensions: N rows of the data, B samples of a batch, T positions, D model width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from creode.components import Selection
from creode.components.anatomy import read_anatomy
from creode.data import Samples
from creode.sampling.block import autocast, in_batches
from creode.sampling.memory import available_bytes
from creode.sampling.schedule import Schedule
from creode.tasks import Batch, Losses, Task, as_losses

logger = logging.getLogger(__name__)

MOST_BYTES = 2**30  # of cached layer inputs; more is not worth the memory
LAYER_INPUT = "layer input"  # the column of the data that holds them
VISITS = 2.0  # passes over the data in all, from which on caching its rows pays
TOLERANCE = 1e-5  # of a loss, relative and in nats: rounding of float32


class Prefix:
    """The cached inputs of one layer, by probe and batch, and the model without what is below."""

    def __init__(self, below: Sequence[nn.Module], entry: nn.Module) -> None:
        self._below, self._entry = list(below), entry
        self._inputs: dict[str, list[Tensor]] = {}

    @property
    def depth(self) -> int:
        """Layers that are skipped."""
        return len(self._below)

    def remember(self, name: str, inputs: list[Tensor]) -> None:
        """Keep the layer's inputs on each batch of a probe."""
        self._inputs[name] = inputs

    @contextmanager
    def skipped(self, name: str, batch: int) -> Iterator[None]:
        """The model with the layers below replaced by what they give on a batch of a probe."""
        with self.given(self._inputs[name][batch]):
            yield

    def take(self, name: str) -> list[Tensor]:
        """What was remembered of a probe, and keep it no longer."""
        return self._inputs.pop(name)

    @contextmanager
    def given(self, given: Tensor) -> Iterator[None]:
        """The model with the layers below replaced by what they gave, (B, T, D)."""
        handle = self._entry.register_forward_pre_hook(
            lambda module, args, kwargs: _with_first(args, kwargs, given), with_kwargs=True
        )
        own = [module.__dict__.get("forward") for module in self._below]
        try:
            for module in self._below:
                module.forward = _identity
            yield
        finally:
            handle.remove()
            for module, forward in zip(self._below, own, strict=True):
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward


class FromLayer:
    """A task that takes a batch's `LAYER_INPUT`, where it has one, for what lies below."""

    def __init__(self, task: Task, prefix: Prefix) -> None:
        self._task, self._prefix = task, prefix

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses of the task."""
        if LAYER_INPUT not in batch:
            return as_losses(self._task(model, batch))
        rest = {name: column for name, column in batch.items() if name != LAYER_INPUT}
        with self._prefix.given(batch[LAYER_INPUT]):
            return as_losses(self._task(model, rest))


class Rows(NamedTuple):
    """The data with its layer inputs, and the task that uses them."""

    data: Samples
    task: FromLayer
    depth: int  # layers that steps skip


def pays(schedule: Schedule, num_samples: int) -> bool:
    """Whether steps visit rows so often that computing all of them once saves time."""
    return schedule.chains * schedule.num_steps * schedule.batch_size >= VISITS * num_samples


@torch.no_grad()
def cached_rows(
    model: nn.Module,
    task: Task,
    selection: Selection,
    data: Samples,
    batch_size: int,
    forward_dtype: str | None = None,
) -> Rows | None:
    """What steps can skip, checked; None where nothing can be, or where it takes too much memory.

    Layer inputs take at most `MOST_BYTES`, and a quarter of the memory that is free. Use inside
    `borrowed(model)`, with the model at w*.
    """
    free = available_bytes()
    most = MOST_BYTES if free is None else min(MOST_BYTES, free // 4)
    prefix = frozen_prefix(
        model, task, selection, {LAYER_INPUT: data}, batch_size, forward_dtype, most
    )
    if prefix is None:
        return None
    pieces = prefix.take(LAYER_INPUT)
    sizes = [len(piece) for piece in pieces]
    if sum(sizes) != len(data) or len({piece.shape[1:] for piece in pieces}) > 1:
        return None  # not one input a sample
    rows = replace(data, columns={**data.columns, LAYER_INPUT: torch.cat(pieces)})
    device = next(model.parameters()).device
    some = torch.linspace(0, len(data) - 1, min(batch_size, len(data)), device=device).long()
    short = FromLayer(task, prefix)
    with autocast(device, forward_dtype), _moved(model, selection):
        plain, skipping = (
            as_losses(one(model, samples.batch(some))).values
            for one, samples in ((task, data), (short, rows))
        )
    if not torch.allclose(plain, skipping, rtol=TOLERANCE, atol=TOLERANCE):
        logger.info("no frozen prefix of rows: losses differ in other minibatches")
        return None
    return Rows(rows, short, prefix.depth)


@torch.no_grad()
def frozen_prefix(
    model: nn.Module,
    task: Task,
    selection: Selection,
    probes: Mapping[str, Samples],
    batch_size: int,
    forward_dtype: str | None = None,
    most_bytes: int | None = None,
) -> Prefix | None:
    """What can be skipped when probes are scored, checked; None where nothing can be.

    Use inside `borrowed(model)`, with the model at w*.
    """
    places = _places(model, selection)
    if places is None or not probes:
        return None
    below, entry = places
    prefix = Prefix(below, entry)
    most = MOST_BYTES if most_bytes is None else most_bytes
    device = next(model.parameters()).device
    total = 0
    try:
        for name, samples in probes.items():
            inputs = []
            for batch in in_batches(samples, batch_size):
                with autocast(device, forward_dtype):
                    inputs.append(_input_of(entry, model, task, batch))
                total += inputs[-1].numel() * inputs[-1].element_size()
                if total > most:
                    logger.info(
                        "no frozen prefix: layer inputs of %s take over %.1f GiB",
                        name,
                        most / 2**30,
                    )
                    return None
            prefix.remember(name, inputs)
        with autocast(device, forward_dtype):
            agrees = _agrees(prefix, model, task, selection, probes, batch_size)
        if not agrees:
            logger.info("no frozen prefix: losses differ without the layers below")
            return None
    except Exception as error:  # whatever a model does that cannot be cut in two
        logger.info("no frozen prefix: this model cannot be cut there (%s)", error)
        return None
    return prefix


def _places(model: nn.Module, selection: Selection) -> tuple[list[nn.Module], nn.Module] | None:
    """The layers below the first that is sampled, and that one; None if there are none."""
    anatomy = read_anatomy(model)
    paths = [layer.node.path for layer in anatomy.layers]
    if {layer.label for layer in anatomy.layers} - {f"l{i}" for i in range(len(paths))}:
        return None  # several stacks
    first = len(paths) - 1
    for name in selection:
        inside = [number for number, path in enumerate(paths) if name.startswith(f"{path}.")]
        if not inside and name not in anatomy.unembed:
            return None
        first = min([first, *inside])
    if first < 1:
        return None
    modules = dict(model.named_modules())
    return [modules[path] for path in paths[:first]], modules[paths[first]]


def _input_of(entry: nn.Module, model: nn.Module, task: Task, batch: Batch) -> Tensor:
    seen: list[Tensor] = []
    handle = entry.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(_first(args, kwargs)), with_kwargs=True
    )
    try:
        task(model, batch)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise RuntimeError(f"the layer ran {len(seen)} times in one pass")
    return seen[0].clone()


def _agrees(
    prefix: Prefix,
    model: nn.Module,
    task: Task,
    selection: Selection,
    probes: Mapping[str, Samples],
    batch_size: int,
) -> bool:
    """Whether losses with and without the layers below are the same once sampled weights move."""
    with _moved(model, selection):
        for name, samples in probes.items():
            batch = next(iter(in_batches(samples, batch_size)))
            plain = as_losses(task(model, batch)).values
            with prefix.skipped(name, 0):
                short = as_losses(task(model, batch)).values
            if not torch.allclose(plain, short, rtol=TOLERANCE, atol=TOLERANCE):
                return False
    return True


@contextmanager
def _moved(model: nn.Module, selection: Selection) -> Iterator[None]:
    """The model with its sampled weights a little off, and back again."""
    parameters = dict(model.named_parameters())
    held = {name: parameters[name].data for name in selection}
    generator = torch.Generator().manual_seed(0)
    try:
        for name, mask in selection.items():
            data = held[name]
            step = torch.randn(data.shape, generator=generator).to(data) * data.abs().mean() / 10
            parameters[name].data = data + (step if mask is None else step * mask.to(data.device))
        yield
    finally:
        for name, data in held.items():
            parameters[name].data = data


def _identity(*args: Any, **kwargs: Any) -> Tensor:
    return _first(args, kwargs)


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The hidden state among a layer's arguments: the first, (B, T, D)."""
    found = args[0] if args else kwargs["hidden_states"]
    if not isinstance(found, Tensor):
        raise RuntimeError(f"the layer's first argument is a {type(found).__name__}")
    return found


def _with_first(
    args: tuple[Any, ...], kwargs: dict[str, Any], given: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (given, *args[1:]), kwargs
    return args, kwargs | {"hidden_states": given}
