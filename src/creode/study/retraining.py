"""The proof of a pattern on the model and data of a run: training goes on from w* in three arms.

Here: how an arm is trained and what is measured of it.
Not here: the arms, what they show (patterning/proof.py), the trainer (training/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import xarray as xr
from torch import Tensor, nn

from creode.fingerprint import model_fingerprint
from creode.patterning import Pattern, verify
from creode.patterning.proof import OnArm
from creode.sampling.block import unit_losses
from creode.store import Store
from creode.study.conclusion import finite
from creode.study.config import StudyConfig
from creode.study.run import load_study_model
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
    checkpoint: int | None,
    seeds: Sequence[int],
    explanations: Sequence[str] = (),
    out: Path | None = None,
    on_arm: OnArm | None = None,
) -> xr.Dataset:
    """`creode.patterning.verify`, with training that goes on from the weights that were read.

    Args:
        path: the run directory that the pattern is of.
        made: weights on the run's own data.
        training: of each arm; its seed is replaced by the arms'.
        checkpoint: whose weights training goes on from; None: the last of the run.
        seeds: of batch orders.
        explanations: of the pattern, by name, that have arms of their own.
        out: where finished arms are kept.
        on_arm: called with (arms done, arms in all).

    Returns:
        As of `verify`; measured are "loss", of the data, and the loss of every probe, nats.

    Raises:
        ValueError: weights of other samples than the run's data, or more than a batch holds.
    """
    with Store.open(path, mode="read") as store:
        study = StudyConfig.model_validate(store.config["study"])
    found = {None if one is None else one.step: one for one in study.series()}
    last = next(reversed(found)) if checkpoint is None else checkpoint
    start = load_study_model(study, found[last])
    first = next(iter(found.values()))
    source = study.model if first is None else first.path
    data = study.load(study.data, source)
    made.weights.check_data(data)
    probes = {name: study.load(probe, source) for name, probe in study.probes.items()}
    task = study.build_task()

    def arm(weights: Tensor | None, seed: int) -> nn.Module:
        return train(start, task, data, replace(training, seed=seed), weights=weights).model

    def measured(model: nn.Module) -> dict[str, float]:
        sets = {"loss": data} | probes
        losses = {
            name: unit_losses(model, task, samples, training.batch_size)
            for name, samples in sets.items()
        }
        return {
            name: float(one.total.double().sum() / one.count.sum()) for name, one in losses.items()
        }

    asked = asdict(training)
    del asked["seed"]
    trained_with = {
        "model": model_fingerprint(start),
        "config": asked,
        "probes": {name: samples.fingerprint() for name, samples in probes.items()},
    }
    return verify(
        made, arm, measured, seeds=seeds, explanations=explanations, out=out,
        trained_with=trained_with, on_arm=on_arm,
    )  # fmt: skip


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
