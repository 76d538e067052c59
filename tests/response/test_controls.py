"""Noise-only controls: where nothing is to be found, no more is than the rate asked for.

If all null hypotheses hold, the false-discovery rate is the chance of any discovery at all.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from torch import nn

import creode
from creode.data import shuffle_targets
from creode.response import significant, subtract_baseline, susceptibility
from creode.testbeds import two_tasks

RATE = 0.05


class WithUnused(nn.Module):
    """A network and weights that it does not use: they move under the tether alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.unused = nn.Parameter(torch.zeros(3))

    def forward(self, inputs):
        return self.network(inputs) + 0 * self.unused.sum()


def unused(model):
    return model.unused.sum()


@pytest.fixture(scope="module")
def net():
    return two_tasks(copies=1, seed=0)


def sampled(net, seed, *, nbeta=30.0, component="full", data=None):
    return creode.sample(
        creode.LocalPosterior(
            WithUnused(net.model), net.task, net.data if data is None else data,
            nbeta=nbeta, localization=300.0, component=component,
        ),
        {"inputs": net.data},
        observables={"unused": unused},
        sampler=creode.BAOAB(step_size=0.05, friction=20.0),
        chains=4, draws=60, burnin=40, steps_per_draw=4, batch_size=len(net.data), seed=seed,
        execution=creode.Execution(mode="vectorised"),
    )  # fmt: skip


def most(repetitions):
    """Repetitions with a discovery, at most, if the rate holds; passed once in 100 times."""
    return stats.binom.ppf(0.99, repetitions, RATE)


def of_unused(net, repetitions):
    """How many runs find that a sample's loss answers to weights that are not used."""
    chi = [susceptibility(sampled(net, s), observable="unused") for s in range(repetitions)]
    return sum(bool(significant(one["p"], RATE).any()) for one in chi)


def with_the_loss_off(net, repetitions):
    """How many pairs of runs at nβ = 0 differ significantly."""
    runs = [susceptibility(sampled(net, s, nbeta=0.0)) for s in range(2 * repetitions)]
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return sum(bool(significant(subtract_baseline(*pair)["p"], RATE).any()) for pair in pairs)


def with_targets_permuted(net, repetitions):
    """How many pairs of runs on data with permuted targets differ significantly."""
    data = shuffle_targets(net.data)
    runs = [
        susceptibility(sampled(net, 100 + s, data=data), control=True)
        for s in range(2 * repetitions)
    ]
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return sum(bool(significant(subtract_baseline(*pair)["p"], RATE).any()) for pair in pairs)


def test_weights_without_use_answer_to_nothing(net):
    assert of_unused(net, 2) <= most(2)


def test_with_the_loss_off_nothing_is_left_of_chi_less_its_baseline(net):
    assert with_the_loss_off(net, 2) <= most(2)


def test_with_targets_permuted_nothing_is_left_of_chi_less_the_control(net):
    assert with_targets_permuted(net, 2) <= most(2)


def test_what_the_targets_made_is_left_after_the_control_of_permuted_targets(net):
    """The control could fail: what the data's targets made of the network is not in it."""
    control = susceptibility(sampled(net, 100, data=shuffle_targets(net.data)), control=True)
    less = subtract_baseline(susceptibility(sampled(net, 0)), control)
    assert float(significant(less["p"], RATE).mean()) > 0.1
    assert "not a local minimum" not in str(control["reasons"].values)


@pytest.mark.slow
def test_discoveries_in_noise_are_as_rare_as_asked_for(net):
    assert of_unused(net, 40) <= most(40)
    assert with_the_loss_off(net, 40) <= most(40)
    assert with_targets_permuted(net, 40) <= most(40)


def test_the_same_runs_find_what_is_there(net):
    """The controls could find something: the loss itself does answer to its samples."""
    assert float(significant(susceptibility(sampled(net, 0))["p"], RATE).mean()) > 0.1


def test_shuffled_tasks_are_told_apart_no_more_often_than_asked_for(net):
    """Which task a sample asks for, permuted: between such groups units do not tell.

    The error is between samples, for it is their choice that a permutation makes anew; the error
    of χ is of the draws alone, and finds two fixed groups different as soon as draws are many.
    """
    masks = [net.unit(u) for u in range(len(net.serves))]
    chi = susceptibility(
        {
            f"unit {u}": sampled(net, u, component={f"network.{n}": m for n, m in mask.items()})
            for u, mask in enumerate(masks)
        }
    )["chi"].values
    first = net.asks.numpy() == 0
    rng = np.random.default_rng(0)

    def found(groups):
        p = stats.ttest_ind(chi[:, groups], chi[:, ~groups], axis=1, equal_var=False).pvalue
        return significant(xr.DataArray(p), RATE)

    discoveries = sum(bool(found(rng.permutation(first)).any()) for _ in range(200))
    assert discoveries <= most(200)
    assert float(found(first).mean()) > 0.8
