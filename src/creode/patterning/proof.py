"""The proof of a pattern: retraining in three arms, and what they show.

patterned: with the weights; uniform: without; permuted: the same weights on samples drawn anew for
each seed. The arms of one seed share start and batch order, so differences are paired. Only a gap
to the *permuted* arm shows that it mattered which samples had which weights. Further arms, if asked
for, have the weights that a trivial explanation gives: length, loss level or domain alone.

Here: the arms over seeds, paired differences with intervals, predicted against achieved, the
verdict.
Not here: making the weights (pattern.py), those of explanations (explanations.py), how a model is
trained (training/).
Source: arXiv:2601.13548, which compares with permuted weights. Intervals are Student's over seeds.
Dimensions: S seeds, K observables.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from creode.patterning.pattern import Pattern
from creode.patterning.weights import Weights
from creode.version import __version__

ARMS = ("patterned", "uniform", "permuted")
LEVEL = 0.95
ALIKE = 1e-9  # weights that differ by less do not differ

Train = Callable[[Tensor | None, int], Any]  # (loss weights or None, seed) to a trained model
Measure = Callable[[Any], Mapping[str, float]]  # a trained model to numbers by observable
WeightsOf = Callable[[int], Tensor | None]  # a seed to an arm's weights
OnArm = Callable[[int, int], None]  # arms done, arms in all


def verify(
    pattern: Pattern,
    train: Train,
    measure: Measure,
    *,
    seeds: Sequence[int] = range(5),
    explanations: Sequence[str] = (),
    out: str | Path | None = None,
    trained_with: Mapping[str, Any] | None = None,
    on_arm: OnArm | None = None,
) -> xr.Dataset:
    """Retrain with the weights, without, and with them permuted; compare with what was predicted.

    Args:
        pattern: of `creode.pattern`.
        train: from weights, of samples (N,) or tokens (N, T) (None: all equal), and a seed to a
            trained model. The seed fixes start and batch order, so that only the weights differ
            between the arms of one seed.
        measure: from a trained model to numbers by observable; names that the pattern predicts are
            compared with its predictions, others are watched.
        seeds: at least two; an interval over fewer than five is very wide.
        explanations: names of the pattern's explanations, such as "length": for each a further arm,
            trained with the weights that it gives.
        out: a directory in which every finished arm is kept; called again with the same weights,
            seeds that are there are not trained again.
        trained_with: what `train` does, as plain values, so that a directory whose arms were
            trained otherwise is refused.
        on_arm: called with (arms done, arms in all).

    Returns:
        value (arm, seed, observable); achieved, achieved_low, achieved_high (observable): patterned
        less uniform; gap, gap_low, gap_high: patterned less permuted; moved_by_chance and its ends:
        permuted less uniform; explained and beyond (explanation, observable) and their ends: the
        explanation's arm less uniform, and patterned less that arm, where explanations were asked
        for; all with the 95 % interval of paired differences over seeds. wanted,
        predicted, predicted_se, NaN for what was only measured; agrees: whether predicted and
        achieved differ by no more than their joint 95 % interval. Attributes: verdict
        ("confirmed", "not confirmed") and reasons.

    Raises:
        ValueError: fewer than two seeds; measures that differ between arms, are not finite or have
            nothing that was aimed at; a directory made with other weights or another training; an
            explanation that the pattern does not have or that weighs all samples alike.
    """
    chosen = [int(seed) for seed in seeds]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(f"at least two different seeds are needed, got {chosen}.")
    arms = {**_controls(pattern), **_explained(pattern, explanations)}
    folder = None if out is None else _Arms(Path(out), pattern, explanations, trained_with)
    wanted = pattern.effect["wanted"].fillna(0.0)
    aimed = [str(name) for name in wanted["observable"].values[wanted.values != 0]]
    rows: dict[tuple[str, int], dict[str, float]] = {}
    for seed in chosen:
        for arm, weights_of in arms.items():
            known = folder.read(arm, seed) if folder else None
            if known is None:
                trained = train(weights_of(seed), seed)
                known = measured(measure(trained), f"the {arm} arm of seed {seed}")
                if folder:
                    folder.write(arm, seed, known)
            if not set(aimed) & set(known):
                raise ValueError(
                    f"measure gave {sorted(known)} and the pattern aims at {aimed}; measure at "
                    "least one of these, under the same name."
                )
            rows[arm, seed] = known
            if on_arm:
                on_arm(len(rows), len(arms) * len(chosen))
    names = list(rows[ARMS[0], chosen[0]])
    odd = [f"{arm}, seed {seed}" for (arm, seed), row in rows.items() if set(row) != set(names)]
    if odd:
        raise ValueError(f"measure gave other names than {names} for: {', '.join(odd)}.")
    value = xr.DataArray(
        [[[rows[arm, seed][name] for name in names] for seed in chosen] for arm in arms],
        {"arm": list(arms), "seed": chosen, "observable": names},
        ["arm", "seed", "observable"],
    )
    return _concluded(value, pattern)


def _controls(pattern: Pattern) -> dict[str, WeightsOf]:
    return {
        "patterned": lambda seed: pattern.weights.tensor(),
        "uniform": lambda seed: None,
        "permuted": lambda seed: pattern.weights.permuted(seed).tensor(),
    }


def _explained(pattern: Pattern, names: Sequence[str]) -> dict[str, WeightsOf]:
    if isinstance(names, str):
        raise ValueError(f"explanations is a list of names, got {names!r}.")
    known = pattern.explanations
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{unknown} are no explanations of this pattern; it has {list(known)}.")
    taken = [name for name in names if name in ARMS]
    if taken:
        raise ValueError(f"{taken} are arms already; give the features other names.")
    alike = [name for name in names if np.ptp(known[name].flat) < ALIKE]
    if alike:
        raise ValueError(
            f"{alike} weigh all samples alike, as the uniform arm does; leave them out."
        )
    return {name: lambda seed, name=name: known[name].tensor() for name in names}  # type: ignore[misc]


def measured(found: Mapping[str, float], of: str) -> dict[str, float]:
    """What was measured, as finite numbers by name.

    Raises:
        ValueError: nothing, or a number that is not finite.
    """
    numbers = {str(name): float(number) for name, number in found.items()}
    odd = {name: number for name, number in numbers.items() if not math.isfinite(number)}
    if odd or not numbers:
        raise ValueError(f"measure gave {odd or 'nothing'} for {of}.")
    return numbers


def _concluded(value: xr.DataArray, pattern: Pattern) -> xr.Dataset:
    names = value["observable"].values
    told = pattern.effect.reindex(observable=names)[["wanted", "predicted", "predicted_se"]]
    out = told.assign(value=value)
    explained = value.isel(arm=slice(len(ARMS), None)).rename(arm="explanation")
    patterned, uniform, permuted = (value.sel(arm=arm, drop=True) for arm in ARMS)
    paired_by_name = {
        "achieved": patterned - uniform,
        "gap": patterned - permuted,
        "moved_by_chance": permuted - uniform,
    }
    if explained.size:
        paired_by_name |= {"explained": explained - uniform, "beyond": patterned - explained}
    for name, paired in paired_by_name.items():
        middle, half = paired.mean("seed"), _half_width(paired)
        out[name], out[f"{name}_low"], out[f"{name}_high"] = middle, middle - half, middle + half
    reach = (
        _half_width(paired_by_name["achieved"]) ** 2 + (1.96 * told["predicted_se"]) ** 2
    ) ** 0.5
    out["agrees"] = abs(out["achieved"] - out["predicted"]) <= reach
    reasons = [_failure(out.sel(observable=name)) for name in names]
    reasons = [reason for reason in reasons if reason]
    out.attrs = {
        "verdict": "not confirmed" if reasons else "confirmed",
        "reasons": "; ".join(reasons),
        "seeds": len(value["seed"]),
        "creode_version": __version__,
    }
    return out


def _half_width(paired: xr.DataArray) -> xr.DataArray:
    """Of the 95 % interval of the mean over seeds."""
    from scipy import stats

    count = paired.sizes["seed"]
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
    half: xr.DataArray = quantile * paired.std("seed", ddof=1) / count**0.5
    return half


def _failure(one: xr.Dataset) -> str:
    """What is wrong with an observable that was aimed at; empty if nothing is."""
    wanted = float(one["wanted"])
    name = str(one["observable"].item())
    if math.isnan(wanted) or wanted == 0:
        return ""
    toward = math.copysign(1.0, wanted)
    low, high = sorted((toward * float(one["gap_low"]), toward * float(one["gap_high"])))
    if low > 0:
        return ""
    gap = f"{float(one['gap']):+.3g} [{float(one['gap_low']):+.3g}, {float(one['gap_high']):+.3g}]"
    if high < 0:
        return f"{name} moved the other way against the permuted arm: {gap}"
    return f"{name} is not told from the permuted arm: {gap}"


def _digest(weights: Weights) -> str:
    return hashlib.sha256(weights.values.tobytes()).hexdigest()


class _Arms:
    """Finished arms in a directory."""

    def __init__(
        self,
        place: Path,
        pattern: Pattern,
        explanations: Sequence[str],
        trained_with: Mapping[str, Any] | None,
    ) -> None:
        self._place = place
        place.mkdir(parents=True, exist_ok=True)
        about = {
            "weights": _digest(pattern.weights),
            "data_fingerprint": pattern.weights.fingerprint,
            "trained_with": None if trained_with is None else dict(trained_with),
        }
        further = {f"weights by {one}": _digest(pattern.explanations[one]) for one in explanations}
        record = place / "proof.json"
        about = json.loads(json.dumps(about | further))  # as a file has it
        if record.exists():
            there = further | json.loads(record.read_text())  # it may not know of these arms yet
            differing = [name for name, value in about.items() if there.get(name) != value]
            if differing:
                raise ValueError(
                    f"{place} holds arms of other {' and '.join(differing)}; give another "
                    "directory."
                )
            about = there
        self._put(record, about)

    def read(self, arm: str, seed: int) -> dict[str, float] | None:
        path = self._place / f"{arm}-{seed}.json"
        if not path.exists():
            return None
        known: dict[str, float] = json.loads(path.read_text())
        return known

    def write(self, arm: str, seed: int, row: Mapping[str, float]) -> None:
        self._put(self._place / f"{arm}-{seed}.json", dict(row))

    @staticmethod
    def _put(path: Path, content: Mapping[str, Any]) -> None:
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(content))
        partial.replace(path)
