"""as_samples: the same columns from every way a user may hold them."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from creode.data import as_samples

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 1, 0])


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


PAIRS = [(X[i], int(Y[i])) for i in range(5)]
DICTS = [{"inputs": X[i], "targets": Y[i]} for i in range(5)]


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X.numpy(), Y.numpy()),
        {"inputs": X, "targets": Y},
        {"inputs": X.numpy(), "targets": Y.tolist()},
        {"inputs": X.tolist(), "targets": Y.tolist()},
        TensorDataset(X, Y),
        Items(PAIRS),
        Items(DICTS),
        Subset(TensorDataset(X, Y), range(5)),
    ],
)
def test_inputs_and_targets_from_anything_that_holds_them(data):
    columns = as_samples(data).columns
    assert list(columns) == ["inputs", "targets"]
    assert torch.equal(columns["inputs"], X)
    assert torch.equal(columns["targets"], Y)
    assert columns["inputs"].dtype == torch.float32


def test_samples_come_back_as_they_are():
    samples = as_samples((X, Y))
    assert as_samples(samples) is samples


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), TensorDataset, Items])
def test_one_tensor_is_tokens_where_it_is_an_integer_matrix(wrap):
    ids = torch.arange(10).reshape(5, 2)
    assert torch.equal(as_samples(wrap(ids)).columns["input_ids"], ids)
    assert torch.equal(as_samples(wrap(X)).columns["inputs"], X)
    assert list(as_samples(wrap(ids.bool())).columns) == ["inputs"]
    assert list(as_samples(wrap(Y)).columns) == ["inputs"]


def test_columns_of_a_hugging_face_data_set():
    datasets = pytest.importorskip("datasets")
    rows = {"input_ids": [[1, 2], [3, 4]], "weight": [0.5, 1.5]}
    columns = as_samples(datasets.Dataset.from_dict(rows)).columns
    assert columns["input_ids"].tolist() == rows["input_ids"]
    assert columns["input_ids"].dtype == torch.int64
    assert columns["weight"].tolist() == rows["weight"]


def test_hugging_face_data_sets_that_are_not_numbers_are_refused():
    datasets = pytest.importorskip("datasets")
    text = datasets.Dataset.from_dict({"text": ["a", "b"], "x": [1, 2]})
    with pytest.raises(TypeError, match=r"column 'text' .*remove_columns\('text'\)"):
        as_samples(text)
    ragged = datasets.Dataset.from_dict({"input_ids": [[1], [2, 3]]})
    with pytest.raises(TypeError, match=r"'input_ids' .* not numbers of one shape"):
        as_samples(ragged)
    with pytest.raises(TypeError, match=r"splits \['a', 'b'\]"):
        as_samples(datasets.DatasetDict({"a": text, "b": text}))
    with pytest.raises(TypeError, match="has no length"):
        as_samples(text.to_iterable_dataset())


class Stream(IterableDataset):
    def __iter__(self):
        return iter(PAIRS)


class Unsized(Dataset):
    def __getitem__(self, i):
        return PAIRS[i]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("text", TypeError, "cannot read str as samples; give Samples, a mapping"),
        (Stream(), TypeError, "cannot read Stream"),
        (Unsized(), TypeError, "Unsized has no length"),
        ((X, Y, Y), TypeError, "a tuple of 3"),
        (Items([(1, 2, 3)]), TypeError, "a tuple of 3"),
        (Items([]), ValueError, "Items: the data set is empty"),
        (Items([X[0], X[0, :2]]), TypeError, "its items cannot be stacked"),
        (Items(["a", "b"]), TypeError, "cannot"),
        ({"x": [[1], [2, 3]]}, TypeError, "column 'x' cannot become a tensor"),
        ({"x": ["a"]}, TypeError, "column 'x' cannot become a tensor"),
        ((X[:0], Y[:0]), ValueError, "the data set is empty"),
    ],
)
def test_what_is_not_samples_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        as_samples(data)


def test_numbers_of_an_array_keep_their_precision():
    assert as_samples(np.zeros((2, 3))).columns["inputs"].dtype == torch.float64
