"""Which rows and columns of an attention's projections belong to which head.

A query head is its rows of the query projection, its columns of the output projection and its
attention sink, if it has one. Its key and value rows belong to it where every query head has its
own; where several share a key/value head (grouped-query and multi-query attention) those rows are
a part of their own, `kv`. So randomising the slice of a head changes that head's output and no
other's. The output's bias and norms on queries and keys act on all heads and belong to none. (A
norm taken over all heads at once, as in OLMo 2, couples the heads: there another head's output
moves by its scale.)

Here: head counts, checked against the shapes, and the pieces of each head.
Not here: finding the projections (attention.py), names (catalogue.py).
Symbols: H query heads, G key/value heads, r = H / G, d head dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from creode.components.attention import Attention, Projection
from creode.components.selection import Piece
from creode.components.vocabulary import (
    CONFIGS,
    FUSED_LAYOUTS,
    GATED_QUERY,
    HEAD_DIM,
    NUM_HEADS,
    NUM_KV_HEADS,
)


class Heads(NamedTuple):
    """Pieces of each query head, and of each key/value head that several query heads share."""

    query: list[list[Piece]]  # (H)
    kv: list[list[Piece]]  # (G), or empty where every query head has its own


class Geometry(NamedTuple):
    """Sizes along the dimensions that run over heads."""

    num_heads: int  # H
    num_kv_heads: int  # G
    query_dim: int  # rows of q of one head
    key_dim: int
    value_dim: int
    layout: str  # "separate", "blocks" or "grouped"


def derive_heads(attention: Attention, parameters: Mapping[str, Tensor]) -> Heads:
    """The pieces of every head of `attention`.

    Args:
        attention: found by `find_attentions`.
        parameters: every name of every parameter -> the parameter.

    Raises:
        ValueError: the heads cannot be told from the module; the message says what was found.
    """
    if attention.unclear:
        raise ValueError(attention.unclear)
    for projection in attention.projections:
        if projection.parameter not in parameters:
            raise ValueError(f"{projection.parameter!r} is computed and no parameter itself")
    geometry = _geometry(attention, parameters)
    shared = geometry.num_kv_heads < geometry.num_heads
    query: list[list[Piece]] = [[] for _ in range(geometry.num_heads)]
    kv: list[list[Piece]] = [[] for _ in range(geometry.num_kv_heads)]
    for projection in attention.projections:
        for role, head, start, stop in _spans(geometry, projection.role):
            piece = Piece(projection.parameter, projection.dim, start, stop)
            (kv if shared and role in "kv" else query)[head].append(piece)
    return Heads(query, kv if shared else [])


def _spans(geometry: Geometry, role: str) -> Iterator[tuple[str, int, int, int]]:
    """(role, head, start, stop) of each head along a projection; key/value heads for k and v."""
    H, G, dq, dk, dv, layout = geometry
    r = H // G
    if role == "qkv" and layout == "grouped":
        width = r * dq + dk + dv
        for head in range(H):
            start = head // r * width + head % r * dq
            yield "q", head, start, start + dq
        for head in range(G):
            start = head * width + r * dq
            yield "k", head, start, start + dk
            yield "v", head, start + dk, start + dk + dv
        return
    sizes = {"q": (H, dq), "k": (G, dk), "v": (G, dv), "o": (H, dv), "head": (H, 1)}
    starts = {"q": 0, "k": H * dq, "v": H * dq + G * dk} if role == "qkv" else {role: 0}
    for part, offset in starts.items():
        heads, width = sizes[part]
        for head in range(heads):
            yield part, head, offset + head * width, offset + (head + 1) * width


def _geometry(attention: Attention, parameters: Mapping[str, Tensor]) -> Geometry:
    """Sizes from the declared number of heads and the shapes, which must agree."""
    first: dict[str, Projection] = {}
    for projection in attention.projections:
        first.setdefault(projection.role, projection)
    size = {role: parameters[p.parameter].shape[p.dim] for role, p in first.items()}
    found = ", ".join(f"{p.module}={size[role]}" for role, p in first.items())

    H = _declared(attention, NUM_HEADS)
    if H is None:
        d = _declared(attention, HEAD_DIM)
        if d is None or size["o"] % d:
            raise ValueError(f"no number of heads on the module or its config ({found})")
        H = size["o"] // d
    if size["o"] % H:
        raise ValueError(f"{H} heads do not divide the output projection ({found})")
    dv = size["o"] // H
    if "q" in size:
        G, dq = size["v"] // dv, size["q"] // H
        gated = attention.core.kind in GATED_QUERY
        dk = dq // 2 if gated else dq
        fits = (size["q"], size["k"], size["v"]) == (H * dq, G * dk, G * dv)
        geometry = Geometry(H, G, dq, dk, dv, "separate")
    else:
        layout = FUSED_LAYOUTS.get((attention.core.kind, first["qkv"].module))
        if first["qkv"].module == "in_proj_weight":
            layout = "blocks"
        if layout is None:
            raise ValueError(
                f"a fused projection {first['qkv'].module!r} of {attention.core.kind}, "
                "whose order of queries, keys and values is not known"
            )
        G = (size["qkv"] // dv - H) // 2
        fits = size["qkv"] == (H + 2 * G) * dv
        geometry = Geometry(H, G, dv, dv, dv, layout)
    if not fits or G < 1 or H % G:
        raise ValueError(f"{H} heads do not fit the projections' sizes ({found})")
    for what, names, derived in (
        ("key/value heads", NUM_KV_HEADS, G),
        ("dimensions a head", HEAD_DIM, geometry.key_dim),
    ):
        declared = _declared(attention, names)
        if attention.stacked and names is HEAD_DIM:
            continue
        if declared is not None and declared != derived:
            raise ValueError(
                f"{H} heads and the projections' sizes ({found}) give {derived} {what}, but the "
                f"module or its config says {declared}"
            )
    return geometry


def _declared(attention: Attention, names: tuple[str, ...]) -> int | None:
    """The first of `names` that is a count on the module, its config, or those of its parents."""
    for node in attention.core.ancestors():
        configs = (getattr(node.module, name, None) for name in CONFIGS)
        for holder in (node.module, *configs):
            for name in names:
                value: Any = getattr(holder, name, None)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
    return None
