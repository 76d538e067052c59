"""Finding the attention modules of a network and their projections.

Here: where queries, keys, values and the output are projected, by the names in vocabulary.py.
Not here: which rows belong to which head (heads.py), layers and other parts (anatomy.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from creode.components.tree import Node, join
from creode.components.vocabulary import (
    ATTENTION_CLASS,
    ATTENTION_NAME,
    MLP_NAME,
    PER_HEAD,
    ROLES,
)


class Projection(NamedTuple):
    """A parameter one of whose dimensions runs over the heads."""

    role: str  # "q", "k", "v", "qkv" or "o"; "head" for one number a head
    parameter: str  # one of its names in the model
    dim: int  # the dimension that runs over the heads
    module: str = ""  # last part of its module's path


@dataclass(frozen=True, eq=False)
class Attention:
    """An attention module, with its projections where they can be told."""

    node: Node  # the module
    core: Node  # the module that holds the query projection, where head counts are read
    members: tuple[Node, ...]  # what belongs to the attention: the module, or some of its children
    projections: tuple[Projection, ...] = ()
    stacked: bool = False  # weights are (head, …), so one row of the dimension is one head
    unclear: str = ""  # why the projections cannot be told

    def parameters(self) -> list[str]:
        """Names of all parameters of the attention, per-head and shared."""
        return [name for member in self.members for name in member.parameters()]


def find_attentions(root: Node) -> list[Attention]:
    """Attention modules below `root`, in registration order: by their projections, then by name."""
    derived = [
        attention for node in root.walk() if (attention := _by_projections(node)) is not None
    ]
    taken = {id(node) for attention in derived for node in attention.node.walk()}
    holding = {id(node) for attention in derived for node in attention.node.ancestors()}
    found = {id(attention.node): attention for attention in derived}
    for node in root.walk():
        if id(node) in taken or id(node) in holding or not _is_named_attention(node):
            continue
        if node.parent is None or node.is_norm or not node.parameters():
            continue
        taken.update(id(below) for below in node.walk())
        parts = [f"{part.name} ({part.kind})" for part in node.walk() if part.own()]
        reason = f"no query, key and value projections recognised among {', '.join(parts)}"
        found[id(node)] = Attention(node, node, (node,), unclear=reason)
    return [found[id(node)] for node in root.walk() if id(node) in found]


def _is_named_attention(node: Node) -> bool:
    """Called an attention, and not a layer around one or a matrix inside one."""
    if isinstance(node.module, nn.Linear | nn.Embedding | nn.ModuleList | nn.Sequential):
        return False
    if node.kind.endswith(("Layer", "Block")):
        return False
    return bool(ATTENTION_CLASS.search(node.kind) or ATTENTION_NAME.search(node.name))


def _by_projections(node: Node) -> Attention | None:
    if isinstance(node.module, nn.MultiheadAttention):
        return Attention(node, node, (node,), tuple(_torch_projections(node)))
    if _stacked_names(node):
        return Attention(node, node, (node,), tuple(_stacked_projections(node)), stacked=True)
    inputs = [child for child in node.children if _role(child) in {"q", "k", "v", "qkv"}]
    roles = {_role(child) for child in inputs}
    if not ("qkv" in roles or {"q", "k", "v"} <= roles):
        return None
    module = node
    outputs = [child for child in node.children if _role(child) == "o"]
    if not outputs and node.parent is not None and _is_named_attention(node.parent):
        module = node.parent
        outputs = [child for child in module.walk() if _role(child) == "o"]
    chosen = [*inputs, *outputs]
    named = _is_named_attention(module)
    norms = [child for child in node.children if child.is_norm and child.name[:1] in "qk"]
    return Attention(
        module,
        node,
        (module,) if named else (*chosen, *norms),
        (*(p for child in chosen for p in _linear_projections(child)), *_per_head(node)),
        unclear=_doubt(chosen, _strangers(module, chosen, named)),
    )


def _strangers(module: Node, chosen: list[Node], named: bool) -> list[str]:
    """Weights beside the projections whose part in the heads is not known.

    In a module that is called an attention, everything but norms, embeddings (of relative
    positions) and vectors known to hold one number a head; in any other, linear modules next to
    the projections that are not called an MLP's.
    """
    known = {id(node) for node in chosen}
    if not named:
        beside = [node for node in module.children if _is_linear(node.module)]
        return [n.name for n in beside if id(n) not in known and not MLP_NAME.search(n.name)]
    below = [node for node in module.walk() if id(node) not in known and not node.is_norm]
    strange = [node for node in below if not isinstance(node.module, nn.Embedding)]
    names = [name for node in strange for name in node.own()]
    names = [name.removeprefix(f"{module.inner_path}.") for name in names]
    return [name for name in names if name not in PER_HEAD]


def _doubt(chosen: Iterable[Node], strangers: list[str]) -> str:
    """Why the chosen linear modules are not plainly one attention's projections; "" if they are."""
    by_role: dict[str, list[str]] = {}
    for child in chosen:
        by_role.setdefault(str(_role(child)), []).append(child.name)
    described = ", ".join(f"{role}={'/'.join(names)}" for role, names in by_role.items())
    if any(len(names) > 1 for names in by_role.values()):
        return f"several projections of one role ({described})"
    if "o" not in by_role:
        return f"projections {described} but no output projection"
    if "qkv" in by_role and len(by_role) > 2:
        return f"both a fused and separate projections ({described})"
    beside = ", ".join(strangers)
    return f"projections {described}, and beside them {beside}" if beside else ""


def _role(node: Node) -> str | None:
    return ROLES.get(node.name.lower()) if _is_linear(node.module) else None


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _linear_projections(node: Node) -> list[Projection]:
    """Weight and bias of a linear module; the output's bias belongs to no head."""
    role = str(_role(node))
    out = 0 if isinstance(node.module, nn.Linear) else 1  # Conv1D keeps its weight as (in, out)
    weight = join(node.inner_path, "weight")
    if role == "o":
        return [Projection(role, weight, 1 - out, node.name)]
    projections = [Projection(role, weight, out, node.name)]
    if getattr(node.module, "bias", None) is not None:
        projections.append(Projection(role, join(node.inner_path, "bias"), 0, node.name))
    return projections


def _per_head(node: Node) -> list[Projection]:
    """Vectors of one number a head."""
    own = [name.rsplit(".", 1)[-1] for name in node.own()]
    names = [name for name in own if name in PER_HEAD]
    return [Projection("head", join(node.inner_path, name), 0, name) for name in names]


def _torch_projections(node: Node) -> list[Projection]:
    """torch.nn.MultiheadAttention: packed in blocks, or separate where key or value dims differ."""
    dims = {
        "in_proj_weight": ("qkv", 0),
        "in_proj_bias": ("qkv", 0),
        "q_proj_weight": ("q", 0),
        "k_proj_weight": ("k", 0),
        "v_proj_weight": ("v", 0),
        "bias_k": ("k", 2),
        "bias_v": ("v", 2),
    }
    names = dict(node.module.named_parameters(recurse=False))
    out = next(child for child in node.children if child.name == "out_proj")
    return [
        *(
            Projection(role, join(node.inner_path, name), dim, name)
            for name, (role, dim) in dims.items()
            if name in names
        ),
        Projection("o", join(out.inner_path, "weight"), 1, out.name),
    ]


def _stacked_names(node: Node) -> dict[str, str]:
    """Role -> letter-case name of weights stacked by head, (head, …), as W_Q; {} if not all."""
    names = [name for name, p in node.module.named_parameters(recurse=False) if p.ndim == 3]
    weights = {name.lstrip("_")[-1].lower(): name for name in names if "W_" in name}
    return weights if set(weights) == set("qkvo") else {}


def _stacked_projections(node: Node) -> list[Projection]:
    """W_Q, W_K, W_V (head, model, head dim), W_O (head, head dim, model) and b_Q, b_K, b_V."""
    own = {name for name, _ in node.module.named_parameters(recurse=False)}
    projections = []
    for role, weight in _stacked_names(node).items():
        bias = weight.replace("W_", "b_")
        for name in (weight, bias) if role != "o" else (weight,):
            if name in own:
                projections.append(Projection(role, join(node.inner_path, name), 0, name))
    return projections
