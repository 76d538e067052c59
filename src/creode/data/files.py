"""Which files a path means.

Here: the format of a file by its name, the files of a directory, the split each belongs to.
Not here: reading them (documents.py, tables.py), Hugging Face data sets on disk or hub (hub.py).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

import fsspec

SUFFIXES = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
COMPRESSED = (".gz", ".bz2", ".xz")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "heldout"),
}
KNOWN = ", ".join(SUFFIXES)


class Files(NamedTuple):
    """Files of one format, in the order they are read."""

    paths: tuple[str, ...]
    kind: str  # "text" or a key of tables.READERS


def format_of(name: str) -> str | None:
    """The format a file's name says it has, None where it says none that is known."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    return SUFFIXES.get(path.suffix)


def looks_like_path(source: str) -> bool:
    """Whether a name can only be meant as a path or a URL, not as a hub id."""
    return (
        "://" in source
        or source.startswith((".", "/", "~", "\\"))
        or source.count("/") > 1
        or "\\" in source
        or format_of(source) is not None
    )


def find(source: str, split: str) -> Files:
    """The files of a path: itself, or all of one format below a directory, of the split asked for.

    A file below a directory belongs to the split that its name or one of its folders names. A
    single file, or a directory where no name says a split, is all `train`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a format that is not known, several at once, or a split that is not there.
    """
    system, path = fsspec.url_to_fs(source)
    if not system.exists(path):
        raise FileNotFoundError(
            f"there is no file or directory {source}. Check the path; a data set of the hub is "
            "named 'owner/name'."
        )
    if not system.isdir(path):
        kind = format_of(path)
        if kind is None:
            raise ValueError(f"{source}: unknown format; the name must end in one of {KNOWN}.")
        _only_train(source, split)
        return Files((source,), kind)
    below = [name for name in sorted(system.find(path)) if format_of(name)]
    if not below:
        raise ValueError(f"{source}: no file in this directory ends in one of {KNOWN}.")
    kept = _of_split(source, path, below, split)
    kinds = sorted({str(format_of(name)) for name in kept})
    if len(kinds) > 1:
        raise ValueError(
            f"{source}: the directory mixes the formats {', '.join(kinds)}; "
            "give a directory with one of them, or a single file."
        )
    return Files(tuple(system.unstrip_protocol(name) for name in kept), kinds[0])


def _of_split(source: str, root: str, names: list[str], split: str) -> list[str]:
    by_split = {name: _split_of(name.removeprefix(root)) for name in names}
    present = sorted({found for found in by_split.values() if found})
    if not present:
        _only_train(source, split)
        return names
    kept = [name for name, found in by_split.items() if found == split]
    if not kept:
        raise ValueError(
            f"{source}: no file is named for the split {split!r}; there are {', '.join(present)}."
        )
    return kept


def _split_of(name: str) -> str | None:
    words = set(re.split(r"[^a-z]+", name.lower()))
    for split, known in SPLITS.items():
        if words & set(known):
            return split
    return None


def _only_train(source: str, split: str) -> None:
    if split != "train":
        raise ValueError(
            f"{source} has no split {split!r}: nothing in its name tells splits apart. "
            "Leave split out, or give the file of that split."
        )
