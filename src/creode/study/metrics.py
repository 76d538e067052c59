"""Readings that a user defines: a function of the model at every checkpoint.

    def sparsity(model, step):
        return {"sparsity": (value, standard_error)}

Here: finding the function by `module:function`, and calling it.
Not here: keeping what it returns (measures.py).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from creode.development import Checkpoint
from creode.development.reading import Given
from creode.development.undisturbed import undisturbed
from creode.training.order import stream_seed

Metric = Callable[[nn.Module, int], Any]


def load_metric(spec: str) -> Metric:
    """The function that `module:function` names; modules beside the working directory count.

    Raises:
        ValueError: not of that form, no such module or function, or it cannot be called.
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise ValueError(
            f"metric {spec!r}: give module:function, a function of (model, step) that returns "
            "readings by name."
        )
    here = str(Path.cwd())
    if here not in sys.path:  # behind what is installed
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"metric {spec!r}: there is no module {error.name!r}; it must be installed or lie in "
            f"{here}."
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        functions = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
        raise ValueError(
            f"metric {spec!r}: {module_name} has no function {name!r}; it has "
            f"{', '.join(functions) or 'none'}."
        )
    return found  # type: ignore[no-any-return]


def read_metric(
    spec: str, metric: Metric, model: nn.Module, checkpoint: Checkpoint | None
) -> Mapping[str, Given]:
    """What the metric says of a model, which it leaves as it was; random numbers follow the step.

    Raises:
        ValueError: it returned no readings by name.
    """
    step = 0 if checkpoint is None else checkpoint.step
    with undisturbed(model, stream_seed(0, "reading", step)):
        found = metric(model, step)
    if not isinstance(found, Mapping) or not found:
        raise ValueError(
            f"metric {spec!r} returned {found!r}; it must return readings by name, each a number "
            "or (value, standard error, ok), such as {'sparsity': (0.3, 0.01)}."
        )
    return found
