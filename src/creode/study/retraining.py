"""The proof of a pattern on the model and data of a run: training goes on from w*, or begins again.

Here: how an arm is trained and what is measured of it.
Not here: the arms, what they show (patterning/proof.py), the trainer (training/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from creode.fingerprint import model_fingerprint
from creode.models import load_model
from creode.patterning import Pattern, verify
from creode.patterning.proof import OnArm
from creode.sampling.block import unit_losses
from creode.scalar_head import ScalarHead
from creode.store import Store
from creode.study.conclusion import finite
from creode.study.config import StudyConfig
from creode.study.margins import margins_at, margins_of
from creode.study.run import load_study_model
from creode.tasks import Margin
from creode.training import TrainingConfig, train

PROOF = (
    "wanted", "predicted", "predicted_se", "achieved", "achieved_low", "achieved_high", "gap",
    "gap_low", "gap_high",
)  # fmt: skip
EXPLAINED = ("explained", "explained_low", "explained_high", "beyond", "beyond_low", "beyond_high")


def retrain(
    path: Path,
    made: Pattern,
    training: TrainingConfig,
    *,
    seeds: Sequence[int],
    start: int | str | None = None,
    explanations: Sequence[str] = (),
    out: Path | None = None,
    on_arm: OnArm | None = None,
) -> xr.Dataset:
    """`creode.patterning.verify`, with training on the run's data.

    Args:
        path: the run directory that the pattern is of.
        made: weights on the run's own data.
        training: of each arm; its seed is replaced by the arms'.
        seeds: of batch orders.
        start: what every arm begins from: a checkpoint of the run by its step, or another model by
            directory or hub id, such as the one that post-training began from; None: the last
            checkpoint of the run.
        explanations: of the pattern, by name, that have arms of their own.
        out: where finished arms are kept.
        on_arm: called with (arms done, arms in all).

    Returns:
        As of `verify`; measured are "loss", of the data, and the loss of every probe, nats; of an
        audit also every behaviour's mean margin, and as "NAME, unwanted" the share of its prompts
        at which the unwanted answer is favoured.

    Raises:
        ValueError: weights of other samples than the run's data, or more than a batch holds; a
            start of another shape than the model of the run.
    """
    with Store.open(path, mode="read") as store:
        study = StudyConfig.model_validate(store.config["study"])
    found = {None if one is None else one.step: one for one in study.series()}
    step = start if isinstance(start, int) else next(reversed(found))
    begun = load_study_model(study, found[step])
    if isinstance(start, str):
        begun = _fitting(load_model(start, dtype=torch.float32), begun, start)
    first = next(iter(found.values()))
    source = study.model if first is None else first.path
    data = study.load(study.data, source)
    made.weights.check_data(data)
    probes = {name: study.load(probe, source) for name, probe in study.probes.items()}
    task, margins = study.build_task(), margins_of(study, source)

    def arm(weights: Tensor | None, seed: int) -> nn.Module:
        return train(begun, task, data, replace(training, seed=seed), weights=weights).model

    def measured(model: nn.Module) -> dict[str, float]:
        sets = {"loss": data} | probes
        losses = {
            name: unit_losses(model, task, samples, training.batch_size)
            for name, samples in sets.items()
        }
        told = {
            name: float(one.total.double().sum() / one.count.sum()) for name, one in losses.items()
        }
        return told | _shown(model, margins)

    asked = asdict(training)
    del asked["seed"]
    trained_with = {
        "model": model_fingerprint(begun),
        "config": asked,
        "probes": {name: samples.fingerprint() for name, samples in probes.items()},
    }
    return verify(
        made, arm, measured, seeds=seeds, explanations=explanations, out=out,
        trained_with=trained_with, on_arm=on_arm,
    )  # fmt: skip


def _shown(model: nn.Module, margins: Mapping[str, Margin]) -> dict[str, float]:
    """Each behaviour's mean margin, and the share of its prompts answered unwanted."""
    told = {}
    for name, margins_by_prompt in margins_at(model, margins).items():
        told[name] = float(margins_by_prompt.mean())
        told[f"{name}, unwanted"] = float((margins_by_prompt > 0).mean())
    return told


def _fitting(start: nn.Module, trained: nn.Module, name: str) -> nn.Module:
    """The model to begin from, with a scalar head where the trained one has one and it has none."""
    if isinstance(trained, ScalarHead) and not isinstance(start, ScalarHead):
        start = ScalarHead.of(start)
    shapes = [
        {key: weight.shape for key, weight in one.state_dict().items()} for one in (start, trained)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} has other weights than the model of the run; give its own start.")
    return start


def proof_records(proof: xr.Dataset) -> list[dict[str, Any]]:
    """One record an observable; ok where what was aimed at is confirmed."""
    explanations = list(proof["explanation"].values) if "explanation" in proof else []
    return [
        {
            "observable": str(name),
            **finite({number: float(proof[number].sel(observable=name)) for number in PROOF}),
            "explanations": {
                str(one): finite(
                    {
                        number: float(proof[number].sel(observable=name, explanation=one))
                        for number in EXPLAINED
                    }
                )
                for one in explanations
            },
            "agrees": bool(proof["agrees"].sel(observable=name)),
            "ok": proof.attrs["verdict"] == "confirmed",
            "reasons": proof.attrs["reasons"],
        }
        for name in proof["observable"].values
    ]
