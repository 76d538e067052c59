"""The parts of a network: layers and what is in them, embeddings, unembedding, the rest.

A layer is an element of a stack: an outermost ModuleList of composite modules (with attention in
them, if the network has any), or a Sequential of modules with attention. Inside a layer everything
is attention, norm, MLP (by name, or by what its parent is called) or another part under its own
path; outside the layers everything is an embedding, the unembedding or a part under its own path.
So the parts cover the network; no parameter is left out.

Here: that reading of the tree.
Not here: heads (heads.py), names of components (catalogue.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from creode.components.attention import Attention, find_attentions
from creode.components.tree import Node, read_tree
from creode.components.vocabulary import (
    MLP_CLASS,
    MLP_NAME,
    POSITION_NAME,
    UNEMBED_NAMES,
    WRAPPED,
)


@dataclass(eq=False)
class Layer:
    """An element of a stack; parameter names by part."""

    label: str  # "l0", or "encoder l0" where the network has several stacks
    index: int
    node: Node
    attentions: list[Attention] = field(default_factory=list)
    norm: list[str] = field(default_factory=list)
    mlp: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)  # by the layer's children


@dataclass(eq=False)
class Anatomy:
    """All parts of a network; parameter names by part."""

    layers: list[Layer] = field(default_factory=list)
    embed: list[str] = field(default_factory=list)
    pos_embed: list[str] = field(default_factory=list)
    unembed: list[str] = field(default_factory=list)
    attentions: list[Attention] = field(default_factory=list)  # those in no layer
    others: list[Node] = field(default_factory=list)  # whole modules outside the layers
    loose: list[str] = field(default_factory=list)  # parameters held beside layers or modules


def read_anatomy(model: nn.Module) -> Anatomy:
    """Read the parts of `model` from its module tree."""
    root = read_tree(model)
    attentions = find_attentions(root)
    anatomy = Anatomy(layers=list(_layers(root, attentions)))
    inside = {id(node) for layer in anatomy.layers for node in layer.node.walk()}
    for layer in anatomy.layers:
        below = {id(node) for node in layer.node.walk()}
        layer.attentions = [a for a in attentions if id(a.node) in below]
        _sort_layer(layer, layer.node)
    anatomy.attentions = [a for a in attentions if id(a.node) not in inside]

    outside = [node for node in root.walk() if id(node) not in inside]
    embed = _embed(root, outside)
    unembed = _unembed(root, outside, embed)
    placed = {id(node) for part in (embed, unembed) if part is not None for node in part.walk()}
    positions = [n for n in outside if id(n) not in placed and _is_position_embedding(n, root)]
    anatomy.embed = [] if embed is None else embed.parameters()
    anatomy.unembed = [] if unembed is None else unembed.parameters()
    anatomy.pos_embed = [name for node in positions for name in node.parameters()]
    placed.update(id(node) for node in positions)
    placed.update(id(layer.node) for layer in anatomy.layers)
    placed.update(id(member) for a in anatomy.attentions for member in a.members)
    _sort_rest(anatomy, root, placed)
    return anatomy


def _layers(root: Node, attentions: list[Attention]) -> Iterator[Layer]:
    stacks = list(_stacks(root, attentions))
    for stack, label in zip(stacks, _labels(stacks), strict=True):
        for position, child in enumerate(stack.children):
            if not child.parameters():
                continue
            index = int(child.name) if child.name.isdigit() else position
            yield Layer(f"{label} l{index}".strip(), index, child)


def _stacks(root: Node, attentions: list[Attention]) -> Iterator[Node]:
    """Modules whose children are layers."""
    attending = {id(node) for a in attentions for node in a.node.ancestors()}
    taken: set[int] = set()
    for node in root.walk():
        if id(node) in taken or not isinstance(node.module, nn.ModuleList):
            continue
        composite = any(child.children and child.parameters() for child in node.children)
        if id(node) in attending or (composite and not attentions):
            taken.update(id(below) for below in node.walk())
            yield node
    found: set[int] = set()
    for attention in attentions:
        if id(attention.node) in taken:
            continue
        rows = [n for n in attention.node.ancestors() if isinstance(n.module, nn.Sequential)]
        many = [n for n in rows if sum(id(child) in attending for child in n.children) > 1]
        for node in (many or rows)[:1]:
            if id(node) not in found:
                found.add(id(node))
                # Embedding and head may stand in the same Sequential; layers are what attends.
                layers = [child for child in node.children if id(child) in attending]
                yield Node(node.path, node.name, node.module, node.inner_path, node.parent, layers)


def _labels(stacks: list[Node]) -> list[str]:
    """What tells the paths of several stacks apart; nothing where there is one."""
    paths = [[part for part in node.path.split(".") if part not in WRAPPED] for node in stacks]
    while len(paths) > 1 and all(path and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    while len(paths) > 1 and all(path and path[-1] == paths[0][-1] for path in paths):
        paths = [path[:-1] for path in paths]
    return [".".join(path) if len(paths) > 1 else "" for path in paths]


def _sort_layer(layer: Layer, node: Node) -> None:
    """Put everything at or below `node` into the parts of its layer."""
    if any(node is member for a in layer.attentions for member in a.members):
        return
    relative = node.path[len(layer.node.path) + 1 :]
    if node.is_norm:
        layer.norm += node.parameters()
        return
    above = [n for n in node.ancestors() if len(n.path) > len(layer.node.path)]
    if any(MLP_NAME.search(n.name) or MLP_CLASS.search(n.kind) for n in above):
        layer.mlp += node.own()
    else:
        for name in node.own():
            part = relative.split(".")[0] or name.rsplit(".", 1)[-1]
            layer.others.setdefault(part, []).append(name)
    for child in node.children:
        _sort_layer(layer, child)


def _sort_rest(anatomy: Anatomy, node: Node, placed: set[int]) -> None:
    """Put what stands outside layers and embeddings under its own path.

    In a network with layers, whole modules; in one without, the leaves, which are its layers.
    """
    if id(node) in placed or not node.parameters():
        return
    whole = anatomy.layers and node.parent and not any(id(n) in placed for n in node.walk())
    if whole or (node.own() and node.parent and not any(c.parameters() for c in node.children)):
        anatomy.others.append(node)
        return
    for name in node.own():
        position = POSITION_NAME.search(name.rsplit(".", 1)[-1])
        (anatomy.pos_embed if position else anatomy.loose).append(name)
    for child in node.children:
        _sort_rest(anatomy, child, placed)


def _embed(root: Node, outside: list[Node]) -> Node | None:
    """The token embedding."""
    module = _declared_module(root, "get_input_embeddings")
    for node in outside:
        if module is not None and node.module is module:
            return node
    for node in outside:
        if node.parent is root and node.name == "embed" and node.parameters():
            return node
    for node in outside:
        if isinstance(node.module, nn.Embedding) and not POSITION_NAME.search(node.name):
            return node
    return None


def _unembed(root: Node, outside: list[Node], embed: Node | None) -> Node | None:
    """The map from the last layer to logits over tokens."""
    module = _declared_module(root, "get_output_embeddings")
    for node in outside:
        if module is not None and node.module is module and node.parameters():
            return node
    if embed is None:
        return None
    for node in outside:
        if node.parent is root and node.name in UNEMBED_NAMES and node.parameters():
            return node
    table = getattr(embed.module, "weight", None)
    shape = table.shape if isinstance(table, Tensor) else None
    for node in outside:
        if isinstance(node.module, nn.Linear) and node.module.weight.shape == shape:
            return node
    return None


def _declared_module(root: Node, method: str) -> nn.Module | None:
    """What a Hugging Face model itself says its embedding is."""
    getter = getattr(root.module, method, None)
    if not callable(getter):
        return None
    try:
        module = getter()
    except (AttributeError, NotImplementedError):
        return None  # the base class has the method, this architecture has no such module
    return module if isinstance(module, nn.Module) else None


def _is_position_embedding(node: Node, root: Node) -> bool:
    if node.parent is root and node.name == "pos_embed":
        return bool(node.parameters())
    return isinstance(node.module, nn.Embedding) and bool(POSITION_NAME.search(node.name))
