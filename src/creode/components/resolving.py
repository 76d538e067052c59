"""From what a user calls a component to its slice of weights.

Here: names of the catalogue, paths of modules and parameters, globs, unions, masks, and the message
about a name that is none of these.
Not here: what the catalogue's names stand for (catalogue.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from torch import Tensor, nn

from creode.components.catalogue import Catalogue, Components, read_catalogue
from creode.components.selection import (
    Selection,
    first_names,
    from_globs,
    from_masks,
    from_names,
    select,
    union,
)


def list_components(model: nn.Module) -> Components:
    """The named components of `model` with their sizes; prints as a table."""
    return Components(read_catalogue(model).components.values())


def resolve(model: nn.Module, component: str | Mapping[str, Tensor | None]) -> Selection:
    """The slice of weights of a component.

    Args:
        model: any module; its parameters are not changed.
        component: a name of `list(model)`, the path of a submodule or parameter, a glob over
            parameter names, several of these joined by "," (their union), or a mapping from
            parameter names to bool masks (None: all of that parameter).

    Returns:
        Parameter name, as in `model.named_parameters()`, to None (the whole tensor) or a bool mask
        of its shape and device. Frozen parameters are included like any other.

    Raises:
        ValueError: an unknown name, a glob or masks that select nothing, masks that do not fit.
        TypeError: neither a string nor a mapping of tensors.
    """
    if isinstance(component, Mapping):
        return from_masks(model, component)
    if not isinstance(component, str):
        raise TypeError(
            "a component is a name, a glob or a mapping from parameter names to bool masks, got "
            f"{type(component).__name__}."
        )
    catalogue = read_catalogue(model)
    names = [" ".join(name.split()) for name in component.split(",")]
    selections = [_resolve_name(model, catalogue, name) for name in names]
    return selections[0] if len(names) == 1 else union(model, selections)


def _resolve_name(model: nn.Module, catalogue: Catalogue, name: str) -> Selection:
    if name in catalogue.refused:
        raise ValueError(f"component {name!r}: {catalogue.refused[name]}")
    held = _held(model, name)
    if name in catalogue.pieces:
        selection = select(model, catalogue.pieces[name])
        if held and {first_names(model)[parameter] for parameter in held} != set(selection):
            raise ValueError(
                f"component {name!r}: this is both a part of the network that was recognised "
                f"({', '.join(selection)}) and a module of other parameters; "
                f"say which by a glob such as '{name}.*'."
            )
        return selection
    if held:
        return from_names(model, held, component=name)
    if any(character in name for character in "*?["):
        return from_globs(model, name)
    raise _unknown(model, catalogue, name)


def _held(model: nn.Module, name: str) -> list[str]:
    """Names of the parameters at or below a module or parameter path."""
    return [
        parameter
        for parameter, _ in model.named_parameters(remove_duplicate=False)
        if name and (parameter == name or parameter.startswith(f"{name}."))
    ]


def _unknown(model: nn.Module, catalogue: Catalogue, name: str) -> ValueError:
    """The error for a name that stands for nothing: why, what there is, what comes close."""
    paths = [path for path, _ in model.named_modules() if path]
    candidates = sorted({*catalogue.components, *paths} - {name})
    near = difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)
    close = f" Close: {', '.join(map(repr, near))}." if near else ""
    return ValueError(
        f"component {name!r}: {_reason(catalogue, name, paths)}. "
        f"Known: {', '.join(_ranges(catalogue)) or 'nothing'}; also the path of a module, a glob "
        f"over parameter names such as '*.weight', or masks by parameter name.{close}"
    )


def _reason(catalogue: Catalogue, name: str, paths: list[str]) -> str:
    """What is wrong with a name that stands for nothing."""
    known = catalogue.components
    if not known:
        return "the model has no parameters"
    if name in paths:
        return "this module holds no parameters"
    layer = re.match(r"((?:.* )?l)(\d+)(?= |h\d|kv\d|$)", name)
    layers = _numbers(catalogue, layer[1]) if layer else []
    if layer and layers and int(layer[2]) not in layers:
        return f"layer {layer[2]} is not in {_span(layers)} (model has {len(layers)} layers)"
    head = re.fullmatch(r"(.*?)(h|kv)(\d+)", name)
    if head and f"{head[1]}h" in catalogue.refused:
        return catalogue.refused[f"{head[1]}h"].removesuffix(".")
    if head:
        query = _numbers(catalogue, f"{head[1]}h")
        here = _numbers(catalogue, head[1] + head[2])
        what = "head" if head[2] == "h" else "key/value head"
        if here:
            return f"{what} {head[3]} is not in {_span(here)} ({len(here)} {what}s)"
        if query:
            return f"no keys and values are shared; they belong to the heads, as {head[1]}h0"
        if layer and layer[0] in known:
            return f"{layer[0]} has no attention heads"
    return "the model has no such part"


def _numbers(catalogue: Catalogue, stem: str) -> list[int]:
    """The numbers that follow `stem` in names of the catalogue."""
    pattern = re.compile(rf"{re.escape(stem)}(\d+)")
    return sorted(int(m[1]) for n in catalogue.components if (m := pattern.fullmatch(n)))


def _span(numbers: list[int]) -> str:
    """`0..7`, or the numbers themselves where some are missing."""
    if numbers == [*range(numbers[0], numbers[-1] + 1)]:
        return f"{numbers[0]}..{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _ranges(catalogue: Catalogue) -> list[str]:
    """Names of the catalogue, those that differ in numbers only as first..last."""
    groups: dict[str, list[str]] = {}
    for name in catalogue.components:
        groups.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    return [
        repr(names[0]) if len(names) == 1 else f"{names[0]!r}..{names[-1]!r}"
        for names in groups.values()
    ]
