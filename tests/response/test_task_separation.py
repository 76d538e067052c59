"""Two tasks in one network: the loss kernel groups inputs by task, χ finds each unit's task."""

import numpy as np
import pytest

import creode
from creode.response import loss_kernel, susceptibility
from creode.testbeds import two_tasks

pytest.importorskip("sklearn")


def sampled(net, *, component="full", seed=0, draws=300, traces=()):
    return creode.sample(
        creode.LocalPosterior(
            net.model, net.task, net.data, nbeta=30.0, localization=300.0, component=component
        ),
        {"inputs": net.data} | net.asking(),
        traces=traces,
        sampler=creode.BAOAB(step_size=0.025, friction=35.0),
        chains=4,
        draws=draws,
        burnin=50,
        steps_per_draw=4,
        batch_size=len(net.data),
        seed=seed,
        execution=creode.Execution(mode="vectorised"),
    )


def test_one_networks_inputs_separate_by_task():
    net = two_tasks(seed=0)
    draws = sampled(net, traces=("inputs",))
    found = loss_kernel(draws, "inputs").alignment(net.asks.numpy())
    assert float(found["nmi"]) >= 0.9
    assert float(found["rank_correlation"]) > 4 * float(found["rank_correlation_se"])
    assert float(found["nmi_chance"]) < 0.1


def test_units_answer_to_the_task_they_were_planted_for():
    net = two_tasks(copies=1, seed=0)
    chosen = [int((net.serves == task).nonzero()[0, 0]) for task in (0, 1)]
    chi = susceptibility(
        {f"unit {u}": sampled(net, component=net.unit(u), draws=100) for u in chosen},
        on=["first", "second"],
        by="dataset",
    )
    own = np.diagonal(chi["z"].sel(probe=["first", "second"]).values)
    other = np.diagonal(chi["z"].sel(probe=["second", "first"]).values)
    assert (own < -3).all(), chi["z"].values
    assert (other > 3).all(), chi["z"].values
    assert chi["ok"].all(), chi["reasons"].values
