"""Slices of weights: which entries of which parameters, checked against a model.

Here: the selection every reader of a component gets, unions of pieces of parameters, the check of
masks given by hand, globs over parameter names.
Not here: what the names of a network's parts mean (catalogue.py), attention heads (heads.py).
A parameter goes by its name in `model.named_parameters()`, so a tied tensor occurs once, under its
first name. Frozen parameters (requires_grad=False) are parameters like any other; buffers are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn

Selection = dict[str, Tensor | None]  # parameter -> None (all of it) or a bool mask of its shape


class Piece(NamedTuple):
    """A parameter, or the entries start ≤ i < stop of one of its dimensions."""

    parameter: str
    dim: int | None = None  # None: the whole parameter
    start: int = 0
    stop: int = 0


def first_names(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter -> the name in `model.named_parameters()` of that tensor."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }


def piece_size(parameter: Tensor, piece: Piece) -> int:
    """Number of weights of a piece of `parameter`."""
    if piece.dim is None:
        return parameter.numel()
    return parameter.numel() // parameter.shape[piece.dim] * (piece.stop - piece.start)


def select(model: nn.Module, pieces: Iterable[Piece]) -> Selection:
    """The union of `pieces`, in the order of `model.named_parameters()`."""
    parameters = dict(model.named_parameters())
    selection: Selection = {}
    for piece in pieces:
        parameter = parameters[piece.parameter]
        if piece.dim is None:
            selection[piece.parameter] = None
            continue
        mask = selection.setdefault(
            piece.parameter, torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
        )
        if mask is not None:
            mask.narrow(piece.dim, piece.start, piece.stop - piece.start).fill_(True)
    return _normal(parameters, selection)


def union(model: nn.Module, selections: Iterable[Selection]) -> Selection:
    """Every weight that is in one of `selections`."""
    out: Selection = {}
    for selection in selections:
        for name, mask in selection.items():
            other = out.get(name, mask)
            out[name] = None if mask is None or other is None else mask | other
    return _normal(dict(model.named_parameters()), out)


def from_masks(model: nn.Module, masks: Mapping[str, Tensor | None]) -> Selection:
    """Check masks given by hand: parameter name -> bool mask of its shape, or None for all of it.

    Raises:
        ValueError: an unknown or a tied parameter's other name, a mask of another shape or dtype,
            or nothing selected.
        TypeError: a mask that is not a tensor.
    """
    parameters = dict(model.named_parameters())
    first = first_names(model)
    for name, mask in masks.items():
        if name not in parameters:
            if name in first:
                raise ValueError(
                    f"mask {name!r}: this is the same tensor as {first[name]!r} (tied weights); "
                    f"give the mask under {first[name]!r}."
                )
            raise ValueError(
                f"mask {name!r}: the model has no such parameter; names are those of "
                f"model.named_parameters(), such as {_some(parameters)}."
            )
        if mask is None:
            continue
        if not isinstance(mask, Tensor):
            raise TypeError(
                f"mask {name!r}: expected a bool tensor or None, got {type(mask).__name__}."
            )
        if mask.dtype != torch.bool:
            raise ValueError(
                f"mask {name!r}: expected dtype torch.bool, got {mask.dtype}; "
                "convert it with `mask != 0` or a threshold of your choice."
            )
        if mask.shape != parameters[name].shape:
            raise ValueError(
                f"mask {name!r}: expected the parameter's shape {tuple(parameters[name].shape)}, "
                f"got {tuple(mask.shape)}."
            )
    selection = _normal(parameters, dict(masks))
    if not selection:
        raise ValueError(
            f"masks over {_some(masks) or 'no parameters'} select no weight; set at least one "
            "entry to True."
        )
    return selection


def from_globs(model: nn.Module, pattern: str) -> Selection:
    """Parameters whose name matches a shell-style pattern; `*` also matches dots.

    Raises:
        ValueError: no parameter matches, or only second names of tied parameters do.
    """
    first = first_names(model)
    matched = [name for name in first if fnmatchcase(name, pattern)]
    if not matched:
        raise ValueError(
            f"component {pattern!r}: the pattern matches no parameter name; names look like "
            f"{_some(first)}."
        )
    return from_names(model, matched, component=pattern)


def from_names(model: nn.Module, names: Iterable[str], *, component: str) -> Selection:
    """Whole parameters by any of their names.

    Raises:
        ValueError: all of them are second names of tied parameters, which another component holds.
    """
    first = first_names(model)
    names = list(names)
    if all(first[name] != name for name in names):
        ties = ", ".join(f"{name!r} is the same tensor as {first[name]!r}" for name in names[:3])
        raise ValueError(
            f"component {component!r}: {ties} (tied weights), so it is no component of its own; "
            f"use {first[names[0]]!r}, which holds the tensor once."
        )
    return select(model, (Piece(first[name]) for name in names))


def _normal(parameters: Mapping[str, Tensor], selection: Selection) -> Selection:
    """The selection in the parameters' order; full masks become None and empty ones leave."""
    out: Selection = {}
    for name, parameter in parameters.items():
        if name not in selection:
            continue
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} has dtype {parameter.dtype}, which cannot be sampled; load "
                "the model in a floating-point dtype or select other parameters."
            )
        mask = selection[name]
        if mask is None or bool(mask.all()):
            out[name] = None
        elif bool(mask.any()):
            out[name] = mask.to(parameter.device)
    return out


def _some(names: Iterable[str], limit: int = 3) -> str:
    listed = [repr(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
