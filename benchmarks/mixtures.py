"""Is the change of each domain's loss under other mixtures of the data foretold before retraining?

    python benchmarks/mixtures.py --out mixtures.jsonl

A small decoder is retrained under random mixtures of its four domains, over several seeds, from
scratch and further from w*, and losses on held-out samples are compared with those after the same
training on the pool as it is, of the same seed. `creode.shift` foretells these changes from draws
around w*, chosen by the automatic sampler. It stands beside gradient similarity and the overlap of
mixture and domain, both made from the same samples. Rank correlations are over (mixture, domain).

Here: predictions of every method, their scores, the table.
Not here: training (mixture_runs.py), the prediction (creode.generalization).
Dimensions: M mixtures, G domains, S seeds, P weights, V bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from mixture_runs import BASE, NAMES, WAYS, Array, Setting, changes, mixtures, toward
from report import Report, note
from scipy.stats import spearmanr
from torch import Tensor, nn

import creode
from creode.data import Samples
from creode.sampling.block import in_batches
from creode.tasks import NextToken, as_losses

OURS = "creode, automatic settings"
NEAR = "creode, near w*"
RESAMPLES = 1000
PRIOR = 0.5  # count that every pair of bytes starts with


def drawn(setting: Setting, given: argparse.Namespace, *, automatic: bool) -> xr.DataTree:
    """Draws around w*, with samples of each domain of the pool and held-out ones as probes.

    Automatic, or so near to w* that losses vary with the weights to first order. Then the response
    is that of the damped inverse Hessian; that of the posterior's width, which is no part of how
    training answers, is small beside it.
    """
    parts = setting.pool.by_domain()
    training = {_training(name): parts[name].select(torch.arange(given.train)) for name in NAMES}
    unseen = {name: setting.held_out[name].select(torch.arange(given.held_out)) for name in NAMES}
    common: dict[str, Any] = {
        "probes": training | unseen, "observables": NAMES, "chains": 4,
        "batch_size": given.batch_size,
    }  # fmt: skip
    place = given.work / "draws"
    if automatic:
        return creode.sample(
            creode.LocalPosterior(setting.anchor, NextToken(), setting.pool),
            sampler=creode.Auto(budget=given.budget, extrapolate=False), seed=given.automatic_seed,
            out=str(place / f"automatic-{given.called}"), **common,
        )  # fmt: skip
    tether = given.damping * given.nbeta
    stiffest = given.nbeta * given.curvature + tether
    return creode.sample(
        creode.LocalPosterior(
            setting.anchor, NextToken(), setting.pool, nbeta=given.nbeta, localization=tether
        ),
        sampler=creode.BAOAB(step_size=1.1 / stiffest**0.5, friction=2 * tether**0.5),
        control_variates=True, draws=given.draws, steps_per_draw=given.steps_per_draw,
        burnin=given.burnin, seed=given.near_seed, out=str(place / f"near-{given.called}"),
        **common,
    )  # fmt: skip


def _training(name: str) -> str:
    return f"train {name}"


def orders(draws: xr.DataTree, moves: Array) -> tuple[Array, Array]:
    """d₁ of moving shares by moves (M, G), and its error, each (M, G).

    Moves sum to 0, so that the loss of the whole data, seen on minibatches only, drops out.
    """
    told = []
    for move in moves:
        to = {_training(name): by for name, by in zip(NAMES, move, strict=True)}
        told.append(creode.shift(draws, to, observables=NAMES).isel(component=0))
    first, error = (np.array([one[name].values for one in told]) for name in ("first", "first_se"))
    return first, error


# -- baselines


def gradient(model: nn.Module, samples: Samples) -> Tensor:
    """Gradient (P,) of the mean loss."""
    parameters = list(model.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    for batch in in_batches(samples, 64):
        losses = as_losses(NextToken()(model, batch))
        share = len(losses.values) / len(samples)
        found = torch.autograd.grad(share * losses.total.sum() / losses.count.sum(), parameters)
        total += torch.cat([part.flatten() for part in found]).double()
    return total


def similarities(setting: Setting) -> dict[str, Array]:
    """Dot products and cosines (G, G) of gradients at w*: held-out loss by training loss."""
    parts = setting.pool.by_domain()
    unseen = torch.stack([gradient(setting.anchor, setting.held_out[name]) for name in NAMES])
    training = torch.stack([gradient(setting.anchor, parts[name]) for name in NAMES])
    dot = unseen @ training.T
    size = unseen.norm(dim=1)[:, None] * training.norm(dim=1)
    return {"dot product": dot.numpy(), "cosine": (dot / size).numpy()}


def cross_entropy(setting: Setting, shares: Array, *, order: int) -> Array:
    """Of a model of bytes (order 1) or pairs (order 2) of the mixture, on each domain (G,)."""
    parts = setting.pool.by_domain()
    counts = sum(
        share * _counts(parts[name], order) for name, share in zip(NAMES, shares, strict=True)
    ) * len(NAMES)
    logs = torch.log((counts + PRIOR) / (counts + PRIOR).sum(-1, keepdim=True))
    unseen = [_counts(setting.held_out[name], order) for name in NAMES]
    return np.array([float(-(logs * own).sum() / own.sum()) for own in unseen])


def _counts(samples: Samples, order: int) -> Tensor:
    """How often a byte (V,) follows anything, or another (V, V)."""
    ids = samples.columns["input_ids"]
    pairs = torch.zeros(257, 257, dtype=torch.float64)
    pairs.index_put_(
        (ids[:, :-1].flatten(), ids[:, 1:].flatten()),
        torch.ones(ids[:, 1:].numel(), dtype=torch.float64),
        accumulate=True,
    )
    return pairs if order == 2 else pairs.sum(0)


def baselines(setting: Setting, shares: Array) -> dict[str, Array]:
    """Predicted changes (M, G), up to a factor, of what knows no curvature or no model."""
    moves = shares - BASE
    found = {
        f"gradient similarity, {name}": -moves @ of.T for name, of in similarities(setting).items()
    }
    found["domain overlap, own share"] = -moves
    for order, name in ((1, "bytes"), (2, "pairs of bytes")):
        now = cross_entropy(setting, BASE, order=order)
        found[f"domain overlap, {name}"] = np.array(
            [cross_entropy(setting, one, order=order) - now for one in shares]
        )
    return found


# -- scores


def scores(predicted: Array, achieved: Array) -> Array:
    """Spearman's ρ over all pairs; within each domain, their mean; less each mixture's mean."""
    within = [spearmanr(predicted[:, g], achieved[:, g])[0] for g in range(predicted.shape[1])]
    centred = (one - one.mean(1, keepdims=True) for one in (predicted, achieved))
    return np.array(
        [
            spearmanr(predicted.ravel(), achieved.ravel())[0],
            np.mean(within),
            spearmanr(*(one.ravel() for one in centred))[0],
        ]
    )


def judged(predictions: Mapping[str, Array], achieved: Array, report: Report, way: str) -> None:
    """Scores of all methods against (S, M, G) of changes, with intervals over mixtures."""
    mean = achieved.mean(0)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(mean), (RESAMPLES, len(mean)))
    again = {name: _resampled(one, mean, rows) for name, one in predictions.items()}
    for index, kind in enumerate(("all pairs", "within domains", "less each mixture's mean")):
        for name, one in predictions.items():
            value = float(scores(one, mean)[index])
            low, high = np.nanpercentile(again[name][:, index], [2.5, 97.5])
            gap = again[OURS][:, index] - again[name][:, index]
            ends = [float(end) for end in np.nanpercentile(gap, [2.5, 97.5])]
            report.add(
                f"{way}, Spearman: {kind}", name, [value], unit="ρ",
                notes=f"[{low:.2f}, {high:.2f}]; ours less it [{ends[0]:+.2f}, {ends[1]:+.2f}]",
                interval=[float(low), float(high)], ours_less_this=ends,
            )  # fmt: skip
    halves = [
        float(spearmanr(achieved[i].ravel(), achieved[j].ravel())[0])
        for i in range(len(achieved)) for j in range(i)
    ]  # fmt: skip
    if halves:
        report.add(f"{way}, how well seeds agree", "ρ of two seeds", halves, unit="ρ")


def _resampled(predicted: Array, achieved: Array, rows: Any) -> Array:
    return np.array([scores(predicted[some], achieved[some]) for some in rows])


def calibrated(predicted: Array, error: Array, achieved: Array, report: Report, way: str) -> None:
    """Slope of achieved on predicted changes, and how often they agree within their errors."""
    mean = achieved.mean(0)
    between = achieved.std(0, ddof=1) / len(achieved) ** 0.5 if len(achieved) > 1 else 0 * mean
    slope = float((predicted * mean).sum() / (predicted**2).sum())
    reach = 1.96 * np.hypot(error, between)
    by_domain = [
        float((p * a).sum() / (p * p).sum()) for p, a in zip(predicted.T, mean.T, strict=True)
    ]
    report.add(
        f"{way}, calibration", "achieved over predicted", [slope], unit="slope",
        notes=", ".join(f"{n} {s:.2f}" for n, s in zip(NAMES, by_domain, strict=True)),
        predicted=predicted.tolist(), predicted_se=error.tolist(), achieved=achieved.tolist(),
    )  # fmt: skip
    inside = abs(mean - predicted) <= reach
    report.add(
        f"{way}, calibration", "within the joint 95 % interval", [float(inside.mean())],
        unit="share", notes=f"error of a prediction {np.median(error):.2g}, median",
    )  # fmt: skip


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    report = Report("mixtures", out=given.out, settings={k: str(v) for k, v in vars(given).items()})
    setting = Setting.at(given.work, steps=given.steps, batch_size=given.batch_size)
    note(f"w*: {dict(zip(NAMES, setting.losses(setting.anchor), strict=True))}")
    draws = {
        name: drawn(setting, given, automatic=automatic)
        for name, automatic in ((OURS, True), (NEAR, False))
    }
    for name, tree in draws.items():
        reading = creode.llc(tree)
        trusted = "ok" if bool(reading["ok"]) else f"not ok: {reading['reasons'].item()}"
        chosen = f"nβ {tree.attrs['nbeta']:.3g}, γ {tree.attrs['localization']:.3g}"
        report.add("draws, λ̂", name, [float(reading["llc"])], unit="", notes=f"{chosen}; {trusted}")
    whole = mixtures(given.mixtures, given.mixtures_seed)
    for h in given.h:
        shares = np.array([toward(one, h) for one in whole])
        told = {name: orders(tree, shares - BASE) for name, tree in draws.items()}
        predictions = {name: first for name, (first, _) in told.items()}
        predictions |= baselines(setting, shares)
        for way in given.ways:
            seeds = range(given.first_seed, given.first_seed + given.seeds)
            achieved = changes(setting, shares, way, seeds, given.work / "runs")
            judged(predictions, achieved, report, f"{way}, h = {h:g}")
            for name, (first, error) in told.items():
                calibrated(first, error, achieved, report, f"{way}, h = {h:g}, {name}")
    print("\n" + report.table())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1500, help="of training from scratch")
    parser.add_argument("--batch-size", type=int, default=32, help="of training and of sampling")
    parser.add_argument("--mixtures", type=int, default=20, help="M")
    parser.add_argument("--mixtures-seed", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3, help="S")
    parser.add_argument("--first-seed", type=int, default=2, help="of retraining")
    parser.add_argument("--h", type=float, nargs="+", default=[1.0], help="how far the data move")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--nbeta", type=float, default=1e5, help="nβ near w*")
    parser.add_argument("--damping", type=float, default=3.0, help="γ/nβ near w*")
    parser.add_argument("--curvature", type=float, default=500.0, help="at most, at w*")
    parser.add_argument("--draws", type=int, default=100, help="of a chain, near w*")
    parser.add_argument("--steps-per-draw", type=int, default=10)
    parser.add_argument("--burnin", type=int, default=200)
    parser.add_argument("--near-seed", type=int, default=5, help="of the chains near w*")
    parser.add_argument("--budget", type=int, default=3000, help="gradients of an automatic chain")
    parser.add_argument("--automatic-seed", type=int, default=0, help="of the automatic chains")
    parser.add_argument(
        "--train", type=int, default=48, help="samples of a domain's training probe"
    )
    parser.add_argument("--held-out", type=int, default=64, help="samples of a domain observed")
    parser.add_argument("--work", type=Path, default=Path("runs/mixtures"), help="finished runs")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    given.called = f"{given.steps}-{given.batch_size}"
    return given


if __name__ == "__main__":
    main()
