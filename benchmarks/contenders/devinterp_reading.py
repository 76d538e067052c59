"""Readings by devinterp 1.3's estimate_learning_coeff_with_summary, one after the other.

A line in names a point on disk (model, task and data of a testbed, pickled: this package's source
must be importable) and the settings; the line out is what the library returned, or its error. A
draw after every step, its default, so that all losses count. Settings: method "sgld" (its default
optimiser) or "rmsprop"; optimizer, the optimiser's keyword arguments, what is not named being its
default; chains, burnin, draws, batch_size, seed; init_loss: "default", the library's own estimate
from a few batches, or "all", the loss at w* on all of the data.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Any

import torch
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from devinterp.utils import default_nbeta
from devinterp_1_3 import METHODS, WholeBatches, as_it_came
from torch import Tensor, nn
from torch.utils.data import DataLoader


def read(order: dict[str, Any]) -> dict[str, Any]:
    point = torch.load(order["point"], weights_only=False)
    model, task, columns = point["model"], point["task"], point["columns"]
    names = list(columns)

    def evaluate(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        losses = task(model, dict(zip(names, batch, strict=True)))
        values: Tensor = losses if isinstance(losses, Tensor) else losses.values
        return values.mean()

    loader: DataLoader[Any] = DataLoader(
        WholeBatches(list(columns.values())),
        batch_size=order["batch_size"],
        shuffle=True,
        collate_fn=as_it_came,
    )
    init_loss = None
    if order["init_loss"] == "all":
        with torch.no_grad():
            init_loss = float(evaluate(model, tuple(columns.values())))
    given = dict(order["optimizer"])
    nbeta = given.get("nbeta", float(default_nbeta(loader)))
    torch.manual_seed(order["seed"])  # its own `seed` would replace the loader
    start = time.perf_counter()
    try:
        result = estimate_learning_coeff_with_summary(
            model,
            loader,
            evaluate=evaluate,
            sampling_method=METHODS[order["method"]],
            optimizer_kwargs=given,
            num_draws=order["draws"],
            num_chains=order["chains"],
            num_burnin_steps=order["burnin"],
            init_loss=init_loss,
            verbose=False,
        )
    except RuntimeError as error:  # "NaN detected in loss …"
        return {"error": str(error), "nbeta": nbeta, "seconds": time.perf_counter() - start}
    return {
        "llc_by_chain": [float(result[f"llc-chain/{c}"]) for c in range(order["chains"])],
        "nbeta": nbeta,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        answers.write(json.dumps(read(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
