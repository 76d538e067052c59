"""devinterp 2.0's susceptibilities of one component, as a program of its own.

    python response_devinterp.py '{"directory": …, "tokens": …, "component": "l0h3", "out": …,
        "full": the `out` of component "full", "lr": 1e-3, "nbeta": 30, "localization": 300,
        "chains": 4, "draws": 100, "burnin": 0, "steps_per_draw": 1, "batch_size": 32,
        "train_batches": 3, "seed": 0, "threads": 2}'

Its `sample` once for a weight restriction, then its `compute_susceptibilities`, which is what its
`susceptibilities` does for each. With train_batches 0 the probe is its sampling task too, and
nothing else is scored. Component "full" is sampled alone: it has no susceptibility of its own.
Without "full" nor has any other, and the covariances of chains alone are written.
Writes two_chain.npy, χ of its own form (1, unit), and chains.npy, the covariance of every chain of
the same draws (chain, unit).
"""

from __future__ import annotations

import os

os.environ["TQDM_DISABLE"] = "1"

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from datasets import Dataset
from devinterp.slt.sampling import sample
from devinterp.slt.susceptibilities import compute_susceptibilities
from paused_run import peak_bytes, reset_peak_bytes
from safetensors.torch import load_file
from torch import Tensor, nn
from workloads import DECODER_SOURCE


def decoder(directory: str) -> Any:
    """The saved decoder, by the class in this package's source file."""
    spec = importlib.util.spec_from_file_location("decoder_source", DECODER_SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoder_source"] = module
    spec.loader.exec_module(module)
    return module.Decoder.load(directory)


def masks_of(model: Any, component: str) -> dict[str, Tensor | None]:
    """Its restriction to a head: rows of queries, keys and values, columns of the output."""
    if component == "full":
        return {name: None for name, _ in model.named_parameters()}
    layer, head = map(int, component.removeprefix("l").split("h"))
    attention: nn.Module = model.blocks[layer].attn
    size = model.config.d_model // model.config.num_heads
    span = slice(head * size, (head + 1) * size)
    masks: dict[str, Tensor | None] = {}
    for name, parameter in attention.named_parameters():
        if name == "o_proj.bias":
            continue  # of all heads
        mask = torch.zeros_like(parameter, dtype=torch.bool)
        mask[(slice(None), span) if name.startswith("o_proj") else span] = True
        masks[f"blocks.{layer}.attn.{name}"] = mask
    return masks


def rows(tokens: Tensor) -> Dataset:
    data = Dataset.from_dict({"input_ids": tokens.tolist()})
    data.set_format("torch")
    return data


def places(shuffled: np.ndarray, tokens: Tensor) -> list[int]:
    """Where each sequence lies in the order in which its observables take them."""
    where = {tuple(row): place for place, row in enumerate(shuffled.tolist())}
    return [where[tuple(row)] for row in tokens.tolist()]


def by_chain(draws: xr.DataTree, task: str) -> np.ndarray:
    """−Cov(φ, ℓ_z − L) of each chain, with φ = L the mean loss of the sampling task."""
    loss = draws[f"loss_{task}"].values.astype("float64").mean((2, 3))
    units = draws["loss_probe"].values.reshape(*loss.shape, -1).astype("float64")
    phi = loss - loss.mean(1, keepdims=True)
    shifted = units - loss[:, :, None]
    return -np.einsum("cd,cdu->cu", phi, shifted) / (loss.shape[1] - 1)


def main() -> None:
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    out, component = Path(given["out"]), given["component"]
    tokens = load_file(given["tokens"])
    data, probe = rows(tokens["data"]), rows(tokens["probe"])
    size = given["batch_size"]
    observables: dict[str, Any] = {"probe": (probe, len(probe) // size)}
    task = "probe"
    if given["train_batches"]:
        task, observables["train"] = "train", (data, given["train_batches"])
    model = decoder(given["directory"])
    masks = masks_of(model, component)
    loaded = reset_peak_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    draws = sample(
        model,
        data,
        observables,
        lr=given["lr"],
        n_beta=given["nbeta"],
        localization=given["localization"],
        param_masks=masks,
        num_chains=given["chains"],
        num_draws=given["draws"],
        num_burnin_steps=given["burnin"],
        num_steps_bw_draws=given["steps_per_draw"],
        batch_size=size,
        init_seed=100 + 1000 * given["seed"],
        device="cpu",
        output_path=out / "run",
    )
    if "full" in given and component != "full":
        full = xr.open_datatree(Path(given["full"]) / "run", engine="zarr", consolidated=False)
        found = compute_susceptibilities(
            {"full": full, component: draws}, task, include_sampling_task=task == "probe"
        )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_bytes()
    if component != "full":
        order = places(draws["input_ids_probe"].values, tokens["probe"])
        sizes = (-1, len(order), tokens["probe"].shape[1] - 1)
        forms = {"chains": by_chain(draws, task)}
        if "full" in given:
            forms["two_chain"] = found["susceptibilities"]["sus"].values[:, 0]
        for name, chi in forms.items():
            ordered = chi.reshape(sizes)[:, order].astype("float32")
            np.save(out / f"{name}.npy", ordered.reshape(len(ordered), -1))
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu,
                "disk_bytes": sum(f.stat().st_size for f in (out / "run").rglob("*")),
                "loaded_bytes": loaded,
                "peak_bytes": peak,
                "mean_loss": float(draws["loss_probe"].mean()),
                "num_parameters": sum(
                    parameter.numel() if masks[name] is None else int(masks[name].sum())
                    for name, parameter in model.named_parameters()
                    if name in masks
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
