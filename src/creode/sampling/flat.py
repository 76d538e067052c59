"""The sampled weights of a selection as one flat vector.

Here: the map between a selection (whole tensors and masked parts of tensors) and flat coordinates,
in the order of the model's named parameters.
Not here: which weights a component names (components.py), how they move (the kernels).
Dimensions: P sampled weights, C chains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creode.components import Selection


@dataclass(frozen=True)
class Part:
    """The piece of one parameter that is sampled, and where it lies in the flat vector."""

    name: str
    anchor: Tensor  # the parameter's whole value at w*, detached; never written
    index: Tensor | None  # (size,) positions in the flattened parameter; None: all of it
    offset: int
    size: int

    @property
    def span(self) -> slice:
        """Where the part lies in the flat vector."""
        return slice(self.offset, self.offset + self.size)


class FlatWeights:
    """P sampled weights as flat coordinates; the anchor's tensors stay where they are."""

    def __init__(self, model: nn.Module, selection: Selection) -> None:
        self.parts: list[Part] = []
        offset = 0
        for name, parameter in model.named_parameters():
            if name not in selection:
                continue
            mask = selection[name]
            index = None
            if mask is not None and not bool(mask.all()):
                index = mask.to(parameter.device).flatten().nonzero().squeeze(1)
            size = parameter.numel() if index is None else index.numel()
            if size:
                self.parts.append(Part(name, parameter.detach(), index, offset, size))
            offset += size
        if not self.parts:
            raise ValueError("the component selects no weights; choose one that has some.")
        dtypes = {part.anchor.dtype for part in self.parts}
        if len(dtypes) > 1 or dtypes - {torch.float32, torch.float64}:
            raise ValueError(
                f"the sampled weights have dtypes {sorted(map(str, dtypes))}; they must all be "
                "float32 or all float64, or the small steps of a chain are lost in rounding: "
                "convert the model with model.float(), and ask for forward_dtype='bfloat16' if "
                "the forward pass should be in lower precision."
            )
        self.size = offset
        self.dtype = next(iter(dtypes))
        self.device = self.parts[0].anchor.device
        self._small_anchors = {
            part.name: part.anchor.flatten()[part.index]
            for part in self.parts
            if part.index is not None
        }

    def anchor_of(self, part: Part) -> Tensor:
        """w* of one part, (size,)."""
        return self._small_anchors[part.name] if part.index is not None else part.anchor.flatten()

    def anchor(self, start: int, stop: int) -> list[Tensor]:
        """w* of the coordinates start…stop, in pieces.

        They are views of the anchor's own tensors and cost no memory; concatenated they are the
        stretch asked for.
        """
        return [
            self.anchor_of(part)[max(start - part.offset, 0) : min(stop - part.offset, part.size)]
            for part in self.parts
            if part.offset < stop and part.offset + part.size > start
        ]

    def assemble(self, part: Part, flat: Tensor) -> Tensor:
        """Full tensors (C, *shape) of one part from its flat weights (C, size), w* elsewhere."""
        shape = (flat.shape[0], *part.anchor.shape)
        if part.index is None:
            return flat.view(shape)
        rest = part.anchor.flatten().expand(flat.shape[0], -1)
        return rest.index_copy(1, part.index, flat).view(shape)
