"""Other runs of the same model, whose outputs are kept beside a study's for one plane of all.

Here: which checkpoints they have, that they are of the same model and data, taking their outputs.
Not here: outputs and their plane (outputs.py), the study's own checkpoints (run.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from creode.components import slug
from creode.development import Checkpoint, list_checkpoints
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.store import Store
from creode.study.config import StudyConfig
from creode.study.model_path import holds_checkpoints
from creode.study.outputs import GROUP, NAME, take_outputs

RECORD = "training.json"  # of `creode train`, beside its checkpoints


class Companion(NamedTuple):
    """One checkpoint of another run."""

    run: str  # its name
    checkpoint: Checkpoint


def own_name(study: StudyConfig) -> str:
    """What the study's own run is called beside others."""
    return Path(study.model).name


def companions(study: StudyConfig, model: nn.Module) -> list[Companion]:
    """Every checkpoint of the other runs.

    Args:
        study: what is read.
        model: the study's own, at any checkpoint.

    Raises:
        ValueError: no directory of checkpoints; another model or other training data; a name that
            is taken.
    """
    found = []
    names: dict[str, str] = {slug(NAME): NAME, slug(own_name(study)): own_name(study)}
    for name, folder in study.runs.items():
        if slug(name) in names:
            raise ValueError(
                f"runs: {name!r} is too like the name {names[slug(name)]!r}; give {folder} another."
            )
        names[slug(name)] = name
        if not holds_checkpoints(folder):
            raise ValueError(f"runs: {name} is {folder}, which is no directory of checkpoints.")
        series = list_checkpoints(folder)
        _check_model(name, folder, model, series[0])
        _check_data(name, folder, study.model)
        found += [Companion(name, checkpoint) for checkpoint in series]
    return found


def take_companion(
    store: Store, one: Companion, posterior: LocalPosterior, execution: Execution
) -> None:
    """Keep the outputs of a checkpoint of another run, if they are not there.

    Args:
        store: of the study.
        one: which checkpoint.
        posterior: its model, with the study's task and data.
        execution: how outputs are computed.
    """
    take_outputs(store, _step(one), posterior, execution, slug(one.run))


def is_taken(store: Store, one: Companion) -> bool:
    """Whether the outputs of a checkpoint of another run are there."""
    return store.has((GROUP, _step(one), slug(one.run)))


def _step(one: Companion) -> str:
    return f"step_{one.checkpoint.step:08d}"


def _check_model(name: str, folder: str, model: nn.Module, first: Checkpoint) -> None:
    from creode.models import load_model

    own, other = dict(_shapes(model)), dict(_shapes(load_model(first.path)))
    if differing := sorted(n for n in own.keys() | other if own.get(n) != other.get(n)):
        one = differing[0]
        raise ValueError(
            f"runs: {name} ({folder}) is of another model: {one} is {other.get(one, 'absent')} "
            f"there and {own.get(one, 'absent')} here, and {len(differing) - 1} more differ; only "
            "runs of one model lie in one plane."
        )


def _check_data(name: str, folder: str, own: str) -> None:
    """Compare what both runs were trained on, where both say it."""
    records = [_training_record(Path(one)) for one in (folder, own)]
    there, here = (record.get("data", {}).get("fingerprint") for record in records)
    if there and here and there != here:
        sources = [record.get("source", "unknown") for record in records]
        raise ValueError(
            f"runs: {name} ({folder}) was trained on other data than {own}: {sources[0]} there, "
            f"{sources[1]} here, or other samples; only runs on one data set lie in one plane."
        )


def _training_record(folder: Path) -> Mapping[str, Any]:
    record = folder.expanduser() / RECORD
    if not record.is_file():
        return {}
    found: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found


def _shapes(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, values in model.state_dict().items():
        yield name, tuple(values.shape)
