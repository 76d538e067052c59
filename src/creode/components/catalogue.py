"""Names of the parts of a network, and what each name stands for.

| name | part |
| --- | --- |
| full | every parameter, frozen ones too; a tied tensor once |
| embed, pos_embed, unembed | token and position embeddings, the map to logits |
| l0 | layer 0; `encoder l0` where a network has several stacks of layers |
| l0 attn, l0 mlp, l0 norm | parts of layer 0: the attention module, the MLP, norms outside these |
| l0h3 | query head 3 of layer 0 (heads.py says what belongs to it) |
| l0kv1 | keys and values shared by the query heads of group 1, where they are shared |
| l0 attn shared | what no head owns: the output's bias, norms on queries and keys |
| a path | anything else, under the path of its module |

A layer with two attentions names them by their paths (`l0 self_attn`, `l0 self_attn h3`). A tied
tensor belongs to every part that holds it, except that `unembed` is refused where it is `embed`.

Here: the catalogue of a model.
Not here: paths, globs and masks, and messages about unknown names (resolving.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from creode.components.anatomy import Layer, read_anatomy
from creode.components.attention import Attention
from creode.components.heads import derive_heads
from creode.components.selection import Piece, first_names, piece_size


@dataclass(frozen=True, kw_only=True)
class Component:
    """A named part of a network."""

    name: str
    num_parameters: int
    kind: str  # full, embed, unembed, layer, attention, head, kv, shared, mlp, norm or module
    layer: int | None = None
    head: int | None = None  # query head, or group of heads for kind "kv"


class Components(tuple[Component, ...]):
    """The components of a model; prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        width = max((len(component.name) for component in self), default=4)
        rows = [f"{'name':{width}}  {'kind':9}  parameters"]
        rows += [f"{c.name:{width}}  {c.kind:9}  {c.num_parameters:>10,}" for c in self]
        return "\n".join(rows)


@dataclass(eq=False)
class Catalogue:
    """What the names of a model stand for, and why some it might have are refused."""

    components: dict[str, Component] = field(default_factory=dict)
    pieces: dict[str, tuple[Piece, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # a name, or "l0h" for all heads -> why


def read_catalogue(model: nn.Module) -> Catalogue:
    """The catalogue of `model`, in the order: full, embeddings, layers, the rest, unembedding.

    Raises:
        ValueError: the model names its parameters otherwise than its modules are nested.
    """
    _check_names(model)
    anatomy = read_anatomy(model)
    writer = _Writer(model)
    writer.add("full", "full", dict(model.named_parameters()))
    writer.add("embed", "embed", anatomy.embed)
    writer.add("pos_embed", "embed", anatomy.pos_embed)
    for layer in anatomy.layers:
        _write_layer(writer, layer)
    for attention in anatomy.attentions:
        whole = attention.members == (attention.node,) and attention.node.path
        name = attention.node.path if whole else f"{attention.node.path} attn".strip()
        writer.add(name, "attention", attention.parameters())
        writer.add_heads(attention, name, f"{name} ")
    for position, node in enumerate(anatomy.others):
        if node.is_norm:
            writer.add(node.path, "norm", node.parameters())
        elif anatomy.layers:
            writer.add(node.path, "module", node.parameters())
        else:
            writer.add(node.path, "layer", node.parameters(), layer=position)
    for name in anatomy.loose:
        writer.add(name, "module", [name])
    _write_unembed(writer, anatomy.unembed, anatomy.embed)
    return writer.catalogue


def _check_names(model: nn.Module) -> None:
    """Parameters must be where their names say, or a slice could not be put back."""
    for name, parameter in model.named_parameters():
        path, _, last = name.rpartition(".")
        node: nn.Module | None = model
        for part in path.split(".") if path else ():
            node = None if node is None else node._modules.get(part)
        if node is None or node._parameters.get(last) is not parameter:
            raise ValueError(
                f"{type(model).__name__} names a parameter {name!r} that is not at that place in "
                "its module tree; it stands for another model: give that one, such as "
                "`bridge.original_model` of a TransformerLens bridge."
            )


def _write_layer(writer: _Writer, layer: Layer) -> None:
    index, label = layer.index, layer.label
    writer.add(label, "layer", layer.node.parameters(), layer=index)
    for attention in layer.attentions:
        if len(layer.attentions) == 1:
            name, prefix = f"{label} attn", label
        else:
            name = f"{label} {attention.node.path[len(layer.node.path) + 1 :] or 'attn'}"
            prefix = f"{name} "
        writer.add(name, "attention", attention.parameters(), layer=index)
        writer.add_heads(attention, name, prefix, layer=index)
    writer.add(f"{label} mlp", "mlp", layer.mlp, layer=index)
    writer.add(f"{label} norm", "norm", layer.norm, layer=index)
    for part, names in layer.others.items():
        writer.add(f"{label} {part}", "module", names, layer=index)


def _write_unembed(writer: _Writer, unembed: list[str], embed: list[str]) -> None:
    embedded = {writer.first[name]: name for name in embed}
    tied = [name for name in unembed if writer.first[name] in embedded]
    if not tied:
        writer.add("unembed", "unembed", unembed)
        return
    untied = [name for name in unembed if name not in tied]
    for name in untied:
        writer.add(name, "module", [name])
    also = f" Not tied, and a component of its own: {', '.join(untied)}." if untied else ""
    writer.catalogue.refused["unembed"] = (
        f"{tied[0]!r} is the same tensor as {embedded[writer.first[tied[0]]]!r} (tied embeddings), "
        f"so it is no component of its own; use 'embed', which holds the tensor once.{also}"
    )


class _Writer:
    """Writes entries, skipping parts that have no parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.catalogue = Catalogue()
        self.first = first_names(model)
        self.parameters = dict(model.named_parameters(remove_duplicate=False))

    def add(
        self,
        name: str,
        kind: str,
        parts: Iterable[str | Piece],
        layer: int | None = None,
        head: int | None = None,
    ) -> None:
        """Enter `parts` under `name`; a name that stands already grows.

        Parts made of second names of tied tensors only are refused: another name holds them.
        """
        pieces = [part if isinstance(part, Piece) else Piece(part) for part in parts]
        if not pieces:
            return
        firsts = [self.first[piece.parameter] for piece in pieces]
        if kind != "embed" and all(p.parameter != f for p, f in zip(pieces, firsts, strict=True)):
            self.catalogue.refused[name] = (
                f"{pieces[0].parameter!r} is the same tensor as {firsts[0]!r} (tied weights), and "
                "so is all of this component; use the component that holds it first."
            )
            return
        entered = dict.fromkeys(self.catalogue.pieces.get(name, ()))
        entered |= {p._replace(parameter=f): None for p, f in zip(pieces, firsts, strict=True)}
        self.catalogue.pieces[name] = tuple(entered)
        self.catalogue.components[name] = Component(
            name=name,
            num_parameters=sum(piece_size(self.parameters[p.parameter], p) for p in entered),
            kind=kind,
            layer=layer,
            head=head,
        )

    def add_heads(
        self, attention: Attention, name: str, prefix: str, layer: int | None = None
    ) -> None:
        """Enter the heads of `attention`, what they share in groups and what they all share."""
        try:
            heads = derive_heads(attention, self.parameters)
        except ValueError as why:
            self.catalogue.refused[f"{prefix}h"] = (
                f"the heads of {attention.node.path!r} ({attention.core.kind}) cannot be derived: "
                f"{why}. Give the head as masks instead, {{parameter name: bool mask of its "
                f"shape}}; {name!r} selects the whole attention."
            )
            return
        owned: set[str] = set()
        for kind, short, groups in (("head", "h", heads.query), ("kv", "kv", heads.kv)):
            for head, pieces in enumerate(groups):
                self.add(f"{prefix}{short}{head}", kind, pieces, layer=layer, head=head)
                owned.update(piece.parameter for piece in pieces)
        shared = [name for name in attention.parameters() if name not in owned]
        self.add(f"{name} shared", "shared", shared, layer=layer)
