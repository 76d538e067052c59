"""What a run of responses says of other data: predicted shifts, and weights for wanted changes.

Here: the one posterior of a run directory that is asked, answers and comparisons of several runs as
plain records.
Not here: shifts (generalization/), patterns (patterning/), the run (run.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.data.loading import CORPUS
from creode.generalization import compare_shifts, shift
from creode.patterning import Pattern
from creode.store import Store
from creode.study.conclusion import finite
from creode.study.config import StudyConfig
from creode.study.draws import open_draws

SHIFT = (
    "first", "first_se", "p", "second", "second_se", "valid_to", "valid_to_low", "valid_to_high",
)  # fmt: skip
DIFFERENCE = ("difference", "difference_se", "difference_p")
LOSSES = ("loss_difference", "loss_difference_se", "loss_p")
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


def compared(
    paths: Sequence[Path],
    to: Mapping[str, float],
    *,
    component: str | None,
    checkpoint: int | None,
    training: str,
) -> dict[str, list[dict[str, Any]]]:
    """What `creode.compare_shifts` says of several run directories, which name the models.

    Returns:
        models: a flat record a model and observable; pairs: one of every two models and observable;
        training: one of every two models, of their training losses.
    """
    parts = [path.resolve().parts for path in paths]
    depth = next(
        (n for n in range(1, max(map(len, parts))) if len({p[-n:] for p in parts}) == len(parts)),
        None,
    )
    if depth is None:
        raise ValueError(f"the same run directory was given twice: {', '.join(map(str, paths))}.")
    draws = {
        "/".join(names[-depth:]): one_posterior(path, component, checkpoint)
        for names, path in zip(parts, paths, strict=True)
    }
    found = compare_shifts(draws, {"asked": to}, training=training).isel(shift=0)
    names = [str(name) for name in found["observable"].values]
    models, pairs, losses = [], [], []
    for model in draws:
        one = found.sel(model=model)
        about = {"ok": bool(one["ok"]), "reasons": str(one["reasons"].item())}
        about |= _numbers(one, ("loss", "loss_se"))
        models += [
            {"model": model, "observable": name, **_numbers(one.sel(observable=name), SHIFT)}
            | about
            for name in names
        ]
    for index in range(found.sizes["pair"]):
        pair = found.isel(pair=index)
        who = {"one": str(pair["one"].item()), "other": str(pair["other"].item())}
        pairs += [
            {**who, "observable": name, **_numbers(pair.sel(observable=name), DIFFERENCE)}
            for name in names
        ]
        losses.append({**who, **_numbers(pair, LOSSES), "equal_loss": bool(pair["equal_loss"])})
    return {"models": models, "pairs": pairs, "training": losses}


def domains_of(path: Path, on: str) -> NDArray[np.str_] | None:
    """The domain (N,) of each sample of a run's probe; None where it has fewer than two names.

    Only the embedded corpus and principles name domains, so no other data are read.

    Raises:
        ValueError: the run has no such probe, or its text, length or tokenizer is no longer what
            the run read.
    """
    with Store.open(path, mode="read") as store:
        study = StudyConfig.model_validate(store.config["study"])
    if on not in study.probes:
        raise ValueError(f"{path} has no probe {on!r}; it has {', '.join(study.probes)}.")
    probe = study.probes[on]
    if not (probe.source.startswith(CORPUS) or probe.principle):
        return None
    first = study.series()[0]
    samples = study.load(probe, study.model if first is None else first.path)
    if samples.domain is None or len(samples.domain_names) < 2:
        return None
    recorded = {
        str(node.attrs["data_fingerprint"])
        for node in open_draws(path).subtree
        if node.path.endswith(f"/probes/{on}")
    }
    if recorded != {samples.fingerprint()}:
        raise ValueError(
            f"{probe.source} is no longer what {path} read as {on!r}: its text, length "
            "or tokenizer has changed. Run creode respond again."
        )
    names: NDArray[np.str_] = np.array(samples.domain_names)[samples.domain.numpy()]
    return names


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
