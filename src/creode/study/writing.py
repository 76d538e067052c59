"""What a run of responses says of other data: predicted shifts, and weights for wanted changes.

Here: the one posterior of a run directory that is asked, both answers as plain records.
Not here: shifts (generalization/), patterns (patterning/), the run (run.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.data.loading import CORPUS
from creode.generalization import shift
from creode.patterning import Convex, MinimumNorm, Pattern, pattern
from creode.patterning.effects import Units
from creode.store import Store
from creode.study.conclusion import finite
from creode.study.config import StudyConfig
from creode.study.run import open_draws

SHIFT = (
    "first", "first_se", "p", "second", "second_se", "valid_to", "valid_to_low", "valid_to_high",
)  # fmt: skip
EFFECT = ("wanted", "predicted", "predicted_se", "p", "fitted")
EXPLAINED = ("r2", "scale", "predicted", "predicted_se", "p", "beyond", "beyond_se")


def one_posterior(path: Path, component: str | None, checkpoint: int | None) -> xr.DataTree:
    """The draws of one component at one checkpoint, the last and "full" if there is a choice.

    Raises:
        ValueError: the run has no such posterior.
    """
    nodes = {
        (node.attrs.get("checkpoint"), str(node.attrs["component"])): node
        for node in open_draws(path).subtree
        if "distance_sq" in node.data_vars
    }
    steps = [step for step, _ in nodes]
    last = (
        checkpoint if checkpoint is not None else max(steps, key=lambda s: -1 if s is None else s)
    )
    here = [name for step, name in nodes if step == last]
    if component is None:
        component = "full" if "full" in here or len(here) != 1 else here[0]
    if (last, component) not in nodes:
        raise ValueError(
            f"{path} holds no draws of {component!r} at checkpoint {last}; it has "
            f"{', '.join(f'{name} at {step}' for step, name in nodes)}. Choose with --component "
            "and --checkpoint."
        )
    return nodes[last, component]


def shift_records(draws: xr.DataTree, to: Mapping[str, float]) -> list[dict[str, Any]]:
    """One flat record an observable, of `creode.shift`."""
    found = shift(draws, to).isel(component=0)
    verdict = {"ok": bool(found["ok"]), "reasons": str(found["reasons"].item())}
    return [
        {"observable": str(name), **_numbers(found.sel(observable=name), SHIFT), **verdict}
        for name in found["observable"].values
    ]


def weights_for(
    draws: xr.DataTree,
    target: Mapping[str, float],
    constraint: Convex | MinimumNorm,
    *,
    on: str,
    keep: Sequence[str],
    out: Path,
    units: Units = "sample",
    features: Mapping[str, ArrayLike] | None = None,
) -> Pattern:
    """A pattern, its weights written to `out`."""
    made = pattern(draws, target, constraint, on=on, units=units, keep=keep, features=features)
    made.weights.save(out)
    return made


def domains_of(path: Path, on: str) -> dict[str, NDArray[np.str_]]:
    """The domain of each sample of a run's probe as a feature; none where it has one or no name.

    Only the embedded corpus names domains, so no other data are read.

    Raises:
        ValueError: the corpus, its length or its tokenizer is no longer what the run read.
    """
    with Store.open(path, mode="read") as store:
        study = StudyConfig.model_validate(store.config["study"])
    if on not in study.probes or not study.probes[on].source.startswith(CORPUS):
        return {}
    first = study.series()[0]
    samples = study.probes[on].load(study.model if first is None else first.path)
    if samples.domain is None or len(samples.domain_names) < 2:
        return {}
    recorded = {
        str(node.attrs["data_fingerprint"])
        for node in open_draws(path).subtree
        if node.path.endswith(f"/probes/{on}")
    }
    if recorded != {samples.fingerprint()}:
        raise ValueError(
            f"{study.probes[on].source} is no longer what {path} read as {on!r}: its text, length "
            "or tokenizer has changed. Run creode respond again."
        )
    return {"domain": np.array(samples.domain_names)[samples.domain.numpy()]}


def effect_records(made: Pattern) -> list[dict[str, Any]]:
    """One record an observable, of a pattern's effect and of its explanations' by name."""
    verdict = {"ok": bool(made.effect["ok"]), "reasons": str(made.effect["reasons"].item())}
    return [
        {
            "observable": str(name),
            **_numbers(made.effect.sel(observable=name), EFFECT),
            "explanations": {
                str(one): _numbers(made.explained.sel(observable=name, explanation=one), EXPLAINED)
                for one in made.explained["explanation"].values
            },
            **verdict,
        }
        for name in made.effect["observable"].values
    ]


def _numbers(one: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    return finite({name: float(one[name]) for name in names})
