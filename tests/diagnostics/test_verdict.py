from dataclasses import replace

import pytest

from creode.diagnostics import CHAIN_CHECKS, Evidence, verdict

HEALTHY = Evidence(
    num_chains=4,
    num_draws=200,
    nbeta=50.0,
    ess=600.0,
    rhat=1.01,
    rhat_distance=1.02,
    virial=1.02,
    virial_se=0.01,
    temperature=1.0,
    temperature_se=0.01,
    llc=10.0,
    llc_se=0.2,
    num_parameters=40,
    locality=1.1,
    locality_se=0.02,
)

SICK = {  # what differs from HEALTHY -> what the one reason must say
    "failed": (
        {"num_failed": 1, "failed_chain": 2, "failed_at": 731, "failed_draw": 9},
        "chain 2 became non-finite at step 731 (1 of 4 chains failed): use a smaller step size",
    ),
    "failed, no step": (
        {"num_failed": 2, "failed_chain": 0, "failed_draw": 9},
        "chain 0 became non-finite by draw 9, at a step that was not recorded (2 of 4",
    ),
    "still": (
        {"num_still": 1, "still_chain": 3},
        "chain 3 never moved (the same distance to w* at every draw, 1 of 4 chains), so it has no "
        "effective sample size",
    ),
    "flat": ({"num_flat": 4}, "the loss is the same at every draw of 4 of 4 chains"),
    "one chain": ({"num_chains": 1}, "one chain: whether others would agree"),
    "few draws": ({"num_draws": 3, "ess": float("nan")}, "3 draws per chain give no error"),
    "small ess": ({"ess": 41.6}, "the 4 × 200 draws are worth 42 independent ones"),
    "no burn-in": (
        {"memory": 1.0},
        "the burn-in leaves 100% of the start at w*, which all chains share, to the first draw",
    ),
    "no minimum": (
        {"descent": 1.1},
        "draws reach a loss below that of w*, by 1.1 of llc = 10, which is too low by as much",
    ),
    "no minimum of a small part": (
        {"llc": 0.03, "llc_se": 0.001, "descent": 0.051},
        "draws reach a loss below that of w*, by 0.051 of llc = 0.03",
    ),
    "drift with nothing that holds": (
        {"rhat_distance": 1.4, "drift": 0.01, "localization": 0.0},
        "R-hat of the distance to w* is 1.40, above 1.05: flat directions still drift although",
    ),
    "ess by a hair": ({"ess": 99.96}, "the 4 × 200 draws are worth 99.96 independent ones, fewer"),
    "rhat by a hair": ({"rhat": 1.0504}, "R-hat of the loss is 1.0504, above 1.05"),
    "distance by a hair": (
        {"rhat_distance": 1.0516, "drift": 9.0},
        "R-hat of the distance to w* is 1.052, above 1.05",
    ),
    "rhat": ({"rhat": 1.21}, "R-hat of the loss is 1.21, above 1.05"),
    "distance": ({"rhat_distance": 1.4}, "R-hat of the distance to w* is 1.40, above 1.05"),
    "cold": (
        {"virial": 0.62, "virial_se": 0.03},
        "the virial is 0.62 ± 0.03, below 1: flat directions have not mixed, so use more burn-in",
    ),
    "hot": (
        {"virial": 1.31, "virial_se": 0.04},
        "the virial is 1.31 ± 0.04, above 1: the step size or gradient noise heats the chain",
    ),
    "hot momenta": (
        {"temperature": 1.5, "temperature_se": 0.1},
        "the kinetic temperature is 1.5 ± 0.1, not 1: gradient noise or the step size heats",
    ),
    "cold momenta": (
        {"temperature": 0.5, "temperature_se": 0.1},
        "the kinetic temperature is 0.5 ± 0.1, not 1: the momenta have not warmed up",
    ),
    "negative": (
        {"llc": -3.0, "llc_se": 0.5, "locality": float("nan"), "descent": 4.0},
        "llc is -3 ± 0.5, below 0: w* is not a local minimum of this loss",
    ),
    "above d/2": (
        {"llc": 25.0, "llc_se": 1.0},
        "llc is 25 ± 1, above d/2 = 20 for d = 40 sampled weights",
    ),
    "left": (
        {"locality": 0.12, "locality_se": 0.01},
        "locality is 0.12 ± 0.01, below 0.5: the draws left the basin of w*",
    ),
    "nothing known": (
        {"init_loss": 0.1, "mean_loss": 0.71, "ignorance": 0.693},  # by 4 errors of the loss
        "over the draws the loss is 0.71, and a model that knows nothing has 0.693: they are of no",
    ),
    "no error": ({"llc_se": float("nan")}, "the reading has no standard error"),
    "no plateau": (
        {"tether_shift": 2.5},
        "llc falls by 25% when the localization is doubled: what is left without it cannot",
    ),
    "drift beyond what was measured": (
        {"rhat_distance": 2.3, "drift": 0.01},
        "R-hat of the distance to w* is 2.30, above 1.05: flat directions still drift although",
    ),
    "companion lost": (
        {"llc": float("nan"), "llc_se": float("nan")},
        "the chains at twice the localization, which tell how much the tether hides, became",
    ),
    "drift that matters": (
        {"rhat_distance": 1.4, "drift": 0.5},
        "R-hat of the distance to w* is 1.40, above 1.05: flat directions still drift although",
    ),
}

TOLERATED = {  # departures within the tolerance, or within two errors of it
    "within the virial's tolerance": {"virial": 1.09, "virial_se": 0.001},
    "a virial too uncertain to tell": {"virial": 0.7, "virial_se": 0.11},
    "a hot virial too uncertain to tell": {"virial": 1.3, "virial_se": 0.11},
    "a temperature too uncertain to tell": {"temperature": 1.3, "temperature_se": 0.11},
    "no momentum": {"temperature": float("nan"), "temperature_se": float("nan")},
    "zero within error": {"llc": -0.9, "llc_se": 0.5, "locality": float("nan")},
    "d/2 within error": {"llc": 23.9, "llc_se": 1.0},
    "heated within the virial's tolerance": {"llc": 21.9, "llc_se": 0.01},
    "a locality too uncertain to tell": {"locality": 0.1, "locality_se": 0.21},
    "a quartic": {"locality": 2.0},
    "just enough draws": {"ess": 100.0},
    "a shift that can be extrapolated": {"tether_shift": 1.9},
    "drift the reading does not mind": {"rhat_distance": 1.4, "drift": 0.39},
    "drift under a tether": {"rhat_distance": 1.4, "drift": 0.01, "localization": 1.0},
    "a start nearly forgotten": {"memory": 0.09},
    "a minimum but for little": {"descent": 0.9},
    "a minimum but for little of one direction": {"llc": 0.03, "llc_se": 0.001, "descent": 0.049},
    "something known": {"init_loss": 0.1, "mean_loss": 0.69, "ignorance": 0.693},
    "nothing known within error": {"init_loss": 0.1, "mean_loss": 0.7, "ignorance": 0.693},
    "nothing learnt before": {"init_loss": 0.7, "mean_loss": 0.8, "ignorance": 0.693},
    "a control of what was learnt": {
        "nbeta": 0.0,
        "init_loss": 0.1,
        "mean_loss": 0.8,
        "ignorance": 0.693,
    },
    "rhat at its threshold": {"rhat": 1.05, "rhat_distance": 1.05},
}


def test_a_healthy_reading_is_ok_without_a_word():
    assert verdict(HEALTHY) == (True, "", "")


@pytest.mark.parametrize("name", SICK)
def test_a_sick_reading_has_its_reason_and_no_other(name):
    change, sentence = SICK[name]
    found = verdict(replace(HEALTHY, **change))
    assert not found.ok
    assert found.reasons.startswith(sentence)
    assert "; " not in found.reasons  # the mark between reasons


@pytest.mark.parametrize("name", TOLERATED)
def test_a_departure_within_tolerance_or_error_is_no_reason(name):
    found = verdict(replace(HEALTHY, **TOLERATED[name]))
    assert found.ok, found.reasons


def test_reasons_are_joined():
    found = verdict(replace(HEALTHY, ess=20.0, rhat=1.3))
    first, second = found.reasons.split("; ")
    assert "independent" in first
    assert "R-hat" in second


def test_another_losss_reading_may_be_negative_or_above_half_the_weights():
    negative = verdict(replace(HEALTHY, on="code", llc=-3.0, llc_se=0.5))
    assert negative.ok
    assert negative.notes.startswith("llc on 'code' is -3 ± 0.5, below 0: that loss falls around")
    assert verdict(replace(HEALTHY, on="code", llc=25.0)).ok


def test_a_control_says_that_it_is_one():
    found = verdict(replace(HEALTHY, nbeta=0.0, llc=0.0, llc_se=0.0, locality=float("nan")))
    assert found == (True, "", "a control: nβ is 0, the loss was switched off, and llc is 0 by "
                     "definition")  # fmt: skip


def test_a_wide_error_is_noted_and_not_held_against_the_reading():
    found = verdict(replace(HEALTHY, llc_se=2.1))
    assert found.ok
    assert found.notes == "llc is 10 ± 2.1: more draws would narrow the error"
    assert not verdict(replace(HEALTHY, llc_se=1.9)).notes


def test_drift_under_a_converged_loss_is_told_apart():
    found = verdict(replace(HEALTHY, rhat_distance=1.4))
    assert not found.ok
    assert "still drift although the loss has converged, so use" in found.reasons


def test_drift_the_reading_does_not_mind_is_noted():
    found = verdict(replace(HEALTHY, rhat_distance=1.4, drift=0.012))
    assert found.ok
    assert found.notes == (
        "R-hat of the distance to w* is 1.40: flat directions still drift, which can be worth "
        "0.012 of llc, within its 95 % interval"
    )


@pytest.mark.parametrize("change", [{"rhat": 1.2}, {"ess": 30.0}, {"virial": 0.8}])
def test_drift_is_not_harmless_before_the_loss_and_the_spread_are_right(change):
    found = verdict(replace(HEALTHY, rhat_distance=1.4, drift=0.001, **change))
    assert "flat directions still drift" in found.reasons
    assert not found.notes


@pytest.mark.parametrize("change", [{"rhat": 1.2}, {"ess": 30.0}])
def test_drift_with_a_loss_that_has_not_converged_says_nothing_of_the_kind(change):
    found = verdict(replace(HEALTHY, rhat_distance=1.4, **change))
    assert "still drift, so use" in found.reasons
    assert "although" not in found.reasons


def test_chains_can_be_judged_without_a_reading():
    chains = Evidence(num_chains=4, num_draws=200, ess=600.0, rhat=1.3)
    found = verdict(chains, checks=CHAIN_CHECKS, notes=())
    assert found.reasons.startswith("R-hat of the loss is 1.30")
    assert verdict(replace(chains, rhat=1.0), checks=CHAIN_CHECKS, notes=()).ok
