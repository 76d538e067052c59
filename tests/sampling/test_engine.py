"""The loop: the law of its chains, and that nothing but the law depends on how it is computed."""

import numpy as np
import pytest
import torch

import creode
from creode.diagnostics.ess import ess
from creode.diagnostics.mcse import mcse
from creode.sampling import BADODAB, BAOAB, SGLD, RMSPropSGLD, engine
from creode.sampling.randomness import Minibatches, Noise, stream_seed
from creode.sampling.unit import SINGLE_UNIT
from creode.testbeds import quadratic
from oracles import (
    badodab_variance,
    llc_quadratic,
    llc_quadratic_sgld,
    loss_means,
    precision,
    sgld_minibatch_covariance,
    sgld_virial,
)
from sampling_cases import (
    BLOCKS,
    EIGENVALUES,
    assert_same,
    draw,
    evenly_noisy_quadratic,
    flat,
    noisy_quadratic,
    posterior,
)

NBETA, GAMMA = 50.0, 10.0
LONG = {"chains": 4, "draws": 500, "burnin": 100, "steps_per_draw": 8, "mode": "vectorised"}
KERNELS = [
    SGLD(step_size=4e-3),
    RMSPropSGLD(step_size=1e-3),
    BAOAB(step_size=0.05, friction=4.0),
    BAOAB(step_size=0.05, friction=4.0, stiffness=200.0),
    BADODAB(step_size=0.05, friction=4.0),
    BADODAB(step_size=0.05, friction=4.0, stiffness=200.0),
]


def agrees(reading, exact, *, within=0.05):
    """Right within 4 standard errors, and able to be wrong: the error itself is small."""
    value, error = float(reading.llc), float(reading.llc_se)
    assert abs(value - exact) < 4 * error, (value, exact, error)
    assert error < within * exact


def test_sgld_on_a_quadratic_has_the_law_of_the_discretised_chain():
    testbed = quadratic(EIGENVALUES, num_samples=4, offset_scale=1.0)
    reading = creode.llc(draw(testbed, batch_size=4, **LONG))
    exact = llc_quadratic_sgld(EIGENVALUES, NBETA, GAMMA, 4e-3)
    agrees(reading, exact, within=0.02)
    assert exact > 1.1 * llc_quadratic(EIGENVALUES, NBETA, GAMMA)  # told apart from the limit
    virial = sgld_virial(NBETA * np.array(EIGENVALUES) + GAMMA, 4e-3)
    assert abs(float(reading.virial) - virial) < 4 * float(reading.virial_se)


def test_sgld_with_minibatches_has_the_law_of_the_discretised_chain():
    testbed = noisy_quadratic()
    tree = draw(testbed, batch_size=6, **LONG)
    covariance = sgld_minibatch_covariance(
        testbed.gradients, testbed.curvatures, nbeta=NBETA, localization=GAMMA, step_size=4e-3,
        batch_size=6, replacement=False,
    )  # fmt: skip
    exact = NBETA * loss_means(testbed.curvatures, covariance).mean()
    agrees(creode.llc(tree), exact)
    exact_gradients = llc_quadratic_sgld(EIGENVALUES, NBETA, GAMMA, 4e-3)
    assert exact > 1.02 * exact_gradients  # the heat of the minibatches is in it


def test_baoab_on_a_quadratic_has_the_exact_law_of_the_weights():
    testbed = quadratic(EIGENVALUES, num_samples=4, offset_scale=1.0)
    sampler = BAOAB(step_size=0.1, friction=8.0)
    reading = creode.llc(draw(testbed, sampler=sampler, batch_size=4, **LONG))
    agrees(reading, llc_quadratic(EIGENVALUES, NBETA, GAMMA), within=0.02)
    assert abs(float(reading.temperature) - 1) < 4 * float(reading.temperature_se)
    assert abs(float(reading.virial) - 1) < 4 * float(reading.virial_se)


def test_badodab_on_a_quadratic_has_the_exact_law_of_the_weights():
    testbed = quadratic(EIGENVALUES, num_samples=4, offset_scale=1.0)
    sampler = BADODAB(step_size=0.1, friction=8.0)
    reading = creode.llc(draw(testbed, sampler=sampler, batch_size=4, **LONG))
    agrees(reading, llc_quadratic(EIGENVALUES, NBETA, GAMMA), within=0.02)
    assert abs(float(reading.temperature) - 1) < 4 * float(reading.temperature_se)
    assert float(reading.temperature_se) < 0.02
    assert abs(float(reading.virial) - 1) < 4 * float(reading.virial_se)


def test_badodab_takes_up_gradient_noise_of_unknown_strength():
    step, friction, force_variance = 0.01, 3.0, 400.0  # s²
    without_replacement = (24 - 8) / (23 * 8)
    testbed = evenly_noisy_quadratic(force_variance / NBETA**2 / without_replacement)
    options = LONG | {"draws": 600, "steps_per_draw": 12, "burnin": 300, "batch_size": 8}
    exact = llc_quadratic(EIGENVALUES, NBETA, GAMMA)
    a = NBETA * np.array(EIGENVALUES) + GAMMA
    variances, _ = badodab_variance(a, step, friction, force_variance)
    as_discretised = NBETA * (np.array(EIGENVALUES) * variances).sum() / 2
    assert abs(as_discretised - exact) < 0.02 * exact
    kernel = BADODAB(step_size=step, friction=friction)
    agrees(creode.llc(draw(testbed, sampler=kernel, **options)), as_discretised, within=0.03)
    heated = creode.llc(draw(testbed, sampler=BAOAB(step_size=step, friction=friction), **options))
    assert float(heated.llc) - 4 * float(heated.llc_se) > 1.4 * exact


def test_rmsprop_sgld_with_a_frozen_metric_has_the_law_of_the_limit():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    sampler = RMSPropSGLD(step_size=2e-4, floor=0.5)  # small: its metric is not known beforehand
    options = LONG | {"steps_per_draw": 40}
    reading = creode.llc(draw(testbed, sampler=sampler, batch_size=4, **options))
    agrees(reading, llc_quadratic(EIGENVALUES, NBETA, GAMMA))


@pytest.mark.parametrize("kind", [BAOAB, BADODAB])
def test_learnt_masses_keep_the_law_and_quicken_the_flattest_direction(kind):
    """Curvatures along the axes from 1 to 10⁴: the same number of steps, with and without."""
    a = np.logspace(0, 4, 7)
    gamma, nbeta = 0.5, 1e4
    eigenvalues = ((a - gamma) / nbeta).tolist()
    testbed = quadratic(eigenvalues, num_samples=4)
    options = LONG | {"burnin": 2000, "steps_per_draw": 6, "batch_size": 4}
    options |= {"nbeta": nbeta, "localization": gamma}
    step = 0.5 / a.max() ** 0.5
    plain = draw(testbed, sampler=BAOAB(step_size=step, friction=2 * a.min() ** 0.5), **options)
    sampler = kind(step_size=step, friction=a.max() ** 0.5, stiffness=float(a.max()))
    tree = draw(testbed, sampler=sampler, **options)
    reading = creode.llc(tree)
    agrees(reading, llc_quadratic(eigenvalues, nbeta, gamma), within=0.03)
    assert abs(float(reading.temperature) - 1) < 4 * float(reading.temperature_se)
    distance = tree["distance_sq"]
    error = float(mcse(distance))
    assert abs(float(distance.mean()) - (1 / a).sum()) < 4 * error
    assert error < 0.06 * (1 / a).sum()
    assert float(ess(distance)) > 10 * float(ess(plain["distance_sq"]))


def test_masses_leave_room_for_a_direction_across_all_axes():
    """One stiff direction of d weights is d times as stiff once each weight has its own mass."""
    d, stiff, gamma = 30, 1e3, 1.0
    testbed = quadratic(torch.ones(d, d, dtype=torch.float64) / d, num_samples=4)
    step = 0.5 / stiff**0.5
    assert step**2 * stiff * d > 4  # unstable with the masses of the diagonal
    tree = draw(
        testbed, sampler=BAOAB(step_size=step, friction=20.0, stiffness=stiff), nbeta=stiff,
        localization=gamma, **LONG | {"burnin": 1000, "batch_size": 4},
    )  # fmt: skip
    reading = creode.llc(tree)
    agrees(reading, llc_quadratic([1.0], stiff, gamma), within=0.06)
    assert abs(float(reading.temperature) - 1) < 4 * float(reading.temperature_se)
    assert float(reading.temperature_se) < 0.01


@pytest.mark.parametrize("component", ["first", {"second": [True, False, True]}])
def test_a_restricted_posterior_is_the_sub_block_of_the_quadratic(component):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 7))
    testbed = quadratic(torch.tensor(root @ root.T / 7), num_samples=4, blocks=BLOCKS)
    chosen = [0, 1, 2, 3] if component == "first" else [4, 6]
    if component != "first":
        component = {name: torch.tensor(mask) for name, mask in component.items()}
    before = flat(testbed.model)
    sampler = BAOAB(step_size=0.08, friction=8.0)
    tree = draw(testbed, sampler=sampler, component=component, batch_size=4, **LONG)
    block = testbed.hessian.numpy()[np.ix_(chosen, chosen)]
    covariance = np.linalg.inv(precision(block, NBETA, GAMMA))
    agrees(creode.llc(tree), NBETA * np.trace(block @ covariance) / 2)
    assert tree.attrs["num_parameters"] == len(chosen)
    assert torch.equal(flat(testbed.model), before)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("component", ["full", "second"])
def test_chains_side_by_side_are_the_chains_in_turn(kernel, component):
    trees = [
        draw(noisy_quadratic(), sampler=kernel, component=component, mode=mode, chains=3)
        for mode in ("sequential", "vectorised")
    ]
    assert_same(*trees, rtol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS[:4], ids=lambda kernel: kernel.name)
def test_moving_weights_in_chunks_changes_no_bit(kernel, monkeypatch):
    testbed = quadratic(np.linspace(0.1, 2, 50).tolist(), num_samples=12, gradient_scale=0.3)
    whole = draw(testbed, sampler=kernel)
    monkeypatch.setattr(engine, "CHUNK", 16)  # the last chunk has 2 weights
    in_chunks = draw(testbed, sampler=kernel)
    xr_loss = whole["loss"] - in_chunks["loss"]
    assert float(abs(xr_loss).max()) == 0.0


def test_a_thermostat_in_chunks_is_one_thermostat(monkeypatch):
    """Its sums over pieces round otherwise than over the whole; no more than that."""
    testbed = quadratic(np.linspace(0.1, 2, 50).tolist(), num_samples=12, gradient_scale=0.3)
    whole = draw(testbed, sampler=BADODAB(step_size=0.05, friction=4.0))
    monkeypatch.setattr(engine, "CHUNK", 16)
    in_chunks = draw(testbed, sampler=BADODAB(step_size=0.05, friction=4.0))
    assert_same(whole, in_chunks, rtol=1e-9)
    lone = draw(testbed, sampler=BAOAB(step_size=0.05, friction=4.0))
    assert not np.allclose(lone["loss"], whole["loss"], rtol=1e-3)


def test_gradients_accumulated_over_microbatches_are_the_gradients():
    whole = draw(noisy_quadratic())
    execution = creode.Execution(mode="sequential", microbatch=3)
    assert_same(whole, draw(noisy_quadratic(), execution=execution), rtol=1e-9)


def test_the_loop_is_the_loop_written_out():
    """An independent chain: its own gradient, its own order, the same streams."""
    testbed, eps, gamma, nbeta = noisy_quadratic(), 4e-3, GAMMA, NBETA
    tree = draw(testbed, chains=1, draws=20, burnin=3, steps_per_draw=2, batch_size=8)
    assert tree.attrs["loss_from"] == "minibatch"
    seeds = [stream_seed(0, SINGLE_UNIT, 0, purpose) for purpose in ("noise", "minibatch")]
    delta = torch.zeros(7, dtype=torch.float64)
    noise = Noise(seeds[:1], delta, per_step=16)
    batches = Minibatches(seeds[1:], population=24, size=8)
    excess, virial = [], []
    for step in range(3 + 20 * 2):
        index = batches.index(step)[0]
        g, a = testbed.gradients[index], testbed.curvatures[index]
        excess.append(float((g @ delta + torch.einsum("iab,a,b->i", a, delta, delta) / 2).mean()))
        gradient = g.mean(0) + a.mean(0) @ delta
        virial.append(float(nbeta * delta @ gradient + gamma * delta @ delta) / 7)
        xi = noise.take(16)[0, :7]
        delta = delta - eps / 2 * (nbeta * gradient + gamma * delta) + eps**0.5 * xi
    windows = np.array(excess[3:]).reshape(20, 2).mean(1)
    np.testing.assert_allclose((tree["loss"] - tree["init_loss"])[0], windows, atol=1e-12)
    np.testing.assert_allclose(tree["virial"][0], virial[4::2], rtol=1e-9)


def test_the_loop_of_a_thermostat_is_its_splitting_written_out():
    step, injected, inertia = 0.05, 4.0, 0.2
    kernel = BADODAB(step_size=step, friction=injected, inertia=inertia)
    options = {"chains": 1, "draws": 30, "burnin": 0, "steps_per_draw": 1, "batch_size": 4}
    tree = draw(quadratic(EIGENVALUES, num_samples=4), sampler=kernel, **options)
    seed = stream_seed(0, SINGLE_UNIT, 0, "noise")
    noise = Noise([seed], torch.zeros(7, dtype=torch.float64), per_step=16)
    a = NBETA * np.array(EIGENVALUES) + GAMMA
    delta, p, zeta = np.zeros(7), noise.take(16)[0, :7].numpy().copy(), injected
    distance, temperature = [], []
    for _ in range(30):
        distance.append(delta @ delta)
        temperature.append(p @ p / 7)
        p = p - step * a * delta  # of the first step, half: but δ = 0 there
        zeta += step / 2 * injected**2 / inertia * (p @ p / 7 - 1)
        c = np.exp(-zeta * step)
        xi = noise.take(16)[0, :7].numpy()
        delta = delta + step / 2 * p
        p = c * p + np.sqrt(injected * (1 - c**2) / zeta) * xi
        delta = delta + step / 2 * p
        zeta += step / 2 * injected**2 / inertia * (p @ p / 7 - 1)
    np.testing.assert_allclose(tree["distance_sq"][0], distance, rtol=1e-9)
    np.testing.assert_allclose(tree["temperature"][0], temperature, rtol=1e-9)
    assert abs(zeta / injected - 1) > 0.05  # it has moved


def test_probes_are_scored_at_the_draws_own_weights():
    testbed = noisy_quadratic()
    probe = testbed.data.select(torch.arange(5))
    tree = draw(testbed, probes={"some": probe}, traces=("some",), batch_size=2, draws=6)
    node = tree["probes/some"]
    trace = node["unit_loss"].values.astype("float64")  # (chain, draw, sample)
    np.testing.assert_allclose(node["loss"], trace.mean(2), rtol=1e-6)
    np.testing.assert_allclose(node["unit_mean"], trace.mean(1), rtol=1e-5)
    np.testing.assert_allclose(node["unit_var"], trace.var(1, ddof=1), rtol=1e-4)
    with torch.no_grad():
        init = testbed.task(testbed.model, probe.columns)
    np.testing.assert_allclose(node["unit_init_loss"], init, rtol=1e-12)
    # The probe that is all of the data, on full batches, is the loss of the draw itself.
    tree = draw(testbed, probes={"all": testbed.data}, batch_size=24, steps_per_draw=1)
    np.testing.assert_allclose(tree["probes/all/loss"], tree["loss"], rtol=1e-9)


def test_no_gradient_is_computed_outside_the_component():
    seen = []

    def spying(model, batch):
        seen.append({name: p.requires_grad for name, p in model.named_parameters()})
        return testbed.task(model, batch)

    testbed = noisy_quadratic()
    target = creode.LocalPosterior(
        testbed.model, spying, testbed.data, nbeta=1.0, localization=1.0, component="second"
    )
    creode.sample(
        target, sampler=SGLD(step_size=1e-3), chains=1, draws=2, burnin=0, steps_per_draw=1,
        batch_size=4, execution=creode.Execution(mode="sequential"),
    )  # fmt: skip
    assert seen[-1] == {"first": False, "second": True}


def test_the_nbeta_zero_control_draws_from_the_tether_alone():
    tree = draw(quadratic(EIGENVALUES, num_samples=4), nbeta=0.0, batch_size=4, **LONG)
    distance = float(tree["distance_sq"].mean())
    exact = 7 / (GAMMA * (1 - 4e-3 * GAMMA / 4))
    assert abs(distance - exact) < 0.05 * exact
    assert float(creode.llc(tree).llc) == 0.0


def test_posterior_rejects_strengths_that_are_none():
    testbed = noisy_quadratic()
    for bad in (-1.0, float("nan"), float("inf"), "automatic"):
        with pytest.raises(ValueError, match='nbeta must be "auto" or a finite number ≥ 0, got'):
            posterior(testbed, nbeta=bad)
