"""Streams of random numbers: pure functions of (seed, unit, chain), whole or in pieces."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from creode.sampling.randomness import AHEAD, TILE, Minibatches, Noise, stream_seed


def test_streams_differ_by_every_argument():
    base = (0, ("a", "b"), 0, "noise")
    others = [
        (1, ("a", "b"), 0, "noise"),
        (0, ("a", "c"), 0, "noise"),
        (0, ("ab",), 0, "noise"),
        (0, ("a", "b"), 1, "noise"),
        (0, ("a", "b"), 0, "minibatch"),
    ]
    seeds = {stream_seed(*arguments) for arguments in [base, *others]}
    assert len(seeds) == 6
    assert stream_seed(*base) == 7604465168318434995  # the same in every process and version


def noise(*seeds, per_step, dtype=torch.float32):
    return Noise(seeds, torch.empty(0, dtype=dtype), per_step=per_step)


@pytest.mark.parametrize("per_step", [96, 3 * TILE // 2])  # made ahead, made when asked for
def test_noise_in_pieces_of_sixteen_is_the_noise_of_the_whole(per_step):
    whole, pieces = (noise(3, 4, per_step=per_step) for _ in range(2))
    for _ in range(2 * AHEAD // 96):
        expected = whole.take(per_step).clone()
        got = [pieces.take(size).clone() for size in (16, 48, per_step - 64)]
        assert torch.equal(expected, torch.cat(got, 1))
        assert not torch.equal(expected[0], expected[1])
        if per_step > AHEAD:
            break


@pytest.mark.parametrize("per_step", [32, 2 * AHEAD])
@pytest.mark.parametrize("taken", [1, 3])
def test_noise_continues_from_its_state(per_step, taken):
    source, other = noise(7, per_step=per_step), noise(8, per_step=per_step)
    for _ in range(taken):
        source.take(per_step)
    state = source.state()
    expected = [source.take(per_step).clone() for _ in range(2 * AHEAD // 32)]
    other.take(per_step)
    other.restore(state)
    third = noise(9, per_step=per_step)
    third.restore(other.state())
    for source in (other, third):
        assert all(torch.equal(source.take(per_step), one) for one in expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_standard_normal(dtype):
    drawn = noise(1, 2, per_step=1 << 20, dtype=dtype).take(1 << 20).double()
    assert drawn.isfinite().all()
    for row in drawn:
        law = kstest(row.numpy(), "norm")
        assert law.pvalue > 1e-3
        assert abs(row.square().mean() - 1) < 4 * (2 / len(row)) ** 0.5
        assert abs(row.pow(4).mean() - 3) < 4 * (96 / len(row)) ** 0.5
        assert row.abs().max() > 4.4  # P(none of 2^20 beyond 4.4) = 1e-5
    assert abs(torch.corrcoef(drawn)[0, 1]) < 4 / (1 << 20) ** 0.5
    lagged = torch.corrcoef(torch.stack([drawn[0, 1:], drawn[0, :-1]]))[0, 1]
    assert abs(lagged) < 4 / (1 << 20) ** 0.5


def test_noise_is_finite_at_the_ends_of_the_bits():
    source = noise(1, per_step=AHEAD)

    class Ends:
        def random_raw(self, count):
            return np.tile(np.array([2**31 - 1, 2**31], np.uint32), count).view(np.uint64)

    source._bits = [Ends()]
    ends = source._fill(torch.empty(1, 32))
    assert ends.isfinite().all()
    assert ends[0, 0] == -ends[0, 1] > 5


def test_minibatches_are_drawn_without_replacement_and_afresh():
    batches = Minibatches([1, 2], population=10, size=6)
    index = torch.stack([batches.index(step) for step in range(4000)])  # (step, chain, m)
    assert all(len(set(row.tolist())) == 6 for row in index.flatten(0, 1)[:200])
    # Every sample is in a batch with probability m/n = 0.6, and two of them with m(m−1)/(n(n−1)).
    among = torch.nn.functional.one_hot(index, 10).sum(2).double()[:, 0]
    assert (among.mean(0) - 0.6).abs().max() < 5 * (0.24 / 4000) ** 0.5
    together = (among.T @ among / 4000)[0, 1:]
    assert (together - 1 / 3).abs().max() < 5 * (2 / 9 / 4000) ** 0.5
    assert not torch.equal(index[:, 0], index[:, 1])


def test_a_full_batch_is_the_data_in_its_order():
    batches = Minibatches([1], population=4, size=4)
    assert batches.is_full
    assert batches.index(17).tolist() == [[0, 1, 2, 3]]


def test_a_minibatch_depends_on_its_step_alone():
    one, other = (Minibatches([5], population=1000, size=7) for _ in range(2))
    for step in range(20):
        one.index(step)
    assert torch.equal(one.index(3), other.index(3))
