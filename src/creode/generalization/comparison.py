"""How several models will take the same shifts of the data, and whether they differ in it.

Models of the same training loss can answer differently to other data. Each is asked by its own
draws; draws of two models are independent, so the error of a difference is √(se² + se²), and p is
of Student's t with Welch's degrees of freedom. What a posterior answers depends on nβ and γ: they
must be the same for all, as must the data, the probes' samples and the observables.

Here: predictions side by side, differences of every two models, whether training losses differ.
Not here: the prediction for one model (shift.py).
Symbols: d₁ the first order, L(w*) the training loss at the anchor.
Dimensions: M models, S shifts, K observables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import xarray as xr

from creode.diagnostics.excess import posterior_dataset, probe_dataset
from creode.generalization.shift import named_observables, shift
from creode.geometry import llc
from creode.geometry.subsample import ratio_variance
from creode.response.mixture import Weights
from creode.response.replicates import Observable
from creode.response.uncertainty import two_sided

SAME = ("nbeta", "localization", "component", "data_fingerprint")
LEVEL = 0.05  # p below which training losses are told apart
VERDICT = ["ok", "reasons", "ess", "rhat"]


def compare_shifts(
    draws: Mapping[str, xr.DataTree],
    to: Mapping[str, Mapping[str, Weights]],
    *,
    training: str = "data",
    observables: Sequence[str] | Mapping[str, Observable] | None = None,
) -> xr.Dataset:
    """What each of several models is predicted to do under shifts, and how they differ.

    Args:
        draws: one posterior's tree a model, by the model's name; two or more, all sampled at the
            same nβ and γ, on the same data, with the same probes.
        to: shifts by a name of their own, each as of `creode.shift`.
        training: where training losses are read: "data", on the minibatches of the draws; or a
            probe that holds training samples, where both models are compared sample by sample.
        observables: as of `creode.shift`.

    Returns:
        first, first_se, first_dof, p, second, second_se, third, third_se, valid_to, valid_to_low,
        valid_to_high (model, shift, observable), and ok, reasons, ess, rhat (model,), as of
        `creode.shift`.
        loss, loss_se (model,): L(w*), nats per unit, and its error as of all training data.
        By pair of models, with coordinates `one` and `other` (pair,): difference, difference_se,
        difference_p (pair, shift, observable): d₁ of one less d₁ of the other; loss_difference,
        loss_difference_se, loss_p (pair,): of their training losses; equal_loss: whether these are
        not told apart at 5 %. That is no proof that they are equal: the error says how far apart
        they could be.

    Raises:
        ValueError: fewer than two models, or draws that cannot be compared.
    """
    if len(draws) < 2:
        raise ValueError(f"two models or more are compared; got {list(draws) or 'none'}.")
    if not to:
        raise ValueError("to names no shift; give for example {'mostly code': {'code': 0.9}}.")
    _check_comparable(draws, training, observables)
    told = [_of_model(tree, to, observables) for tree in draws.values()]
    out = xr.concat(told, xr.Variable("model", list(draws)), combine_attrs="drop_conflicts")
    losses = [llc(tree, training) for tree in draws.values()]
    out["loss"] = ("model", [float(one["init_loss"]) for one in losses])
    out["loss_se"] = ("model", [float(one["init_loss_se"]) for one in losses])
    out = out.assign(_pairs(out, draws, training))
    out.attrs |= {"training": training}
    return out


def _of_model(
    draws: xr.DataTree,
    to: Mapping[str, Mapping[str, Weights]],
    observables: Sequence[str] | Mapping[str, Observable] | None,
) -> xr.Dataset:
    """Predictions (shift, observable), with the draws' verdict, which has no dimension."""
    each = [
        shift(draws, one, observables=observables).isel(component=0, drop=True)
        for one in to.values()
    ]
    told = [one.drop_vars(VERDICT) for one in each]
    joined = xr.concat(told, xr.Variable("shift", list(to)), combine_attrs="drop_conflicts")
    return joined.assign(each[0][VERDICT].data_vars)


def _check_comparable(
    draws: Mapping[str, xr.DataTree],
    training: str,
    observables: Sequence[str] | Mapping[str, Observable] | None,
) -> None:
    """Refuse draws whose answers would differ for another reason than the models."""
    about = {name: _about(tree, training, observables) for name, tree in draws.items()}
    first, here = next(iter(about.items()))
    for name, there in about.items():
        for what, value in here.items():
            if there[what] != value:
                raise ValueError(
                    f"{first!r} and {name!r} cannot be compared: {what} is {value!r} in the one "
                    f"and {there[what]!r} in the other. Sample all models alike: the same data, "
                    "probes and observables, and nβ and γ given as numbers."
                )


def _about(
    draws: xr.DataTree,
    training: str,
    observables: Sequence[str] | Mapping[str, Observable] | None,
) -> dict[str, object]:
    """What must be the same in all draws, in words for people."""
    attrs = posterior_dataset(draws).attrs
    named = named_observables(draws, observables)
    probes = draws.children["probes"].children if "probes" in draws.children else {}
    if training != "data":
        probe_dataset(draws, training)
    return {name: attrs.get(name) for name in SAME} | {
        "what is observed": {key: str(value) for key, value in named.items()},
        "the set of probes": sorted(probes),
        **{
            f"data_fingerprint of probe {name!r}": node.attrs.get("data_fingerprint")
            for name, node in sorted(probes.items())
        },
    }


def _pairs(
    told: xr.Dataset, draws: Mapping[str, xr.DataTree], training: str
) -> dict[str, xr.DataArray]:
    """Differences of every two models, by pair."""
    pairs = list(combinations(draws, 2))
    between = {"one": ("pair", [one for one, _ in pairs]), "other": ("pair", [o for _, o in pairs])}
    one, other = (told.sel(model=xr.DataArray(names, dims="pair")) for _, names in between.values())
    variances = one["first_se"] ** 2, other["first_se"] ** 2
    total = variances[0] + variances[1]
    dof = total**2 / (variances[0] ** 2 / one["first_dof"] + variances[1] ** 2 / other["first_dof"])
    difference, error = one["first"] - other["first"], total**0.5
    if training == "data":
        apart = (one["loss"] - other["loss"]).values, np.hypot(one["loss_se"], other["loss_se"])
        losses = [(*both, math.inf) for both in zip(*apart, strict=True)]
    else:
        losses = [_by_sample(draws[a], draws[b], training) for a, b in pairs]
    out = {
        "difference": difference,
        "difference_se": error,
        "difference_p": xr.apply_ufunc(two_sided, difference / error.where(error > 0), dof),
        "loss_difference": xr.DataArray([value for value, _, _ in losses], dims="pair"),
        "loss_difference_se": xr.DataArray([error for _, error, _ in losses], dims="pair"),
    }
    z = out["loss_difference"] / out["loss_difference_se"].where(out["loss_difference_se"] > 0)
    count = xr.DataArray([dof for _, _, dof in losses], dims="pair")
    out["loss_p"] = xr.apply_ufunc(two_sided, z, count)
    out["equal_loss"] = (out["loss_p"] >= LEVEL) | (out["loss_difference"] == 0)
    return {
        name: value.drop_vars("model", errors="ignore").assign_coords(between)
        for name, value in out.items()
    }


def _by_sample(one: xr.DataTree, other: xr.DataTree, probe: str) -> tuple[float, float, float]:
    """L(w*) of one less that of the other, its error, and the error's degrees of freedom."""
    ours, theirs = (probe_dataset(draws, probe) for draws in (one, other))
    mask = ours["mask"].astype(bool)
    gap = (ours["unit_init_loss"] - theirs["unit_init_loss"]).astype("float64")
    return float(gap.where(mask).mean()), ratio_variance(gap, mask) ** 0.5, len(mask) - 1
