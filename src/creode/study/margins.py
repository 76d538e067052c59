"""The behaviours of an audit: their margins as observables, and at w* prompt by prompt.

Here: behaviours of a study as `creode.tasks.Margin`s, taking them at a checkpoint and before
post-training into the run directory, and reading them back.
Not here: margins (tasks/margin.py), what is concluded from them (auditing/, audits.py).
Dimensions: M prompts of a behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from creode.data import Samples
from creode.fingerprint import model_fingerprint
from creode.models import load_model
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.sampling.borrow import borrowed
from creode.sampling.observables import WeightFunction, as_observables
from creode.sampling.unit import on_device
from creode.store import Store
from creode.study.config import StudyConfig
from creode.tasks import Margin

GROUP, BEFORE = "behaviours", "before"  # of the store, beside the draws
MARGINS = "margins"
Margins = dict[str, NDArray[np.float64]]  # by behaviour, (M,)


def margins_of(study: StudyConfig, source: Path | str) -> dict[str, Margin]:
    """The behaviours that a study's audit asks for, by name; none of another reading.

    Args:
        study: what is read.
        source: where the model's tokenizer is.
    """
    if study.audit is None:
        return {}
    task, size = study.build_task(), study.execution.microbatch or study.schedule.batch_size
    return {
        name: Margin(columns=data.load(source, "behaviour").columns, task=task, batch_size=size)
        for name, data in study.audit.behaviours.items()
    }


def observables_of(
    study: StudyConfig, probes: Mapping[str, Samples], margins: Mapping[str, Margin]
) -> dict[str, WeightFunction | str]:
    """What is observed along the chains of a study, by name."""
    named: dict[str, WeightFunction | str] = {name: name for name in study.observables}
    return as_observables(named | dict(margins), probes)


def take_margins(
    store: Store,
    step: str,
    posterior: LocalPosterior,
    margins: Mapping[str, Margin],
    execution: Execution,
) -> None:
    """Keep the margins of every prompt at a checkpoint, if they are not there.

    Raises:
        ValueError: one is not finite.
    """
    if not store.has((GROUP, step, MARGINS)):
        model = on_device(posterior, execution.device).model
        store.write((GROUP, step, MARGINS), _kept(margins_at(model, margins)))


def take_before(
    store: Store, before: str, margins: Mapping[str, Margin], execution: Execution
) -> None:
    """Keep the margins of the model that post-training began from.

    Raises:
        ValueError: it is another model than the one whose margins are there, or has no scores.
    """
    model = load_model(before, dtype=torch.float32)
    fingerprint = model_fingerprint(model)
    if store.resolved.get(BEFORE, fingerprint) != fingerprint:
        raise ValueError(
            f"{store.path} holds margins of another model than {before} is now; give a new "
            "directory, or put those weights back."
        )
    store.resolve(BEFORE, fingerprint)
    if not store.has((GROUP, BEFORE, MARGINS)):
        if execution.device is not None:
            model.to(execution.device)
        store.write((GROUP, BEFORE, MARGINS), _kept(margins_at(model, margins)))


def read_margins(store: Store, step: str) -> Margins | None:
    """The margins of every prompt at a checkpoint, or at "before"; None where there are none."""
    if not store.has((GROUP, step, MARGINS)):
        return None
    held = store.read((GROUP, step))[f"{GROUP}/{step}/{MARGINS}"].to_dataset()
    return {
        str(held[name].attrs["behaviour"]): held[name].values for name in sorted(map(str, held))
    }


def margins_at(model: nn.Module, margins: Mapping[str, Margin]) -> Margins:
    """The margins of every prompt at the weights that a model holds now, by behaviour.

    Raises:
        ValueError: one is not finite.
    """
    found: Margins = {}
    with torch.no_grad(), borrowed(model) as at_rest:
        for name, margin in margins.items():
            values = margin.by_prompt(at_rest).double().cpu().numpy()
            if not np.isfinite(values).all():
                wrong = int(np.argmin(np.isfinite(values)))
                raise ValueError(f"behaviour {name!r}: the margin of prompt {wrong} is not finite.")
            found[name] = values
    return found


def _kept(margins: Margins) -> xr.DataTree:
    return xr.DataTree(
        xr.Dataset(
            {
                f"margin_{number:04d}": ((f"prompt_{number:04d}",), values, {"behaviour": name})
                for number, (name, values) in enumerate(margins.items())
            }
        )
    )
