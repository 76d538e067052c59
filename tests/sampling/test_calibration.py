"""The automatic sampler: its rule on losses whose answer is known, its record, its refusals."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import creode
from creode.sampling import Auto, Calibration, Execution, Schedule, calibrate, calibration, pilot
from creode.sampling.flat import FlatWeights
from creode.store import Store
from creode.testbeds import deep_linear, quadratic
from oracles import llc_quadratic
from sampling_cases import EIGENVALUES, assert_same, noisy_quadratic

SEQUENTIAL = Execution(mode="sequential")


def chosen(
    testbed, *, budget=2000, batch_size, nbeta="auto", localization="auto", seed=0, rise=None
):
    posterior = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=nbeta, localization=localization
    )
    schedule = Schedule(batch_size=batch_size, seed=seed)
    return calibrate(posterior, Auto(budget=budget, rise=rise), schedule, SEQUENTIAL)


def test_with_exact_gradients_the_budget_decides():
    found = chosen(quadratic(EIGENVALUES, num_samples=4), batch_size=4)
    assert abs(found.curvature - 4) < 0.1
    assert found.noise == 0.0
    assert found.information is None
    assert found.limit == "the budget"
    left = 2000 * (1 - calibration.PILOT_SHARE)
    run = found.burnin + found.draws * found.steps_per_draw
    kappa = (run / calibration.RELAXATIONS) ** 2
    assert math.isclose(found.nbeta * 4 / found.localization, kappa, rel_tol=0.03)
    stiffest = found.nbeta * 4 + found.localization
    assert math.isclose(found.step_size * stiffest**0.5, calibration.RELATIVE_STEP, rel_tol=0.03)
    companion = found.tighter_burnin + found.tighter_draws * found.steps_per_draw
    assert 0.9 * left < (run + companion) * calibration.STEP_COST <= left
    assert found.pilot_evaluations <= 2000 - left


def test_a_larger_budget_resolves_more():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    small, large = (chosen(testbed, batch_size=4, budget=budget) for budget in (1000, 4000))
    assert math.isclose(large.nbeta / small.nbeta, 16, rel_tol=0.05)


def test_only_a_tether_that_is_chosen_gets_a_companion():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    free, held = (
        chosen(testbed, batch_size=4, localization=localization) for localization in ("auto", 2.0)
    )
    assert free.tighter_draws > 0
    assert held.tighter_draws == 0
    assert held.draws * held.steps_per_draw > free.draws * free.steps_per_draw


def test_noise_asks_for_friction_and_holds_the_temperature_down():
    testbed = noisy_quadratic(gradient_scale=3.0)
    found = chosen(testbed, batch_size=6, budget=4000, localization=10.0)
    assert found.localization == 10.0
    assert found.noise > 0
    assert found.limit != "the budget"
    stiffest = (found.nbeta * found.curvature + 10) ** 0.5
    heat = calibration.USUAL_STEP * found.noise * stiffest / (2 * found.friction)
    assert heat <= calibration.HEAT * 1.001


def regression(noise, num_samples=400):
    """y = Wx + noise, a hair off the minimum, as trained weights are."""
    testbed = deep_linear((3, 3), 3, num_samples=num_samples, noise=noise, seed=1)
    with torch.no_grad():
        for weight in testbed.model.parameters():
            weight.add_(1e-3)
    return testbed


def test_at_an_exact_minimum_of_the_whole_data_its_samples_do_not_hold_nbeta_down():
    exact = deep_linear((3, 3), 3, num_samples=400, noise=1.0, seed=1)
    assert chosen(exact, batch_size=400, budget=4000).limit == "the budget"
    assert chosen(exact, batch_size=200, budget=4000).information is not None  # not seen whole


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_information_in_noisy_targets_is_the_samples_over_their_variance(noise):
    """For y = Wx + noise of variance σ², Cov(∇ℓ) = σ² H at the truth: n_eff = n/σ²."""
    found = [
        chosen(regression(noise), batch_size=400, budget=4000, seed=seed).information
        for seed in range(4)
    ]
    exact = 400 / noise**2
    assert abs(np.mean(found) - exact) < 0.3 * exact


def test_information_holds_nbeta_at_wbics():
    found = chosen(regression(1.0), batch_size=400, budget=20_000)
    assert found.limit == "the information in the data"
    assert math.isclose(found.nbeta, found.information / math.log(found.information), rel_tol=1e-6)


def test_given_strengths_are_kept():
    found = chosen(
        quadratic(EIGENVALUES, num_samples=4), batch_size=4, nbeta=50.0, localization=2.0
    )
    assert (found.nbeta, found.localization) == (50.0, 2.0)
    assert found.limit is None


def test_without_a_tether_the_budget_still_sets_the_friction():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    found = chosen(testbed, batch_size=4, nbeta=50.0, localization=0.0)
    assert found.friction > 0
    with pytest.raises(ValueError, match="leaves no scale to choose nbeta by"):
        chosen(testbed, batch_size=4, localization=0.0)


def test_the_natural_tether_is_an_initialisations():
    net = deep_linear((10, 4, 6), 2, num_samples=10)
    found = chosen(net, batch_size=10, budget=400)
    euler, harmonic = 0.5772156649015329, 1 + 1 / 2 + 1 / 3 + 1 / 4
    typical = {10: math.exp(harmonic - euler), 4: math.exp(1 - euler)}  # exp ψ(fan-in/2)
    natural = (40 * typical[10] + 24 * typical[4]) / 64
    assert math.log(found.localization / natural, pilot.RAISE_GAMMA) == pytest.approx(
        round(math.log(found.localization / natural, pilot.RAISE_GAMMA))
    )
    assert found.localization >= natural


def test_a_quadratic_is_read_right_with_nothing_given():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    draws = creode.sample(posterior, sampler=Auto(budget=6000), batch_size=4)
    reading = creode.llc(draws)
    exact = llc_quadratic(EIGENVALUES, draws.attrs["nbeta"], draws.attrs["localization"])
    assert abs(float(reading.llc_tethered) - exact) < 4 * float(reading.llc_tethered_se)
    assert float(reading.llc_tethered_se) < 0.05 * exact
    assert exact > 0.97 * 3.5  # nβ is high enough for d/2, nearly
    assert abs(float(reading.llc) - 3.5) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.1 * 3.5
    assert bool(reading.ok), str(reading.reasons.values)


@pytest.mark.parametrize(
    ("rise", "batch_size"), [(0.02, 40), (0.02, 8), (0.02, 2), (0.5, 40), (0.5, 8)]
)
def test_draws_rise_by_what_was_asked(rise, batch_size):
    eigenvalues = tuple(float(h) for h in np.geomspace(0.01, 20, 60))
    testbed = quadratic(eigenvalues, num_samples=40, gradient_scale=0.1, seed=2)
    found = chosen(testbed, batch_size=batch_size, budget=4000, rise=rise)
    expected = llc_quadratic(eigenvalues, found.nbeta, found.localization) / found.nbeta
    chance = expected * found.nbeta  # λ, the variance of nβ times the excess of one look
    assert rise / expected < calibration.NEAR * (1 + 2 * chance**-0.5)
    assert expected / rise < calibration.NEAR * (1 + 2 * chance**-0.5)
    stiffness = found.nbeta * found.curvature / found.localization
    steps = found.burnin + found.draws * found.steps_per_draw
    mixed = (steps / calibration.RISEN_RELAXATIONS) ** 2
    if found.noise:  # of the friction that bounds its heat
        noisy = calibration.RISEN_NOISY_RELAXATIONS * found.noise
        mixed = min(mixed, 2 * steps * calibration.RISEN_HEAT / noisy)
    wanted = max(min(mixed, calibration.MOST), calibration.LEAST)
    assert stiffness == pytest.approx(wanted, rel=1e-3)
    assert found.tighter_draws == 0
    assert found.draws <= calibration.MOST_RISEN_DRAWS
    assert found.limit == "the rise of the loss that was asked for"


def test_the_noise_of_a_rise_is_told_by_all_looks(monkeypatch):
    """Minibatches of two: the noise of one look scatters by tens of per cent."""
    seen = []

    class Recording(pilot.Landscape):
        def local(self, **options):
            seen.append(super().local(**options))
            return seen[-1]

    monkeypatch.setattr(pilot, "Landscape", Recording)
    rounds = []
    eigenvalues = tuple(float(h) for h in np.geomspace(0.01, 20, 60))
    testbed = quadratic(eigenvalues, num_samples=40, gradient_scale=0.1, seed=2)
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    found = calibrate(
        posterior, Auto(budget=4000, rise=0.1), Schedule(batch_size=2), SEQUENTIAL,
        on_round=lambda done, _: rounds.append(done),
    )  # fmt: skip
    looks = seen[-len(rounds) :]
    noise, signal = (np.array([getattr(look, of) for look in looks]) for of in ("noise", "signal"))
    assert len(looks) >= pilot.ROUNDS
    assert found.noise == pytest.approx(noise.sum() / signal.sum(), rel=1e-12)
    assert abs(np.log(noise[-1] / signal[-1] / found.noise)) > 0.02


def test_a_gradient_that_noise_hides_is_not_taken_for_one_without_noise():
    eigenvalues = tuple(float(h) for h in np.geomspace(0.01, 20, 60))
    testbed = quadratic(eigenvalues, num_samples=40, gradient_scale=3.0, seed=2)
    found = chosen(testbed, batch_size=2, budget=4000, rise=0.02)
    assert found.noise > 5
    stiffness = found.nbeta * found.curvature / found.localization
    assert stiffness < calibration.MOST / 4


def test_a_rise_leaves_no_strength_to_be_given():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    for given in ({"nbeta": 50.0}, {"localization": 2.0}):
        with pytest.raises(ValueError, match=r"rise=0.1 chooses nbeta and localization"):
            chosen(testbed, batch_size=4, rise=0.1, **given)
    for rise in (0, -0.1, math.inf, "much"):
        with pytest.raises(ValueError, match="rise must be a number of nats above 0"):
            Auto(rise=rise)


def test_the_choice_is_recorded_and_taken_up(tmp_path):
    testbed = noisy_quadratic()
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    settings = {"sampler": Auto(budget=400), "chains": 2, "batch_size": 24}
    whole = creode.sample(posterior, **settings, out=str(tmp_path / "a"), execution=SEQUENTIAL)
    with Store.open(tmp_path / "a", mode="read") as store:
        record = store.resolved["calibration"]
    assert Calibration.of(json.loads(json.dumps(record))).nbeta == whole.attrs["nbeta"]
    again = creode.sample(posterior, **settings, out=str(tmp_path / "a"), execution=SEQUENTIAL)
    assert_same(whole, again)
    fresh = creode.sample(posterior, **settings, execution=SEQUENTIAL)
    assert_same(whole, fresh)  # the pilot replays from the seed


def test_a_loss_with_much_noise_is_not_taken_for_a_basin_that_chains_leave():
    testbed = deep_linear((20, 14, 26), 12, num_samples=5000, seed=0, dtype=torch.float32)
    found = chosen(testbed, batch_size=64, budget=20_000)
    exact = chosen(testbed, batch_size=5000, budget=500)
    assert found.localization == exact.localization  # never raised
    assert found.relative_step == calibration.RELATIVE_STEP  # nor the step halved
    assert found.noise > 0.1


class Well(nn.Module):
    """10 (1 − exp(−k |w|²/20)): curvature k within √(10/k) of w* = 0, flat beyond."""

    def __init__(self, stiffness, dimensions=400):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dimensions))
        self.stiffness = stiffness

    def forward(self):
        return 10 * (1 - torch.exp(-self.stiffness * self.weight.square().sum() / 20))


@pytest.mark.parametrize(("budget", "share"), [(4000, 0.25), (10_000, 0.2)])
def test_a_narrow_basin_asks_for_a_tether_that_holds_chains_and_little_for_finding_it(
    budget, share
):
    posterior = creode.LocalPosterior(
        Well(100.0), lambda model, batch: model() + batch["x"], {"x": torch.zeros(4)}
    )
    found = calibrate(posterior, Auto(budget=budget), Schedule(batch_size=4), SEQUENTIAL)
    natural = pilot.natural_localization(FlatWeights(posterior.model, posterior.selection()))
    assert found.localization > 4 * natural
    assert 400 / (found.localization + 100 * found.nbeta) < 10 / 100  # |w|² within the basin
    assert found.pilot_evaluations < share * budget


def test_the_pilot_leaves_the_model_as_it_came():
    testbed = noisy_quadratic()
    before = {name: p.detach().clone() for name, p in testbed.model.named_parameters()}
    chosen(testbed, batch_size=24, budget=400)
    for name, parameter in testbed.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


def test_the_pilot_costs_at_most_a_fifth_of_the_run():
    for budget in (2000, 10_000):
        found = chosen(quadratic(EIGENVALUES, num_samples=4), batch_size=4, budget=budget)
        assert found.pilot_evaluations <= 0.2 * budget
    small = chosen(quadratic(EIGENVALUES, num_samples=4), batch_size=4, budget=400)
    assert small.pilot_evaluations < 0.35 * 400  # what it looks at costs what it costs


def test_a_run_stays_within_its_budget():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    for budget in (2000, 8000):
        draws = creode.sample(posterior, sampler=Auto(budget=budget), batch_size=4)
        spent = draws.attrs["gradient_evaluations"] + draws.attrs["tighter_evaluations"]
        assert 0.7 * budget < spent <= 0.8 * budget


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "automatic"}, 'sampler must be "auto"'),
        ({"draws": 100}, "sampler='auto' chooses draws; leave out"),
        ({"burnin": 10}, "leave out what it chooses"),
        ({"sampler": creode.SGLD(step_size=1e-3)}, 'are settled by sampler="auto"'),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    testbed = noisy_quadratic()
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    with pytest.raises(ValueError, match=message):
        creode.sample(posterior, batch_size=24, **change)


@pytest.mark.parametrize("budget", [10, 1000.5, "much"])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises((ValueError, TypeError), match="budget must be a whole number"):
        Auto(budget=budget)


def test_a_loss_that_ignores_the_weights_is_refused():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2))

        def forward(self, x):
            return x + 0 * self.weight.sum()

    posterior = creode.LocalPosterior(
        Constant(), creode.tasks.Regression(), (torch.ones(4, 2), torch.ones(4, 2))
    )
    with pytest.raises(ValueError, match="gradient of the loss is 0"):
        creode.sample(posterior, sampler=Auto(budget=400), batch_size=4)


NETWORKS = [
    ((6, 8, 8, 5), 3, 0.1),
    ((5, 3, 4), 2, 0.1),
    ((4, 6, 6, 6, 4), 2, 0.1),
    ((19, 14, 18, 20, 19), 12, 0.1),
    ((20, 13, 23, 15, 24, 12, 25, 18), 10, 0.1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("widths", "rank", "within"), NETWORKS)
def test_deep_linear_networks_are_read_right_with_nothing_given(widths, rank, within):
    net = deep_linear(widths, rank, num_samples=widths[0], dtype=torch.float32)
    posterior = creode.LocalPosterior(net.model, net.task, net.data)
    draws = creode.sample(posterior, sampler=Auto(budget=20_000), batch_size=widths[0])
    reading = creode.llc(draws)
    assert abs(float(reading.llc) - net.llc) < within * net.llc
    assert float(reading.llc_tethered_se) < 0.05 * net.llc  # of chance
    assert float(reading.llc_se) < 0.15 * net.llc  # with the extrapolation's own
