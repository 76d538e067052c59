"""The module tree as a person reads it: each module once, wrappers looked through.

Here: nodes with their path, their parameters and their stacks of layers.
Not here: what the nodes are for (attention.py, anatomy.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from creode.components.vocabulary import NORM_CLASS, NORM_NAME, WRAPPED


@dataclass(eq=False)
class Node:
    """A module at its first place in the tree."""

    path: str  # of the outermost wrapper, as in model.named_modules()
    name: str  # last part of the path; "" for the root
    module: nn.Module  # inside its wrappers
    inner_path: str  # of `module`
    parent: Node | None
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, top down, in registration order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def ancestors(self) -> Iterator[Node]:
        """This node, its parent, … up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def own(self) -> list[str]:
        """Names of the parameters the module holds directly."""
        return [
            join(self.inner_path, name) for name, _ in self.module.named_parameters(recurse=False)
        ]

    def parameters(self) -> list[str]:
        """Names of all parameters at or below this node; a tensor may occur under two names."""
        return [name for node in self.walk() for name in node.own()]

    @property
    def kind(self) -> str:
        """Class name of the module."""
        return type(self.module).__name__

    @property
    def is_norm(self) -> bool:
        """A leaf of vectors only that is called a norm."""
        vectors = [p.ndim <= 1 for p in self.module.parameters()]
        named = NORM_CLASS.search(self.kind) or NORM_NAME.search(self.name)
        return bool(vectors) and all(vectors) and named is not None


def join(path: str, name: str) -> str:
    """`path.name`, or `name` at the root."""
    return f"{path}.{name}" if path else name


def read_tree(model: nn.Module) -> Node:
    """The tree of `model`; a module registered twice stands at its first place only."""
    seen: set[int] = set()

    def grow(module: nn.Module, path: str, name: str, parent: Node | None) -> Node:
        wrappers = []
        inner_path = path
        while True:
            seen.add(id(module))
            key = next((key for key in WRAPPED if key in module._modules), None)
            inner = None if key is None else module._modules[key]
            if key is None or inner is None or next(module.parameters(recurse=False), None):
                break
            wrappers.append((module, inner_path))
            inner_path = join(inner_path, key)
            module = inner
        node = Node(path, name, module, inner_path, parent)
        for holder, holder_path in [(module, inner_path), *wrappers]:
            for key, child in holder._modules.items():
                if child is not None and id(child) not in seen:
                    node.children.append(grow(child, join(holder_path, key), key, node))
        return node

    return grow(model, "", "", None)
