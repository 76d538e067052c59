"""Draws with a rule of acceptance: no bias, whatever the loss and the step size."""

import numpy as np
import pytest
import torch

import creode
from creode.diagnostics.mcse import mcse
from creode.sampling import exact
from creode.sampling.exact import sample_exactly
from creode.testbeds import normal_crossing, quadratic
from oracles import llc_quadratic, normal_crossing_moments, precision
from sampling_cases import BLOCKS, EIGENVALUES, assert_same, flat, noisy_quadratic, posterior

NBETA, GAMMA = 50.0, 10.0


def crossing(exponents, *, trajectory, draws=600, nbeta=300.0, localization=10.0):
    """λ̂ of a crossing with its error, and the mean of nβL by quadrature."""
    target = posterior(normal_crossing(exponents), nbeta=nbeta, localization=localization)
    tree = sample_exactly(target, chains=16, draws=draws, burnin=300, trajectory=trajectory)
    reading = creode.llc(tree)
    truth = normal_crossing_moments(exponents, nbeta, localization).mean
    return float(reading.llc), float(reading.llc_se), truth


@pytest.mark.parametrize(("trajectory", "acceptance", "draws"), [(1, 0.6, 1500), (5, 0.8, 500)])
def test_a_quadratic_has_its_exact_law(trajectory, acceptance, draws):
    target = posterior(quadratic(EIGENVALUES, num_samples=4, offset_scale=1.0))
    tree = sample_exactly(
        target, chains=8, draws=draws, burnin=300, trajectory=trajectory, acceptance=acceptance
    )
    reading = creode.llc(tree)
    truth = llc_quadratic(EIGENVALUES, NBETA, GAMMA)
    assert abs(float(reading.llc) - truth) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.02 * truth
    assert abs(float(reading.virial) - 1) < 4 * float(reading.virial_se)
    assert reading.ok
    assert abs(float(tree["accepted"].mean()) - acceptance) < 0.12
    # Over the stationary law a map that keeps volume and can be turned round has E[e^{−ΔH}] = 1.
    gained = np.exp(-tree["energy_error"])
    assert abs(float(gained.mean()) - 1) < 4 * float(mcse(gained))
    assert float(mcse(gained)) < 0.03


@pytest.mark.parametrize(
    ("exponents", "trajectory", "draws"),
    [
        ((1, 1), 1, 600),
        ((1, 1), 6, 600),
        ((2,), 1, 600),
        ((2,), 6, 1500),
    ],  # at 600 its error scatters past the bar
)
def test_crossings_have_their_law_at_finite_temperature(exponents, trajectory, draws):
    value, error, truth = crossing(exponents, trajectory=trajectory, draws=draws)
    assert abs(value - truth) < 4 * error, (value, error, truth)
    assert error < 0.05 * truth


@pytest.mark.parametrize(
    "rule",
    [
        lambda error, uniform: error < 2,  # whatever is not too bad
        lambda error, uniform: uniform < torch.exp(-error / 2),
        lambda error, uniform: error < 0,  # only downhill
    ],
)
def test_another_rule_of_acceptance_has_another_law(rule, monkeypatch):
    monkeypatch.setattr(exact, "_accepts", rule)
    value, error, truth = crossing((1, 1), trajectory=1)
    assert not abs(value - truth) < 4 * error


def run_of(target, chains=3):
    layout = exact.FlatWeights(target.model, target.selection())
    block = exact.make_block(target, layout, creode.Execution(), mode="vectorised", chains=chains)
    strengths = exact.Target.of(target)
    schedule = exact.Schedule(chains=chains)
    return exact._Run(block, layout, target.data, strengths, range(chains), schedule)


def test_a_path_walked_back_ends_where_it_began_and_gives_back_its_energy():
    target = posterior(noisy_quadratic())
    with exact.borrowed(target.model):
        run = run_of(target)
        start = run._point(run._block.position + 0.3 * run._normal())
        momentum, epsilon = run._normal(), torch.tensor([0.05, 0.1, 0.12], dtype=torch.float64)
        end, final = run._leapfrog(start, momentum, epsilon, 7)
        back, returned = run._leapfrog(end, -final, epsilon, 7)
        torch.testing.assert_close(back.position, start.position, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(returned, -momentum, rtol=1e-9, atol=1e-12)
        _, gained = run._propose(start, momentum, epsilon, 7)
        _, lost = run._propose(end, -final, epsilon, 7)
        torch.testing.assert_close(gained, -lost, rtol=1e-8, atol=1e-10)
        assert gained.abs().min() > 1e-3


def test_an_energy_that_is_not_a_number_is_refused():
    target = posterior(quadratic(EIGENVALUES))
    with exact.borrowed(target.model):
        run = run_of(target)
        start = run._point(run._block.position.clone())
        huge = torch.tensor([1e200, 0.01, 1e200], dtype=torch.float64)
        there, error = run._propose(start, run._normal(), huge, 3)
        taken = exact._accepts(error, run._uniform())
        assert taken.tolist() == [False, True, False]
        before = start.position.clone()
        start.take(there, taken)
        assert torch.equal(start.position[0], before[0])
        assert not torch.equal(start.position[1], before[1])


def test_a_chain_is_the_same_alone_and_among_others():
    options = {"draws": 20, "burnin": 10, "trajectory": 3}
    three = sample_exactly(posterior(noisy_quadratic()), chains=3, **options)
    again = sample_exactly(posterior(noisy_quadratic()), chains=3, **options)
    assert_same(three, again)
    alone = sample_exactly(posterior(noisy_quadratic()), chains=3, mode="sequential", **options)
    assert_same(three, alone, rtol=1e-7)
    assert float(abs(three["loss"][0] - three["loss"][1]).min()) > 0


def test_a_component_is_the_sub_block_and_a_float32_model_runs_in_float64():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 7))
    testbed = quadratic(
        torch.tensor(root @ root.T / 7), num_samples=4, blocks=BLOCKS, dtype=torch.float32
    )
    before = flat(testbed.model)
    seen = set()

    def spying(model, batch):
        seen.update(p.dtype for p in model.parameters())
        return testbed.task(model, batch)

    target = creode.LocalPosterior(
        testbed.model, spying, testbed.data, nbeta=NBETA, localization=GAMMA, component="first"
    )
    tree = sample_exactly(target, chains=4, draws=400, burnin=200, trajectory=4)
    reading = creode.llc(tree)
    block = testbed.hessian.numpy()[:4, :4]
    truth = NBETA * np.trace(block @ np.linalg.inv(precision(block, NBETA, GAMMA))) / 2
    assert abs(float(reading.llc) - truth) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.05 * truth
    assert seen == {torch.float64}
    assert tree.attrs["num_parameters"] == 4
    assert torch.equal(flat(testbed.model), before)
    assert testbed.model.center.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trajectory": 0}, "trajectory must be a whole number ≥ 1"),
        ({"trajectory": 2.5}, "trajectory must be a whole number ≥ 1"),
        ({"acceptance": 1.0}, "acceptance must be between 0 and 1, got 1.0"),
        ({"draws": 1}, "draws must be at least 2"),
        ({"burnin": 0}, "burnin must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sample_exactly(posterior(noisy_quadratic()), **options)


def test_strengths_must_be_numbers():
    with pytest.raises(ValueError, match="are settled by"):
        sample_exactly(posterior(noisy_quadratic(), nbeta="auto"))
