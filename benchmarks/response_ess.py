"""Are the errors of χ and of influence right where draws forget slowly?

    python benchmarks/response_ess.py --out response_ess.jsonl

Chains of known autocorrelation (AR(1) weights of a Gaussian posterior) on quadratic losses, whose
covariances have a closed form, are recorded as a run records them and read, many times over. A
value less the truth over its told error is made a normal deviate through Student's t with the told
degrees of freedom: its root mean square is 1 and 95 % intervals hold 0.95 where errors are right.
Beside it what a fixed number of blocks would have said.

Here: the chains, their records, the table.
Not here: the rule (creode.response.independence).
Dimensions: C chains, D draws, P weights, U units.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from report import Report
from scipy import stats

from creode.data import as_samples
from creode.diagnostics.ess import ess
from creode.response.covariance import Blocks
from creode.response.factor import Factor
from creode.response.replicates import replicates
from creode.response.uncertainty import estimate
from creode.sampling.comoments import NUM_BLOCKS
from creode.sampling.probes import Probe
from creode.sampling.recorder import SCALARS, Recorder
from creode.tasks import Losses

Array = NDArray[np.float64]
CHAINS, UNITS = 4, 20
PROBE = "units"
CERTAIN = 0.95


class Quadratics(NamedTuple):
    """ℓ_u(w) = g_u·w + ½ a_u·w² of weights of unit variance, and φ = ½ |w|²; Σ g = 0."""

    gradients: Array  # (U, P)
    curvatures: Array  # (U, P), their mean 1

    @classmethod
    def of(cls, weights: int, seed: int) -> Quadratics:
        rng = np.random.default_rng(seed)
        g, a = rng.normal(size=(2, UNITS, weights)) / np.sqrt(weights)
        return cls(g - g.mean(0), 1 + a - a.mean(0))

    def losses(self, w: Array) -> Array:
        """(C, D, U) at weights (C, D, P)."""
        return w @ self.gradients.T + 0.5 * np.square(w) @ self.curvatures.T

    @property
    def covariance(self) -> Array:
        """Cov(ℓ_u, ℓ_v), (U, U)."""
        return self.gradients @ self.gradients.T + 0.5 * self.curvatures @ self.curvatures.T

    @property
    def chi(self) -> Array:
        """−Cov(φ, ℓ_u − φ), (U,)."""
        return -0.5 * (self.curvatures.sum(1) - self.curvatures.shape[1])


def chains(draws: int, memory: Array, seed: int) -> Array:
    """Stationary AR(1) weights (C, D, P) of unit variance; `memory` (P,) is the autocorrelation."""
    rng = np.random.default_rng(seed)
    w = np.empty((CHAINS, draws, len(memory)))
    w[:, 0] = rng.normal(size=w[:, 0].shape)
    for d in range(1, draws):
        w[:, d] = memory * w[:, d - 1] + np.sqrt(1 - memory**2) * rng.normal(size=w[:, d].shape)
    return w


def recorded(losses: Array, phi: Array) -> xr.DataTree:
    """The draws as a run keeps them, moments streamed."""
    chain_count, draws, units = losses.shape
    zero = Losses(torch.zeros(units, dtype=torch.float64), torch.ones(units, dtype=torch.bool))
    probe = Probe(PROBE, as_samples(torch.zeros(units, 1)), zero)
    recorder = Recorder(chain_count, draws, [probe], (PROBE,), ("loss",))
    for d in range(draws):
        excess = torch.from_numpy(phi[:, d])
        scalars = dict.fromkeys(SCALARS, torch.ones(chain_count, dtype=torch.float64))
        scalars |= {"loss": excess, "init_loss": 0 * excess, "excess_sq": excess**2}
        recorder.draw(d, scalars | {"distance_sq": excess})
        values = Losses(torch.from_numpy(losses[:, d]), zero.mask.expand(chain_count, -1))
        recorder.observe(d, excess[:, None], {PROBE: values})
    tree = recorder.tree(0, [0.0])
    tree.attrs = {"nbeta": 1.0, "localization": 1.0, "num_parameters": 1, "loss_from": "minibatch"}
    return tree


def deviates(z: Array, dof: Array | float) -> Array:
    """Normal deviates of Student's."""
    tail = stats.t.sf(np.abs(z), dof)
    return np.asarray(stats.norm.isf(np.clip(tail, 1e-300, None)))


def read_chi(tree: xr.DataTree, truth: Array, blocks: int | None) -> tuple[Array, float]:
    """Deviates (U,) and degrees of freedom."""
    found = replicates(tree, PROBE, blocks=blocks)
    out = estimate(-(found.units - found.data))
    z = ((out["chi"] - truth) / out["chi_se"]).values
    return deviates(z, out["chi_dof"].values), float(out["chi_dof"].mean())


def read_influence(tree: xr.DataTree, truth: Array) -> dict[str, tuple[Array, float]]:
    """Deviates of all pairs and degrees of freedom, as told and of blocks for independent draws."""
    factor = Factor(tree, PROBE)
    columns = factor.columns(np.arange(len(factor)))
    pairs = np.triu_indices(len(truth), 1)
    found = {}
    for name, time in (
        ("influence", factor.autocorrelation_time()),
        ("influence, all blocks", 1.0),
    ):
        blocks = Blocks(*columns.shape[:2], time)
        value, error = blocks.covariance(columns, columns)
        dof = float(blocks.count - 1)
        found[name] = deviates(((value - truth) / error)[pairs], dof), dof
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=60_000, help="of the first repetition")
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--draws", type=int, default=100, help="of each of four chains")
    parser.add_argument("--memory", type=float, nargs="+", default=[0.5, 0.8, 0.9, 0.95])
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    report = Report("response_ess", out=given.out, seed=given.seed, draws=given.draws)
    for weights, slow, memory in itertools.product((3, 30), (False, True), given.memory):
        quadratics = Quadratics.of(weights, seed=weights)
        each = np.full(weights, memory)
        if slow:  # one direction in three, and the others forget at once
            each[np.arange(weights) % 3 > 0] = 0.3
        found: dict[str, list[tuple[Array, float]]] = {}
        sizes = []
        for seed in range(given.seed, given.seed + given.repetitions):
            w = chains(given.draws, each, seed)
            phi = 0.5 * np.square(w).sum(-1)
            tree = recorded(quadratics.losses(w), phi)
            sizes.append(float(ess(xr.DataArray(phi, dims=("chain", "draw")))))
            for name, one in {
                "chi": read_chi(tree, quadratics.chi, None),
                "chi, all blocks": read_chi(tree, quadratics.chi, NUM_BLOCKS),
                **read_influence(tree, quadratics.covariance),
            }.items():
                found.setdefault(name, []).append(one)
        which = f"{weights} weights, {'a third' if slow else 'all'} of autocorrelation {memory}"
        section = f"{which}: ESS {np.median(sizes):.0f}"
        for name, runs in found.items():
            z = np.stack([one[0] for one in runs])
            rms = np.sqrt(np.square(z).mean(1))
            inside = np.abs(z) < stats.norm.isf((1 - CERTAIN) / 2)
            told = (
                f"rms {np.sqrt(np.square(z).mean()):.2f}, {CERTAIN:.0%} intervals hold "
                f"{inside.mean():.3f}, dof {np.mean([one[1] for one in runs]):.0f}"
            )
            report.add(section, name, list(rms), unit="rms deviate of a run", notes=told)
    print("\n" + report.table())


if __name__ == "__main__":
    main()
