"""What is made of the runs of susceptibilities: their errors, and costs of all heads.

Errors are relative to the size of χ, since forms of χ differ by a factor of each component.

Here: one run's χ and costs, errors between chains and between rounds, scaling up to all heads.
Not here: the runs (response.py).
Dimensions: R rounds, C chains, U units (tokens of the probe).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FULL = "full"  # the component that the peer needs besides


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What is measured."""

    heads: Sequence[str]  # that are sampled
    num_heads: int  # of the decoder: seconds are scaled up to all of them
    rounds: int
    threads: int
    quick: bool


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One component of one contender in one round."""

    seconds: float
    cpu_seconds: float  # of all threads: what else the machine does lengthens it less
    disk_bytes: int
    peak_bytes: int  # above the loaded model
    chains: Array | None  # (C, U), χ by chain
    two_chain: Array | None  # (U,), χ in the peer's own form
    error: Array | None  # (U,), the standard error that is told
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Error:
    """Standard errors of the χ of one run, relative to the size of χ, over heads and units."""

    by_chains: float  # from how chains differ
    by_rounds: float  # from how rounds differ; NaN with one
    told: float  # the error that the contender itself gives; NaN if it gives none


def relative_error(runs: Sequence[Mapping[str, Ran]], heads: Sequence[str]) -> Error:
    """Root of mean error² over mean χ², the latter without its own noise."""
    noise, between, told, size = [], [], [], []
    for head in heads:
        chains_RCU = np.stack([_present(run[head].chains) for run in runs])
        rounds, chains, _ = chains_RCU.shape
        within_U = chains_RCU.var(1, ddof=1).mean(0) / chains
        means_RU = chains_RCU.mean(1)
        between_U = means_RU.var(0, ddof=1) if rounds > 1 else within_U
        noise.append(within_U.mean())
        between.append(between_U.mean() if rounds > 1 else np.nan)
        size.append((np.square(means_RU.mean(0)) - between_U / rounds).mean())
        errors = [run[head].error for run in runs]
        told.append(np.mean([np.nan if e is None else np.square(e).mean() for e in errors]))
    return Error(
        by_chains=_root(np.mean(noise) / np.mean(size)),
        by_rounds=_root(np.mean(between) / np.mean(size)),
        told=_root(np.mean(told) / np.mean(size)),
    )


def two_chain_error(runs: Sequence[Mapping[str, Ran]], heads: Sequence[str]) -> float:
    """The same of the peer's own form, from how rounds differ; NaN with one round."""
    if len(runs) < 2:
        return float("nan")
    noise, size = [], []
    for head in heads:
        rounds_RU = np.stack([_present(run[head].two_chain) for run in runs])
        noise.append(rounds_RU.var(0, ddof=1).mean())
        size.append(np.square(rounds_RU.mean(0)).mean() - noise[-1] / len(runs))
    return _root(np.mean(noise) / np.mean(size))


def agreement(
    one: Sequence[Mapping[str, Ran]], other: Sequence[Mapping[str, Ran]], heads: Sequence[str]
) -> float:
    """Mean over heads of the correlation of two contenders' χ over units."""
    means = [
        [np.mean([_present(run[head].chains).mean(0) for run in runs], 0) for head in heads]
        for runs in (one, other)
    ]
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*means, strict=True)]))


def of_all_heads(runs: Sequence[Mapping[str, Ran]], quantity: str, effort: Effort) -> list[float]:
    """A sum over heads in each round: those sampled, scaled up, and the full model once."""
    scale = effort.num_heads / len(effort.heads)
    return [
        scale * sum(getattr(run[head], quantity) for head in effort.heads)
        + (getattr(run[FULL], quantity) if FULL in run else 0.0)
        for run in runs
    ]


def _present(value: Array | None) -> Array:
    assert value is not None
    return value


def _root(value: Any) -> float:
    return float(np.sqrt(value)) if value > 0 else float("nan")
