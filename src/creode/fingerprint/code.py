"""What a function's bytecode says and uses.

Here: the instructions and constants that decide what a code object does, the names it takes from
outside, and whether code belongs to an installed library.
Not here: what those names stand for (digester.py).
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import CodeType
from typing import NamedTuple

_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"}
_INSTALLED = {"site-packages", "dist-packages"}
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not a type written in C
_CREODE = str(Path(__file__).parents[1])  # its own losses are followed, installed or not


class Import(NamedTuple):
    """A module imported inside a function."""

    name: str
    level: int  # leading dots
    taken: tuple[str, ...]  # by `from name import ...`


class Uses(NamedTuple):
    """What a code object, and those nested in it, take from outside."""

    globals: frozenset[tuple[str, ...]]  # a global's name, then the attributes taken from it
    imports: frozenset[Import]
    attributes: frozenset[str]  # of anything


def text(code: CodeType) -> tuple[object, ...]:
    """What decides the behaviour of a code object, without names of files, lines and locals."""
    arguments = code.co_argcount + code.co_kwonlyargcount
    return (
        code.co_code,  # as compiled, whatever the interpreter has specialised since
        code.co_exceptiontable,
        code.co_flags,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_varnames[:arguments],
        code.co_names,
        code.co_freevars,
        code.co_cellvars,
    )


@cache
def constants(code: CodeType) -> tuple[tuple[int, object], ...]:
    """The constants that instructions use, with their indices; a docstring is not among them."""
    used = {step.arg for step in dis.get_instructions(code) if step.opcode in dis.hasconst}
    return tuple((index, value) for index, value in enumerate(code.co_consts) if index in used)


@cache
def uses(code: CodeType) -> Uses:
    """What a code object, and those nested in it, take from outside."""
    chains: set[tuple[str, ...]] = set()
    imports: set[Import] = set()
    attributes: set[str] = set()
    chain: tuple[str, ...] = ()
    steps = list(dis.get_instructions(code))
    for index, step in enumerate(steps):
        if step.opname in _ATTRIBUTE:
            attributes.add(step.argval)
        if step.opname == "IMPORT_NAME":
            level, taken = steps[index - 2].argval, steps[index - 1].argval  # pushed before it
            imports.add(Import(step.argval, level, taken or ()))
        if chain and step.opname in _ATTRIBUTE:
            chain = (*chain, step.argval)
            continue
        if chain:
            chains.add(chain)
        chain = (step.argval,) if step.opname in _GLOBAL else ()
    for value in code.co_consts:
        if isinstance(value, CodeType):
            nested = uses(value)
            chains |= nested.globals
            imports |= nested.imports
            attributes |= nested.attributes
    return Uses(frozenset(chains), frozenset(imports), frozenset(attributes))


@cache
def is_library_file(file: str) -> bool:
    """Whether a source file belongs to Python or to an installed package other than creode."""
    if file.startswith("<frozen"):
        return True
    path = Path(file)
    if path.is_relative_to(_CREODE):
        return False
    standard = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return bool(_INSTALLED.intersection(path.parts)) or any(
        path.is_relative_to(directory) for directory in standard
    )


def is_library_class(cls: type) -> bool:
    """Whether a class is what its name says in a library; one made on the way is not."""
    if not cls.__flags__ & _HEAP_TYPE:
        return True
    found: object = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls and is_library_module(cls.__module__)


def is_library_module(name: str) -> bool:
    """Whether a loaded module belongs to Python or to an installed package other than creode."""
    if name == "__main__":
        return False
    module = sys.modules.get(name)
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:  # built into the interpreter, or a module made by hand
        return name.partition(".")[0] in sys.stdlib_module_names
    return is_library_file(file)
