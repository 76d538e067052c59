"""Digests of Python values: every value is a SHA-256 over its kind and the digests of its parts.

Here: constants, containers, tensors, functions with all they reach, classes, objects.
Not here: what bytecode says (code.py), the parts of a module (modules.py).
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from itertools import chain as chained
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from creode.fingerprint import code as bytecode
from creode.fingerprint.modules import config_of, module_settings, module_tensors
from creode.fingerprint.names import Named, imported, looked_up, taken_from

_GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__"}
_GENERATED |= {"__setattr__", "__delattr__", "__getstate__", "__setstate__", "__replace__"}
_NOT_BEHAVIOUR = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__"}
_NOT_BEHAVIOUR |= {"__dataclass_fields__", "__dataclass_params__", "__match_args__", "__slots__"}
_NOT_BEHAVIOUR |= {"__qualname__", "__orig_bases__", "__parameters__", "__abstractmethods__"}
_NOT_BEHAVIOUR |= {"__static_attributes__", "__firstlineno__", "__classdictcell__", "_abc_impl"}
_NOT_BEHAVIOUR |= {
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__protocol_attrs__",
    "__slotnames__",  # left by pickling an object of the class
}


def combine(kind: str, *parts: bytes) -> bytes:
    """The digest of a kind and its parts; no two different sequences are written alike."""
    digest = hashlib.sha256()
    for part in (kind.encode(), *parts):
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return digest.digest()


def tensor_digest(tensor: Tensor) -> bytes:
    """Dtype, layout, shape and values of a tensor, wherever it lies.

    Raises:
        ValueError: it has no bytes that can be read.
    """
    if tensor.is_meta:
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} is on the meta device and has no values; "
            "load its weights first."
        )
    dense = tensor if tensor.layout is torch.strided else tensor.to_dense()
    flat = dense.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    data = hashlib.sha256(flat.view(torch.uint8).numpy().data)
    shape = f"{tensor.dtype} {tensor.layout} {tuple(tensor.shape)}"
    return combine("tensor", shape.encode(), data.digest())


class Digester:
    """Digests values; a value met again is not taken apart again, a cycle is cut."""

    def __init__(self, *, lenient: bool, inside: tuple[int, ...] = ()) -> None:
        """`lenient`: an object whose state cannot be read enters by its class alone."""
        self._lenient = lenient
        self._inside = list(inside)  # ids of the values being taken apart, outermost first
        self._path: list[str] = []
        self._known: dict[int, bytes] = {}
        self._alive: list[object] = []  # so that no id is used twice

    def digest(self, value: Any, name: str) -> bytes:
        """The digest of a value that is called `name` where it was found."""
        atom = _atom(value)
        if atom is not None:
            return combine(type(value).__name__, atom)
        if id(value) in self._known:
            return self._known[id(value)]
        if id(value) in self._inside:
            depth = len(self._inside) - self._inside.index(id(value))
            return combine("cycle", str(depth).encode())
        self._inside.append(id(value))
        self._path.append(name)
        try:
            found = self._compound(value)
        finally:
            self._inside.pop()
            self._path.pop()
        self._known[id(value)] = found
        self._alive.append(value)
        return found

    def _compound(self, value: Any) -> bytes:
        kind = type(value)
        if isinstance(value, Tensor):
            return tensor_digest(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(np.asarray(value))
        if kind is Named:
            return combine("named", value.kind.encode(), value.name.encode())
        if kind in (list, tuple):
            return self._sequence(kind.__name__, value)
        if kind in (set, frozenset):
            # each on its own: what was met before must not depend on the order of a set
            return combine(kind.__name__, *sorted(self._alone(item) for item in value))
        if kind in (dict, MappingProxyType):
            return self._mapping("dict", value.items())
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return self._parts("method", {"function": value.__func__, "self": value.__self__})
        if isinstance(value, functools.partial):
            parts = {"function": value.func, "args": value.args, "keywords": value.keywords}
            return self._parts("partial", parts)
        if isinstance(value, functools._lru_cache_wrapper):
            return self._parts("cached", {"function": value.__wrapped__})
        if isinstance(value, staticmethod | classmethod):
            return self._parts(kind.__name__, {"function": value.__func__})
        if isinstance(value, property):
            accessors = {"get": value.fget, "set": value.fset, "delete": value.fdel}
            return self._parts("property", accessors)
        if isinstance(value, functools.cached_property):
            return self._parts("property", {"get": value.func})
        if isinstance(value, BuiltinFunctionType):
            return self._builtin(value)
        if isinstance(value, ModuleType):
            return combine("module", value.__name__.encode())
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, enum.Enum):
            return self._parts("enum", {"class": kind.__qualname__, "name": value.name})
        return self._object(value)

    # Containers

    def _sequence(self, kind: str, items: Iterable[Any]) -> bytes:
        return combine(kind, *(self.digest(item, f"[{i}]") for i, item in enumerate(items)))

    def _mapping(self, kind: str, items: Iterable[tuple[Any, Any]]) -> bytes:
        parts: list[bytes] = []
        for key, item in items:
            parts += [self.digest(key, "a key"), self.digest(item, f"[{key!r:.40}]")]
        return combine(kind, *parts)

    def _parts(self, kind: str, parts: Mapping[str, Any]) -> bytes:
        """Named parts, in the order of their names."""
        named = ((name.encode(), self.digest(part, name)) for name, part in sorted(parts.items()))
        return combine(kind, *chained.from_iterable(named))

    def _array(self, array: np.ndarray[Any, Any]) -> bytes:
        shape = f"{array.dtype.str} {array.shape}".encode()
        if array.dtype.hasobject:
            return combine("array", shape, self._sequence("items", array.ravel().tolist()))
        return combine("array", shape, hashlib.sha256(array.tobytes()).digest())

    def _alone(self, value: Any) -> bytes:
        other = Digester(lenient=self._lenient, inside=tuple(self._inside))
        other._path = [*self._path]
        return other.digest(value, "an element")

    # Code

    def _code(self, code: CodeType) -> bytes:
        text = self._sequence("text", bytecode.text(code))
        return combine("code", text, self._mapping("constants", bytecode.constants(code)))

    def _function(self, function: FunctionType) -> bytes:
        original = getattr(function, "_torchdynamo_orig_callable", None)
        if original is not None:
            return self._parts("compiled", {"function": original})
        code = function.__code__
        parts: dict[str, Any] = {
            "code": code,
            "defaults": function.__defaults__,
            "keyword defaults": function.__kwdefaults__,
        }
        for name, value in vars(function).items():
            parts[f"attribute {name}"] = value
        library = bytecode.is_library_file(code.co_filename)
        uses = None if library else bytecode.uses(code)
        attributes = frozenset[str]() if uses is None else uses.attributes
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not yet assigned
                parts[f"closure {name!r}"] = Ellipsis
                continue
            parts[f"closure {name!r}"] = taken_from(content, attributes)
        if uses is None:
            place = f"{function.__globals__.get('__name__')}.{code.co_qualname}"
            return combine("library function", place.encode(), self._parts("function", parts))
        for chain in uses.globals:
            parts[f"global {'.'.join(chain)!r}"] = looked_up(function.__globals__, chain)
        for used in uses.imports:
            parts[f"import {used}"] = imported(used, function.__globals__, attributes)
        return self._parts("function", parts)

    def _builtin(self, function: BuiltinFunctionType) -> bytes:
        owner = function.__self__
        where = owner.__name__ if isinstance(owner, ModuleType) else owner
        return self._parts("builtin", {"name": function.__qualname__, "of": where})

    # Classes and objects

    def _class(self, cls: type) -> bytes:
        if bytecode.is_library_class(cls):
            return combine("library class", f"{cls.__module__}.{cls.__qualname__}".encode())
        parts: dict[str, Any] = {"name": cls.__qualname__, "bases": cls.__bases__}
        for name, member in vars(cls).items():
            if name in _NOT_BEHAVIOUR or (name in _GENERATED and _is_generated(cls, member)):
                continue
            if isinstance(member, MemberDescriptorType | GetSetDescriptorType):
                member = "slot"  # noqa: PLW2901
            parts[f"member {name!r}"] = member
        return self._parts("class", parts)

    def _object(self, value: Any) -> bytes:
        cls = type(value)
        if self._lenient and (config := config_of(value)) is not None:
            return combine("config", cls.__qualname__.encode(), config.encode())
        if callable(getattr(cls, "fingerprint", None)):
            return self._parts("own", {"class": cls.__qualname__, "is": value.fingerprint()})
        if isinstance(value, torch.Generator):
            return self._parts("generator", {"state": value.get_state()})
        try:
            reduce = copyreg.dispatch_table.get(cls)
            reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:  # whatever the class raises when it has no state to give
            if self._lenient:
                return combine("opaque", f"{cls.__module__}.{cls.__qualname__}".encode())
            raise TypeError(
                f"{' → '.join(self._path)} is a {cls.__module__}.{cls.__qualname__}, whose state "
                f"cannot be read ({error}), so two different losses could look the same; leave it "
                "out of the loss, or give its class a method fingerprint() that returns a string."
            ) from error
        if isinstance(reduced, str):
            return self._parts("named", {"class": cls, "name": reduced})
        function, args, state, items, pairs = (*reduced, None, None, None)[:5]
        return combine(
            "object",
            self.digest(cls, f"class {cls.__qualname__}"),
            self.digest(function, "constructor"),
            self.digest(args, "arguments"),
            self._state(cls, state),
            self._sequence("items", items or ()),
            self._mapping("pairs", pairs or ()),
        )

    def _state(self, cls: type, state: Any) -> bytes:
        """The state of an object, without the values a cached property left in it."""
        if isinstance(state, dict):
            kept = {
                f"attribute {name!r}": value
                for name, value in state.items()
                if not isinstance(getattr(cls, str(name), None), functools.cached_property)
            }
            return self._parts("attributes", kept)
        if type(state) is tuple:
            return combine("state", *(self._state(cls, part) for part in state))
        return self.digest(state, "state")

    def _module(self, module: nn.Module) -> bytes:
        if not self._lenient:
            other = Digester(lenient=True, inside=tuple(self._inside[:-1]))
            return other.digest(module, self._path[-1])
        parts: list[bytes] = []
        for name, settings in module_settings(module):
            parts += [name.encode(), self.digest(settings, f"module {name!r}")]
        for name, tensor in module_tensors(module):
            content = tensor_digest(tensor) if isinstance(tensor, Tensor) else tensor.encode()
            parts += [name.encode(), content]
        return combine("model", *parts)


def _atom(value: Any) -> bytes | None:
    """The bytes of a value without parts."""
    kind = type(value)
    if kind is bytes:
        return bytes(value)
    if kind is str:
        return bytes(value, "utf-8", "surrogatepass")
    if kind is float:
        return struct.pack("<d", value)
    if kind is complex:
        return struct.pack("<dd", value.real, value.imag)
    if kind in (bool, int) or value is None or value is Ellipsis or value is NotImplemented:
        return repr(value).encode()
    if kind is torch.device:
        return b""  # where a loss is computed is no part of it
    return None


def _is_generated(cls: type, member: Any) -> bool:
    """Whether a method was written by the dataclass decorator."""
    return (
        is_dataclass(cls)
        and isinstance(member, FunctionType)
        and member.__code__.co_filename == "<string>"
    )
