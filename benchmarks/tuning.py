"""The peer at its best: settings chosen with the truth in hand, as no user could choose them.

Every setting of a grid reads the networks it is tuned on by one chain with a share of the budget;
those that did best are read again with all of it, and the best of these, by the median |error|
(failures count as 100 %), is the one to judge.

Here: the grid, the search.
Not here: a reading (methods.py), which networks (accuracy.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from methods import BURNIN_SHARE, PeerSettings

# An expert would burn in, and take L(w*) on all of the data.
STEP_SIZES = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
LOCALIZATIONS = (1.0, 10.0, 100.0)
NBETAS = (100.0, 587.0, 5000.0)
FIRST_SHARE = 0.25  # of the budget, in the first round
FINALISTS = 6

# The |errors| of settings on every network they are tuned on, at a budget.
Trial = Callable[[PeerSettings, int], Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Values whose every combination is tried; the defaults are what is reported."""

    step_sizes: Sequence[float] = STEP_SIZES
    localizations: Sequence[float] = LOCALIZATIONS
    nbetas: Sequence[float] = NBETAS
    finalists: int = FINALISTS


def tune(method: str, trial: Trial, *, budget: int, grid: Grid | None = None) -> PeerSettings:
    """The settings of the grid with the smallest median |error|, then the smallest worst.

    Larger steps than one that fails on every network are taken to fail too.
    """
    grid = grid or Grid()
    first = []
    for localization, nbeta in product(grid.localizations, grid.nbetas):
        for step_size in sorted(grid.step_sizes):
            settings = _settings(method, step_size, localization, nbeta)
            errors = trial(settings, int(budget * FIRST_SHARE))
            if not np.isfinite(errors).any():
                break
            first.append((_score(errors), settings))
    if not first:
        raise ValueError("every setting of the grid failed on every network; add smaller steps.")
    first.sort(key=lambda scored: scored[0])
    finalists = [settings for _, settings in first[: grid.finalists]]
    return min(finalists, key=lambda settings: _score(trial(settings, budget)))


def _settings(method: str, step_size: float, localization: float, nbeta: float) -> PeerSettings:
    return PeerSettings(
        method=method,
        optimizer={"lr": step_size, "localization": localization, "nbeta": nbeta},
        burnin_share=BURNIN_SHARE,
        init_loss="all",
    )


def _score(errors: Sequence[float]) -> tuple[float, float]:
    absolute = np.nan_to_num(np.abs(errors), nan=1.0, posinf=1.0)
    return float(np.median(absolute)), float(absolute.max())
