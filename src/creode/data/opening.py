"""Open what a user names as a source: the hub, a saved data set, files, strings, rows.

Here: which of these it is, and its rows.
Not here: reading each of them (hub.py, tables.py, documents.py), tokenising.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from creode.data.coerce import is_hugging_face
from creode.data.files import Files, find, looks_like_path
from creode.data.hub import is_saved, of_split, open_hub, open_saved
from creode.data.tables import rows


def source_name(source: Any, split: str) -> str:
    """The source for people."""
    if isinstance(source, str | os.PathLike):
        return f"{os.fspath(source)} ({split})"
    return f"{type(source).__name__} of text"


def open_source(source: Any, split: str, config: str | None, limit: int | None) -> Any:
    """Text files as `Files`, and anything else as an iterable of rows or of strings."""
    if not isinstance(source, str | os.PathLike):
        if is_hugging_face(source) and isinstance(source, Mapping):
            return of_split(source, type(source).__name__, split)
        if isinstance(source, Iterable):
            return source
        raise TypeError(
            f"cannot load {type(source).__name__}; give a path, a hub id, strings or a Hugging "
            "Face data set. Tensors go to creode.data.as_samples."
        )
    path = os.fspath(source)
    here = Path(path).expanduser().exists()
    if not here and isinstance(source, str) and not looks_like_path(path):
        return open_hub(path, config, split, stream=limit is not None)
    if here and is_saved(path):
        return open_saved(path, split)
    files = find(path, split)
    return files if files.kind == "text" else rows(files.paths, files.kind)


def open_rows(
    source: Any, split: str, config: str | None, limit: int | None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Numbered rows of a table, as far as the limit.

    Raises:
        ValueError: a text file, or no row at all.
        TypeError: rows that have no columns.
    """
    name = source_name(source, split)
    opened = open_source(source, split, config, limit)
    if isinstance(opened, Files):
        raise ValueError(
            f"{name}: a text file has no columns; give JSON lines, CSV, Parquet or a data set."
        )
    number = -1
    for number, row in enumerate(islice(opened, limit)):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"{name}: row {number} is {type(row).__name__}; give rows with columns, such as "
                "{'prompt': ..., 'chosen': ..., 'rejected': ...}."
            )
        yield number, row
    if number < 0:
        raise ValueError(f"{name}: the data set is empty; give at least one row.")
