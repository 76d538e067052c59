"""What is kept: moments against numpy, and the square of the excess against every minibatch."""

from itertools import combinations

import numpy as np
import torch

from creode.data import Samples
from creode.sampling.block import BatchLosses
from creode.sampling.probes import Probe
from creode.sampling.recorder import Recorder
from creode.tasks import Losses


def test_the_square_of_the_excess_is_unbiased_over_minibatches():
    """Averaged over all minibatches of m of n it is the square of the full data's excess."""
    rng = np.random.default_rng(1)
    init, now = rng.normal(size=7), rng.normal(size=7)
    truth = (now - init).mean() ** 2
    biased, squares = [], []
    for index in combinations(range(7), 3):
        total, base = (torch.tensor(values[list(index)])[None] for values in (now, init))
        recorder = Recorder(1, 2, [])
        ones = torch.ones_like(total)
        recorder.observe(BatchLosses(total, ones), BatchLosses(base, ones), population=7)
        recorder.draw(0, {})
        tree = recorder.tree(0)
        squares.append(float(tree["excess_sq"][0, 0]))
        biased.append(float((tree["loss"] - tree["init_loss"])[0, 0]) ** 2)
    assert abs(np.mean(squares) - truth) < 1e-12
    assert np.mean(biased) > truth + 0.05


def test_losses_of_token_tasks_weigh_every_counted_token_alike():
    total = torch.tensor([[6.0, 2.0]], dtype=torch.float64)
    count = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    recorder = Recorder(1, 2, [])
    base = BatchLosses(total / 2, count)
    recorder.observe(BatchLosses(total, count), base, population=2)
    recorder.draw(0, {})
    assert float(recorder.tree(0)["loss"][0, 0]) == 2.0
    assert float(recorder.tree(0)["init_loss"][0, 0]) == 1.0


def test_a_draw_holds_the_means_of_its_own_window():
    recorder = Recorder(1, 2, [])
    one = torch.ones(1, 1, dtype=torch.float64)
    for value in (1.0, 3.0, 10.0, 20.0):
        recorder.observe(BatchLosses(value * one, one), BatchLosses(0 * one, one), population=1)
        if value in (3.0, 20.0):
            recorder.draw(int(value > 3), {})
    tree = recorder.tree(0)
    assert tree["loss"].values.tolist() == [[2.0, 15.0]]
    assert tree["excess_sq"].values.tolist() == [[5.0, 250.0]]


def probe_of(values, mask):
    samples = Samples(columns={"x": torch.zeros(len(values), 1)})
    return Probe("p", samples, Losses(values, mask))


def test_moments_of_a_probe_are_those_of_its_trace():
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(5, 2, 3, 4))  # draw, chain, sample, token
    mask = torch.tensor(rng.random((3, 4)) < 0.7)
    draws = draws * mask.numpy()
    probe = probe_of(torch.zeros(3, 4, dtype=torch.float64), mask)
    recorder = Recorder(2, 5, [probe], ["p"])
    for number, values in enumerate(draws):
        losses = Losses(torch.tensor(values), mask.expand(2, 3, 4))
        recorder.probe(number, "p", losses, stands_for_data=False)
    node = recorder.tree(10)["probes/p"]
    np.testing.assert_allclose(node["unit_mean"], draws.mean(0), atol=1e-12)
    np.testing.assert_allclose(node["unit_var"], draws.var(0, ddof=1), atol=1e-12)
    mean = draws.sum((2, 3)).T / int(mask.sum())
    np.testing.assert_allclose(node["loss"], mean, atol=1e-12)
    assert node["chain"].values.tolist() == [10, 11]
    assert node["unit_loss"].dims == ("chain", "draw", "sample", "token")


def test_a_failed_chain_leaves_no_number_behind_its_failure():
    probe = probe_of(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    recorder = Recorder(2, 2, [probe])
    for number in (0, 1):
        if number:
            recorder.fail(torch.tensor([False, True]), step=7)
            recorder.fail(torch.tensor([False, True]), step=9)  # the first failure counts
        losses = Losses(torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3).bool())
        recorder.draw(number, {"virial": torch.ones(2)})
        recorder.probe(number, "p", losses, stands_for_data=False)
    tree = recorder.tree(0)
    assert tree["failed_at"].values.tolist() == [-1, 7]
    assert tree["virial"].isnull().values.tolist() == [[False, False], [False, True]]
    assert tree["probes/p/loss"].isnull().values.tolist() == [[False, False], [False, True]]
    assert tree["probes/p/unit_mean"].isnull().all("sample").values.tolist() == [False, True]
