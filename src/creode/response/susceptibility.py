"""Susceptibility: how the part of a model answers to more of some data.

χ^C_z = −Cov(φ_C, ℓ_z − L) over the posterior restricted to component C. Negative: the component
expresses z (its loss falls where φ rises: to keep L low, the part must serve z); positive: it
suppresses z, once columns are standardised. To first order d⟨φ⟩ = nβ χ dq for data that move by dq.

Here: the single-chain covariance per token, sample or data set, and the two-chain form.
Not here: drawing (sampling/), standardised forms (standardised.py), mixtures of data (mixture.py),
controls (baseline.py), significance among many (discoveries.py).
Symbols: φ the observable, by default L(w) − L(w*); ℓ_z the loss of unit z; L the mean loss of the
data; E_C over the restricted posterior, E over the full one.
Source: arXiv:2504.18274. The two-chain form is −E_C[φ (ℓ_z − L)] + E_C[φ] E[ℓ_z − L], what the
definition over the full posterior with a delta function on the other weights comes to, less a
factor that depends on C alone (the ratio of the two normalising constants).
Deviation: L is that of minibatches, without the bias of their noise (replicates.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from creode.diagnostics.convergence import convergence
from creode.diagnostics.evidence import gather
from creode.diagnostics.excess import excess_loss, posterior_dataset, probe_dataset
from creode.diagnostics.verdict import CHAIN_CHECKS, verdict
from creode.geometry import llc, over_study
from creode.geometry.llc import PROVENANCE
from creode.response.replicates import LOSS, Observable, blocks_of, observed_mean, replicates
from creode.response.standardised import Standard, centre_rows, standardise_columns
from creode.response.uncertainty import estimate, p_value
from creode.version import __version__

Form = Literal["single-chain", "two-chain"]
By = Literal["token", "sample", "dataset"]
Draws = xr.DataTree | dict[str, xr.DataTree]
UNITS = ("sample", "token")
WHOLE = "full"  # the component that is the whole model
NO_ERROR = (
    "one chain that forgets so slowly is a single block, whose error cannot be told: run at least "
    "2 chains, or keep more steps between draws"
)


def susceptibility(  # noqa: PLR0913 - beyond the contract's first, each a choice of its own
    draws: Draws,
    *,
    on: str | Sequence[str] | None = None,
    observable: Observable = LOSS,
    form: Form = "single-chain",
    unrestricted: xr.DataTree | None = None,
    by: By | None = None,
    standardise: Standard = "none",
    keep_replicates: bool = False,
    control: bool = False,
) -> xr.Dataset:
    """χ of every component to every unit of the probes, with its standard error.

    Args:
        draws: the draws of each component by its name; or a study's tree; or one posterior's.
        on: names of probes; all of them if not given.
        observable: φ: "loss", another recorded observable, or coefficients of several.
        form: "single-chain", or "two-chain" with `unrestricted`.
        unrestricted: for the two-chain form, draws of the full posterior with the same probes; or a
            study's tree that has those of the component "full" at every checkpoint. Their verdict
            is part of that of the result.
        by: what a unit is; the finest that the losses have if not given. A sample is the mean over
            its tokens, a data set the mean over the units of a probe.
        standardise: "columns", each component less its mean over all units and divided by its
            standard deviation over them; "both", rows then centred over components, too. Units are
            the finest, of all probes in `on`, whatever `by` is.
        keep_replicates: return also chi_replicates (…, chain, block), for errors of further
            linear functionals: of every component as many as the one of fewest allows.
        control: the draws are of a control, as with targets permuted, and need not be around a
            minimum of their loss: the verdict is on their chains alone.

    Returns:
        chi, chi_se, chi_dof (component, …): nats² (of φ and a loss), by sample[, token], or by
            probe for data sets; units that do not count are NaN. Several probes lie after each
            other along sample, told apart by the coordinate probe. The error is that of independent
            blocks of draws or between chains, see `uncertainty.estimate`; for the two-chain form
            between chains. chi_dof are its degrees of freedom: draws that forget slowly have few,
            and one chain of them has no error, which `reasons` then say.
        z, p: chi/chi_se, and its two-sided p value for each entry alone (`significant` for many).
        chi_standard, chi_standard_se, chi_standard_dof, p_standard: standardised, if asked for;
            errors take scales as known.
        ok, reasons, ess, rhat (component,): the verdict on the draws, as of `llc`, and whether
            there is an error.

        A failed chain makes its component NaN. A dimension checkpoint comes first where there are
        several. Where L is of a probe standing for the data (attribute loss_from), the error does
        not know of the choice of its samples.

    Raises:
        TypeError: not draws.
        ValueError: no such probe, observable or form; losses without tokens by token; units that
            differ between components.
    """
    if form not in ("single-chain", "two-chain"):
        raise ValueError(f"form must be 'single-chain' or 'two-chain', got {form!r}.")
    if by not in (None, "token", "sample", "dataset"):
        raise ValueError(f"by must be 'token', 'sample' or 'dataset', got {by!r}.")
    if standardise not in ("none", "columns", "both"):
        raise ValueError(f"standardise must be 'none', 'columns' or 'both', got {standardise!r}.")
    if (form == "two-chain") != (unrestricted is not None):
        raise ValueError(
            "the two-chain form needs unrestricted=<draws of the full posterior>, and only that "
            "form has a use for them."
        )
    tree = one_tree(draws)
    names = probe_names(tree, on)
    reading = partial(
        _of_posterior,
        names=names,
        observable=observable,
        whole_model={} if unrestricted is None else _by_checkpoint(unrestricted),
        by=by,
        standardised=standardise != "none",
        control=control,
        kept_blocks=_fewest_blocks(tree, observable) if keep_replicates else None,
    )
    joined = with_components(over_study(tree, reading))
    if standardise == "both":
        joined = centre_rows(joined)
    joined["z"] = joined["chi"] / joined["chi_se"]
    for name in ("chi", "chi_standard") if standardise != "none" else ("chi",):
        p = p_value(joined[name], joined[f"{name}_se"], joined[f"{name}_dof"])
        joined[name.replace("chi", "p")] = p
    joined.attrs |= {
        "form": form,
        "observable": observable if isinstance(observable, str) else repr(dict(observable)),
        "by": joined.attrs.get("by", by or ""),
        "standardised": standardise,
    }
    return joined


def one_tree(draws: Draws) -> xr.DataTree:
    """Draws by component as one tree, as a study has them.

    Raises:
        TypeError: neither a tree nor a dict of them.
        ValueError: a value is not one posterior's tree.
    """
    if isinstance(draws, xr.DataTree):
        return draws
    if not isinstance(draws, dict):
        raise TypeError(
            "draws must be a DataTree as saved by sampling, or a dict from component names to "
            f"them, got {type(draws).__name__}."
        )
    children: dict[str, xr.DataTree] = {}
    for number, (name, tree) in enumerate(draws.items()):
        posterior_dataset(tree)
        child = tree.copy(deep=False)
        child.attrs = dict(tree.attrs) | {"component": name}
        children[f"c{number}"] = child
    return xr.DataTree(children=children)


def probe_names(tree: xr.DataTree, on: str | Sequence[str] | None) -> list[str]:
    """The probes to read: those asked for, or all there are.

    Raises:
        ValueError: there is none.
    """
    if on is not None:
        return [on] if isinstance(on, str) else list(on)
    found: set[str] = set()
    for node in tree.subtree:
        if "distance_sq" in node.data_vars and "probes" in node.children:
            found |= set(node.children["probes"].children) - {"data"}
    if not found:
        raise ValueError(
            "the draws have no probe, so there are no losses to respond to; sample with "
            "probes={'name': data}."
        )
    return sorted(found)  # a directory on disk has no order of its own


def with_components(joined: xr.Dataset) -> xr.Dataset:
    """The result of `over_study` with a dimension component; one of a single checkpoint without."""
    if "component" not in joined.dims:
        joined = joined.expand_dims(component=[str(joined.attrs.pop("component", "full"))])
    if joined.sizes.get("checkpoint") == 1:
        joined = joined.isel(checkpoint=0)
    return joined


def verdict_of(
    draws: xr.DataTree, observable: Observable, *, control: bool = False
) -> dict[str, xr.DataArray]:
    """Whether the draws can be trusted, as of their learning coefficient, and tell an error.

    control: of their chains alone.
    """
    reading = _chains(draws) if control else llc(draws)
    found = {name: reading[name] for name in ("ok", "reasons", "ess", "rhat")}
    if posterior_dataset(draws).sizes["chain"] > 1 or blocks_of(draws, observable) > 1:
        return found
    said = [text for text in (str(reading["reasons"].item()), NO_ERROR) if text]
    return found | {"ok": xr.DataArray(False), "reasons": xr.DataArray("; ".join(said))}


def _chains(draws: xr.DataTree) -> xr.Dataset:
    """The verdict on chains, whatever their loss is at w*."""
    chains = convergence(draws, excess_loss(draws)["excess"])
    nbeta = float(posterior_dataset(draws).attrs["nbeta"])
    judged = verdict(gather(chains, nbeta=nbeta), CHAIN_CHECKS, ())
    return chains[["ess", "rhat"]].assign(ok=judged.ok, reasons=judged.reasons)


def provenance(draws: xr.DataTree) -> dict[str, object]:
    """What made the draws."""
    known = {name: draws.attrs[name] for name in PROVENANCE if name in draws.attrs}
    return known | {"creode_version": __version__}


def _of_posterior(
    draws: xr.DataTree,
    *,
    names: Sequence[str],
    observable: Observable,
    whole_model: Mapping[int | None, xr.DataTree],
    by: By | None,
    standardised: bool,
    control: bool,
    kept_blocks: int | None,
) -> xr.Dataset:
    """χ of one posterior to the units of the probes."""
    whole = _replicates(draws, names, observable, None)
    spread = None
    unrestricted = _at_checkpoint(whole_model, draws)
    if unrestricted is not None:
        shifts = {name: _two_chain_shift(draws, unrestricted, name, observable) for name in names}
        spread = joined_units({name: shift for name, (_, shift) in shifts.items()})
        ours = joined_units({name: shift for name, (shift, _) in shifts.items()})
        whole = whole.mean("block", skipna=False).expand_dims("block", axis=1) - ours
    finest: By = "token" if "token" in whole.dims else "sample"
    if by == "token" and finest == "sample":
        raise ValueError("the losses are one a sample; use by='sample' or by='dataset'.")
    level: By = by or finest
    result = estimate(_reduced(whole, level))
    if spread is not None:
        result = _with_spread(result, _reduced(spread, level))
    if standardised:
        standard = _reduced(standardise_columns(whole), level)
        result = result.merge(estimate(standard, "chi_standard"))
    if kept_blocks is not None:
        kept = whole
        if unrestricted is None:
            kept = _replicates(draws, names, observable, kept_blocks)
        few = _reduced(kept, level).astype("float32")
        result["chi_replicates"] = few.transpose(..., "chain", "block")
    result = result.assign(verdict_of(draws, observable, control=control))
    if unrestricted is not None:
        result = _doubted(result, _chains(unrestricted) if control else llc(unrestricted))
    result.attrs = provenance(draws) | {"by": level}
    return result


def _replicates(
    draws: xr.DataTree, names: Sequence[str], observable: Observable, blocks: int | None
) -> xr.DataArray:
    """Replicates of χ to the units of all probes."""
    parts = {}
    for name in names:
        found = replicates(draws, name, observable, blocks=blocks)
        parts[name] = -(found.units - found.data)
    return joined_units(parts)


def _by_checkpoint(unrestricted: xr.DataTree) -> dict[int | None, xr.DataTree]:
    """The draws of the whole model by checkpoint; one posterior's serve every checkpoint.

    Raises:
        TypeError: not a DataTree.
        ValueError: a study's tree without the component "full", or with two of a checkpoint.
    """
    if not isinstance(unrestricted, xr.DataTree):
        raise TypeError(f"unrestricted must be a DataTree, got {type(unrestricted).__name__}.")
    if "distance_sq" in unrestricted.data_vars:
        return {None: unrestricted}
    found: dict[int | None, xr.DataTree] = {}
    for node in unrestricted.subtree:
        if "distance_sq" not in node.data_vars or node.attrs.get("component") != WHOLE:
            continue
        step = node.attrs.get("checkpoint")
        if step in found:
            raise ValueError(f"the unrestricted draws have two posteriors of checkpoint {step}.")
        found[step] = node
    if not found:
        raise ValueError(f"the unrestricted draws have no posterior of the component {WHOLE!r}.")
    return found


def _at_checkpoint(
    whole_model: Mapping[int | None, xr.DataTree], draws: xr.DataTree
) -> xr.DataTree | None:
    if not whole_model:
        return None
    step = draws.attrs.get("checkpoint")
    found = whole_model.get(step, whole_model.get(None))
    if found is None:
        raise ValueError(
            f"there are no unrestricted draws of checkpoint {step}; known: {[*whole_model]}."
        )
    return found


def _doubted(result: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """The verdict on the full posterior's draws put in."""
    why = str(other["reasons"].item())
    said = [str(result["reasons"].item())] + [f"the whole model: {why}"] * bool(why)
    return result.assign(
        ok=result["ok"] & other["ok"],
        reasons=xr.DataArray("; ".join(text for text in said if text)),
    )


def _fewest_blocks(tree: xr.DataTree, observable: Observable) -> int:
    """As many blocks of each chain as every posterior allows."""
    each = over_study(tree, lambda draws: xr.Dataset({"blocks": blocks_of(draws, observable)}))
    return int(each["blocks"].min())


def joined_units(parts: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Units of several probes after each other along sample; shorter samples are padded with NaN.

    Raises:
        ValueError: some losses are per token and some per sample.
    """
    if len({"token" in part.dims for part in parts.values()}) > 1:
        raise ValueError(
            f"some of the probes {list(parts)} have losses per token and some per sample; read "
            "them one at a time."
        )
    labelled = [
        part.assign_coords(
            probe=("sample", np.full(part.sizes["sample"], name)),
            sample=np.arange(part.sizes["sample"]),
        )
        for name, part in parts.items()
    ]
    longest = max(part.sizes.get("token", 0) for part in labelled)
    padded = [
        part.pad(token=(0, longest - part.sizes["token"])) if "token" in part.dims else part
        for part in labelled
    ]
    return xr.concat(padded, "sample")


def _reduced(units: xr.DataArray, by: By) -> xr.DataArray:
    """Means over the counted tokens of a sample, or the counted units of a probe."""
    if by == "token":
        return units
    if by == "sample":
        return units.mean("token") if "token" in units.dims else units
    names = list(dict.fromkeys(units["probe"].values.tolist()))
    within = [dim for dim in UNITS if dim in units.dims]
    means = [units.isel(sample=units["probe"].values == name).mean(within) for name in names]
    return xr.concat(means, "probe").assign_coords(probe=names)


def _two_chain_shift(
    draws: xr.DataTree, unrestricted: xr.DataTree, name: str, observable: Observable
) -> tuple[xr.DataArray, xr.DataArray]:
    """E_C[φ](E_C[ℓ_z − L] − E[ℓ_z − L]) by chain of C with a block of 1; E_C[φ] E[ℓ_z − L].

    The second by chain of the full posterior, for its error.
    """
    for what in ("data_fingerprint", "model_fingerprint", "nbeta", "localization"):
        if draws.attrs.get(what) != unrestricted.attrs.get(what):
            raise ValueError(
                f"the unrestricted draws have another {what} ({unrestricted.attrs.get(what)}) than "
                f"those of the component ({draws.attrs.get(what)}); sample both alike."
            )
    phi = observed_mean(draws, observable)
    own, full = (_mean_response(tree, name) for tree in (draws, unrestricted))
    if own.sizes["sample"] != full.sizes["sample"]:
        raise ValueError(
            f"probe {name!r} has {own.sizes['sample']} samples in the component's draws and "
            f"{full.sizes['sample']} in the unrestricted ones; sample both with the same probes."
        )
    shift = phi * (own - full.mean("chain", skipna=False))
    return shift.expand_dims("block", axis=1), phi.mean("chain", skipna=False) * full


def _mean_response(draws: xr.DataTree, name: str) -> xr.DataArray:
    """E[ℓ_z − ℓ_z(w*)] − E[L − L(w*)] by chain, (chain, sample[, token])."""
    probe = probe_dataset(draws, name)
    excess = (probe["unit_mean"].astype("float64") - probe["unit_init_loss"]).where(probe["mask"])
    return excess - excess_loss(draws)["excess"].mean("draw", skipna=False)


def _with_spread(result: xr.Dataset, spread: xr.DataArray) -> xr.Dataset:
    """The error with that of the full posterior's means, which is independent, put in."""
    chains = spread.sizes["chain"]
    theirs = spread.var("chain", ddof=1, skipna=False) / chains
    dof = np.fmin(result["chi_dof"], chains - 1)
    return result.assign(chi_se=(result["chi_se"] ** 2 + theirs) ** 0.5, chi_dof=dof)
