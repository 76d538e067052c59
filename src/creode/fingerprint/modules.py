"""The parts of a torch module that decide what it computes.

Here: settings of every module in the tree, parameters and buffers with ties named once.
Not here: their digests (digester.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from torch import Tensor, nn

from creode.fingerprint.code import is_library_module

_INTERNALS = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
# where a model came from and how it is run, not what it computes
_NOT_SETTINGS = {"name_or_path", "generation_config", "warnings_issued", "gradient_checkpointing"}
_NOT_CONFIG = {"_name_or_path", "_commit_hash", "transformers_version", "architectures"}
_NOT_CONFIG |= {"dtype", "torch_dtype"}  # the tensors have theirs


def module_settings(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every module's name with its settings, or with the name under which it came before."""
    seen: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) in seen:
            yield name, f"is {seen[id(module)]}"
            continue
        seen[id(module)] = name
        cls = type(module)
        own = not is_library_module(cls.__module__)
        attributes = {
            key: value
            for key, value in sorted(vars(module).items())
            if key not in _INTERNALS | _NOT_SETTINGS and (own or not key.startswith("_"))
        }
        yield (
            name,
            {
                "class": cls,
                "forward": cls.forward,
                "extra_repr": _ADDRESS.sub("", module.extra_repr()),
                "attributes": attributes,
                "hooks": [list(vars(module)[hooks].values()) for hooks in _HOOKS],
            },
        )


def module_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor | str]]:
    """Every parameter and buffer by name, or the name of the one it is tied to."""
    seen: dict[int, str] = {}
    parameters = model.named_parameters(remove_duplicate=False)
    for name, tensor in chain(parameters, model.named_buffers(remove_duplicate=False)):
        if id(tensor) in seen:
            yield name, f"is {seen[id(tensor)]}"
        else:
            seen[id(tensor)] = name
            yield name, tensor


def config_of(value: object) -> str | None:
    """The settings in a Hugging Face configuration as JSON; None for any other value."""
    to_dict = getattr(value, "to_dict", None)
    if not callable(to_dict) or not hasattr(type(value), "model_type"):
        return None
    kept = {key: item for key, item in to_dict().items() if key not in _NOT_CONFIG}
    return json.dumps(kept, sort_keys=True, default=str)
