"""What the names in a function stand for.

Here: globals with the attributes taken from them, modules imported inside a function; what
belongs to a library stays a name, what does not is looked up.
Not here: reading the names out of bytecode (code.py), digests (digester.py).
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from creode.fingerprint.code import Import, is_library_file, is_library_module

_MISSING = object()


class Named(NamedTuple):
    """Something that is known by its name alone."""

    kind: str
    name: str


def looked_up(namespace: Mapping[str, Any], chain: tuple[str, ...]) -> Any:
    """What a global, with the attributes taken from it, stands for."""
    name, *rest = chain
    value = namespace.get(name, _MISSING)
    if value is _MISSING:
        return Named("builtin" if hasattr(builtins, name) else "unbound", name)
    while isinstance(value, ModuleType):
        if not rest or is_library_module(value.__name__):
            return Named("module", ".".join((value.__name__, *rest)))
        name, *rest = rest
        value = getattr(value, name, _MISSING)
    return Named("unbound", ".".join(chain)) if value is _MISSING else value


def taken_from(value: Any, attributes: Collection[str], inside: tuple[str, ...] = ()) -> Any:
    """The value; a module that is no library's, as those of its names a function may use."""
    if not isinstance(value, ModuleType):
        return value
    if is_library_module(value.__name__) or value.__name__ in inside:
        return Named("module", value.__name__)
    inside = (*inside, value.__name__)
    found = vars(value)
    return {
        name: taken_from(found[name], attributes, inside)
        for name in sorted(attributes)
        if name in found
    }


def imported(used: Import, namespace: Mapping[str, Any], attributes: Collection[str]) -> Any:
    """What an import inside a function brings, loading modules that are no library's."""
    name = "." * used.level + used.name
    try:
        name = importlib.util.resolve_name(name, namespace.get("__package__") or "")
        if _is_library(name.partition(".")[0]):
            return Named("module", name)
        module = importlib.import_module(name)
        for wanted in used.taken:
            if not hasattr(module, wanted):
                importlib.import_module(f"{name}.{wanted}")
    except ImportError:  # it may be needed in a branch that is never reached
        return Named("missing", name)
    if not used.taken:
        return taken_from(module, attributes)
    return {wanted: taken_from(getattr(module, wanted), attributes) for wanted in used.taken}


def _is_library(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    return spec.origin in ("built-in", "frozen") or is_library_file(spec.origin)
