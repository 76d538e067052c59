"""Draws as sampling would save them, made in numpy from posteriors whose answers are known.

Here: chains of SGLD on a quadratic, drawn exactly as discretised, and the trees that hold draws.
Not here: estimates.
Dimensions: C chains, D draws, P weights, S samples, T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

NBETA = 50.0
NUM_PARAMETERS = 40


def ar1(shape: tuple[int, ...], rho: float | np.ndarray, seed: int) -> np.ndarray:
    """Stationary AR(1) chains of unit variance on the last axis; rho broadcasts over the others."""
    rng = np.random.default_rng(seed)
    x = np.empty(shape)
    x[..., 0] = rng.standard_normal(shape[:-1])
    for t in range(1, shape[-1]):
        noise = rng.standard_normal(shape[:-1])
        x[..., t] = rho * x[..., t - 1] + np.sqrt(1 - np.square(rho)) * noise
    return x


def sgld_on_a_quadratic(
    h: np.ndarray,
    *,
    gamma: float,
    step_size: float,
    draws: int,
    nbeta: float = NBETA,
    seed: int = 0,
) -> np.ndarray:
    """w (C=4, D, P) of SGLD with exact gradients on ½ Σ h w², every 5th step kept, stationary."""
    a = nbeta * h + gamma
    rho = (1 - step_size * a / 2) ** 5
    scale = 1 / np.sqrt(a * (1 - step_size * a / 4))
    return np.moveaxis(ar1((4, len(h), draws), rho, seed), 1, 2) * scale


def quadratic_tree(
    w: np.ndarray, h: np.ndarray, *, gamma: float, nbeta: float = NBETA
) -> xr.DataTree:
    """The record of weights w (C, D, P) on L = 1 + ½ Σ h w²."""
    excess = 0.5 * (h * w**2).sum(-1)
    distance_sq = (w**2).sum(-1)
    loss_virial = 2 * nbeta * excess
    return tree(
        excess,
        nbeta=nbeta,
        localization=gamma,
        num_parameters=w.shape[-1],
        distance_sq=distance_sq,
        loss_virial=loss_virial,
        virial=(loss_virial + gamma * distance_sq) / w.shape[-1],
    )


def healthy_excess(
    chains: int = 4, draws: int = 200, llc: float = 10.0, seed: int = 0
) -> np.ndarray:
    """L − L* (C, D) of independent draws with nβ (L − L*) ~ Gamma(llc, 1)."""
    return np.random.default_rng(seed).gamma(llc, size=(chains, draws)) / NBETA


def tree(excess: np.ndarray, **changes: Any) -> xr.DataTree:
    """One posterior's tree with the losses 1 + excess (C, D), healthy in all that `changes` leaves.

    `changes` are variables (arrays) or attributes (anything else) to set; None removes one.
    """
    excess = np.asarray(excess, dtype=float)
    rng = np.random.default_rng(123)
    ones = np.ones_like(excess)
    variables = {
        "loss": 1 + excess,
        "init_loss": ones,
        "excess_sq": excess**2,
        "virial": 1 + 0.1 * rng.standard_normal(excess.shape),
        "loss_virial": 2 * NBETA * excess,
        "distance_sq": rng.gamma(NUM_PARAMETERS / 2, size=excess.shape),
        "temperature": ones * np.nan,
        "failed_at": np.full(len(excess), -1),
    }
    attrs = {
        "nbeta": NBETA,
        "localization": 10.0,
        "num_parameters": NUM_PARAMETERS,
        "num_samples": 1000,
        "batch_size": 64,
        "component": "full",
        "loss_from": "minibatch",
        "sampler": '{"name": "sgld"}',
        "steps_per_draw": 10,
        "burnin": 100,
        "seed": 0,
        "creode_version": "0.0.1",
        "model_fingerprint": "model",
        "data_fingerprint": "data",
    }
    for name, value in changes.items():
        (variables if isinstance(value, np.ndarray) else attrs)[name] = value
    dims = {name: ("chain", "draw")[: np.ndim(values)] for name, values in variables.items()}
    root = xr.Dataset(
        {name: (dims[name], values) for name, values in variables.items()},
        coords={"chain": np.arange(len(excess))},
        attrs={name: value for name, value in attrs.items() if value is not None},
    )
    return xr.DataTree(root)


def probe(
    unit_losses: np.ndarray,
    unit_init_loss: np.ndarray,
    mask: np.ndarray | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """The record of a probe from its losses (C, D, S[, T]) at draws and (S[, T]) at the anchor.

    Units that do not count keep their losses: estimators must not read them.
    """
    mask = np.ones(unit_init_loss.shape, dtype=bool) if mask is None else mask
    units = ("sample", "token")[: mask.ndim]
    counted = np.where(mask, unit_losses, 0.0)
    return xr.Dataset(
        {
            "loss": (("chain", "draw"), counted.sum(tuple(range(2, counted.ndim))) / mask.sum()),
            "unit_init_loss": (units, unit_init_loss),
            "mask": (units, mask),
            "unit_mean": (("chain", *units), unit_losses.mean(1)),
            "unit_var": (("chain", *units), unit_losses.var(1, ddof=1)),
        },
        coords={"chain": np.arange(len(unit_losses))},
        attrs={"data_fingerprint": "probe", "num_samples": len(mask)} | attrs,
    )


def with_probe(draws: xr.DataTree, name: str, data: xr.Dataset) -> xr.DataTree:
    """The tree with a probe's record added."""
    return xr.DataTree.from_dict(
        {"/": draws.to_dataset()}
        | {f"probes/{key}": node.to_dataset() for key, node in _probes(draws).items()}
        | {f"probes/{name}": data}
    )


def with_responses(
    draws: xr.DataTree,
    losses: dict[str, np.ndarray],
    observed: dict[str, np.ndarray],
    *,
    masks: dict[str, np.ndarray] | None = None,
    blocks: int = 5,
    traces: bool = False,
) -> xr.DataTree:
    """The tree with observables (C, D) and, by probe, losses (C, D, S[, T]) and covariances.

    With `traces` also the losses themselves, as they are kept.
    """
    phi = np.stack(list(observed.values()), axis=2)
    num_draws = phi.shape[1]
    block_of_draw = np.arange(num_draws) * blocks // num_draws
    root = draws.to_dataset().assign_coords(observable=list(observed))
    root["observed"] = (("chain", "draw", "observable"), phi)
    root["observed_init"] = ("observable", np.zeros(phi.shape[2]))
    root["block_of_draw"] = ("draw", block_of_draw)
    records = {}
    for name, values in losses.items():
        record = probe(values, np.zeros(values.shape[2:]), None if masks is None else masks[name])
        deviations = values - values.mean(1, keepdims=True)
        products = np.einsum("cdk,cd...->cdk...", phi - phi.mean(1, keepdims=True), deviations)
        shares = [products[:, block_of_draw == b].sum(1) for b in range(blocks)]
        dims = ("chain", "block", "observable", *record["mask"].dims)
        record["cov"] = (dims, np.stack(shares, axis=1) * blocks / (num_draws - 1))
        if traces:
            units = record["mask"].dims
            record["unit_loss"] = (("chain", "draw", *units), values.astype(np.float32))
        records[f"probes/{name}"] = record
    return xr.DataTree.from_dict({"/": root, **records})


def study(posteriors: dict[str, xr.DataTree]) -> xr.DataTree:
    """A study's tree from its posteriors by path."""
    groups = {
        f"{path}/{node.path.strip('/')}".rstrip("/"): node.to_dataset(inherit=False)
        for path, draws in posteriors.items()
        for node in draws.subtree
    }
    return xr.DataTree.from_dict(groups)


def _probes(draws: xr.DataTree) -> dict[str, xr.DataTree]:
    return dict(draws.children["probes"].children) if "probes" in draws.children else {}
