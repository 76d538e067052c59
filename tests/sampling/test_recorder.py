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


def record(draws, observed, mask, traces=(), init=None):
    """Losses (D, C, B, T) and observables (D, C, K) through a recorder."""
    init = torch.zeros(mask.shape, dtype=torch.float64) if init is None else init
    names = [f"phi{k}" for k in range(observed.shape[2])]
    number, chains = draws.shape[:2]
    recorder = Recorder(chains, number, [probe_of(init, mask)], traces, names)
    for draw, values in enumerate(draws):
        losses = Losses(torch.tensor(values), mask.expand(chains, *mask.shape))
        recorder.observe(draw, torch.tensor(observed[draw]), {"p": losses})
    return recorder.tree(10, [0.0] * len(names))


def test_moments_of_a_probe_are_those_of_its_trace():
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(5, 2, 3, 4))  # draw, chain, sample, token
    mask = torch.tensor(rng.random((3, 4)) < 0.7)
    draws = draws * mask.numpy()
    node = record(draws, np.zeros((5, 2, 0)), mask, ["p"])["probes/p"]
    np.testing.assert_allclose(node["unit_mean"], draws.mean(0), atol=1e-12)
    np.testing.assert_allclose(node["unit_var"], draws.var(0, ddof=1), atol=1e-12)
    mean = draws.sum((2, 3)).T / int(mask.sum())
    np.testing.assert_allclose(node["loss"], mean, atol=1e-12)
    assert node["chain"].values.tolist() == [10, 11]
    assert node["unit_loss"].dims == ("chain", "draw", "sample", "token")
    assert "cov" not in node


def test_covariances_by_block_are_those_of_the_trace():
    rng = np.random.default_rng(3)
    number = 23  # blocks of 4 and 5 draws
    observed = rng.normal(size=(number, 2, 2)) + np.array([3.0, -40.0])
    draws = rng.normal(size=(number, 2, 3, 4)) + 5 + observed[:, :, :1, None]
    mask = torch.ones(3, 4, dtype=torch.bool)
    tree = record(draws, observed, mask, init=torch.full((3, 4), 5.0, dtype=torch.float64))
    cov, block = tree["probes/p/cov"], tree["block_of_draw"].values
    assert cov.dims == ("chain", "block", "observable", "sample", "token")
    assert tree["observable"].values.tolist() == ["phi0", "phi1"]
    assert np.bincount(block).tolist() == [5, 5, 4, 5, 4]
    phi, losses = observed - observed.mean(0), draws - draws.mean(0)  # of the whole chain
    products = np.einsum("dck,dcst->dckst", phi, losses)
    for b in range(5):
        share = products[block == b].sum(0) * 5 / (number - 1)
        np.testing.assert_allclose(cov.isel(block=b), share, rtol=1e-10, atol=1e-12)
    whole = [
        np.cov(observed[:, c, k], draws[:, c, s, t])[0, 1] for c, k, s, t in np.ndindex(2, 2, 3, 4)
    ]
    np.testing.assert_allclose(cov.mean("block").values.ravel(), whole, rtol=1e-10)
    np.testing.assert_allclose(tree["observed"], observed.transpose(1, 0, 2))


def test_few_draws_make_fewer_blocks_and_single_precision_losses_stay_so():
    rng = np.random.default_rng(4)
    draws = rng.normal(size=(3, 2, 6, 1)).astype("float32")
    observed = rng.normal(size=(3, 2, 1))
    tree = record(draws, observed, torch.ones(6, 1).bool(), init=torch.zeros(6, 1))
    node = tree["probes/p"]
    assert node["cov"].sizes["block"] == 3
    assert {node[name].dtype for name in ("cov", "unit_mean", "unit_var")} == {np.dtype("float32")}
    exact = np.cov(observed[:, 1, 0], draws[:, 1, 4, 0])[0, 1]
    np.testing.assert_allclose(node["cov"].mean("block")[1, 0, 4, 0], exact, rtol=1e-5)


def test_memory_and_the_record_do_not_grow_with_draws():
    sizes = []
    for number in (50, 500):
        recorder = Recorder(
            2, number, [probe_of(torch.zeros(8, 4), torch.ones(8, 4).bool())], (), ["phi"]
        )
        state = recorder.state()["probes"]["p"]["moments"]
        kept = recorder.tree(0, [0.0])["probes/p"].to_dataset().drop_vars("loss")
        sizes.append((sum(held.numel() for held in state.values()), kept.nbytes))
    assert sizes[0] == sizes[1]


def test_a_failed_chain_leaves_no_number_behind_its_failure():
    probe = probe_of(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    recorder = Recorder(2, 2, [probe], (), ["phi"])
    for number in (0, 1):
        if number:
            recorder.fail(torch.tensor([False, True]), step=7)
            recorder.fail(torch.tensor([False, True]), step=9)  # the first failure counts
        losses = Losses(torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3).bool())
        recorder.draw(number, {"virial": torch.ones(2)})
        recorder.observe(number, torch.ones(2, 1), {"p": losses})
    tree = recorder.tree(0, [0.0])
    assert tree["failed_at"].values.tolist() == [-1, 7]
    assert tree["virial"].isnull().values.tolist() == [[False, False], [False, True]]
    assert tree["probes/p/loss"].isnull().values.tolist() == [[False, False], [False, True]]
    observed = tree["observed"].isnull().values[..., 0].tolist()
    assert observed == [[False, False], [False, True]]
    assert tree["probes/p/unit_mean"].isnull().all("sample").values.tolist() == [False, True]
    assert tree["probes/p/cov"].isnull().any(("block", "observable", "sample")).values.tolist() == [
        False,
        True,
    ]
