"""Are planted faults found, traced to their rows, and mended?

    python benchmarks/audit.py --first-seed 5 --seeds 5 --out audit.jsonl

Small decoders are post-trained on data with one planted fault (creode.testbeds.planted_faults), and
on the same data without. For each kind and seed:

* detection: is the behaviour shown (creode.audit's levels), in the faulty run and in its control;
* attribution: rows are ordered by each account of how far they drive the behaviour; the planted
  ones are to come first. Ours are the associations and the effects of creode.audit; beside them the
  loss of a row, its gradient's likeness to that of the behaviour, what can be counted in a row
  without any model, chance;
* remedy: weights that lower the behaviour the furthest (creode.pattern), the network post-trained
  anew with them, and with them permuted; and without the planted rows, as who knew them would.

Here: the runs, the scores, the table.
Not here: the faults (creode.testbeds.planted_faults), audits (creode.auditing).
Dimensions: N rows, P weights.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from report import Report, note
from scipy.stats import rankdata
from torch import Tensor, nn

import creode
from creode.patterning import Furthest, UnresolvedError
from creode.study.audits import BUDGET, RISE
from creode.tasks import Margin, as_losses
from creode.testbeds.planted_faults import (
    KINDS,
    PlantedFault,
    PostTrained,
    planted_fault,
    post_trained,
)

Array = NDArray[np.float64]
SKILL = "the main task"
TASKS = ("detection", "attribution", "remedy")


# -- scores: (N,), the more a row drives the behaviour the higher


def auroc(score: Array, planted: Array) -> float:
    """How often a planted row is ranked above another one; ties count half."""
    ranks, num = rankdata(score), planted.sum()
    return float((ranks[planted].sum() - num * (num + 1) / 2) / (num * (len(score) - num)))


def precision(score: Array, planted: Array) -> float:
    """The share of planted rows among as many first ones."""
    return float(planted[np.argsort(-score, kind="stable")[: planted.sum()]].mean())


def sampled(run: PostTrained, given: argparse.Namespace) -> tuple[xr.DataTree, float]:
    """Draws around the run's weights with its behaviour and its skill observed; CPU seconds."""
    posterior = creode.LocalPosterior(
        run.model, run.task, run.data,
        nbeta=given.nbeta or "auto", localization=given.localization or "auto",
    )  # fmt: skip
    began = time.process_time()
    draws = creode.sample(
        posterior,
        {"train": run.data},
        observables=margins_of(run),
        traces=("train",),
        chains=given.chains,
        batch_size=given.batch_size,
        seed=given.seed,
        **_sampling(given),
    )
    return draws, time.process_time() - began


def _sampling(given: argparse.Namespace) -> dict[str, Any]:
    """The sampler: automatic, as of `creode audit`, or by hand where nβ is given."""
    if given.nbeta is None:
        return {"sampler": creode.Auto(budget=given.budget, rise=given.rise)}
    stiffest = given.nbeta * given.curvature + given.localization
    return {
        "sampler": creode.BAOAB(step_size=1 / stiffest**0.5, friction=2 * given.localization**0.5),
        "draws": given.draws, "steps_per_draw": given.steps_per_draw, "burnin": given.burnin,
    }  # fmt: skip


def margins_of(run: PostTrained) -> dict[str, Margin]:
    """The margins of the fault's behaviour and of the main task."""
    fault = run.fault
    rows = {fault.behaviour: fault.behaviours[fault.behaviour], SKILL: fault.held_out}
    return {
        name: Margin(columns=fault.probe(some).columns, task=run.task)
        for name, some in rows.items()
    }


def gradients(run: PostTrained) -> Tensor:
    """∇ℓ_z at the weights, (N, P)."""
    weights = {name: p.detach() for name, p in run.model.named_parameters()}
    module = _Loss(run)

    def loss(weights: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
        named = {f"model.{name}": value for name, value in weights.items()}
        return torch.func.functional_call(module, named, (row,))

    of_rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), chunk_size=50)
    found = of_rows(weights, dict(run.data.columns))
    return torch.cat([part.flatten(1) for part in found.values()], 1).double()


class _Loss(nn.Module):
    """Model and task as one module, so that its parameters can be replaced in a call."""

    def __init__(self, run: PostTrained) -> None:
        super().__init__()
        self.model, self._task = run.model, run.task

    def forward(self, row: dict[str, Tensor]) -> Tensor:
        found = as_losses(self._task(self.model, {k: v[None] for k, v in row.items()}))
        return (found.values * found.mask).sum() / found.mask.sum()


def at_the_weights(run: PostTrained) -> dict[str, Array]:
    """What takes no draws: losses, and how gradients agree with the behaviour's."""
    with torch.no_grad():
        found = as_losses(run.task(run.model, dict(run.data.columns)))
        values, mask = (part.reshape(len(run.data), -1) for part in (found.values, found.mask))
        loss = (values * mask).sum(1) / mask.sum(1)
    of_rows = gradients(run)
    margin = margins_of(run)[run.fault.behaviour]
    of_it = torch.autograd.grad(margin(run.model), list(run.model.parameters()))
    product = -(of_rows @ torch.cat([part.flatten() for part in of_it]).double())
    cosine = product / of_rows.norm(dim=1).clamp(min=1e-30)
    return {
        "loss": loss.double().numpy(),
        "gradient, dot product": product.numpy(),
        "gradient, cosine": cosine.numpy(),
    }


def counted(fault: PlantedFault, seed: int) -> dict[str, Array]:
    """What takes no model: lengths, rare words, chance."""
    answers, others, everything = [], [], []
    for row in fault.rows:
        said = row["messages"][1:] if "messages" in row else row["chosen"]
        asked = row["messages"][:1] if "messages" in row else row["prompt"]
        answers.append(said[0]["content"].split())
        others.append(row["rejected"][0]["content"].split() if "rejected" in row else [])
        everything.append({*answers[-1], *others[-1], *asked[0]["content"].split()})
    shared = Counter(word for words in everything for word in words)
    return {
        "length of the answer": np.array([len(a) for a in answers], float),
        "length over the other's": np.array(
            [len(a) - len(o) for a, o in zip(answers, others, strict=True)], float
        ),
        "rarest word": np.array([-min(shared[w] for w in words) for words in everything], float),
        "random": np.random.default_rng(seed).standard_normal(len(answers)),
    }


# -- the whole


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    if (given.nbeta is None) != (given.localization is None):
        raise SystemExit("give --nbeta and --localization, or neither.")
    settings = {k: v for k, v in vars(given).items() if k not in ("out", "cache")}
    report = Report("audit", out=given.out, settings=settings)
    for kind in given.kinds:
        rows: dict[str, list[float]] = {}
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            found = _of_seed(kind, seed, given)
            note(f"{kind} {seed}: {found}")
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
        for name, values in rows.items():
            report.add(kind, name, values, unit="CPU s" if name == "sampling" else "")
    print(f"\n{report.table()}")


def _of_seed(kind: Any, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """Everything that is measured of one kind and seed, by name."""
    fault = planted_fault(kind, seed)
    run = post_trained(fault, cache=given.cache)
    out = _shown(run, "the fault")
    if "detection" in given.tasks:
        out |= _shown(
            post_trained(planted_fault(kind, seed, clean=True), cache=given.cache), "control"
        )
    if "attribution" not in given.tasks:
        return out
    draws, seconds = sampled(run, given)
    planted = fault.planted.numpy()
    found = creode.audit(draws, [fault.behaviour])
    one = found.samples.sel(behaviour=fault.behaviour)
    scores = {"association": one["association"].values, "effect": one["effect"].values}
    scores |= at_the_weights(run) | counted(fault, seed)
    for name, score in scores.items():
        out[f"AUROC, {name}"], out[f"precision, {name}"] = (
            auroc(score, planted),
            precision(score, planted),
        )
    drivers = one["driver"].values
    out |= {
        "drivers told": float(drivers.sum()),
        "of them planted": float(planted[drivers].mean()) if drivers.any() else float("nan"),
        "draws ok": float(found.ok),
        "rise of the loss": float((draws["loss"] - draws["init_loss"]).mean()),
        "sampling": seconds,
    }
    return out | _mended(run, draws, given) if "remedy" in given.tasks else out


def _shown(run: PostTrained, name: str) -> dict[str, float]:
    """How far the behaviour and a failing of the main task are shown, and whether it is told."""
    with torch.no_grad():
        margins = {one: margin.by_prompt(run.model) for one, margin in margins_of(run).items()}
    told = creode.auditing.levels({one: values.numpy() for one, values in margins.items()})
    behaviour = told.sel(behaviour=run.fault.behaviour)
    return {
        f"{name}: unwanted": float(behaviour["unwanted"]),
        f"{name}: flagged": float(behaviour["shown"]),
        f"{name}: main task wrong": float(told["unwanted"].sel(behaviour=SKILL)),
    }


def _mended(run: PostTrained, draws: xr.DataTree, given: argparse.Namespace) -> dict[str, float]:
    """What training anew leaves of the fault: with the weights, permuted, without its rows."""
    fault = run.fault
    kept = (~fault.planted).float()
    out = _shown(post_trained(fault, weights=kept / kept.mean(), cache=given.cache), "without them")
    try:
        made = creode.pattern(
            draws, {fault.behaviour: -1.0}, Furthest(least_effective=given.effective),
            along=given.along,
        )  # fmt: skip
    except UnresolvedError:
        return out | {"weights made": 0.0}
    out["weights made"] = 1.0
    planted = made.weights.values[fault.planted.numpy()]
    out["mean weight of planted rows"] = float(planted.mean())
    for name, weights in (("mended", made.weights), ("permuted", made.weights.permuted(0))):
        trained = post_trained(fault, weights=weights.tensor(), cache=given.cache)
        out |= _shown(trained, name)
    return out


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Planted faults: found, traced, mended.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rise", type=float, default=RISE, help="of the loss over draws")
    parser.add_argument("--budget", type=int, default=BUDGET, help="gradients of a chain")
    by_hand = parser.add_argument_group("by hand, in the place of rise and budget")
    by_hand.add_argument("--nbeta", type=float, help="nβ")
    by_hand.add_argument("--localization", type=float, help="γ")
    by_hand.add_argument("--curvature", type=float, default=10.0, help="largest, of steps")
    by_hand.add_argument("--draws", type=int, default=60)
    by_hand.add_argument("--steps-per-draw", type=int, default=5)
    by_hand.add_argument("--burnin", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the chains")
    parser.add_argument("--effective", type=float, default=0.9, help="share that stays effective")
    parser.add_argument("--along", choices=("ranks", "effects"), default="ranks", help="of weights")
    parser.add_argument("--cache", type=Path, default=Path("runs/audit"), help="of pre-training")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
