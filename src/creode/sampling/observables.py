"""Observables φ(w): numbers whose covariance with every probe's losses is streamed along a chain.

"loss" is always there: the excess L(w) − L(w*) of the data, on the minibatch of the draw's own step
(or on the probe that stands for the data). A minibatch is drawn independently of the weights it is
scored at, so its noise adds to the error of a covariance and not to its expectation. The mean over
the window between two draws, which has less noise, would not do: it is of earlier weights, whose
covariance with the losses at the draw is smaller.

Here: the names, what a caller may ask for, the values at w*.
Not here: evaluating them along a chain (engine.py), their co-moments (recorder.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from creode.fingerprint import task_fingerprint
from creode.sampling.probes import Probe

LOSS = "loss"
WeightFunction = Callable[[nn.Module], Tensor]  # a scalar tensor of the weights the model holds


@dataclass(frozen=True, eq=False)
class Observable:
    """A number at every draw: the mean loss of a probe, or a function of the weights."""

    name: str
    of: str | WeightFunction  # a probe's name, or a function
    init: float  # φ(w*)


def as_observables(
    observables: Mapping[str, WeightFunction | str] | Sequence[str] | None,
    probes: Mapping[str, Any],
) -> dict[str, WeightFunction | str]:
    """Check what is observed beside the loss; names alone are probes, whose mean loss it is.

    Raises:
        TypeError: neither a probe's name nor a function.
        ValueError: no such probe, or a name that is taken.
    """
    if isinstance(observables, str):
        observables = (observables,)
    if not isinstance(observables, Mapping):
        observables = {name: name for name in observables or ()}
    for name, of in observables.items():
        if name == LOSS or not isinstance(name, str) or not name:
            raise ValueError(
                f"an observable cannot be named {name!r}: give it a name of its own; {LOSS!r} is "
                "the excess loss of the data, and is always observed."
            )
        if isinstance(of, str):
            if of not in probes:
                raise ValueError(
                    f"observable {name!r} is the mean loss of a probe {of!r}, and the probes are "
                    f"{sorted(probes)}."
                )
        elif not callable(of):
            raise TypeError(
                f"observable {name!r} is a {type(of).__name__}; give a function of the model that "
                "returns a scalar tensor, or the name of a probe."
            )
    return dict(observables)


def describe_observables(observables: Mapping[str, WeightFunction | str]) -> dict[str, str]:
    """What identifies each observable, as plain values."""
    return {
        name: f"loss of {of}" if isinstance(of, str) else task_fingerprint(of)
        for name, of in observables.items()
    }


@torch.no_grad()
def at_anchor(
    observables: Mapping[str, WeightFunction | str], probes: Sequence[Probe], model: nn.Module
) -> list[Observable]:
    """The observables with their values at the weights the model holds now.

    Raises:
        TypeError: a function returns no tensor.
        ValueError: its value is no scalar, or not finite.
    """
    known = {probe.name: probe for probe in probes}
    return [
        Observable(
            name, of, known[of].init_loss if isinstance(of, str) else _value(name, of, model)
        )
        for name, of in observables.items()
    ]


def _value(name: str, function: WeightFunction, model: nn.Module) -> float:
    value = function(model)
    if not isinstance(value, Tensor):
        raise TypeError(
            f"observable {name!r} returned a {type(value).__name__}; return a scalar tensor."
        )
    if value.numel() != 1:
        raise ValueError(
            f"observable {name!r} returned a tensor of shape {tuple(value.shape)}; return one "
            "number, and give several observables for several numbers."
        )
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"observable {name!r} is {float(value)} at the anchor.")
    return float(value)
