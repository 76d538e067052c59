"""Do influences foretell what retraining does? Linear datamodeling scores on handwritten digits.

    python benchmarks/attribution.py --out attribution.jsonl

A small network is retrained on random halves of its training set, over several seeds. Every method
gives each pair of a query and a training sample an influence, from the same networks trained on all
of it; the sum over a subset is its prediction of the query's loss. Each is scored by the rank
correlation of prediction and outcome (`creode.response.lds`), beside the noise ceiling.

Here: the networks, the retraining, the methods, the table.
Not here: the score (creode.response.lds), EK-FAC (contenders/kronfluence_scores.py).
Dimensions: K networks side by side, N samples, F features, W hidden units, C classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from machine import available_cores, load, machine
from peers import DEFAULT, interpreters
from report import note, table
from torch import Tensor, nn

import creode
from creode.data import Samples
from creode.response.lds import lds, noise_ceiling

CLASSES = 10
LEARNING_RATE = 0.02
KRONFLUENCE = "kronfluence-1.0.1"
CONTENDER = Path(__file__).resolve().parent / "contenders" / "kronfluence_scores.py"
DAMPINGS = (1e-3, 1e-2, 1e-1)  # of the other methods, beside the posterior's γ/nβ

Weights = list[Tensor]  # w0 (K, W, F), b0 (K, W), w1 (K, C, W), b1 (K, C)


def digits(num_train: int, num_query: int, seed: int) -> tuple[Samples, Samples]:
    """scikit-learn's handwritten digits, pixels over 16, training samples and queries apart."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("the digits come with scikit-learn: pip install 'creode[map]'.")
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    inputs = torch.tensor(found.data[order] / 16, dtype=torch.float32)
    labels = torch.tensor(found.target[order])
    cut = slice(num_train, num_train + num_query)
    return (
        Samples(columns={"inputs": inputs[:num_train], "targets": labels[:num_train]}),
        Samples(columns={"inputs": inputs[cut], "targets": labels[cut]}),
    )


# -- training, many networks side by side


def start(hidden: int, seeds: list[int]) -> Weights:
    """Networks with the usual uniform initialisation, each a function of its seed."""
    features = 64
    made = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        shapes = ((hidden, features), (hidden,), (CLASSES, hidden), (CLASSES,))
        bounds = (features**-0.5, features**-0.5, hidden**-0.5, hidden**-0.5)
        made.append(
            [
                (torch.rand(shape, generator=generator) * 2 - 1) * bound
                for shape, bound in zip(shapes, bounds, strict=True)
            ]
        )
    return [torch.stack(parts) for parts in zip(*made, strict=True)]


def losses(weights: Weights, samples: Samples) -> Tensor:
    """Cross-entropy of every network on every sample, (K, N)."""
    w0, b0, w1, b1 = weights
    inputs, labels = samples.columns["inputs"], samples.columns["targets"]
    hidden = torch.baddbmm(b0[:, None], inputs.expand(len(w0), -1, -1), w0.mT).relu()
    logits = torch.baddbmm(b1[:, None], hidden, w1.mT)
    every = labels.expand(len(w0), -1)
    return nn.functional.cross_entropy(logits.mT, every, reduction="none")


def trained(weights: Weights, samples: Samples, kept: Tensor, steps: int, decay: float) -> Weights:
    """Full-batch Adam on the mean loss of the kept samples (K, N) plus decay/2 of the weights²."""
    weights = [part.clone().requires_grad_() for part in weights]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    share = kept / kept.sum(1, keepdim=True)
    for _ in range(steps):
        optimizer.zero_grad()
        penalty = sum(part.square().sum() for part in weights) * decay / 2
        ((losses(weights, samples) * share).sum() + penalty).backward()
        optimizer.step()
        schedule.step()
    return [part.detach() for part in weights]


def retrained(train: Samples, query: Samples, kept: Tensor, given: argparse.Namespace) -> Tensor:
    """The losses (R, M, Q) of every query after retraining on every subset with every seed."""
    found = []
    for seed in range(given.seeds):
        weights = start(given.hidden, [1000 + seed * len(kept) + i for i in range(len(kept))])
        weights = trained(weights, train, kept, given.steps, given.decay)
        with torch.no_grad():
            found.append(losses(weights, query))
        note(f"retrained with seed {seed + 1} of {given.seeds}")
    return torch.stack(found)


# -- methods: (Q, N), positive where more of the sample raises the query's loss


def module(weights: Weights, hidden: int) -> nn.Module:
    """One network (K = 1) as a module."""
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.copy_(value[0])
    return model


def gradients(model: nn.Module, samples: Samples) -> Tensor:
    """∇ℓ_z at the weights, (N, P)."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, weights, (inputs[None],))
        return nn.functional.cross_entropy(logits, label[None])

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    found = per_sample(parameters, samples.columns["inputs"], samples.columns["targets"])
    return torch.cat([part.flatten(1) for part in found.values()], 1).double()


def gauss_newton(model: nn.Module, samples: Samples) -> Tensor:
    """Σ_z Jᵀ(diag p − ppᵀ)J / N, (P, P): the part of the Hessian that is never negative."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def logits(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (inputs[None],))[0]

    jacobian = torch.func.vmap(torch.func.jacrev(logits), in_dims=(None, 0))
    total: Any = 0.0
    for inputs in samples.columns["inputs"].split(100):
        found = jacobian(parameters, inputs)
        J = torch.cat([part.flatten(2) for part in found.values()], 2).double()  # (N, C, P)
        p = model(inputs).detach().double().softmax(1)
        root = torch.diag_embed(p.sqrt()) - p.sqrt()[:, :, None] * p[:, None, :]  # (N, C, C)
        half = (root @ J).flatten(0, 1)
        total = total + half.T @ half
    return total / len(samples)


def bayesian(
    model: nn.Module, train: Samples, query: Samples, given: argparse.Namespace
) -> tuple[dict[str, Tensor], str]:
    """−Cov and −Corr over draws of the local posterior, and what its verdict doubts.

    The step follows from the curvature, the friction from γ.
    """
    task = creode.tasks.Classification()
    nbeta = float(given.nbeta)
    posterior = creode.LocalPosterior(
        model, task, train, nbeta=nbeta, localization=nbeta * given.damping
    )
    stiffest = float(torch.linalg.eigvalsh(gauss_newton(model, train))[-1])
    precision = nbeta * (stiffest * 2 + given.damping)  # twice: curvature grows away from w*
    draws = creode.sample(
        posterior,
        {"train": train, "query": query},
        traces=("train", "query"),
        sampler=creode.BAOAB(
            step_size=0.5 / precision**0.5, friction=2 * (nbeta * given.damping) ** 0.5
        ),
        chains=given.chains,
        draws=given.draws,
        burnin=given.draws * given.steps_per_draw // 4,
        steps_per_draw=given.steps_per_draw,
        batch_size=len(train),
        seed=given.seed,
        execution=creode.Execution(mode="vectorised"),
    )
    found = {}
    reading = None
    for kind in ("covariance", "correlation"):
        reading = creode.influence(draws, query="query", train="train", kind=kind)
        found[kind] = torch.tensor(reading.block()["bif"].values)
    assert reading is not None
    return found, reading.reasons


def ekfac(model: nn.Module, train: Samples, query: Samples, python: Path, damping: float) -> Tensor:
    """Scores of kronfluence in its own environment."""
    layers = dict(zip(("w0", "b0", "w1", "b1"), model.parameters(), strict=True))
    arrays = {name: value.detach().numpy() for name, value in layers.items()}
    for name, samples in (("train", train), ("query", query)):
        arrays |= {
            f"{name}_x": samples.columns["inputs"].numpy(),
            f"{name}_y": samples.columns["targets"].numpy(),
        }
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, damping=damping, **arrays)
        subprocess.run(
            [python, "-W", "ignore", CONTENDER, given, made],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return -torch.tensor(np.load(made)["scores"]).double()


def influences(
    model: nn.Module,
    train: Samples,
    query: Samples,
    peer: Path | None,
    given: argparse.Namespace,
    clock: Callable[[str], None],
) -> dict[str, Tensor]:
    """Every method's influences from one network."""
    found, doubts = bayesian(model, train, query, given)
    result = {f"BIF, {kind}": value for kind, value in found.items()}
    if doubts:
        note(f"BIF is not to be trusted: {doubts}")
    clock("BIF")
    of_train, of_query = gradients(model, train), gradients(model, query)
    result["gradient, dot product"] = -of_query @ of_train.T
    unit = [g / g.norm(dim=1, keepdim=True) for g in (of_query, of_train)]
    result["gradient, cosine"] = -unit[0] @ unit[1].T
    clock("gradients")
    curvature = gauss_newton(model, train)
    for strength in dict.fromkeys((given.damping, *DAMPINGS)):
        damped = curvature + strength * torch.eye(len(curvature), dtype=torch.float64)
        solved = torch.linalg.solve(damped, of_train.T)
        result[f"damped influence, {strength:g}"] = -of_query @ solved
    clock("damped influence")
    if peer is not None:
        for strength in dict.fromkeys((-1.0, given.damping, *DAMPINGS)):
            name = "EK-FAC, its own damping" if strength < 0 else f"EK-FAC, {strength:g}"
            result[name] = ekfac(model, train, query, peer, strength)
        clock("EK-FAC")
    generator = torch.Generator().manual_seed(given.seed)
    result["random"] = torch.randn(len(query), len(train), generator=generator, dtype=torch.float64)
    return result


# -- the whole


def main() -> None:
    given = _arguments()
    torch.set_num_threads(given.threads)
    begun = time.perf_counter()
    train, query = digits(given.train, given.queries, given.seed)
    generator = torch.Generator().manual_seed(given.seed)
    kept = torch.zeros(given.subsets, len(train))
    for row in kept:
        row[torch.randperm(len(train), generator=generator)[: int(given.alpha * len(train))]] = 1
    peer = None if given.no_peers else _peer(given.peers)
    retraining = retrained(train, query, kept, given)
    outcomes = xr.DataArray(retraining.numpy(), dims=("seed", "subset", "query"))
    seconds = {"retraining": time.perf_counter() - begun}

    totals: dict[str, Tensor] = {}
    for index in range(given.models):
        whole = trained(
            start(given.hidden, [index]), train, torch.ones(1, len(train)), given.steps, given.decay
        )
        last = time.perf_counter()

        def clock(what: str) -> None:
            nonlocal last
            now = time.perf_counter()
            seconds[what] = seconds.get(what, 0.0) + now - last
            last = now

        model = module(whole, given.hidden)
        for name, value in influences(model, train, query, peer, given, clock).items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + value / given.models
        note(f"influences of network {index + 1} of {given.models}")
    predicted = torch.stack([value @ kept.T.double() for value in totals.values()])
    scored = lds(
        xr.DataArray(
            predicted.numpy(), dims=("way", "query", "subset"), coords={"way": list(totals)}
        ),
        outcomes,
        seed=given.seed,
    )
    ceiling = noise_ceiling(outcomes, seed=given.seed)
    _report(scored, ceiling, given, seconds, outcomes)


def _report(
    scored: xr.Dataset,
    ceiling: xr.Dataset,
    given: argparse.Namespace,
    seconds: dict[str, float],
    outcomes: xr.DataArray,
) -> None:
    top = float(ceiling["ceiling"])
    reference = scored.sel(way="BIF, covariance")
    rows = []
    for method in scored["way"].values:
        one = scored.sel(way=method)
        gap = (reference["lds_resampled"] - one["lds_resampled"]).values
        low, high = np.quantile(gap, [0.025, 0.975])
        value, error = float(one["lds"]), float(one["lds_se"])
        ends = (float(one["lds_low"]), float(one["lds_high"]))
        record = {
            "benchmark": "attribution",
            "method": str(method),
            "lds": value,
            "lds_se": error,
            "lds_low": ends[0],
            "lds_high": ends[1],
            "of_ceiling": value / top,
            "bif_minus_this": [float(reference["lds"]) - value, float(low), float(high)],
            "ceiling": top,
            "ceiling_interval": [float(ceiling["ceiling_low"]), float(ceiling["ceiling_high"])],
            "half": float(ceiling["half"]),
            "mean_outcome": float(outcomes.mean()),
            "settings": {k: v for k, v in vars(given).items() if k not in ("out", "peers")},
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "machine": machine(),
            "load": load(),
        }
        line = json.dumps(record)
        print(line, flush=True)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        difference = float(reference["lds"]) - value
        rows.append(
            (
                str(method),
                f"{value:.3f}",
                f"[{ends[0]:.3f}, {ends[1]:.3f}]",
                f"{value / top:.2f}",
                f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
            )
        )
    columns = ("method", "LDS", "95 %", "of the ceiling", "BIF, covariance less this")
    print(f"\n{table(columns, rows)}\n")
    print(
        f"noise ceiling {top:.3f} "
        f"[{float(ceiling['ceiling_low']):.3f}, {float(ceiling['ceiling_high']):.3f}], halves of "
        f"the seeds {float(ceiling['half']):.3f}; {given.subsets} subsets of "
        f"{int(given.alpha * given.train)} of {given.train} samples, {given.seeds} seeds, "
        f"{given.queries} queries, {given.models} networks"
    )
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))


def _peer(folder: Path) -> Path | None:
    """kronfluence's interpreter; None, and why, where it cannot be installed."""
    try:
        return interpreters(folder, KRONFLUENCE)[KRONFLUENCE]
    except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
        note(f"EK-FAC is left out: {KRONFLUENCE} cannot be installed here ({error}).")
        return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Linear datamodeling scores on digits.")
    parser.add_argument("--train", type=int, default=500, help="training samples")
    parser.add_argument("--queries", type=int, default=100, help="queries")
    parser.add_argument("--subsets", type=int, default=60, help="M")
    parser.add_argument("--alpha", type=float, default=0.5, help="share of the samples in each")
    parser.add_argument("--seeds", type=int, default=4, help="R, of the retraining")
    parser.add_argument("--models", type=int, default=3, help="networks that influences are of")
    parser.add_argument("--hidden", type=int, default=16, help="hidden units")
    parser.add_argument("--steps", type=int, default=300, help="of Adam")
    parser.add_argument("--decay", type=float, default=1e-3, help="of the weights")
    parser.add_argument("--nbeta", type=float, default=2e3, help="nβ")
    parser.add_argument("--damping", type=float, default=1e-2, help="γ/nβ of the posterior")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--steps-per-draw", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--no-peers", action="store_true", help="leave EK-FAC out")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="where environments lie")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
