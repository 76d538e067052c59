"""What the page of `creode pattern` shows: weights with texts, domains and clusters.

Here: reading these from the run that the weights are of.
Not here: weights and proof (writing.py, retraining.py), rows and charts (viewer/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from creode.data import Samples
from creode.patterning import Pattern
from creode.store import Store
from creode.study.config import StudyConfig
from creode.study.responses import CLUSTERS_FILE, UNITS_FILE
from creode.study.texts import NO_TOKEN, Text, texts_of

if TYPE_CHECKING:
    from creode.viewer import WritingReport

CONTEXT = 24  # tokens that are shown before one that is weighed


def weights_report(
    path: Path,
    made: Pattern,
    *,
    on: str,
    target: Mapping[str, float],
    proof: xr.Dataset | None = None,
    config: Mapping[str, Any] | None = None,
) -> WritingReport:
    """Everything the page of some weights shows.

    Args:
        path: the run directory that they are of.
        made: the weights.
        on: the probe whose samples they are on.
        target: what was asked for; the first observable is shown first.
        proof: of `creode.patterning.verify`.
        config: what else was asked for.
    """
    from creode.viewer import Writing, WritingReport

    with Store.open(path, mode="read") as store:
        study = StudyConfig.model_validate(store.config["study"])
        known = store.config["fingerprints"]["probes"]
    texts = texts_of(study, known, (on,))
    text = texts.found.get(on)
    values = made.weights.values
    rows = np.nonzero(np.isfinite(values))  # of the weights: samples, or samples and tokens
    labels = None if text is None else domain_labels(text.samples)
    aim = next(iter(target))
    wishes = " and ".join(
        f"{'lower' if change < 0 else 'raise'} {name}" for name, change in target.items() if change
    )
    writing = Writing(
        name=wishes,
        weights=made.weights.flat,
        unit=made.weights.unit,
        effect=made.effect,
        aim=aim,
        proof=proof,
        texts=None if text is None else texts_at(text, rows, values.shape),
        groups=None if labels is None else [labels[i] for i in rows[0].tolist()],
        clusters=cluster_weights(path, on, values),
        explained=made.explained,
    )
    return WritingReport(
        title=f"Weights to {wishes}",
        writings=[writing],
        config={"run": str(path), "on": on, "target": dict(target), **(config or {})},
        warnings=[f"The text of {name} is not shown: {why}" for name, why in texts.missing.items()],
    )


def texts_at(text: Text, rows: tuple[Any, ...], shape: tuple[int, ...]) -> list[str]:
    """The text of each unit that has a weight: a sample's, or a token's with what is before it.

    Args:
        text: of the samples.
        rows: of each unit its sample (N,), and for tokens its place in the losses (N,).
        shape: of the weights; losses of fewer places than tokens are of the tokens that follow.
    """
    if len(shape) == 1:
        return [text.of(i) for i in rows[0].tolist()]
    shift = text.ids.shape[1] - shape[1]
    found = []
    for sample, place in zip(*(index.tolist() for index in rows), strict=True):
        at = place + shift
        ids = text.ids[sample]
        before = [one for one in ids[max(0, at - CONTEXT) : at].tolist() if one != NO_TOKEN]
        token = text.tokenizer.decode([int(ids[at])])
        found.append(f"{text.tokenizer.decode(before)}⟨{token}⟩")
    return found


def domain_labels(samples: Samples) -> tuple[str, ...] | None:
    """The domain of each sample, where the data know several."""
    if samples.domain is None or len(samples.domain_names) < 2:
        return None
    return tuple(samples.domain_names[i] for i in samples.domain.tolist())


def cluster_weights(path: Path, on: str, rho: Sequence[float] | Any) -> list[dict[str, Any]]:
    """The stable clusters that a run of responses found among a probe's tokens, with their weight.

    Returns:
        cluster, tokens (of the probe), weight (the mean over them of their own or their sample's)
        and description; the heaviest first. Empty where there are no clusters, or none with such
        tokens.
    """
    place = path / CLUSTERS_FILE
    if not place.is_dir():
        return []
    found = xr.open_zarr(place, consolidated=False).load()
    if not {"sample", "token", "probe"} <= set(found.coords):
        return []
    own = np.array([str(name) == on for name in found["probe"].values])
    if not own.any():
        return []
    sample = found["sample"].values
    first = _first_sample(path, on)
    weights = np.asarray(rho)
    places = [sample.astype(int) - first, found["token"].values.astype(int)][: weights.ndim]
    rows = []
    for index, name in enumerate(found["cluster"].values):
        inside = own & (found["label"].values == name)
        if bool(found["stable"].values[index]) and inside.any():
            mean = float(np.nanmean(weights[tuple(place[inside] for place in places)]))
            rows.append(
                {
                    "cluster": str(name),
                    "tokens": int(inside.sum()),
                    "weight": round(mean, 2),
                    "description": str(found["description"].values[index]),
                }
            )
    return sorted(rows, key=lambda row: -float(row["weight"]))


def _first_sample(path: Path, on: str) -> int:
    """The number of the probe's first sample among those of all probes."""
    units = xr.open_zarr(path / UNITS_FILE, consolidated=False)
    return [str(name) for name in units["probe"].values].index(on)
