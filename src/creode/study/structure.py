"""Structure in the responses of one run: modes, what their extreme tokens are, clusters of tokens.

Here: which replicates and rows go in, what is left out and said to be, words with the probe that a
row is of among the patterns.
Not here: the analyses (creode.structure), responses (responses.py), reading text (texts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import xarray as xr

from creode.structure import (
    clusters,
    describe,
    extremes,
    modes,
    pattern_classes,
    response_matrix,
)
from creode.structure.clusters import Method
from creode.study.texts import NO_TOKEN, Text, is_bytes, token_table

NUM_MODES = 6
EXTREME = 0.02  # share of the rows at either end of a mode that is put into words
FEWEST_EXTREME = 20  # and at least so many rows, where that is at most a quarter of them
MOST_CLUSTERED = 1500  # rows that are clustered; of more, so many drawn at random
BYTE_CONTEXT = 3  # bytes before a byte that must match for induction; pairs recur by chance


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What was found. A part that could not be looked for is None, and a note says why."""

    modes: xr.Dataset | None = None  # of creode.structure.modes
    words: xr.Dataset | None = None  # description, size, mode (group): ends of resolved modes
    clusters: xr.Dataset | None = None  # of creode.structure.clusters, with description (cluster)
    notes: tuple[str, ...] = ()


def find_structure(replicates: xr.DataArray, texts: Sequence[Text] | None) -> Structure:
    """Modes and clusters of the responses of one posterior per component.

    Args:
        replicates: (component, sample[, token], chain, block), with the coordinate probe along
            sample; NaN where a unit does not count or a chain failed.
        texts: of the probes, in the order of the samples; None where there are none.
    """
    units = [dim for dim in ("sample", "token") if dim in replicates.dims]
    numbered = replicates.assign_coords(sample=np.arange(replicates.sizes["sample"]))
    whole = numbered.notnull().any(units).all(("chain", "block"))
    notes = []
    if not whole.all():
        failed = ", ".join(str(name) for name in replicates["component"].values[~whole.values])
        notes.append(f"Modes leave out {failed}: chains failed, or are missing.")
    numbered = numbered.isel(component=np.flatnonzero(whole.values))
    counted = numbered.notnull().all(("component", "chain", "block"))
    try:
        matrix = response_matrix(numbered, counted)
        found = modes(matrix, num_modes=NUM_MODES)
    except ValueError as error:
        return Structure(notes=(*notes, f"No modes were looked for: {error}"))
    if "token" not in units or texts is None:
        notes.append("Modes are not put into words: there is no text of tokens.")
        return Structure(modes=found, notes=tuple(notes))
    words = _Words(numbered, texts)
    grouped = _clusters(matrix, found)
    return Structure(
        modes=found,
        words=words.of_modes(found),
        clusters=None if grouped is None else words.of_clusters(grouped),
        notes=tuple(notes),
    )


class _Words:
    """What groups of rows are, by tokens, patterns and the probe they are of."""

    def __init__(self, numbered: xr.DataArray, texts: Sequence[Text]) -> None:
        self.ids = token_table(texts).assign_coords(sample=numbered["sample"].values)
        self.decode = texts[0].tokenizer
        patterns = pattern_classes(
            self.ids,
            self.decode,
            context=BYTE_CONTEXT if is_bytes(texts[0]) else 1,
            mask=self.ids != NO_TOKEN,
        )
        probe = numbered["probe"].values
        names = list(dict.fromkeys(probe.tolist()))
        of_probe = xr.DataArray(
            np.broadcast_to((probe[:, None] == names)[:, None], (*self.ids.shape, len(names))),
            dims=patterns.dims,
            coords={"sample": patterns["sample"], "class": [f"in {name}" for name in names]},
        )
        several = [of_probe] if len(names) > 1 else []
        self.classes = xr.concat([*several, patterns], "class").assign_attrs(patterns.attrs)

    def of_modes(self, found: xr.Dataset) -> xr.Dataset | None:
        """description, size and mode (group) of both ends of every resolved mode."""
        rows = found.sizes["row"]
        share = max(EXTREME, min(FEWEST_EXTREME / rows, 0.25))
        parts = [
            describe(extremes(found, mode, share), self.ids, self.classes, self.decode)[
                ["description", "size"]
            ].assign(mode=("group", [mode, mode]))
            for mode in found["mode"].values[found["resolved"].values].tolist()
        ]
        return xr.concat(parts, "group") if parts else None

    def of_clusters(self, grouped: xr.Dataset) -> xr.Dataset:
        """The clusters with a description of each."""
        if not grouped.sizes["cluster"]:
            return grouped.assign(description=("cluster", np.empty(0, dtype=object)))
        words = describe(grouped["label"], self.ids, self.classes, self.decode)
        described = words["description"].sel(group=grouped["cluster"].values)
        return grouped.assign(description=("cluster", described.values))


def _clusters(matrix: xr.DataArray, found: xr.Dataset) -> xr.Dataset | None:
    """Clusters of rows by their scores on the resolved modes; None where nothing is resolved."""
    count = int(found["num_resolved"])
    rows = matrix.sizes["row"]
    if not count:
        return None
    if rows > MOST_CLUSTERED:
        kept = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_CLUSTERED])
        matrix = matrix.isel(row=kept)
    method: Method = "conductance" if find_spec("sklearn") is None else "hdbscan"
    try:
        grouped = clusters(matrix, loadings=found["loading"].isel(mode=slice(count)), method=method)
    except ValueError:  # too few rows
        return None
    return grouped.assign_attrs(rows=rows)
