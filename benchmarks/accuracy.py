"""Learning coefficients against known truths, with nothing tuned.

    python benchmarks/accuracy.py --out accuracy.jsonl

Every network of networks.py is read by every method at the same number of gradient evaluations a
chain. The truth is λ itself, so an error holds all of it: finite nβ and γ, step size, gradient
noise, chance. A reading that failed counts as an error of 100 %.

Here: the methods, the table.
Not here: the networks (networks.py).
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import available_cores, machine
from networks import SEED, Shape, shapes
from report import note

import creode
from creode.testbeds.deep_linear import DeepLinear

CHAINS = 4
NUM_SAMPLES = 2000  # of networks that are read with minibatches


@dataclass(frozen=True, kw_only=True)
class Result:
    """One network read by one method."""

    method: str
    batch_size: int | None  # None: all samples
    widths: tuple[int, ...]
    rank: int
    num_weights: int
    exact: float
    llc: float
    llc_se: float
    ok: bool
    reasons: str
    rhat: float
    rhat_distance: float
    ess: float
    evaluations: int  # of a chain, the pilot among them
    seconds: float

    @property
    def error(self) -> float:
        """Relative, signed; −1 for a reading that failed."""
        return self.llc / self.exact - 1 if math.isfinite(self.llc) else -1.0

    @property
    def covered(self) -> bool:
        """Whether λ lies in the 95 % interval."""
        return abs(self.llc - self.exact) <= 1.96 * self.llc_se


def automatic(net: DeepLinear, batch_size: int, budget: int) -> tuple[Any, int]:
    """Nothing given but the budget."""
    posterior = creode.LocalPosterior(net.model, net.task, net.data)
    auto = creode.Auto(budget=budget)
    tree = creode.sample(posterior, sampler=auto, chains=CHAINS, batch_size=batch_size)
    return tree, budget


METHODS: dict[str, Callable[[DeepLinear, int, int], tuple[Any, int]]] = {
    "creode auto": automatic,
}


def read(method: str, shape: Shape, batch_size: int | None, budget: int) -> Result:
    """Read one network."""
    net = shape.make(shape.widths[0] if batch_size is None else NUM_SAMPLES)
    assert net.llc is not None
    start = time.perf_counter()
    values = {"llc": math.nan, "llc_se": math.nan, "rhat": math.nan, "ess": math.nan}
    values["rhat_distance"] = math.nan
    ok, evaluations = False, budget
    try:
        tree, evaluations = METHODS[method](net, batch_size or len(net.data), budget)
        reading = creode.llc(tree)
        values = {name: float(reading[name]) for name in values}
        ok, reasons = bool(reading.ok), str(reading.reasons.item())
    except ValueError as error:  # the pilot may refuse, which is a failure too
        reasons = str(error)
    return Result(
        method=method, batch_size=batch_size, widths=shape.widths, rank=shape.rank,
        num_weights=shape.num_weights, exact=net.llc, ok=ok, reasons=reasons,
        evaluations=evaluations, seconds=time.perf_counter() - start, **values,
    )  # fmt: skip


def summary(results: list[Result]) -> dict[str, Any]:
    """Errors, order, coverage and verdicts of one method on one kind of gradient."""
    errors = np.abs([result.error for result in results])
    pairs = [(one, other) for one, other in combinations(results, 2) if one.exact != other.exact]
    ordered = [
        math.isfinite(one.llc) and math.isfinite(other.llc)
        and (one.llc < other.llc) == (one.exact < other.exact)
        for one, other in pairs
    ]  # fmt: skip
    trusted = [result for result in results if result.ok]
    return {
        "networks": len(results),
        "median |error|": float(np.median(errors)),
        "90th percentile": float(np.quantile(errors, 0.9)),
        "worst": float(errors.max()),
        "order kept": float(np.mean(ordered)) if ordered else math.nan,
        "ok": len(trusted) / len(results),
        "median |error| where ok": float(np.median([abs(r.error) for r in trusted] or [math.nan])),
        "λ in the 95 % interval where ok": float(np.mean([r.covered for r in trusted] or [0])),
        "seconds": float(np.sum([result.seconds for result in results])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=SEED, help="of the networks")
    parser.add_argument("--count", type=int, default=24, help="networks")
    parser.add_argument("--least", type=float, default=30, help="weights of the smallest")
    parser.add_argument("--most", type=float, default=1e4, help="weights of the largest")
    parser.add_argument("--budget", type=int, default=20_000, help="gradients of a chain")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[64, 256], help="minibatches")
    parser.add_argument("--no-exact", action="store_true", help="leave out exact gradients")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    networks = shapes(given.count, least=given.least, most=given.most, seed=given.seed)
    sizes: list[int | None] = [*([] if given.no_exact else [None]), *given.batch_sizes]
    rows = []
    for batch_size in sizes:
        for method in given.methods:
            results = []
            for shape in networks:
                result = read(method, shape, batch_size, given.budget)
                results.append(result)
                line = json.dumps(
                    {"benchmark": "accuracy", **asdict(result), "error": result.error}
                )
                print(line, flush=True)
                if given.out is not None:
                    with given.out.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")
            kind = "exact gradients" if batch_size is None else f"minibatches of {batch_size}"
            row = {"gradients": kind, "method": method, **summary(results)}
            rows.append(row)
            note(str(row))
    print(f"\n{given.budget} gradient evaluations a chain, {CHAINS} chains; {machine()}\n")
    for row in rows:
        print(
            ", ".join(
                f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}"
                for name, value in row.items()
            )
        )


if __name__ == "__main__":
    main()
