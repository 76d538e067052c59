"""χ from the sampler itself: against closed forms, resampling on moved data, and interruption."""

import numpy as np
import pytest
import torch

import creode
from creode.data import Samples
from creode.response import mixture_susceptibility, significant, subtract_baseline, susceptibility
from creode.sampling import BAOAB, SGLD
from creode.testbeds import quadratic
from oracles import loss_covariance, precision, reweighted_loss_means, sgld_covariance

NBETA, GAMMA, EPS = 50.0, 10.0, 4e-3
H = (0.5, 1.0, 2.0, 3.0, 4.0)
BLOCKS = {"first": (2,), "second": (3,)}
CHOSEN = {"full": [0, 1, 2, 3, 4], "second": [2, 3, 4]}


@pytest.fixture(scope="module")
def testbed():
    return quadratic(
        H, num_samples=16, gradient_scale=0.03, curvature_scale=0.8, blocks=BLOCKS, seed=2
    )


def run(testbed, *, component="full", nbeta=NBETA, data=None, **options):
    settings = {"chains": 4, "draws": 600, "burnin": 100, "steps_per_draw": 10, "batch_size": 16}
    settings |= {"execution": creode.Execution(mode="vectorised")}
    target = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data if data is None else data,
        nbeta=nbeta, localization=GAMMA, component=component,
    )  # fmt: skip
    return creode.sample(
        target, options.pop("probes", {"all": testbed.data}),
        sampler=options.pop("sampler", SGLD(step_size=EPS)), **settings | options,
    )  # fmt: skip


def exact(testbed, component, nbeta=NBETA):
    chosen = CHOSEN[component]
    g = testbed.gradients.numpy()[:, chosen]
    a = testbed.curvatures.numpy()[np.ix_(range(16), chosen, chosen)]
    h = testbed.hessian.numpy()[np.ix_(chosen, chosen)]
    row = loss_covariance(g, a, sgld_covariance(precision(h, nbeta, GAMMA), EPS)).mean(0)
    return -(row - row.mean())


@pytest.mark.parametrize("component", CHOSEN)
def test_chi_of_sampled_draws_is_the_closed_form(testbed, component):
    """With windows of ten steps a draw: a mean over the window would have a smaller covariance."""
    out = susceptibility(run(testbed, component=component)).isel(component=0)
    truth = exact(testbed, component)
    assert (abs(out["chi"] - truth) < 4 * out["chi_se"]).all()
    assert float(out["chi_se"].max()) < 0.5 * np.sqrt(np.mean(truth**2))


@pytest.mark.slow
def test_minibatches_leave_chi_unbiased():
    """A small step, so that minibatch noise heats little; it still is a good part of what L is."""
    testbed = quadratic(
        H, num_samples=16, gradient_scale=0.1, curvature_scale=0.8, blocks=BLOCKS, seed=2
    )
    truth_of = precision(testbed.hessian.numpy(), NBETA, GAMMA)
    row = loss_covariance(
        testbed.gradients.numpy(), testbed.curvatures.numpy(), sgld_covariance(truth_of, 2e-3)
    ).mean(0)
    target = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=NBETA, localization=GAMMA
    )
    tree = creode.sample(
        target, {"all": testbed.data}, sampler=SGLD(step_size=2e-3), chains=8, draws=4000,
        burnin=500, steps_per_draw=10, batch_size=2, execution=creode.Execution(mode="vectorised"),
    )  # fmt: skip
    noise = float(tree["observed"].var() / tree["probes/all/loss"].var())
    assert noise > 1.5
    out = susceptibility(tree).isel(component=0)
    truth = -(row - row.mean())
    assert (abs(out["chi"] - truth) < 4 * out["chi_se"] + 0.1 * abs(truth)).all()
    assert float(out["chi_se"].max()) < 0.3 * np.sqrt(np.mean(truth**2))


def moved(testbed, weights):
    """Data whose mean loss is the mean of ρ_i ℓ_i."""
    rho = torch.tensor(weights)
    columns = {
        name: column * rho.view(-1, *[1] * (column.ndim - 1))
        for name, column in testbed.data.columns.items()
    }
    return Samples(columns=columns)


@pytest.mark.slow
def test_chi_predicts_what_resampling_on_moved_data_gives(testbed):
    """d⟨φ⟩ = nβ χ dq, against two runs at ρ = 1 ± δ(16 e_j − 1) and the exact change.

    Both runs have the same noise, so most of it is not in their difference. The kernel has no bias
    on a quadratic: SGLD's own stationary law answers by a share of ε(nβh + γ)/2 less.
    """
    j, delta = int(np.argmax(abs(exact(testbed, "full")))), 0.15
    weights = np.zeros(16)
    weights[j] = 1.0
    kernel = BAOAB(step_size=0.1, friction=8.0)
    whole = run(testbed, draws=6000, sampler=kernel)
    chi = mixture_susceptibility(whole, {"all": weights}).isel(component=0)
    predicted, its_error = (NBETA * float(chi[name]) for name in ("chi", "chi_se"))
    ends = [
        run(
            testbed, draws=3000, seed=2, sampler=kernel,
            data=moved(testbed, np.full(16, 1 - sign * delta) + sign * delta * 16 * weights),
        )["probes/all/loss"]
        for sign in (1, -1)
    ]  # fmt: skip
    change = (ends[0] - ends[1]) / (2 * delta)
    slope, error = float(change.mean()), float(creode.diagnostics.mcse(change))
    combined = np.hypot(error, its_error)
    assert combined < 0.08 * abs(predicted)
    assert abs(slope - predicted) < 4 * combined + 0.1 * abs(predicted)  # δ is finite
    g, a = testbed.gradients.numpy(), testbed.curvatures.numpy()
    both = [
        reweighted_loss_means(
            g, a, np.full(16, 1 - s * delta) + s * delta * 16 * weights, NBETA, GAMMA
        ).mean()
        for s in (1, -1)
    ]
    assert slope == pytest.approx((both[0] - both[1]) / (2 * delta), abs=4 * error, rel=0.1)


def test_with_the_loss_off_two_runs_differ_by_nothing(testbed):
    runs = [
        susceptibility(run(testbed, nbeta=0.0, seed=seed, steps_per_draw=30, draws=150))
        for seed in (0, 1)
    ]
    assert not significant(subtract_baseline(*runs)["p"], 0.05).any()


def test_an_interrupted_run_has_the_same_chi(testbed, tmp_path, monkeypatch):
    from creode.store import Store

    monkeypatch.setattr(Store, "snapshot_due", lambda self: True)
    short = {"draws": 12, "burnin": 5, "steps_per_draw": 2, "batch_size": 4, "chains": 2}
    short |= {"execution": creode.Execution(mode="sequential")}
    whole = susceptibility(run(testbed, **short))

    def stop(done, total):
        if done in (9, 40):
            raise RuntimeError("stop")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="stop"):
            run(testbed, out=tmp_path, on_progress=stop, **short)
    resumed = run(testbed, out=tmp_path, **short)
    assert susceptibility(resumed)["chi"].identical(whole["chi"])
    again = susceptibility(creode.open_draws(tmp_path))
    assert again["chi_se"].identical(whole["chi_se"])
