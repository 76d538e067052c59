"""Hugging Face data sets, from the hub or saved on disk.

Here: opening one split, as a stream where only some of it is wanted.
Not here: reading other files (tables.py, documents.py), columns of numbers (coerce.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec


def is_saved(path: str) -> bool:
    """Whether the directory was written by `Dataset.save_to_disk`."""
    system, root = fsspec.url_to_fs(path)
    return any(system.exists(f"{root}/{name}") for name in ("dataset_dict.json", "state.json"))


def open_saved(path: str, split: str) -> Any:
    """The split of a data set that was saved to disk.

    Raises:
        ValueError: the split is not there.
    """
    dataset = _datasets(path).load_from_disk(path)
    if isinstance(dataset, dict):
        return of_split(dataset, path, split)
    own = str(dataset.split) if dataset.split is not None else "train"
    if split not in (own, "train"):
        raise ValueError(f"{path}: there is no split {split!r}; it holds {own!r}. Leave split out.")
    return dataset


def of_split(splits: Mapping[str, Any], name: str, split: str) -> Any:
    """One split of several, or an error that names them."""
    if split not in splits:
        raise ValueError(
            f"{name}: there is no split {split!r}; there are {', '.join(sorted(splits))}."
        )
    return splits[split]


def open_hub(source: str, config: str | None, split: str, *, stream: bool) -> Any:
    """The split of a data set of the hub; `owner/name@revision` pins a revision.

    Raises:
        ValueError: no such data set, configuration or split, or it could not be reached.
    """
    name, _, revision = source.partition("@")
    datasets = _datasets(source)
    try:
        return datasets.load_dataset(
            name, config, split=split, revision=revision or None, streaming=stream
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{source!r} is neither a file here nor a data set of the hub that could be opened "
            f"({reason}). Check the name, the split {split!r} and the configuration {config!r}."
        ) from error


def _datasets(source: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"reading {source!r} needs the package datasets: pip install 'creode[hf]'. "
            "JSON lines, CSV and text files are read without it."
        ) from error
    return datasets
