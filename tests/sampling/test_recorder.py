"""What is kept: moments against numpy, and nothing of a chain after it failed."""

import numpy as np
import torch

from creode.data import Samples
from creode.sampling.probes import Probe
from creode.sampling.recorder import Recorder
from creode.tasks import Losses


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
