"""What components answer as something to aim at: one component's response, or a mode of many.

φ_C is what one observable (the loss L, unless told) comes to under the posterior restricted to C,
the other weights at w*. Its response to the weight of sample j is E_Cj = nβ (c_j/Σc) χ^C_j, and
that of φ = Σ_C a_C φ_C is Σ_C a_C E_Cj. Mode k of the response matrix has the score s_kj =
Σ_C v_kC χ^C_j/scale_C up to a constant, so that with a_C ∝ v_kC/scale_C φ moves as the scores say:

    dφ/dρ_j = A s_kj + constant,  A > 0 at one nβ and equal c_j.

Signs: to raise φ is to give weight to samples of positive score, whose χ is positive where v_kC is.
To lower φ_C alone is to make C serve the data better: weight goes to samples with negative χ^C,
those that C expresses.

Here: draws by component, their effects, a mode as coefficients a_C.
Not here: modes (structure/modes.py), effects of one posterior (effects.py), weights (pattern.py).
Source: arXiv:2601.13548, weights along a principal direction of χ. Deviation: there ρ follows the
direction itself; here φ is aimed at, and with one target both are the same up to size.
Components are drawn independently, so replicates of one and of another may be added in any pairing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.patterning.effects import Array, Effects, Units, effects
from creode.response.provenance import PROVENANCE
from creode.response.replicates import LOSS, Observable, blocks_of
from creode.response.susceptibility import Draws, one_tree

Parts = dict[str, xr.DataTree]  # the draws of each component by its name
Combination = dict[str, float]  # a_C by component


def mode_response(found: xr.Dataset, mode: int) -> Combination:
    """The response of a mode: a_C by component, Σ|a_C| = 1, so that φ is in the unit of φ_C.

    Args:
        found: of `creode.structure.modes`, of the responses of components to samples.
        mode: its label, from 1 on.

    Raises:
        ValueError: no such mode, or one that is not told from noise.
    """
    known = found["mode"].values.tolist()
    if mode not in known:
        raise ValueError(f"there is no mode {mode!r}; these are {known}.")
    one = found.sel(mode=mode)
    if not one["resolved"]:
        raise ValueError(
            f"mode {mode} is not told from noise (p = {float(one['p_value']):.2g}): sample more "
            "draws or chains, or choose one that is resolved."
        )
    a = one["loading"] / found["column_scale"]
    a = a / abs(a).sum()
    names = a["component"].values.astype(str).tolist()
    return dict(zip(names, a.values.tolist(), strict=True))


def by_component(draws: Draws) -> Parts | None:
    """The posteriors by component; None where `draws` is the tree of one posterior.

    Raises:
        TypeError: not draws.
        ValueError: no posterior, or several of one component.
    """
    tree = one_tree(draws)
    if "distance_sq" in tree.data_vars:
        return None
    parts: Parts = {}
    for node in tree.subtree:
        if "distance_sq" not in node.data_vars:
            continue
        name = str(node.attrs.get("component", "full"))
        if name in parts:
            steps = [part.attrs.get("checkpoint") for part in (parts[name], node)]
            raise ValueError(
                f"there are several posteriors of {name!r} (checkpoints {steps[0]} and {steps[1]}, "
                "…); give those of one checkpoint, such as draws['…'] of a study's tree."
            )
        parts[name] = node
    if not parts:
        raise ValueError(
            "draws holds no posterior: no group has the variable 'distance_sq'. Were they saved by "
            "creode.sample?"
        )
    return parts


def named_combinations(
    parts: Parts, observables: Sequence[str] | Mapping[str, Observable] | None
) -> dict[str, Combination]:
    """Observables by name as coefficients of components; each component alone if none are given.

    Raises:
        ValueError: a component without draws.
    """
    if isinstance(observables, str):
        observables = (observables,)
    if not isinstance(observables, Mapping):
        observables = {
            str(name): str(name) for name in (parts if observables is None else observables)
        }
    named = {
        name: {given: 1.0}
        if isinstance(given, str)
        else {str(c): float(a) for c, a in given.items()}
        for name, given in observables.items()
    }
    for name, combination in named.items():
        unknown = [component for component in combination if component not in parts]
        if unknown or not combination:
            raise ValueError(
                f"{name!r} is made of {unknown or 'nothing'}; there are draws of {list(parts)}."
            )
    return named


def component_effects(
    parts: Parts,
    on: str,
    combinations: Mapping[str, Combination],
    of: str = LOSS,
    units: Units = "sample",
) -> Effects:
    """E of combinations of components' φ, of the samples of a probe, or of its tokens.

    Args:
        parts: draws by component, of one model, with the same chains and the same probe.
        on: the probe that holds the training data.
        combinations: a_C by component, by name.
        of: φ under each component's posterior: "loss", or another recorded observable.
        units: what has a weight of its own.

    Raises:
        ValueError: as of `effects`, or components that were not sampled alike.
    """
    used = dict.fromkeys(c for combination in combinations.values() for c in combination)
    found = _of_components({name: parts[name] for name in used}, on, of, units)
    _check_alike(parts, found)
    stacked = np.stack([one.replicates[:, :, 0] for one in found.values()], axis=2)  # (C, b, P, N)
    a = np.array([[given.get(name, 0.0) for name in used] for given in combinations.values()])
    values: Array = np.einsum("kp,cbpn->cbkn", a, stacked)
    return next(iter(found.values()))._replace(
        names=tuple(combinations),
        replicates=values,
        ok=all(one.ok for one in found.values()),
        reasons="; ".join(f"{name}: {one.reasons}" for name, one in found.items() if one.reasons),
    )


def shared_provenance(parts: Parts, of: str) -> dict[str, Any]:
    """What made the draws, as far as all components agree; which they are; φ."""
    first, *others = (part.attrs for part in parts.values())
    agreed = {
        name: first[name]
        for name in PROVENANCE
        if name in first and all(other.get(name) == first[name] for other in others)
    }
    return agreed | {"component": ", ".join(parts), "of": of}


def _of_components(parts: Parts, on: str, of: str, units: Units) -> dict[str, Effects]:
    """E of each, in as many blocks of each chain as all of them allow."""
    blocks: dict[str, int] = {}
    found: dict[str, Effects] = {}
    name = ""
    try:
        for name, draws in parts.items():
            blocks[name] = blocks_of(draws, of)
        for name, draws in parts.items():
            found[name] = effects(draws, on, {of: of}, units, blocks=min(blocks.values()))
    except ValueError as error:
        raise ValueError(f"component {name!r}: {error}") from error
    return found


def _check_alike(parts: Parts, found: Mapping[str, Effects]) -> None:
    """One model, one set of samples, as many replicates."""
    first, *others = found
    for name in others:
        for what, here, there in (
            ("chains and blocks", *(found[n].replicates.shape[:2] for n in (name, first))),
            ("samples", *(found[n].fingerprint for n in (name, first))),
            ("model", *(parts[n].attrs.get("model_fingerprint") for n in (name, first))),
        ):
            if here != there:
                raise ValueError(
                    f"the draws of {name!r} have other {what} ({here}) than those of {first!r} "
                    f"({there}); sample every component of one model alike."
                )
