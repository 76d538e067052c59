"""Read what a user holds as `Samples`.

Here: tensors, arrays, mappings, pairs, torch data sets and Hugging Face data sets, by their type.
Not here: files and the hub (loading.py), tokenising (tokenizer.py).
Dimensions: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from creode.data.samples import Samples

ACCEPTED = (
    "Samples, a mapping from column name to tensor, a pair (inputs, targets), a tensor, "
    "a map-style torch Dataset, or a Hugging Face Dataset"
)


def as_samples(data: Any) -> Samples:
    """The data as columns of tensors, read once and held in memory.

    A mapping keeps its names; a pair becomes the columns `inputs` and `targets`; one tensor becomes
    `input_ids` where it is an integer matrix (N, T) and `inputs` otherwise. The items of a torch
    `Dataset` are stacked by torch's `default_collate` and then read by the same rule.

    Raises:
        TypeError: none of these, or a column that is not numbers.
        ValueError: no samples, or columns of unequal length.
    """
    if isinstance(data, Samples):
        return data
    if is_hugging_face(data):
        return _from_hugging_face(data)
    if isinstance(data, Mapping):
        return Samples(columns={str(name): _column(str(name), x) for name, x in data.items()})
    if isinstance(data, Tensor | np.ndarray):
        column = _column("inputs", data)
        tokens = column.ndim == 2 and column.dtype in (torch.int64, torch.int32, torch.int16)
        return Samples(columns={"input_ids" if tokens else "inputs": column})
    if isinstance(data, tuple):
        return _from_tuple(data)
    if isinstance(data, TensorDataset):
        return _from_tuple(data.tensors)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return _from_torch(data)
    raise TypeError(f"cannot read {type(data).__name__} as samples; give {ACCEPTED}.")


def _column(name: str, values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        column = torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"column {name!r} cannot become a tensor ({error}). "
            "Give numbers of one shape per sample: pad sequences to one length, encode text, "
            "or leave the column out."
        ) from error
    listed = not isinstance(values, np.ndarray)  # numbers of Python have no dtype to keep
    return column.to(torch.get_default_dtype()) if listed and column.is_floating_point() else column


def _from_tuple(parts: tuple[Any, ...]) -> Samples:
    if len(parts) == 1:
        return as_samples(_column("inputs", parts[0]))
    if len(parts) != 2:
        raise TypeError(
            f"a tuple of {len(parts)} cannot be read as samples; give a pair (inputs, targets), "
            "or a mapping from column name to tensor."
        )
    inputs, targets = parts
    return Samples(
        columns={"inputs": _column("inputs", inputs), "targets": _column("targets", targets)}
    )


def _from_torch(dataset: Dataset[Any]) -> Samples:
    try:
        size = len(dataset)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(
            f"{type(dataset).__name__} has no length; a map-style Dataset with __len__ is needed."
        ) from error
    source = type(dataset).__name__
    if not size:
        raise ValueError(f"{source}: the data set is empty; give at least one sample.")
    items = [dataset[i] for i in range(size)]
    try:
        stacked = default_collate(items)
    except (RuntimeError, TypeError) as error:
        raise TypeError(
            f"{source}: its items cannot be stacked ({error}). "
            "Items must be tensors, numbers, or dicts or pairs of them, of one shape."
        ) from error
    if isinstance(stacked, list):  # default_collate turns a tuple of fields into a list
        stacked = tuple(stacked)
    samples = as_samples(stacked)
    return Samples(columns=samples.columns, source=source)


def is_hugging_face(data: Any) -> bool:
    """Whether this is a data set of the package datasets, which need not be installed to ask."""
    return hasattr(data, "column_names") and hasattr(data, "with_format")


def _from_hugging_face(dataset: Any) -> Samples:
    names = dataset.column_names
    if isinstance(names, Mapping):
        raise TypeError(
            f"a DatasetDict with the splits {sorted(names)} was given; choose one, for example "
            f"dataset[{next(iter(names), 'train')!r}]."
        )
    if not hasattr(dataset, "__len__"):
        raise TypeError(
            "a streaming Hugging Face data set has no length; give "
            "creode.data.load its id and a limit, or a map-style Dataset."
        )
    rows: Mapping[str, Any] = dataset.with_format("numpy")[:]
    columns: dict[str, Tensor] = {}
    for name in names:
        values = rows[name]
        if not _numeric(values):
            raise TypeError(
                f"column {name!r} of the Hugging Face data set is not numbers of one shape per "
                f"sample (feature: {dataset.features[name]}). Remove it with "
                f"dataset.remove_columns({name!r}), pad it, or tokenise it with creode.data.load."
            )
        columns[name] = torch.as_tensor(np.asarray(values))
    return Samples(columns=columns, source="Hugging Face data set")


def _numeric(values: np.ndarray | Sequence[Any]) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
