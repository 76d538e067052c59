"""creode's susceptibilities of one component, as a program of its own: seconds, disk, peak memory.

    python response_creode.py '{"directory": …, "tokens": …, "component": "l0h3", "out": …,
        "kernel": {"name": "sgld", "step_size": 1e-3}, "nbeta": 30, "localization": 300,
        "chains": 4, "draws": 100, "burnin": 0, "steps_per_draw": 1, "batch_size": 32,
        "microbatch": 8, "seed": 0, "threads": 2}'

φ is the data's excess loss on the draw's minibatch, or with "observable": "probe" the probe's.
Writes chains.npy, χ of every chain (chain, unit), and error.npy, the standard error that is told
of their mean (unit,), beside the run directory `run`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from paused_run import peak_bytes, reset_peak_bytes
from safetensors.torch import load_file

import creode
from creode.data import Samples
from creode.sampling import KERNELS
from creode.testbeds.decoder import Decoder

SCHEDULE = ("chains", "draws", "burnin", "steps_per_draw", "batch_size", "seed")


def main() -> None:
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    out, component = Path(given["out"]), given["component"]
    settings = dict(given["kernel"])
    kernel = KERNELS[settings.pop("name")](**settings)
    tokens = load_file(given["tokens"])
    data, probe = (Samples(columns={"input_ids": tokens[name]}) for name in ("data", "probe"))
    model = Decoder.load(given["directory"])
    loaded = reset_peak_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    draws = creode.sample(
        creode.LocalPosterior(
            model,
            creode.tasks.NextToken(),
            data,
            nbeta=given["nbeta"],
            localization=given["localization"],
            component=component,
        ),
        {"probe": probe},
        observables=[name for name in [given.get("observable", "loss")] if name != "loss"],
        sampler=kernel,
        execution=creode.Execution(microbatch=given["microbatch"]),
        out=str(out / "run"),
        **{name: given[name] for name in SCHEDULE},
    )
    result = creode.susceptibility(
        {component: draws},
        observable=given.get("observable", "loss"),
        by="token",
        keep_replicates=True,
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_bytes()
    found = result.isel(component=0)
    by_chain = found["chi_replicates"].mean("block").transpose("chain", ...)
    np.save(out / "chains.npy", by_chain.values[:, :, :-1].reshape(given["chains"], -1))
    np.save(out / "error.npy", found["chi_se"].values[:, :-1].ravel())
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu,
                "disk_bytes": sum(f.stat().st_size for f in (out / "run").rglob("*")),
                "loaded_bytes": loaded,
                "peak_bytes": peak,
                "num_parameters": draws.attrs["num_parameters"],
                "mean_loss": float(draws["probes/probe"]["loss"].mean()),
                "loss_from": draws.attrs["loss_from"],
            }
        )
    )


if __name__ == "__main__":
    main()
