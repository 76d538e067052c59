"""Local learning coefficient (LLC) from saved draws, with its error and a verdict.

Here: the mean form λ̂ = nβ (E[L(w)] − L(w*)) and the variance form λ̂_var = (nβ)² Var[L(w)], for the
sampled loss or, from a probe, for another distribution's (data-refined); weight-refined if the
draws were restricted to a component.
Not here: drawing (sampling/), the checks themselves (diagnostics/), pictures (viewer/).
Symbols: nβ inverse temperature, L mean loss in nats per unit, w* the anchor, d sampled weights.
Source: arXiv:2308.12108 (mean form, SGLD-based estimator), arXiv:2410.02984 (refined),
arXiv:2606.22389 (variance form). Deviation: both terms of the mean form are taken on the same
samples, so the noise of the baseline cancels.
Bias: both forms are of the tempered, localised posterior as sampled, unless chains at twice the
localization allow to extrapolate the mean form to none (tether.py). On a quadratic with exact
draws λ̂ = ½ Σ h/(h + γ/nβ), below d/2 by a share that γ/nβ sets.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import xarray as xr

from creode.diagnostics.convergence import convergence
from creode.diagnostics.descent import descent
from creode.diagnostics.evidence import OVER_CHAINS, gather
from creode.diagnostics.excess import excess_loss, posterior_dataset, probe_dataset
from creode.diagnostics.locality import locality
from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS
from creode.diagnostics.verdict import verdict
from creode.geometry.over_study import over_study
from creode.geometry.subsample import ratio_variance, subsample_variance
from creode.geometry.tether import untether
from creode.version import __version__

ESTIMATOR = "mean: nbeta * (E[L(w)] - L(w*))"

# What the verdict looks at, beside the chains.
JUDGED = (
    "llc", "llc_se", "init_loss", "mean_loss", "num_parameters", "locality", "locality_se",
    "tether_shift",
)  # fmt: skip

TIGHTER = "tighter_excess"  # L(w) − L(w*) of chains at twice the localization

# What made the draws, carried from them to the reading.
PROVENANCE = (
    "nbeta",
    "localization",
    "num_samples",
    "batch_size",
    "component",
    "checkpoint",
    "loss_from",
    "sampler",
    "steps_per_draw",
    "burnin",
    "seed",
    "model_fingerprint",
    "data_fingerprint",
)


def llc(draws: xr.DataTree, on: str = "data") -> xr.Dataset:
    """λ̂ = nβ (E[L(w)] − L(w*)) with its standard error, a second estimate and a verdict.

    Args:
        draws: one posterior's tree as saved, burn-in already dropped, or a study's tree.
        on: "data" for the sampled loss; the name of a probe for the loss on that probe.

    Returns:
        llc, llc_se: the mean over all draws of all chains and its standard error: Monte Carlo
            (within and between chains), and for a probe that is a random subset of the posterior's
            data also the error of the subset. Where chains were also run at twice the localization
            (`Auto(extrapolate=True)`), llc is extrapolated to none, and llc_se holds the error of
            that, see geometry/tether.py.
        llc_tethered, llc_tethered_se: λ̂ at the localization as sampled.
        tether_shift, tether_shift_se: λ̂(γ) − λ̂(2γ); NaN if it was not measured.
        llc_by_chain (chain,), at the localization as sampled.
        llc_variance, llc_variance_se: (nβ)² Var[L(w)], equal to llc in expectation for exact draws
            of a homogeneous potential with γ = 0. For a subset probe it is of the subset's own
            loss, whose gradient at w* is not 0 and adds to it; its error does not know of that.
        ess, rhat of the loss over draws; rhat_distance of ‖w − w*‖².
        virial, virial_se, temperature, temperature_se, heat, heat_se, memory: see diagnostics/.
        locality, locality_se: of the sampled loss, whatever `on` is.
        mean_loss, init_loss: E[L(w)] and L(w*), nats per unit, on the same samples.
        init_loss_se: of L(w*), nats: of a probe over its samples, so that it is the error of the
            loss on what they were drawn from; of the data over the minibatches it was seen on.
        num_parameters: d (a float, so that it can be NaN).
        ok, reasons, notes: whether to trust llc, why not, what else to know of it.

        λ̂, its forms and checks are dimensionless. A chain that failed makes llc NaN: it is never
        left out of the mean. For a study, dims (checkpoint, component) as in `over_study`. The
        attributes say what made the number.

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: there is no such probe, or the draws lack what the estimator needs.
    """
    return over_study(draws, partial(_llc_of_posterior, on=on))


def _llc_of_posterior(draws: xr.DataTree, *, on: str) -> xr.Dataset:
    root = posterior_dataset(draws)
    nbeta = float(root.attrs["nbeta"])
    losses = excess_loss(draws, on).compute()
    own = losses if on == "data" else excess_loss(draws).compute()
    chains = convergence(draws, losses["excess"])
    whole = ~chains["failed"].any("chain")
    loss_virial = root["loss_virial"].compute().astype("float64")

    excess_error = mcse(losses["excess"])
    sampled = losses["loss"].mean(SAMPLE_DIMS, skipna=False)
    anchored = losses["init_loss"].mean(SAMPLE_DIMS, skipna=False)
    reading = xr.Dataset(
        {
            **_mean_form(root, losses["excess"], excess_error, _subset_variance(draws, on), on),
            **_variance_form(losses, excess_error, nbeta),
            "mean_loss": sampled,
            **locality(loss_virial, nbeta * own["excess"]).data_vars,
        }
    ).where(whole)
    reading = reading.merge(chains[list(OVER_CHAINS)], compat="override")
    reading = reading.assign(
        llc_by_chain=_by_chain(losses["excess"], chains["failed"], nbeta),
        init_loss=anchored.where(whole),
        init_loss_se=xr.DataArray(_anchor_error(draws, losses, on)).where(whole),
        num_parameters=float(root.attrs["num_parameters"]),
    )
    scalars = {name: float(reading[name]) for name in JUDGED}
    beside = {
        "nbeta": nbeta,
        "localization": float(root.attrs.get("localization", np.nan)),
        "drift": nbeta * float(chains["drift"]),
        "ignorance": float(root.attrs.get("ignorance", np.nan)),
        "descent": nbeta * float(descent(own["excess"])) if _is_exact(root) else np.nan,
    }
    judged = verdict(gather(chains, on=on, **beside, **scalars))
    reading = reading.assign(ok=judged.ok, reasons=judged.reasons, notes=judged.notes)
    reading.attrs = _provenance(draws, on)
    return reading


def _mean_form(
    root: xr.Dataset,
    excess: xr.DataArray,
    excess_error: xr.DataArray,
    subset_variance: float,
    on: str,
) -> dict[str, xr.DataArray]:
    """nβ E[ΔL] and its error; of the sampled loss, without the tether's bias if that is known."""
    nbeta = float(root.attrs["nbeta"])
    mean = nbeta * excess.mean(SAMPLE_DIMS, skipna=False)
    error = nbeta * (excess_error**2 + subset_variance) ** 0.5
    if on != "data" or TIGHTER not in root.data_vars:
        unknown = xr.full_like(mean, np.nan)
        return {
            "llc": mean, "llc_se": error, "llc_tethered": mean, "llc_tethered_se": error,
            "tether_shift": unknown, "tether_shift_se": unknown,
        }  # fmt: skip
    tighter = root[TIGHTER].rename(tighter_draw="draw").compute().astype("float64")
    tighter_mean = nbeta * tighter.mean(SAMPLE_DIMS, skipna=False)
    untethered = untether(mean, error, tighter_mean, nbeta * mcse(tighter))
    return {str(name): values for name, values in untethered.data_vars.items()}


def _variance_form(
    losses: xr.Dataset, excess_error: xr.DataArray, nbeta: float
) -> dict[str, xr.DataArray]:
    """(nβ)² Var[L(w)] = (nβ)² (E[ΔL²] − E[ΔL]²), and its standard error.

    The square of the estimated mean is too large by that mean's own variance, which is put back.
    The error is the MCSE of each draw's influence ΔL² − 2 E[ΔL] ΔL: (ΔL − E[ΔL])² up to a constant.
    """
    excess, excess_sq = losses["excess"], losses["excess_sq"]
    mean = excess.mean(SAMPLE_DIMS, skipna=False)
    variance = excess_sq.mean(SAMPLE_DIMS, skipna=False) - (mean**2 - excess_error**2)
    return {
        "llc_variance": nbeta**2 * variance,
        "llc_variance_se": nbeta**2 * mcse(excess_sq - 2 * mean * excess),
    }


def _subset_variance(draws: xr.DataTree, on: str) -> float:
    if on == "data" and draws.attrs.get("loss_from", "minibatch") == "minibatch":
        return 0.0
    return subsample_variance(probe_dataset(draws, on))


def _anchor_error(draws: xr.DataTree, losses: xr.Dataset, on: str) -> float:
    if on == "data" and draws.attrs.get("loss_from", "minibatch") == "minibatch":
        seen = losses["init_loss"]
        return float(seen.std(ddof=1, skipna=False) / math.sqrt(seen.size))
    probe = probe_dataset(draws, on)
    variance = ratio_variance(probe["unit_init_loss"].astype("float64"), probe["mask"])
    return math.sqrt(variance)


def _is_exact(root: xr.Dataset) -> bool:
    """Whether losses are of all the data, so that they have no noise."""
    of_batches = root.attrs.get("loss_from", "minibatch") == "minibatch"
    return of_batches and bool(root.attrs.get("batch_size", 0) == root.attrs.get("num_samples"))


def _by_chain(excess: xr.DataArray, failed: xr.DataArray, nbeta: float) -> xr.DataArray:
    by_chain = (nbeta * excess.mean("draw", skipna=False)).where(~failed)
    if "chain" not in by_chain.coords:
        by_chain = by_chain.assign_coords(chain=np.arange(by_chain.sizes["chain"]))
    return by_chain


def _provenance(draws: xr.DataTree, on: str) -> dict[str, str | int | float]:
    attrs: dict[str, str | int | float] = {
        "estimator": ESTIMATOR,
        "on": on,
        "creode_version": __version__,
    }
    attrs |= {name: draws.attrs[name] for name in PROVENANCE if name in draws.attrs}
    if "creode_version" in draws.attrs:
        attrs["draws_creode_version"] = draws.attrs["creode_version"]
    if on != "data":
        attrs["probe_fingerprint"] = str(probe_dataset(draws, on).attrs.get("data_fingerprint", ""))
    return attrs
