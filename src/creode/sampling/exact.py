"""Exact draws from the local posterior of a small model: Hamiltonian Monte Carlo (HMC) and MALA.

A proposal is a leapfrog path from fresh momenta, taken or refused by Metropolis and Hastings' rule,
so the law of the draws has no bias of the step size, whatever the loss. Every gradient is over all
of the data. This is what the approximate kernels are compared with; it is not made for large
models.

Here: the chains, in float64, and the adaptation of their step sizes during burn-in.
Not here: kernels without a rule of acceptance (one file each) and their loop (engine.py).
Symbols: U = nβ L_n + (γ/2)|w − w*|², p momentum (unit mass), ε step size, H = U + |p|²/2, δ the
acceptance aimed at.
Dimensions: C chains, P sampled weights.
Sources: Neal, MCMC using Hamiltonian dynamics (2011), arXiv:1206.1901; MALA is its case of one
leapfrog step. Step sizes: dual averaging, Hoffman & Gelman 2014, arXiv:1111.4246, section 3.2.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from creode.data import Samples
from creode.fingerprint import model_fingerprint
from creode.posterior import LocalPosterior
from creode.sampling.block import Block
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Target
from creode.sampling.randomness import stream_seed
from creode.sampling.recorder import Recorder
from creode.sampling.schedule import Execution, Schedule
from creode.sampling.unit import merge_chains
from creode.tasks import validate
from creode.version import __version__

MOST_HALVINGS = 60  # of the first step size, from the one at which the tether alone is unstable


def sample_exactly(
    posterior: LocalPosterior,
    *,
    chains: int = 4,
    draws: int = 1000,
    burnin: int = 500,
    trajectory: int = 10,
    seed: int = 0,
    acceptance: float = 0.8,
    mode: Literal["vectorised", "sequential"] = "vectorised",
) -> xr.DataTree:
    """Draw from the local posterior without bias of the step size.

    Args:
        posterior: what is sampled, nβ and γ as numbers. Its model leaves as it came; the chains run
            in float64 on a copy.
        chains: independent chains.
        draws: proposals of a chain after burn-in; each gives a draw, taken or not.
        burnin: proposals of a chain before, over which its step size is adapted; then it is frozen.
        trajectory: leapfrog steps of a proposal, on average: 1 is MALA, more is HMC, with a number
            of steps drawn evenly from 1 to 2 · trajectory − 1, the same in all chains.
        seed: of everything random.
        acceptance: δ; 0.574 is usual for MALA, and more is safer where the curvature varies.
        mode: chains side by side, or in turn for models that torch.func cannot follow.

    Returns:
        A tree as `sample` gives it, without probes, which `creode.llc` reads; besides, `accepted`
        and `energy_error` (H of the proposal less H before it; (chain, draw)) and `step_size`
        (chain,).

    Raises:
        ValueError: a setting out of range; nβ or γ "auto"; or the loss at w* is not finite.
    """
    if isinstance(trajectory, bool) or not isinstance(trajectory, int) or trajectory < 1:
        raise ValueError(f"trajectory must be a whole number ≥ 1 of steps, got {trajectory!r}.")
    if not 0 < acceptance < 1:
        raise ValueError(f"acceptance must be between 0 and 1, got {acceptance!r}; 0.8 is usual.")
    if burnin == 0:
        raise ValueError("burnin must be at least 1: the step size is adapted there; 500 is usual.")
    schedule = Schedule(
        chains=chains, draws=draws, burnin=burnin, steps_per_draw=1, seed=seed
    ).fitted_to(posterior.data)
    target = Target.of(posterior)
    doubled = _in_float64(posterior)
    width = chains if mode == "vectorised" else 1
    blocks = []
    for first in range(0, chains, width):
        numbers = range(first, first + width)
        flat = FlatWeights(doubled.model, doubled.selection())
        with borrowed(doubled.model):
            validate(doubled.task, doubled.model, doubled.data)
            block = make_block(doubled, flat, Execution(), mode=mode, chains=width)
            run = _Run(block, flat, doubled.data, target, numbers, schedule)
            tree = run.draw(trajectory, acceptance)
        tree.attrs = _attrs(posterior, schedule, flat.size) | {
            "sampler": json.dumps(
                {
                    "name": "hmc" if trajectory > 1 else "mala",
                    "trajectory": trajectory,
                    "acceptance": acceptance,
                },
                sort_keys=True,
            ),
            "gradient_evaluations": run.evaluations,
        }
        blocks.append(tree)
    return merge_chains(blocks)


class _Point:
    """Where each chain is, and the loss and ∇U there."""

    def __init__(self, position: Tensor, loss: Tensor, gradient: Tensor, potential: Tensor) -> None:
        self.position = position  # (C, P)
        self.loss = loss  # (C,), L_n, nats
        self.gradient = gradient  # (C, P), ∇L_n
        self.potential = potential  # (C,), U

    def take(self, other: _Point, where: Tensor) -> None:
        """Become `other` in the chains (C,) bool `where`."""
        for name, mine in vars(self).items():
            chosen = where if mine.ndim == 1 else where[:, None]
            setattr(self, name, torch.where(chosen, getattr(other, name), mine))


class _Run:
    """A block of chains from w* to its last draw."""

    def __init__(
        self,
        block: Block,
        flat: FlatWeights,
        data: Samples,
        target: Target,
        chains: Sequence[int],
        schedule: Schedule,
    ) -> None:
        self._block, self._target, self._schedule = block, target, schedule
        self._anchor = torch.cat(flat.anchor(0, flat.size))
        self._batch = {
            name: column.expand(len(chains), *column.shape) for name, column in data.columns.items()
        }
        self._generators = [
            torch.Generator().manual_seed(stream_seed(schedule.seed, ("exact",), c, "proposals"))
            for c in chains
        ]
        self._chains = chains
        self.evaluations = 0  # gradients of a chain over all of the data

    @torch.no_grad()
    def draw(self, trajectory: int, acceptance: float) -> xr.DataTree:
        """The record of the chains."""
        schedule = self._schedule
        recorder = Recorder(len(self._chains), schedule.draws, ())
        here = self._point(self._block.position.clone())
        init_loss = here.loss
        if not torch.isfinite(here.loss).all():
            raise ValueError(f"the loss at the anchor is {float(here.loss[0])}; it must be finite.")
        adaptation = _DualAveraging(self._first_step_size(here), acceptance)
        step_size = adaptation.step_size
        lengths = np.random.default_rng(stream_seed(schedule.seed, ("exact",), 0, "lengths"))
        accepted, errors = [], []
        for number in range(schedule.burnin + schedule.draws):
            num_steps = int(lengths.integers(1, 2 * trajectory))
            there, error = self._propose(here, self._normal(), step_size, num_steps)
            taken = _accepts(error, self._uniform())
            here.take(there, taken)
            if number < schedule.burnin:
                adaptation.learn(error)
                last = number == schedule.burnin - 1
                step_size = adaptation.averaged if last else adaptation.step_size
                continue
            recorder.draw(number - schedule.burnin, self._scalars(here, init_loss))
            accepted.append(taken)
            errors.append(error)
        tree = recorder.tree(self._chains[0])
        tree.dataset = tree.to_dataset().assign(
            accepted=(("chain", "draw"), torch.stack(accepted, 1).double().cpu().numpy()),
            energy_error=(("chain", "draw"), torch.stack(errors, 1).cpu().numpy()),
            step_size=("chain", step_size.cpu().numpy()),
        )
        return tree

    def _propose(
        self, here: _Point, momentum: Tensor, step_size: Tensor, num_steps: int
    ) -> tuple[_Point, Tensor]:
        """Where a leapfrog path ends, and what it gained in H, (C,)."""
        before = here.potential + momentum.square().sum(1) / 2
        point, momentum = self._leapfrog(here, momentum, step_size, num_steps)
        error = point.potential + momentum.square().sum(1) / 2 - before
        return point, torch.where(torch.isnan(error), math.inf, error)

    def _leapfrog(
        self, point: _Point, momentum: Tensor, step_size: Tensor, num_steps: int
    ) -> tuple[_Point, Tensor]:
        """p ← p − ε/2 ∇U, w ← w + ε p, p ← p − ε/2 ∇U, `num_steps` times."""
        epsilon = step_size[:, None]
        for _ in range(num_steps):
            momentum = momentum - epsilon / 2 * self._force(point)
            point = self._point(point.position + epsilon * momentum)
            momentum = momentum - epsilon / 2 * self._force(point)
        return point, momentum

    def _force(self, point: _Point) -> Tensor:
        """∇U, (C, P)."""
        displacement = point.position - self._anchor
        return self._target.nbeta * point.gradient + self._target.localization * displacement

    def _point(self, position: Tensor) -> _Point:
        """Loss and gradient at weights (C, P), by one pass over the data."""
        self._block.position.copy_(position)
        self._block.moved()
        losses = self._block.differentiate(self._batch)
        self.evaluations += 1
        loss = losses.total.sum(1) / losses.units.sum(1)
        distance_sq = (position - self._anchor).square().sum(1)
        potential = self._target.nbeta * loss + self._target.localization / 2 * distance_sq
        return _Point(position, loss, self._block.gradient.clone(), potential)

    def _first_step_size(self, here: _Point) -> Tensor:
        """The largest 2^{−k}·2/√γ (or 2^{−k}) whose first leapfrog step is likelier taken than not.

        Source: arXiv:1111.4246, algorithm 4, without its doubling.
        """
        gamma = self._target.localization
        epsilon = torch.full_like(here.loss, 2 / gamma**0.5 if gamma else 1.0)
        momentum = self._normal()
        for _ in range(MOST_HALVINGS):
            _, error = self._propose(here, momentum, epsilon, 1)
            wild = error > math.log(2)
            if not wild.any():
                break
            epsilon = torch.where(wild, epsilon / 2, epsilon)
        return epsilon

    def _scalars(self, here: _Point, init_loss: Tensor) -> dict[str, Tensor]:
        displacement = here.position - self._anchor
        radial = self._target.nbeta * (displacement * here.gradient).sum(1)
        distance_sq = displacement.square().sum(1)
        return {
            "loss": here.loss,
            "init_loss": init_loss,
            "excess_sq": (here.loss - init_loss).square(),
            "loss_virial": radial,
            "virial": (radial + self._target.localization * distance_sq) / len(self._anchor),
            "distance_sq": distance_sq,
        }

    def _normal(self) -> Tensor:
        rows = [torch.randn(self._anchor.shape, **kind) for kind in self._kinds()]
        return torch.stack(rows).to(self._anchor.device)

    def _uniform(self) -> Tensor:
        rows = [torch.rand((), **kind) for kind in self._kinds()]
        return torch.stack(rows).to(self._anchor.device)

    def _kinds(self) -> Iterator[dict[str, Any]]:
        for generator in self._generators:
            yield {"generator": generator, "dtype": torch.float64}


class _DualAveraging:
    """Step sizes (C,) whose acceptance tends to δ; each chain has its own."""

    shrinkage: float = 0.05  # γ of the source
    offset: float = 10.0  # t₀
    decay: float = 0.75  # κ

    def __init__(self, first: Tensor, acceptance: float) -> None:
        self._acceptance = acceptance
        self._center = torch.log(10 * first)  # μ
        self._log_step = torch.log(first)
        self._log_averaged = torch.zeros_like(first)
        self._deficit = torch.zeros_like(first)  # H̄
        self._seen = 0

    @property
    def step_size(self) -> Tensor:
        """ε to try next."""
        return self._log_step.exp()

    @property
    def averaged(self) -> Tensor:
        """ε̄ to keep."""
        return self._log_averaged.exp()

    def learn(self, energy_error: Tensor) -> None:
        """Take in what a proposal gained in H, (C,); it is accepted with min(1, e^{−ΔH})."""
        self._seen += 1
        t = self._seen
        rate = 1 / (t + self.offset)
        short = self._acceptance - torch.exp(-energy_error).clamp(max=1)
        self._deficit = (1 - rate) * self._deficit + rate * short
        self._log_step = self._center - t**0.5 / self.shrinkage * self._deficit
        weight = t**-self.decay
        self._log_averaged = weight * self._log_step + (1 - weight) * self._log_averaged


def _accepts(energy_error: Tensor, uniform: Tensor) -> Tensor:
    """Metropolis: u < e^{−ΔH}, (C,) bool."""
    return uniform < torch.exp(-energy_error)


def _in_float64(posterior: LocalPosterior) -> LocalPosterior:
    """The same posterior with a copy of the model, and its data beside it, in float64."""
    model = copy.deepcopy(posterior.model).double()
    data = posterior.data.to(next(model.parameters()).device)
    columns = {
        name: column.double() if column.is_floating_point() else column
        for name, column in data.columns.items()
    }
    return replace(posterior, model=model, data=replace(data, columns=columns))


def _attrs(posterior: LocalPosterior, schedule: Schedule, num_parameters: int) -> dict[str, Any]:
    component = posterior.component
    return {
        "nbeta": posterior.nbeta,
        "localization": posterior.localization,
        "num_parameters": num_parameters,
        "num_samples": len(posterior.data),
        "batch_size": len(posterior.data),
        "component": component if isinstance(component, str) else "masks",
        "loss_from": "minibatch",
        "steps_per_draw": schedule.steps_per_draw,
        "burnin": schedule.burnin,
        "seed": schedule.seed,
        "creode_version": __version__,
        "model_fingerprint": model_fingerprint(posterior.model),
        "data_fingerprint": posterior.data.fingerprint(),
    }
