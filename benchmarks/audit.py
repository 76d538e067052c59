"""Are planted faults found? How rows are ranked by their influence on the behaviour they cause.

    python benchmarks/audit.py --seeds 3 --out audit.jsonl

Small decoders are post-trained on data with one planted fault (creode.testbeds.planted_faults), and
on the same data without. Rows are ranked by each method's account of how far they drive the
behaviour; the planted ones are to come first. Beside influences: the loss of a row, its gradient's
likeness to that of the behaviour, what can be counted in a row without any model, chance.

Here: the methods, their scores, the table.
Not here: the faults (creode.testbeds.planted_faults), influences (creode.influence).
Dimensions: N rows, P weights, S draws of all chains.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from report import Report, note
from scipy.stats import rankdata
from torch import Tensor, nn

import creode
from creode.response.discoveries import significant
from creode.response.uncertainty import two_sided
from creode.tasks import as_losses
from creode.testbeds.planted_faults import (
    KINDS,
    PlantedFault,
    PostTrained,
    margins,
    planted_fault,
    post_trained,
)

Array = NDArray[np.float64]


# -- scores: (N,), the more a row drives the behaviour the higher


def auroc(score: Array, planted: Array) -> float:
    """How often a planted row is ranked above another one; ties count half."""
    ranks, num = rankdata(score), planted.sum()
    return float((ranks[planted].sum() - num * (num + 1) / 2) / (num * (len(score) - num)))


def precision(score: Array, planted: Array) -> float:
    """The share of planted rows among as many first ones."""
    return float(planted[np.argsort(-score, kind="stable")[: planted.sum()]].mean())


class Behaviour:
    """The unwanted behaviour as a loss of the model: small where the probes show it.

    −log σ of the margin of the unwanted over the wanted answer; for DPO, of its own logit over the
    reference. It is the loss of pairs that would teach the behaviour.
    """

    def __init__(self, run: PostTrained) -> None:
        fault = run.fault
        self.pairs = fault.probe(fault.behaviours[fault.behaviour]).columns
        self.beta, self.offset = 1.0, torch.zeros(())
        if fault.method == "dpo":
            self.beta = run.task.beta
            with torch.no_grad():
                self.offset = margins(run.reference, self.pairs)

    def margin(self, model: nn.Module) -> Tensor:
        """Of the wanted over the unwanted answers, their mean, nats."""
        return margins(model, self.pairs).mean()

    def __call__(self, model: nn.Module) -> Tensor:
        return -F.logsigmoid(-self.beta * (margins(model, self.pairs) - self.offset)).mean()


OBSERVED = ("its loss", "its margin")  # both fall where the behaviour grows


def influences(
    run: PostTrained, behaviour: Behaviour, given: argparse.Namespace
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Covariance, its z and correlation of every row's loss with the behaviour, from one run."""
    posterior = creode.LocalPosterior(
        run.model, run.task, run.data, nbeta=given.nbeta, localization=given.localization
    )
    stiffest = given.nbeta * given.curvature + given.localization
    began = time.process_time()
    draws = creode.sample(
        posterior,
        {"train": run.data},
        observables={"its loss": behaviour, "its margin": behaviour.margin},
        traces=("train",),
        sampler=creode.BAOAB(step_size=1 / stiffest**0.5, friction=2 * given.localization**0.5),
        chains=given.chains,
        draws=given.draws,
        steps_per_draw=given.steps_per_draw,
        burnin=given.burnin,
        batch_size=given.batch_size,
        seed=given.seed,
    )
    about: dict[str, Any] = {"cpu_seconds": round(time.process_time() - began, 1)}
    found = {}
    for kind in ("covariance", "correlation"):
        reading = creode.influence(draws, query="train", train="train", kind=kind)
        for name in OBSERVED:
            of_rows = reading.of(draws["observed"].sel(observable=name))
            found[f"influence on {name}, {kind}"] = -of_rows["bif"].values
            if kind == "covariance":
                z = -of_rows["bif"] / of_rows["bif_se"]
                found[f"influence on {name}, z"] = z.values
                p = z.copy(data=two_sided(z.values, of_rows.attrs["blocks"] - 1))
                stars = significant(p, 0.05, among="train").values & (z.values > 0)
                planted = run.fault.planted.numpy()
                about[name] = {
                    "largest_z": float(z.max()),
                    "significant": int(stars.sum()),
                    "of_them_planted": int(stars[planted].sum()),
                }
    about |= {"ok": bool(reading.ok), "reasons": reading.reasons}
    about["excess"] = float((draws["loss"] - draws["init_loss"]).mean())
    about["temperature"] = float(draws["temperature"].mean())
    return found, about


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


def at_the_weights(run: PostTrained, behaviour: Behaviour) -> dict[str, Array]:
    """What takes no draws: losses, and how gradients agree with the behaviour's."""
    with torch.no_grad():
        found = as_losses(run.task(run.model, dict(run.data.columns)))
        values, mask = (part.reshape(len(run.data), -1) for part in (found.values, found.mask))
        loss = (values * mask).sum(1) / mask.sum(1)
    of_rows = gradients(run)
    parameters = list(run.model.parameters())
    of_it = torch.autograd.grad(behaviour(run.model), parameters)
    product = of_rows @ torch.cat([part.flatten() for part in of_it]).double()
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
    settings = {k: v for k, v in vars(given).items() if k not in ("out", "cache")}
    report = Report("audit", out=given.out, settings=settings)
    for kind in given.kinds:
        for control in (False, True) if given.controls else (False,):
            rows: dict[str, list[tuple[float, float]]] = {}
            told = []
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                scores, about = _of_run(kind, seed, control, given)
                told.append(about)
                for method, values in scores.items():
                    rows.setdefault(method, []).append(values)
            section = f"{kind}{', control' if control else ''}"
            for method, values in rows.items():
                for name, column in zip(
                    ("AUROC", "precision"), zip(*values, strict=True), strict=True
                ):
                    report.add(section, f"{name}, {method}", column, unit="")
            shown = [one["unwanted"][0] for one in told]
            report.add(section, "probes that show the fault", shown, unit="", runs=told)
            seconds = [one["cpu_seconds"] for one in told]
            report.add(section, "sampling", seconds, unit="CPU s")
    print(f"\n{report.table()}")


def _of_run(
    kind: Any, seed: int, control: bool, given: argparse.Namespace
) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    fault = planted_fault(kind, seed, clean=control)
    run = post_trained(fault, cache=given.cache)
    behaviour = Behaviour(run)
    scores, about = influences(run, behaviour, given)
    scores |= at_the_weights(run, behaviour) | counted(fault, seed)
    planted = fault.planted.numpy()
    about |= {
        "seed": seed,
        "unwanted": [run.unwanted(rows) for rows in fault.behaviours.values()],
        "held_out_wrong": run.unwanted(fault.held_out),
    }
    note(f"{kind} {seed} {'control' if control else 'fault'}: {about}")
    return {
        method: (auroc(score, planted), precision(score, planted))
        for method, score in scores.items()
    }, about


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rankings of planted rows.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--controls", action="store_true", help="rank the controls' rows too")
    parser.add_argument("--nbeta", type=float, default=1e4, help="nβ")
    parser.add_argument("--localization", type=float, default=1e2, help="γ")
    parser.add_argument("--curvature", type=float, default=10.0, help="largest, of steps")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--steps-per-draw", type=int, default=5)
    parser.add_argument("--burnin", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0, help="of the chains")
    parser.add_argument("--cache", type=Path, default=Path("runs/audit"), help="of pre-training")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
