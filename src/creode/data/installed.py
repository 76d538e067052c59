"""Texts that come with Python: its source, docstrings, reference and C headers.

Here: where each kind of text lies in an installation, and how it is read.
Not here: choosing among texts, splits, samples (corpus.py); texts that are made (generated.py).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sysconfig
import tokenize
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

# Tests, other people's packages, byte tables, text that is a domain of its own, build records.
SKIPPED = frozenset(
    {
        *("test", "tests", "idle_test", "site-packages", "dist-packages"),
        *("__pycache__", "encodings", "pydoc_data"),
    }
)
BUILD_RECORD = ("_sysconfigdata", "_sysconfig_vars")


class Module(NamedTuple):
    """A Python file taken apart."""

    code: str  # without its docstrings
    docstrings: str  # in the order of the file, a blank line between


@lru_cache(maxsize=1)
def python_files() -> Mapping[str, Path]:
    """The modules of the standard library by their path below it, tests left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = {}
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in SKIPPED and "config-" not in name]
        for name in names:
            if name.endswith(".py") and not name.startswith(BUILD_RECORD):
                path = Path(folder, name)
                found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def header_files() -> Mapping[str, Path]:
    """The C headers of Python by their path below its include folder; none where not installed."""
    root = Path(sysconfig.get_paths()["include"])
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.h"))}


@lru_cache(maxsize=1)
def topics() -> Mapping[str, str]:
    """The language reference that `help()` shows, by topic; none where not installed."""
    try:
        found: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return {}
    return dict(sorted(found.items()))


@lru_cache(maxsize=256)
def module(name: str) -> Module:
    """A module of the standard library taken apart; empty where it is not valid Python."""
    try:
        with tokenize.open(python_files()[name]) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own escapes and comparisons
            source = file.read()
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError):
        return Module("", "")
    lines = source.splitlines(keepends=True)
    docstrings = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            continue
        if isinstance(first.value.value, str):
            docstrings.append((first, inspect.cleandoc(first.value.value)))
    docstrings.sort(key=lambda found: found[0].lineno)
    for expression, _ in reversed(docstrings):
        start, end = expression.lineno - 1, expression.end_lineno or expression.lineno
        if not lines[start].encode()[: expression.col_offset].strip():
            del lines[start:end]
    return Module("".join(lines), "\n\n".join(text for _, text in docstrings))


def header(name: str) -> str:
    """The text of a C header."""
    return header_files()[name].read_text(encoding="utf-8", errors="replace")
