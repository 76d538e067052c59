"""Can a reading be trusted? Every check, its threshold with the reason for it, its sentence.

Here: a pure function from scalars to ok, reasons (not to be trusted) and notes (to be known).
Not here: the scalars (evidence.py).
A departure counts when it exceeds both its tolerance, if it has one, and `BEYOND` standard errors:
the tolerance so that long runs are not condemned for harmless biases, the error so that short runs
are not condemned for noise. A scalar that is NaN passes its check; whatever made it NaN has a check
of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from creode.diagnostics.evidence import Evidence

# Two standard errors: one false alarm in about 40 for each one-sided check of a healthy chain
# that sits exactly on its tolerance, far fewer for one that is where it should be.
BEYOND = 2.0

# Split-chain statistics need two draws in each half of a chain.
MIN_DRAWS = 4

# Below, the standard error is itself too uncertain: for the squares of AR(1) chains, 4 × 200 draws,
# λ̂ ± 1.96 se covers 0.92 at an ESS near 100, 0.89 near 50, 0.87 near 20. Vehtari et al. 2021 ask
# for 400 (50 per half chain), for tail quantiles too; a mean needs less.
MIN_ESS = 100.0

# Chains that agree give 1.00 to 1.02 at 4 × 200 draws with an ESS above 200 (95th percentile, in
# simulation), so 1.01 (Vehtari et al. 2021, for thousands of draws) would condemn healthy short
# chains; at 1.05 chains disagree by a third of their spread.
MAX_RHAT = 1.05
MOST_PLACES = 6  # of a figure that misses its limit

# A tenth of the start: the first draws are a tenth too low, and soon none. Chains that were not
# warmed up have all of it.
MAX_MEMORY = 0.1

# Flat directions may drift where the reading does not mind: what their drift can be worth lies
# within the reading's own interval. On deep linear networks whose distances had an R-hat up to 2.3,
# readings then scatter about those of ten times longer chains as their errors say, nearly (rms z
# 1.1 to 1.3), and are 1 to 2 % low; beyond they are wrong (benchmarks/drift.py).
MAX_DRIFTING_RHAT = 2.2

# λ̂ of a quadratic is proportional to the virial of its stiff directions: a tenth of heating or of
# missing spread is a tenth of λ̂, the size of differences that are read between checkpoints. `heat`
# is of those directions alone.
VIRIAL_TOLERANCE = 0.1
TEMPERATURE_TOLERANCE = 0.1
HEAT_TOLERANCE = 0.1

# What λ̂ lacks at the least, since draws found a loss below L(w*): of λ̂, or of what one regular
# direction has, below which parts that hardly matter to the loss would be held to more than others.
DESCENT_TOLERANCE = 0.1
ONE_DIRECTION = 0.5

# A regular model with little localization has λ̂ = d/2, and heating within the virial's tolerance
# lifts it above by as much.
BOUND_TOLERANCE = VIRIAL_TOLERANCE

# A loss growing as the square of the distance has locality 1, linearly 1/2; below that it grows
# more slowly than linearly, as it does outside a basin and not within one.
MIN_LOCALITY = 0.5

# Extrapolated from there, deep linear networks came out 20 to 30 % too low, below it within 12 %.
MAX_TETHER_SHIFT = 0.2

# An error this large is no reason to distrust the reading, but it hides most differences.
WIDE_ERROR = 0.2


class Verdict(NamedTuple):
    """Whether a reading can be trusted, why not, and what else to know of it."""

    ok: bool
    reasons: str  # "" when ok; sentences joined by "; "
    notes: str  # "" when there is nothing to add; they leave `ok` alone


Check = Callable[[Evidence], str | None]


def failed_chain(e: Evidence) -> str | None:
    """A chain became non-finite."""
    if not e.num_failed:
        return None
    if e.failed_at >= 0:
        where = f"at step {e.failed_at}"
    else:
        where = f"by draw {e.failed_draw}, at a step that was not recorded"
    return (
        f"chain {e.failed_chain} became non-finite {where} ({e.num_failed} of {e.num_chains} "
        "chains failed): use a smaller step size or a larger localization and sample again"
    )


def still_chain(e: Evidence) -> str | None:
    """A chain never moved, so it has no effective sample size."""
    if not e.num_still:
        return None
    return (
        f"chain {e.still_chain} never moved (the same distance to w* at every draw, {e.num_still} "
        f"of {e.num_chains} chains), so it has no effective sample size: raise the step size"
    )


def flat_loss(e: Evidence) -> str | None:
    """The loss does not change although the weights do."""
    if e.num_still or not e.num_flat or e.num_draws < MIN_DRAWS:
        return None
    return (
        f"the loss is the same at every draw of {e.num_flat} of {e.num_chains} chains "
        "although their weights move, so there is no error to estimate: the sampled weights do not "
        "reach this loss (check the component and the mask, or look for dead units)"
    )


def one_chain(e: Evidence) -> str | None:
    """One chain cannot show that others would agree."""
    if e.num_chains > 1:
        return None
    return (
        "one chain: whether others would agree cannot be checked, and the error is from within the "
        "chain alone, so run at least 2, better 4"
    )


def few_draws(e: Evidence) -> str | None:
    """Too few draws, or draws worth too few, for an error that can be relied on."""
    if e.num_draws < MIN_DRAWS:
        return f"{e.num_draws} draws per chain give no error: keep at least {MIN_DRAWS}, better 200"
    if not e.ess < MIN_ESS:
        return None
    return (
        f"the {e.num_chains} × {e.num_draws} draws are worth {_told(e.ess, MIN_ESS, 0)} "
        f"independent ones, fewer than {MIN_ESS:.0f}, and the error is itself uncertain: keep more "
        "draws or more steps between draws"
    )


def cold_start(e: Evidence) -> str | None:
    """The first draws still remember that every chain started at w*."""
    if not e.memory > MAX_MEMORY:
        return None
    return (
        f"the burn-in leaves {e.memory:.0%} of the start at w*, which all chains share, to the "
        "first draw: use a longer burn-in"
    )


def disagreeing_chains(e: Evidence) -> str | None:
    """The chains' losses disagree, or drift."""
    if not e.rhat > MAX_RHAT:
        return None
    return (
        f"R-hat of the loss is {_told(e.rhat, MAX_RHAT, 2)}, above {MAX_RHAT}: the chains disagree "
        "or still drift, so use more burn-in or longer chains"
    )


def disagreeing_distances(e: Evidence) -> str | None:
    """The chains' distances from w* disagree, or drift, and the reading may depend on it."""
    if not e.rhat_distance > MAX_RHAT or _drifts_harmlessly(e):
        return None
    converged = " although the loss has converged" if _loss_has_converged(e) else ""
    return (
        f"R-hat of the distance to w* is {_told(e.rhat_distance, MAX_RHAT, 2)}, above {MAX_RHAT}: "
        f"flat directions still drift{converged}, so use more burn-in, longer chains or a larger "
        "localization"
    )


def harmless_drift(e: Evidence) -> str | None:
    """The distances drift, and the reading does not depend on it."""
    if not e.rhat_distance > MAX_RHAT or not _drifts_harmlessly(e):
        return None
    return (
        f"R-hat of the distance to w* is {e.rhat_distance:.2f}: flat directions still drift, which "
        f"can be worth {e.drift:.2g} of llc, within its 95 % interval"
    )


def _loss_has_converged(e: Evidence) -> bool:
    return e.rhat <= MAX_RHAT and e.ess >= MIN_ESS


def _drifts_harmlessly(e: Evidence) -> bool:
    """The loss has converged, the spread is bounded and right, and the reading hardly minds."""
    spread_is_right = abs(e.virial - 1) <= VIRIAL_TOLERANCE + BEYOND * e.virial_se
    hidden = e.drift <= BEYOND * e.llc_se and e.rhat_distance <= MAX_DRIFTING_RHAT
    held = e.localization != 0  # without a tether there may be no spread to come to
    return held and _loss_has_converged(e) and spread_is_right and hidden


def cold(e: Evidence) -> str | None:
    """The virial is below 1."""
    if not e.virial + BEYOND * e.virial_se < 1 - VIRIAL_TOLERANCE:
        return None
    return (
        f"the virial is {_pm(e.virial, e.virial_se)}, below 1: flat directions have not mixed, "
        "so use more burn-in, a larger step size or a larger localization"
    )


def hot(e: Evidence) -> str | None:
    """The virial is above 1."""
    if not e.virial - BEYOND * e.virial_se > 1 + VIRIAL_TOLERANCE:
        return None
    return (
        f"the virial is {_pm(e.virial, e.virial_se)}, above 1: the step size or gradient noise "
        "heats the chain, so use a smaller step size or a larger batch"
    )


def off_temperature(e: Evidence) -> str | None:
    """The kinetic temperature is not 1."""
    if not abs(e.temperature - 1) - BEYOND * e.temperature_se > TEMPERATURE_TOLERANCE:
        return None
    advice = (
        "gradient noise or the step size heats the momenta, so use a smaller step size, a larger "
        "batch or a kernel with a thermostat"
        if e.temperature > 1
        else "the momenta have not warmed up or the thermostat overcools, so use more burn-in"
    )
    return f"the kinetic temperature is {_pm(e.temperature, e.temperature_se)}, not 1: {advice}"


def heated(e: Evidence) -> str | None:
    """The directions of the loss are hotter than the rest, which the virial may not show."""
    if not e.heat - BEYOND * e.heat_se > HEAT_TOLERANCE:
        return None
    return (
        f"the step size and gradient noise add {e.heat:.0%} ± {e.heat_se:.0%} to llc, in the few "
        "directions that it is made of: use a smaller step size or a larger batch"
    )


def below_zero(e: Evidence) -> str | None:
    """λ̂ < 0 of the sampled loss."""
    if e.on != "data" or not e.llc + BEYOND * e.llc_se < 0:
        return None
    return (
        f"llc is {_pm(e.llc, e.llc_se)}, below 0: w* is not a local minimum of this loss, "
        "which falls around it, so train further, or check that the data and the task are those of "
        "training"
    )


def not_lowest(e: Evidence) -> str | None:
    """Draws found a lower loss than that of w*, though λ̂ is not below 0."""
    least = DESCENT_TOLERANCE * max(abs(e.llc), ONE_DIRECTION)
    if e.on != "data" or below_zero(e) or not e.descent > least:
        return None
    return (
        f"draws reach a loss below that of w*, by {e.descent:.2g} of llc = {e.llc:.3g}, which is "
        "too low by as much: w* is not a minimum of this loss, so train further, or check that "
        "the data and the task are those of training"
    )


def above_bound(e: Evidence) -> str | None:
    """λ̂ > d/2 of the sampled loss."""
    bound = e.num_parameters / 2
    highest = bound * (1 + BOUND_TOLERANCE)
    if e.on != "data" or not e.llc - BEYOND * e.llc_se > highest:
        return None
    return (
        f"llc is {_pm(e.llc, e.llc_se)}, above d/2 = {bound:g} for "
        f"d = {e.num_parameters:.0f} sampled weights, which no posterior around a minimum allows: "
        "the step size is too large or the localization too small"
    )


def left_basin(e: Evidence) -> str | None:
    """The loss no longer answers to the distance from w*."""
    if not e.locality + BEYOND * e.locality_se < MIN_LOCALITY:
        return None
    return (
        f"locality is {_pm(e.locality, e.locality_se)}, below {MIN_LOCALITY}: the draws left "
        "the basin of w* (the loss has risen and no longer grows with distance), so use a larger "
        "localization, a smaller step size or a larger nbeta"
    )


def knows_nothing(e: Evidence) -> str | None:
    """The model had learnt something, and the draws do the task no better than one that did not."""
    if e.on != "data" or e.nbeta == 0 or not e.init_loss < e.ignorance:
        return None
    if not e.mean_loss - BEYOND * e.llc_se / e.nbeta >= e.ignorance:
        return None
    return (
        f"over the draws the loss is {e.mean_loss:.3g}, and a model that knows nothing has "
        f"{e.ignorance:.3g}: they are of no model that learnt this task, so use a larger nbeta, "
        "such as of Auto(rise=0.1)"
    )


def no_plateau(e: Evidence) -> str | None:
    """λ̂ depends so much on the tether that extrapolating to none means little."""
    if not e.tether_shift > MAX_TETHER_SHIFT * e.llc:
        return None
    return (
        f"llc falls by {e.tether_shift / e.llc:.0%} when the localization is doubled: what is left "
        "without it cannot be extrapolated, so give a larger budget, or compare readings at one "
        "nbeta and localization (llc_tethered)"
    )


def no_error(e: Evidence) -> str | None:
    """There is a figure without an error, for no cause named elsewhere."""
    explained = e.num_failed or e.num_still or e.num_flat or e.num_draws < MIN_DRAWS
    if explained or math.isfinite(e.llc_se):
        return None
    if math.isnan(e.llc):
        return (
            "the chains at twice the localization, which tell how much the tether hides, became "
            "non-finite: give a smaller budget, or sample with Auto(extrapolate=False)"
        )
    return (
        "the reading has no standard error: a probe that is a random subset of the data needs at "
        "least 2 samples"
    )


def control(e: Evidence) -> str | None:
    """nβ = 0: nothing was read."""
    if e.nbeta != 0:
        return None
    return "a control: nβ is 0, the loss was switched off, and llc is 0 by definition"


def other_loss_falls(e: Evidence) -> str | None:
    """λ̂ < 0 of a loss that was not the one sampled: legitimate."""
    if e.on == "data" or not e.llc + BEYOND * e.llc_se < 0:
        return None
    return (
        f"llc on {e.on!r} is {_pm(e.llc, e.llc_se)}, below 0: that loss falls around w*, which is "
        "a minimum of the sampled loss and need not be one of this"
    )


def wide_error(e: Evidence) -> str | None:
    """The error is a large part of the reading."""
    if not e.llc_se > WIDE_ERROR * abs(e.llc):
        return None
    return f"llc is {_pm(e.llc, e.llc_se)}: more draws would narrow the error"


CHAIN_CHECKS: tuple[Check, ...] = (
    failed_chain,
    still_chain,
    flat_loss,
    one_chain,
    few_draws,
    cold_start,
    disagreeing_chains,
    disagreeing_distances,
    cold,
    hot,
    off_temperature,
    heated,
)
LLC_CHECKS: tuple[Check, ...] = (
    below_zero,
    not_lowest,
    above_bound,
    left_basin,
    knows_nothing,
    no_plateau,
    no_error,
)
LLC_NOTES: tuple[Check, ...] = (control, other_loss_falls, wide_error, harmless_drift)


def verdict(
    evidence: Evidence,
    checks: Sequence[Check] = CHAIN_CHECKS + LLC_CHECKS,
    notes: Sequence[Check] = LLC_NOTES,
) -> Verdict:
    """Run every check; a reading is ok when none of `checks` has anything to say."""
    reasons = [sentence for check in checks if (sentence := check(evidence)) is not None]
    remarks = [sentence for check in notes if (sentence := check(evidence)) is not None]
    return Verdict(ok=not reasons, reasons="; ".join(reasons), notes="; ".join(remarks))


def _told(value: float, limit: float, places: int) -> str:
    """A figure to so many places, or to as many as tell it from the limit that it misses."""
    while round(value, places) == limit != value and places < MOST_PLACES:
        places += 1
    return f"{value:.{places}f}"


def _pm(value: float, error: float) -> str:
    """A figure with its standard error, three significant digits of the figure."""
    return f"{value:.3g} ± {error:.2g}"
