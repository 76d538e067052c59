import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import mcse
from creode.geometry import llc
from creode.geometry.subsample import subsample_variance
from oracles import llc_quadratic
from saved_draws import (
    NBETA,
    ar1,
    healthy_excess,
    probe,
    quadratic_tree,
    sgld_on_a_quadratic,
    tree,
    with_probe,
)

H = np.array([0.5, 2.0, 4.0, 8.0, 0.1, 1.0])

UNIFORM = np.random.default_rng(9).random((4, 200))


@pytest.mark.parametrize("exact", [0.5, 3.0, 20.0])
def test_mean_and_variance_of_gamma_losses_are_both_lambda(exact):
    draws = 4 * 4000
    out = llc(tree(healthy_excess(draws=4000, llc=exact), num_parameters=100))
    assert abs(float(out.llc) - exact) < 4 * float(out.llc_se)
    assert abs(float(out.llc_variance) - exact) < 4 * float(out.llc_variance_se)
    # errors of independent draws: Var X = λ, Var (X − λ)² = 2λ² + 6λ
    assert float(out.llc_se) == pytest.approx(np.sqrt(exact / draws), rel=0.1)
    assert float(out.llc_variance_se) == pytest.approx(
        np.sqrt((2 * exact**2 + 6 * exact) / draws), rel=0.25
    )


def test_llc_of_a_quadratic_under_sgld_as_discretised():
    gamma, eps = 10.0, 2e-3
    w = sgld_on_a_quadratic(H, gamma=gamma, step_size=eps, draws=8000)
    out = llc(quadratic_tree(w, H, gamma=gamma))
    a = NBETA * H + gamma
    share = NBETA * H / (a * (1 - eps * a / 4))
    assert abs(float(out.llc) - share.sum() / 2) < 4 * float(out.llc_se)
    assert float(out.llc_se) < 0.02 * share.sum() / 2
    assert share.sum() / 2 > 1.05 * (H / (H + gamma / NBETA)).sum() / 2  # not the limit of small ε
    exact_variance = (share**2).sum() / 2  # of a weighted sum of χ²
    assert abs(float(out.llc_variance) - exact_variance) < 4 * float(out.llc_variance_se)
    assert float(out.locality) == pytest.approx(1.0)
    exact_virial = np.mean(1 / (1 - eps * a / 4))
    assert abs(float(out.virial) - exact_virial) < 4 * float(out.virial_se)


def test_error_takes_in_autocorrelation():
    rho, draws = 0.9, 5000
    excess = ar1((4, draws), rho, 3) ** 2 / (2 * NBETA)  # χ²₁/2 = Gamma(½, 1)
    out = llc(tree(excess))
    time = (1 + rho**2) / (1 - rho**2)
    assert float(out.llc_se) == pytest.approx(np.sqrt(0.5 * time / (4 * draws)), rel=0.15)
    assert abs(float(out.llc) - 0.5) < 4 * float(out.llc_se)


def test_minibatch_noise_leaves_both_estimates_and_the_baselines_noise_cancels():
    rng = np.random.default_rng(4)
    excess = healthy_excess(draws=4000)
    noise_sd, baseline = 0.3 * excess.std(), rng.normal(0, 50 * excess.std(), size=excess.shape)
    noisy = excess + rng.normal(0, noise_sd, size=excess.shape)
    out = llc(
        tree(
            excess,
            loss=5 + baseline + noisy,
            init_loss=5 + baseline,
            excess_sq=noisy**2 - noise_sd**2,
        )
    )
    assert abs(float(out.llc) - 10) < 4 * float(out.llc_se)
    assert abs(float(out.llc_variance) - 10) < 4 * float(out.llc_variance_se)
    assert float(out.llc_se) == pytest.approx(NBETA * noisy.std() / np.sqrt(noisy.size), rel=0.1)
    assert float(out.llc_variance_se) < 0.3  # noise of 9 % is told from none
    heated = llc(tree(excess, loss=1 + 2 * (noisy - excess.mean()) + excess.mean(),
                      excess_sq=(2 * (noisy - excess.mean()) + excess.mean()) ** 2))  # fmt: skip
    assert float(heated.llc_variance) > 30  # a variance that is there is not taken off


def test_the_variance_puts_back_the_means_own_error():
    excess = healthy_excess(draws=20)
    out = llc(tree(excess))
    unbiased = NBETA**2 * excess.var(ddof=1)
    assert float(out.llc_variance) == pytest.approx(unbiased, abs=0.5 * unbiased / excess.size)
    assert float(out.llc_variance) != pytest.approx(NBETA**2 * excess.var(), rel=1e-3)


def test_means_by_chain_and_losses_are_what_they_say():
    excess = healthy_excess()
    out = llc(tree(excess, loss=3 + excess, init_loss=np.full(excess.shape, 3.0)))
    np.testing.assert_allclose(out.llc_by_chain, NBETA * excess.mean(1))
    assert float(out.llc) == pytest.approx(float(out.llc_by_chain.mean()))
    assert float(out.mean_loss) == pytest.approx(3 + excess.mean())
    assert float(out.init_loss) == pytest.approx(3)
    assert float(out.num_parameters) == 40


def test_the_loss_at_the_anchor_knows_the_error_of_the_minibatches_it_was_seen_on():
    excess = healthy_excess()
    rng = np.random.default_rng(9)
    seen = 3 + 0.2 * rng.standard_normal(excess.shape)
    out = llc(tree(excess, loss=seen + excess, init_loss=seen))
    assert float(out.init_loss_se) == pytest.approx(0.2 / excess.size**0.5, rel=0.1)
    exact = llc(tree(excess, loss=3 + excess, init_loss=np.full(excess.shape, 3.0)))
    assert float(exact.init_loss_se) == 0.0


def test_a_healthy_reading_is_ok_and_says_what_made_it():
    out = llc(tree(healthy_excess(), checkpoint=7))
    assert bool(out.ok)
    assert out.reasons.item() == ""
    assert out.attrs["on"] == "data"
    assert out.attrs["estimator"].startswith("mean")
    made_by = {"nbeta": 50.0, "localization": 10.0, "checkpoint": 7, "data_fingerprint": "data"}
    made_by |= {"model_fingerprint": "model", "draws_creode_version": "0.0.1"}
    assert made_by.items() <= out.attrs.items()
    assert out.attrs["creode_version"] != "0.0.1"


def test_the_order_of_chains_does_not_matter():
    w = sgld_on_a_quadratic(H, gamma=10.0, step_size=2e-3, draws=200)
    draws = quadratic_tree(w, H, gamma=10.0)
    first, second = llc(draws), llc(xr.DataTree(draws.to_dataset().isel(chain=[2, 3, 1, 0])))
    for name in set(first.data_vars) - {"llc_by_chain", "reasons", "notes", "ok"}:
        assert float(second[name]) == pytest.approx(float(first[name]), rel=1e-9, nan_ok=True), name
    assert second.llc_by_chain.sel(chain=2).item() == first.llc_by_chain.sel(chain=2).item()


def test_the_callers_draws_are_left_as_they_came():
    draws = tree(healthy_excess())
    before = draws.to_dataset().copy(deep=True)
    llc(draws)
    xr.testing.assert_identical(draws.to_dataset(), before)


# ---- two tethers


def at_two_tethers(gamma=10.0):
    """Draws of a quadratic at γ with the excess losses of a companion at 2γ."""
    here, tighter = (
        quadratic_tree(
            sgld_on_a_quadratic(H, gamma=g, step_size=2e-3, draws=400, seed=seed), H, gamma=g
        )
        for seed, g in enumerate((gamma, 2 * gamma))
    )
    excess = (tighter["loss"] - tighter["init_loss"]).rename(draw="tighter_draw")
    return here, here.assign(tighter_excess=excess)


def test_a_companion_at_twice_the_tether_moves_the_reading_to_none():
    alone, accompanied = at_two_tethers()
    plain, out = llc(alone), llc(accompanied)
    assert float(out.llc_tethered) == float(plain.llc)
    assert float(out.llc_tethered_se) == float(plain.llc_se)
    shift = llc_quadratic(H, 50.0, 10.0) - llc_quadratic(H, 50.0, 20.0)
    assert abs(float(out.tether_shift) - shift) < 4 * float(out.tether_shift_se)
    assert float(out.tether_shift_se) < 0.5 * shift
    assert float(plain.llc) < float(out.llc)
    assert abs(float(out.llc) - len(H) / 2) < abs(float(plain.llc) - len(H) / 2)
    assert np.isnan(plain.tether_shift)


def test_a_companion_that_failed_leaves_no_reading_and_says_so():
    _, draws = at_two_tethers()
    draws["tighter_excess"][2, 5] = np.nan
    out = llc(draws)
    assert np.isnan(out.llc)
    assert np.isfinite(out.llc_tethered)
    assert out.reasons.item().startswith("the chains at twice the localization")


# ---- probes


def unit_losses(llc_of_units, samples=30, draws=200, seed=6):
    rng = np.random.default_rng(seed)
    init = rng.gamma(2.0, size=samples)
    scale = llc_of_units / NBETA * rng.gamma(4.0, 1 / 4, size=samples)
    return init + scale * rng.gamma(9.0, 1 / 9, size=(4, draws, samples)), init


def test_on_a_probe_the_reading_is_of_that_loss():
    losses, init = unit_losses(3.0)
    out = llc(with_probe(tree(healthy_excess()), "code", probe(losses, init)), on="code")
    excess = (losses - init).mean(2)
    assert float(out.llc) == pytest.approx(NBETA * excess.mean())
    assert float(out.llc_se) == pytest.approx(
        NBETA * float(mcse(xr.DataArray(excess, dims=("chain", "draw"))))
    )
    assert float(out.llc_variance) == pytest.approx(NBETA**2 * excess.var(ddof=1), rel=0.01)
    assert float(out.locality) == pytest.approx(1.0)  # of the sampled loss
    assert out.attrs["on"] == "code"
    assert out.attrs["probe_fingerprint"] == "probe"


def test_a_subset_probe_adds_the_subsets_error():
    losses, init = unit_losses(3.0)
    subset = probe(losses, init, population=300)
    whole, part = (
        llc(with_probe(tree(healthy_excess()), "code", record), on="code")
        for record in (probe(losses, init), subset)
    )
    added = NBETA**2 * subsample_variance(subset)
    assert float(part.llc_se) ** 2 == pytest.approx(float(whole.llc_se) ** 2 + added)
    assert float(part.llc_se) > 2 * float(whole.llc_se)  # the subset is most of the error here


def test_draws_whose_data_loss_comes_from_a_probe_read_it_there():
    losses, init = unit_losses(3.0)
    subset = probe(losses, init, population=300)
    draws = with_probe(tree(healthy_excess(), loss_from="probe"), "data", subset)
    out = llc(draws)
    assert float(out.llc) == pytest.approx(NBETA * (losses - init).mean())
    assert float(out.llc_se) > NBETA * np.sqrt(subsample_variance(subset))
    assert out.attrs["on"] == "data"


def test_another_loss_may_fall_around_the_anchor():
    losses, init = unit_losses(3.0)
    falling = probe(2 * init - losses, init)
    out = llc(with_probe(tree(healthy_excess()), "code", falling), on="code")
    assert float(out.llc) < 0
    assert bool(out.ok)
    assert "that loss falls around w*" in out.notes.item()


# ---- verdicts, from draws to sentence


def failing(chain, draw):
    excess = healthy_excess()
    excess[chain, draw:] = np.nan
    return excess


SICK = {
    "non-finite at step 1601": tree(
        failing(2, 150), failed_at=np.array([-1, -1, 1601, -1])
    ),
    "chain 1 became non-finite by draw 3": tree(failing(1, 3)),
    "chain 0 never moved": tree(
        healthy_excess(), distance_sq=np.r_[np.zeros((1, 200)), UNIFORM[:3]]
    ),
    "the loss is the same at every draw": tree(np.zeros((4, 200))),
    "one chain": tree(healthy_excess(chains=1, draws=800)),
    "3 draws per chain": tree(healthy_excess(draws=3)),
    "independent ones": tree(healthy_excess(draws=12)),
    "R-hat of the loss": tree(healthy_excess() * np.array([[1], [1], [1], [1.5]])),
    "R-hat of the distance": tree(  # the spread grows, and the loss with it
        healthy_excess() * np.linspace(0.97, 1.03, 200),
        distance_sq=np.linspace(1, 3, 200) + UNIFORM,
        virial=np.linspace(0.8, 1.2, 200) + 0.01 * UNIFORM,
    ),
    "below 1: flat directions": tree(healthy_excess(), virial=0.5 + 0.1 * healthy_excess()),
    "above 1: the step size or gradient noise": tree(
        healthy_excess(), virial=1.5 + 0.1 * healthy_excess()
    ),
    "kinetic temperature": tree(healthy_excess(), temperature=1.4 + 0.1 * healthy_excess()),
    "w* is not a local minimum": tree(-healthy_excess()),
    "above d/2 = 20": tree(healthy_excess(llc=30.0)),
    "left the basin": tree(healthy_excess(), loss_virial=0.1 * healthy_excess()),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SICK)
def test_sick_draws_are_told_as_such(sentence):
    out = llc(SICK[sentence])
    assert not bool(out.ok)
    assert sentence in out.reasons.item()


def test_a_failed_chain_is_never_averaged_out():
    out = llc(SICK["non-finite at step 1601"])
    for name in ("llc", "llc_se", "llc_variance", "ess", "rhat", "virial", "locality", "mean_loss"):
        assert np.isnan(out[name]), name
    assert np.isfinite(out.llc_by_chain).values.tolist() == [True, True, False, True]
    assert "; " not in out.reasons.item()  # the other checks have nothing to add


def test_a_chain_that_failed_after_its_last_draw_is_not_averaged_either():
    out = llc(tree(healthy_excess(), failed_at=np.array([-1, 2001, -1, -1])))
    assert np.isnan(out.llc)
    assert np.isnan(out.llc_by_chain[1])
    assert "chain 1 became non-finite at step 2001" in out.reasons.item()


def test_a_chain_that_never_moved_leaves_the_estimate_without_confidence():
    out = llc(tree(np.r_[healthy_excess(chains=3), np.zeros((1, 200))],
                   distance_sq=np.r_[UNIFORM[:3], np.zeros((1, 200))]))  # fmt: skip
    assert np.isnan(out.ess)
    assert np.isnan(out.llc_se)
    assert "chain 3 never moved" in out.reasons.item()


def test_exact_losses_below_that_of_the_anchor_are_no_minimums():
    excess = healthy_excess(llc=1.0) - 0.2 / NBETA
    exact = llc(tree(excess, batch_size=1000))
    assert not exact.ok
    assert str(exact.reasons.item()).startswith(
        "draws reach a loss below that of w*, by 0.2 of llc"
    )
    assert bool(llc(tree(excess)).ok)  # the lowest of minibatches says nothing
    losses, init = unit_losses(3.0)  # nor does that of a probe, which need not be all of the data
    of_probe = tree(excess, batch_size=1000, loss_from="probe")
    lucky = probe(losses - 0.9 * (losses - init).mean(), init, population=300)
    assert "below that of w*" not in str(llc(with_probe(of_probe, "data", lucky)).reasons.item())
    assert bool(llc(tree(healthy_excess(llc=1.0), batch_size=1000)).ok)


def test_without_a_tether_no_drift_is_harmless():
    apart = np.arange(4)[:, None] + 2 * UNIFORM  # of the squared distances of the chains
    held = llc(tree(healthy_excess(), distance_sq=apart))
    assert bool(held.ok)
    assert 1.2 < float(held.rhat_distance) < 2.2
    free = llc(tree(healthy_excess(), distance_sq=apart, localization=0.0))
    assert not free.ok
    assert "flat directions still drift although the loss" in str(free.reasons.item())


def test_with_the_loss_switched_off_the_reading_is_a_control():
    out = llc(tree(healthy_excess(), nbeta=0.0, loss_virial=np.zeros((4, 200))))
    assert float(out.llc) == 0
    assert float(out.llc_se) == 0
    assert bool(out.ok)
    assert out.notes.item().startswith("a control")
