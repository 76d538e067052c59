"""How often is a flip or a peak of influence told that is none, and how many are found?

    python benchmarks/flips.py --seed 1 --tables 100

Made-up runs of 12 checkpoints: losses of 4 queries and 60 training samples are quadratic in 8
weights, which are drawn from a Gaussian posterior in 4 chains of 200 draws, autocorrelated or not.
Along checkpoints gradients and curvatures of a training sample change by a factor, so all of its
covariances with the queries do, and the exact ones are known. Influences and their errors are those
of `creode.response.covariance`, flips and peaks those of `creode.development`.

Flips: the factor falls on a straight line from 1 to κ; a quarter of the samples have κ in (−1.5, 0)
and flip, the others κ in [0, 1.5], a third of them exactly 0, where an influence fades without a
change of sign. Peaks: the factor of a quarter is 1 + 3 exp(−((s − m)/0.15)²), s the place on the
axis and m in (0.3, 0.7); that of the others goes on a straight line from 1 to κ in [0, 1.5].

Here: the runs; shares of false ones among those told, of true ones found by their strength, and of
intervals that hold the truth.
Not here: flips and peaks (creode.development), how the table is printed (report.py).
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from report import Report, note

from creode.development import peaks, sign_flips
from creode.response.covariance import Blocks

CHECKPOINTS, QUERIES, SAMPLES, WEIGHTS = 12, 4, 60, 8
CHAINS, DRAWS = 4, 200
STEPS = np.unique(np.geomspace(10, 10_000, CHECKPOINTS).round().astype(int))
AXIS = np.linspace(0, 1, CHECKPOINTS)
TRUE = SAMPLES // 4  # samples that flip, or peak
STRENGTHS = (3.0, 5.0, 8.0)  # |exact/error| of the weaker sign, between which power is told


class Losses(NamedTuple):
    """g·w + ½ wᵀAw."""

    gradients: np.ndarray  # (N, P)
    curvatures: np.ndarray  # (N, P, P)

    @classmethod
    def random(cls, rng: np.random.Generator, count: int) -> Losses:
        half = rng.normal(size=(count, WEIGHTS, WEIGHTS)) / WEIGHTS
        return cls(rng.normal(size=(count, WEIGHTS)), half + half.transpose(0, 2, 1))

    def at(self, weights: np.ndarray) -> np.ndarray:
        """(C, D, N) at weights (C, D, P)."""
        bent = np.einsum("cdp,npq,cdq->cdn", weights, self.curvatures, weights, optimize=True)
        return weights @ self.gradients.T + bent / 2


def covariance(one: Losses, other: Losses) -> np.ndarray:
    """Exact, under standard normal weights."""
    bent = np.einsum("npq,mqp->nm", one.curvatures, other.curvatures)
    return one.gradients @ other.gradients.T + bent / 2


def chains(rng: np.random.Generator, rho: float) -> np.ndarray:
    """Standard normal weights (C, D, P), autocorrelated by rho from draw to draw."""
    weights = rng.normal(size=(CHAINS, DRAWS, WEIGHTS))
    for draw in range(1, DRAWS):
        weights[:, draw] = rho * weights[:, draw - 1] + (1 - rho**2) ** 0.5 * weights[:, draw]
    return weights


def influences(
    rng: np.random.Generator, factors: np.ndarray, rho: float
) -> tuple[xr.DataArray, xr.DataArray, np.ndarray]:
    """−Cov seen and its error, (checkpoint, query, train), and the exact ones.

    Args:
        rng: of losses and draws.
        factors: of each sample's losses, (checkpoint, train).
        rho: autocorrelation of the draws.
    """
    queries, samples = Losses.random(rng, QUERIES), Losses.random(rng, SAMPLES)
    blocks, seen, errors = Blocks(CHAINS, DRAWS), [], []
    for factor in factors:
        weights = chains(rng, rho)
        left, right = queries.at(weights), samples.at(weights) * factor
        # A query's own noise remains where a sample's influence fades.
        right = right + 0.1 * rng.normal(size=right.shape)
        value, error = blocks.covariance(
            left - left.mean(1)[:, None], right - right.mean(1)[:, None]
        )
        seen.append(-value)
        errors.append(error)
    exact = -covariance(queries, samples) * factors[:, None]
    dims, coords = ("checkpoint", "query", "train"), {"checkpoint": STEPS}
    return xr.DataArray(seen, coords, dims), xr.DataArray(errors, coords, dims), exact


def flipping(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors (checkpoint, train), and where they are 0, NaN for those that do not flip."""
    end = np.concatenate([rng.uniform(-1.5, 0, TRUE), rng.uniform(0, 1.5, SAMPLES - TRUE)])
    end[TRUE : TRUE + (SAMPLES - TRUE) // 3] = 0.0
    with np.errstate(divide="ignore"):
        zero = np.where(np.arange(SAMPLES) < TRUE, 1 / (1 - end), np.nan)
    return 1 + AXIS[:, None] * (end - 1), zero


def peaking(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors (checkpoint, train), and where they peak, NaN for those that do not."""
    place = np.where(np.arange(SAMPLES) < TRUE, rng.uniform(0.3, 0.7, SAMPLES), np.nan)
    bump = 1 + 3 * np.exp(-(((AXIS[:, None] - place) / 0.15) ** 2))
    straight = 1 + AXIS[:, None] * (rng.uniform(0, 1.5, SAMPLES) - 1)
    return np.where(np.isfinite(place), bump, straight), place


def main() -> None:
    """Read the options, make the runs, print lines and the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=int, default=100, help="runs of each kind")
    parser.add_argument("--out", type=Path, help="also add the JSON lines to a file")
    options = parser.parse_args()
    report = Report("flips", out=options.out, seed=options.seed, tables=options.tables)
    for rho in (0.0, 0.5, 0.8):
        note(f"autocorrelation {rho}")
        rng = np.random.default_rng([options.seed, int(100 * rho)])
        tried(report, "flips", rho, [flip_table(rng, rho) for _ in range(options.tables)])
        tried(report, "peaks", rho, [peak_table(rng, rho) for _ in range(options.tables)])
    print(report.table())


class Told(NamedTuple):
    """What one table of pairs (query, train) was told to be."""

    found: np.ndarray
    true: np.ndarray
    strength: np.ndarray  # of what is true: the weaker side over its error
    held: np.ndarray  # whether the interval holds the place


def flip_table(rng: np.random.Generator, rho: float) -> Told:
    """A run in which some influences flip."""
    factors, zero = flipping(rng)
    seen, error, exact = influences(rng, factors, rho)
    told = sign_flips(seen, error, dof=Blocks(CHAINS, DRAWS).count - 1)
    ratio = exact / error.values
    place = STEPS[0] * (STEPS[-1] / STEPS[0]) ** zero
    held = (told["flip_after"].values < place) & (place < told["flip_before"].values)
    true = np.broadcast_to(np.isfinite(zero), held.shape)
    return Told(told["flip"].values, true, np.minimum(ratio.max(0), -ratio.min(0)), held)


def peak_table(rng: np.random.Generator, rho: float) -> Told:
    """A run in which some influences peak."""
    factors, place = peaking(rng)
    seen, error, exact = influences(rng, factors, rho)
    told = peaks(seen, error, dof=Blocks(CHAINS, DRAWS).count - 1)
    size, se = np.abs(exact), error.values
    best = size.argmax(0)[None]
    over = np.minimum(
        *(
            (np.take_along_axis(size, best, 0)[0] - size[end])
            / np.hypot(np.take_along_axis(se, best, 0)[0], se[end])
            for end in (0, -1)
        )
    )
    top = STEPS[size.argmax(0)]
    held = (told["peak_low"].values <= top) & (top <= told["peak_high"].values)
    true = np.broadcast_to(np.isfinite(place), held.shape)
    return Told(told["peak"].values, true, over, held)


def tried(report: Report, what: str, rho: float, tables: list[Told]) -> None:
    """Shares over all tables."""
    section = f"{what}, autocorrelation {rho}"
    false = [(t.found & ~t.true).sum() / max(t.found.sum(), 1) for t in tables]
    error = f"± {np.std(false) / len(false) ** 0.5:.4f}"
    mean = [float(np.mean(false))]
    report.add(section, "false among those told, mean over tables", mean, unit="share", notes=error)
    every = Told(
        *(np.concatenate([part.ravel() for part in parts]) for parts in zip(*tables, strict=True))
    )
    for low, high in pairwise((0.0, *STRENGTHS, np.inf)):
        chosen = every.true & (every.strength >= low) & (every.strength < high)
        if chosen.any():
            share = float(every.found[chosen].mean())
            of = f"of {chosen.sum():,}"
            report.add(
                section, f"found, {low:g} to {high:g} errors", [share], unit="share", notes=of
            )
    right = every.found & every.true
    share = float(every.held[right].mean())
    of = f"of {right.sum():,}"
    report.add(section, "intervals that hold the place", [share], unit="share", notes=of)


if __name__ == "__main__":
    main()
