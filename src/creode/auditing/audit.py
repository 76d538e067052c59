"""An audit in one call: levels, drivers, modes, parts, learning coefficients, shifts, mending.

Here: which of them a set of draws can give, put together.
Not here: each of them.
Dimensions: K behaviours, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.auditing.drivers import group_drivers, sample_drivers, shifted
from creode.auditing.levels import TOLERANCE, levels
from creode.auditing.mending import mending
from creode.auditing.parts import part_effects
from creode.diagnostics.excess import posterior_dataset
from creode.geometry.by_group import llc_by_group
from creode.patterning.associations import associations
from creode.patterning.effects import Effects, effects
from creode.structure import modes, response_matrix
from creode.structure.modes import MIN_REPLICATES

FEWEST_MODES = 3  # behaviours from which on it is a question which move together
TURNED = 0.1  # of the margin at w*, on the other side, from which on the draws have lost it
STRONGEST = 0.01  # share of the samples that stand for a behaviour's drivers where none is found


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What data taught, by behaviour. Parts that were not asked for are None or empty.

    levels: of `creode.auditing.levels`. samples: of `sample_drivers`. groups: of `group_drivers`.
    shifts: changes of φ under the shifts asked for, as `groups`. modes: of `creode.structure.modes`
    over samples (row) and behaviours (component). parts: of `part_effects`, through which part
    each behaviour's drivers act. llc: λ̂ by group. mending: by behaviour that is shown, of
    `mending`. ok, reasons: of the draws, which must lie where the model has its skills.
    """

    samples: xr.Dataset
    ok: bool
    reasons: str
    levels: xr.Dataset | None = None
    groups: xr.Dataset | None = None
    shifts: xr.Dataset | None = None
    modes: xr.Dataset | None = None
    parts: xr.Dataset | None = None
    llc: xr.Dataset | None = None
    mending: Mapping[str, xr.Dataset] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(map(str, self.samples["behaviour"].values))

    @property
    def shown(self) -> tuple[str, ...]:
        """The behaviours that the model shows beyond the tolerance; none where that is unknown."""
        if self.levels is None:
            return ()
        found = self.levels["shown"]
        return tuple(str(name) for name in found["behaviour"].values[found.values])

    def drivers(self, behaviour: str, k: int = 10) -> NDArray[np.int64]:
        """The k samples with which a behaviour grows the most surely, the surest first."""
        sure = self.samples["association"].sel(behaviour=behaviour).values
        order: NDArray[np.int64] = np.argsort(-sure, kind="stable")[:k]
        return order[sure[order] > 0]


def audit(  # noqa: PLR0913 - what an auditor may know beside the draws
    draws: xr.DataTree,
    behaviours: Sequence[str],
    *,
    on: str = "train",
    margins: Mapping[str, ArrayLike] | None = None,
    before: Mapping[str, ArrayLike] | None = None,
    tolerance: float = TOLERANCE,
    groups: ArrayLike | None = None,
    shifts: Mapping[str, Mapping[str, float]] | None = None,
    parts: Mapping[str, xr.DataTree] | None = None,
    rate: float = 0.05,
) -> Audit:
    """What the training data did to each behaviour, and what mending would cost.

    Args:
        draws: one posterior's tree, of the whole model on its post-training data, with behaviours
            observed and full traces of the data: `creode.sample(posterior, {"train": data},
            observables={"rude": Margin(…)}, traces=("train",))`.
        behaviours: names of such observables, `creode.tasks.Margin`s.
        on: the probe that holds the training data.
        margins: by behaviour, the margins (M,) of its prompts at w*; and `before` them those of
            the model that post-training began from. Without, no behaviour is found to be shown.
        tolerance: as of `levels`.
        groups: a label a sample (N,), such as its principle.
        shifts: as of `creode.auditing.drivers.shifted`; needs groups.
        parts: by component, the trees of posteriors of parts.
        rate: of false discoveries.

    Returns:
        `Audit`.

    Raises:
        ValueError: an observable, a probe or a group that is not there, or settings that do not
            fit together.
    """
    _check(behaviours, margins, groups, shifts)
    found = effects(draws, on, {name: name for name in behaviours})
    ranks = associations(draws, on, {name: name for name in behaviours}, found)
    samples = sample_drivers(found, ranks, rate)
    known = None if margins is None else levels(
        {name: margins[name] for name in behaviours},
        before=None if before is None else {name: before[name] for name in behaviours},
        tolerance=tolerance,
    )  # fmt: skip
    together, notes = _modes(found)
    lost = _lost(draws, behaviours)
    out = Audit(
        samples=samples, ok=found.ok and not lost,
        reasons="; ".join(reason for reason in (found.reasons, lost) if reason),
        levels=known, modes=together,
        notes=notes,
        groups=None if groups is None else group_drivers(found, groups, rate),
        shifts=shifted(found, groups, shifts, rate) if groups is not None and shifts else None,
        llc=None if groups is None else llc_by_group(draws, on, groups),
        parts=part_effects(parts, _strongest(samples), on=on, rate=rate) if parts else None,
    )  # fmt: skip
    mended = {name: mending(found, name, along=ranks) for name in out.shown}
    return Audit(**{**vars(out), "mending": mended})


def _check(
    behaviours: Sequence[str],
    margins: Mapping[str, ArrayLike] | None,
    groups: ArrayLike | None,
    shifts: Mapping[str, Mapping[str, float]] | None,
) -> None:
    if isinstance(behaviours, str) or not behaviours:
        raise ValueError(f"behaviours is a list of names, got {behaviours!r}.")
    missing = sorted(set(behaviours) - set(margins)) if margins is not None else []
    if missing:
        raise ValueError(f"margins lack {missing}; give those of every behaviour, or none.")
    if shifts and groups is None:
        raise ValueError("shifts change the weights of groups; give groups as well.")


def _lost(draws: xr.DataTree, behaviours: Sequence[str]) -> str:
    """Why draws are not of the model that was asked: it favours unwanted answers there; else empty.

    What few samples taught, as faults are, draws may lose: that is how those samples are found. But
    a model that begins to favour unwanted answers has lost what many samples taught.
    """
    root = posterior_dataset(draws).sel(observable=list(behaviours))
    at_start = root["observed_init"]
    mean = at_start + root["observed"].mean(("chain", "draw"), skipna=False)
    turned = (at_start < 0) & (mean > -TURNED * at_start)
    names = [str(name) for name in root["observable"].values[turned.values]]
    if not names:
        return ""
    return (
        f"over the draws, and not at its weights, the model favours the unwanted answers to "
        f"{', '.join(names)}: they lie too far out; use a larger nβ or localization"
    )


def _modes(found: Effects) -> tuple[xr.Dataset | None, tuple[str, ...]]:
    """Modes over samples and behaviours; None where there are too few of something."""
    chains, blocks = found.replicates.shape[:2]
    if len(found.names) < FEWEST_MODES:
        return None, ()
    if chains * blocks < MIN_REPLICATES:
        return None, (f"modes need {MIN_REPLICATES} blocks of draws, and there are fewer.",)
    table = xr.DataArray(
        found.replicates, dims=("chain", "block", "component", "sample"),
        coords={"component": list(found.names)},
    )  # fmt: skip
    return modes(response_matrix(table), centre=False), ()


def _strongest(samples: xr.Dataset) -> dict[str, NDArray[np.bool_]]:
    """Each behaviour's drivers, or its strongest samples where none is significant."""
    count = samples.sizes["sample"]
    least = max(1, round(STRONGEST * count))
    chosen = {}
    for name in samples["behaviour"].values:
        one = samples.sel(behaviour=name)
        mask = one["driver"].values.copy()
        if not mask.any():
            mask[np.argsort(-one["association"].values, kind="stable")[:least]] = True
        chosen[str(name)] = mask
    return chosen
