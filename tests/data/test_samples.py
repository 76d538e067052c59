"""Samples: rows by index, domains, and a fingerprint of the bytes alone."""

import hashlib

import pytest
import torch

from creode.data import Samples

DTYPES = [torch.bool, torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int64]


def of(column, **kwargs):
    return Samples(columns={"x": column}, **kwargs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 0), (3, 2, 2)])
def test_fingerprint_is_the_hash_of_names_forms_and_bytes(dtype, shape):
    column = torch.arange(30).reshape(-1)[: torch.Size(shape).numel()].reshape(shape).to(dtype)
    digest = hashlib.sha256(f"x:{dtype}:{shape};".encode())
    digest.update(bytes(column.flatten().view(torch.uint8).tolist() if column.numel() else []))
    assert of(column).fingerprint() == digest.hexdigest()


def test_fingerprint_tells_apart_values_names_dtypes_and_shapes():
    x = torch.arange(6)
    others = [
        of(x),
        of(x + 1),
        of(x.int()),
        of(x.reshape(6, 1)),
        Samples(columns={"y": x}),
        Samples(columns={"x": x, "y": x}),
        of(x.flip(0)),
    ]
    assert len({samples.fingerprint() for samples in others}) == len(others)


def test_fingerprint_is_the_same_however_the_bytes_lie_in_memory(monkeypatch):
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    whole = of(x).fingerprint()
    assert of(x.T.contiguous().T).fingerprint() == whole
    assert of(torch.cat([x, x])[:64]).fingerprint() == whole
    assert of(x.clone().requires_grad_()).fingerprint() == whole
    monkeypatch.setattr("creode.data.samples.CHUNK", 48)  # two rows and a bit
    assert of(x).fingerprint() == whole
    both = Samples(columns={"y": x, "x": x}).fingerprint()
    assert both == Samples(columns={"x": x, "y": x}).fingerprint()


def test_batches_take_the_shape_of_the_index():
    x = torch.arange(12).reshape(6, 2)
    index = torch.tensor([[0, 3], [5, 5]])
    batch = of(x).batch(index)["x"]
    assert batch.shape == (2, 2, 2)
    assert batch[1, 0].tolist() == x[5].tolist()


def test_domains_part_the_samples_in_their_order():
    domain = torch.tensor([1, 0, 1, 1, 0])
    samples = of(torch.arange(5), domain=domain, domain_names=("code", "prose", "none"))
    parts = samples.by_domain()
    assert list(parts) == ["code", "prose"]
    assert parts["code"].columns["x"].tolist() == [1, 4]
    assert parts["prose"].columns["x"].tolist() == [0, 2, 3]
    picked = samples.select(torch.tensor([4, 0]))
    assert picked.domain.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Samples(columns={}), ValueError, "tensors: no columns"),
        (lambda: of(torch.zeros(0, 3), source="mine"), ValueError, "mine: the data set is empty"),
        (lambda: of([1, 2]), TypeError, "'x' is list; give a tensor"),
        (lambda: of(torch.tensor(1.0)), TypeError, "'x' is a scalar tensor"),
        (
            lambda: Samples(columns={"x": torch.zeros(2), "y": torch.zeros(3)}),
            ValueError,
            r"differ in their number of rows: \{'x': 2, 'y': 3\}",
        ),
        (lambda: of(torch.zeros(2)).by_domain(), ValueError, "carry no domains"),
        (lambda: of(torch.zeros(2), domain_names=("a",)), ValueError, "without a domain"),
        (
            lambda: of(torch.zeros(2), domain=torch.zeros(3).long(), domain_names=("a",)),
            ValueError,
            r"shape \(3,\) .* one int64 per sample, shape \(2,\)",
        ),
        (
            lambda: of(torch.zeros(2), domain=torch.tensor([0, 1]), domain_names=("a",)),
            ValueError,
            r"indices 0..1 for 1 domain_names",
        ),
    ],
)
def test_samples_that_do_not_fit_together_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
