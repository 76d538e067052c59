"""The local posterior: what is sampled, apart from how.

p(w) ∝ exp{ −nβ L_n(w) − (γ/2) ‖w − w*‖² }, restricted to a component where one is named.

Here: the model, the loss, the data and the two strengths, checked once.
Not here: kernels, schedules, devices (sampling/), storage (store.py).
Source: arXiv:2308.12108 (local learning coefficient); restriction: arXiv:2410.02984.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from creode.components import Selection, resolve
from creode.data import Samples, as_samples
from creode.tasks import Task

Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalPosterior:
    """p(w) ∝ exp{ −nβ L_n(w) − (γ/2) ‖w − w*‖² } around the weights the model holds now.

    With "auto", the pilot of the automatic sampler chooses nβ, γ or both.
    """

    model: nn.Module  # holds the anchor w*; it is left as it came
    task: Task  # (model, batch) -> losses in nats, (B,) or (B, T)
    data: Samples  # L_n is the mean loss over its units
    nbeta: float | Auto  # nβ
    localization: float | Auto  # γ, in 1/weight²
    component: str | Mapping[str, Tensor] = "full"  # a name, a glob, or masks by parameter

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        data: Any,
        *,
        nbeta: float | Auto = "auto",
        localization: float | Auto = "auto",
        component: str | Mapping[str, Tensor] = "full",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
        if not callable(task):
            raise TypeError(
                f"task must be a callable (model, batch) -> losses, got {type(task).__name__}."
            )
        for name, value in (("nbeta", nbeta), ("localization", localization)):
            if value != "auto" and (
                isinstance(value, str) or not math.isfinite(value) or value < 0
            ):
                raise ValueError(
                    f'{name} must be "auto" or a finite number ≥ 0, got {value!r}; '
                    "for example nbeta=30.0, localization=100.0."
                )
        fields: dict[str, Any] = {
            "model": model,
            "task": task,
            "data": as_samples(data),
            "nbeta": nbeta if nbeta == "auto" else float(nbeta),
            "localization": localization if localization == "auto" else float(localization),
            "component": component,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def strengths(self) -> tuple[float, float]:
        """nβ and γ as numbers.

        Raises:
            ValueError: one of them is "auto", which only the automatic sampler can settle.
        """
        if isinstance(self.nbeta, str) or isinstance(self.localization, str):
            raise ValueError(
                'nbeta="auto" and localization="auto" are settled by sampler="auto"; '
                "with a kernel of your own give both as numbers."
            )
        return self.nbeta, self.localization

    def selection(self) -> Selection:
        """The slices of weights that are sampled; everything else stays at w*."""
        return resolve(self.model, self.component)
