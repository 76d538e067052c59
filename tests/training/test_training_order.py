"""Batches: every sample once an epoch, from (seed, step) alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from creode.training.order import BatchOrder, stream_seed


def order(size: int, batch: int, seed: int = 0) -> BatchOrder:
    return BatchOrder(num_samples=size, batch_size=batch, seed=seed)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_epoch_holds_every_sample_once(size: int, batch: int, seed: int) -> None:
    batch = min(batch, size)
    batches = order(size, batch, seed)
    row = torch.cat([batches(step) for step in range(3 * size)])  # `batch` epochs of 3
    assert len(row) == 3 * size * batch
    for epoch in row.split(size):
        assert epoch.sort().values.tolist() == list(range(size))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards, backwards, other = order(10, 4), order(10, 4), order(10, 4, seed=1)
    told = {step: forwards(step) for step in range(30)}
    for step in reversed(range(30)):
        assert torch.equal(backwards(step), told[step])
    assert any(not torch.equal(other(step), told[step]) for step in range(30))


def test_epochs_are_shuffled_apart() -> None:
    batches = order(50, 25)
    epochs = [torch.cat([batches(2 * e), batches(2 * e + 1)]) for e in range(4)]
    assert len({tuple(e.tolist()) for e in epochs}) == 4
    assert tuple(range(50)) not in {tuple(e.tolist()) for e in epochs}


def test_first_samples_are_uniform_over_seeds() -> None:
    draws = 4000
    firsts = torch.tensor([int(order(8, 3, seed)(0)[0]) for seed in range(draws)])
    counts = torch.bincount(firsts, minlength=8).double()
    chi2 = float(((counts - draws / 8) ** 2 / (draws / 8)).sum())
    assert chi2 < 24.3  # 0.999 quantile for 7 degrees of freedom


def test_a_batch_of_all_the_data_keeps_its_order() -> None:
    assert order(6, 6)(3).tolist() == list(range(6))


@pytest.mark.parametrize("other", [(1, "order", 0), (0, "dropout", 0), (0, "order", 1)])
def test_streams_of_random_numbers_differ(other: tuple[int, str, int]) -> None:
    assert stream_seed(*other) != stream_seed(0, "order", 0)
