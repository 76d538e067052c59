"""λ̂ of a small decoder along its checkpoints, automatic, against much longer runs.

    python benchmarks/decoder.py --budget 5000 --out decoder.jsonl

There is no known λ of a decoder, so what is tested is the sampling: a study's automatic readings of
three checkpoints, made at the one nβ and γ that its pilot chose, against chains of other seeds at
the same nβ and γ that are several times as long in burn-in and between draws.

Here: the study, the long runs, the comparison.
Not here: the decoder and its text (corpus_decoder.py), how settings are chosen (creode.sampling).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from corpus_decoder import DOMAINS, LENGTH, train_decoder
from machine import available_cores, machine
from report import note

import creode
from creode.models import load_model
from creode.sampling import Calibration
from creode.store import Store
from creode.study import StudyConfig, run_study

CHECKPOINTS = (150, 480, 1500)
LONGER = 5
SHOWN = ("llc", "llc_se", "ess", "rhat", "rhat_distance", "virial", "heat", "locality")


def study(models: Path, budget: int, batch_size: int) -> StudyConfig:
    """What `creode llc --checkpoints` would read, with nothing chosen by hand but the budget."""
    return StudyConfig.model_validate(
        {
            "model": str(models),
            "checkpoints": CHECKPOINTS,
            "data": {"source": DOMAINS, "length": LENGTH, "limit": 512},
            "sampler": {"name": "auto", "budget": budget},
            "schedule": {"chains": 4, "batch_size": batch_size, "seed": 0},
        }
    )


def read_long(config: StudyConfig, step: int, chosen: Calibration) -> xr.Dataset:
    """λ̂ of one checkpoint by chains LONGER times as long, with as many draws."""
    series = {one.step: one for one in config.series() if one is not None}
    path = series[step].path
    posterior = creode.LocalPosterior(
        load_model(path), creode.tasks.NextToken(), config.data.load(path),
        nbeta=chosen.nbeta, localization=chosen.localization,
    )  # fmt: skip
    draws = creode.sample(
        posterior, sampler=chosen.kernel, chains=4, batch_size=config.plan().schedule.batch_size,
        burnin=LONGER * chosen.burnin, draws=chosen.draws,
        steps_per_draw=LONGER * chosen.steps_per_draw, seed=1,
    )  # fmt: skip
    return creode.llc(draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--budget", type=int, default=20_000, help="gradients of a chain")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/corpus-decoder"), help="the decoder"
    )
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = study(train_decoder(given.work), given.budget, given.batch_size)
    with tempfile.TemporaryDirectory() as out:
        readings = creode.llc(run_study(config, out))
        chosen = Calibration.of(Store.open(out, mode="read").resolved["calibration"])
    note(f"nβ {chosen.nbeta:.3g}, γ {chosen.localization:.3g}, limited by {chosen.limit}")
    for step in CHECKPOINTS:
        short = readings.sel(checkpoint=step, component="full")
        long = read_long(config, step, chosen)
        error = float(short["llc_se"] ** 2 + long["llc_se"] ** 2) ** 0.5
        row: dict[str, Any] = {
            "benchmark": "decoder", "checkpoint": step, "budget": given.budget,
            "nbeta": chosen.nbeta, "localization": chosen.localization,
            **{name: float(short[name]) for name in SHOWN},
            "ok": bool(short["ok"]), "reasons": str(short["reasons"].item()),
            **{f"long_{name}": float(long[name]) for name in SHOWN}, "long_ok": bool(long["ok"]),
            "z": float(short["llc"] - long["llc"]) / error, "machine": machine(),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
