"""Principles that samples were made from, as their domains.

Here: names of rows to the domain of `Samples`.
Not here: reading rows (demonstrations.py, preferences.py).
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor


class Domains(TypedDict):
    """The fields of `Samples` that hold domains."""

    domain: Tensor | None
    domain_names: tuple[str, ...]


def labelled(principles: list[str] | None) -> Domains:
    """Domains of samples, by name in alphabetical order; none where there are no principles."""
    if principles is None:
        return {"domain": None, "domain_names": ()}
    names = tuple(sorted(set(principles)))
    place = {name: i for i, name in enumerate(names)}
    return {"domain": torch.tensor([place[p] for p in principles]), "domain_names": names}
