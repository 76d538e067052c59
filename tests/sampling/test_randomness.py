"""Streams of random numbers: pure functions of (seed, unit, chain), whole or in pieces."""

import torch

from creode.sampling.randomness import Minibatches, Noise, stream_seed


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


def test_noise_in_pieces_of_sixteen_is_the_noise_of_the_whole():
    whole = Noise([3, 4], torch.device("cpu")).fill(torch.empty(2, 96))
    noise = Noise([3, 4], torch.device("cpu"))
    pieces = torch.cat([noise.fill(torch.empty(2, n)) for n in (16, 48, 32)], 1)
    assert torch.equal(whole, pieces)
    assert not torch.equal(whole[0], whole[1])


def test_noise_continues_from_its_state():
    noise = Noise([7], torch.device("cpu"))
    noise.fill(torch.empty(1, 32))
    state = noise.state()
    expected = noise.fill(torch.empty(1, 32))
    other = Noise([8], torch.device("cpu"))
    other.restore(state)
    assert torch.equal(other.fill(torch.empty(1, 32)), expected)


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
