"""A run of devinterp 2.0, paused between blocks.

Decoders go through its `sample` with its defaults (a draw after every step, losses per token
written to zarr in a temporary directory); other models, which that call does not take, through
its documented `sample_single_chain` with an evaluate function. Steps are told apart by their
gradients: its losses at the start and of observables are taken without. No progress bar, which is
faster than its default. Settings: method "sgmcmc_sgld" or "rmsprop_sgld", chains, draws, probe: an
observable of one batch.
"""

from __future__ import annotations

import os

os.environ["TQDM_DISABLE"] = "1"

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from devinterp.slt.config import SAMPLING_METHODS
from devinterp.slt.lm_loss import compute_per_token_loss
from devinterp.slt.sampler import sample_single_chain
from devinterp.slt.sampling import sample
from paused_run import PausedRun
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

LEARNING_RATE = 1e-7  # any that diverges nowhere: it costs no time


class Rows(TorchDataset[dict[str, Tensor]]):
    """Samples as its loop wants them: the model's input is called input_ids."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._inputs[index], "targets": self._targets[index]}


def of_decoder(run: PausedRun) -> Callable[[], object]:
    """Its `sample`, with its own loss."""
    workload, settings = run.order
    model = workload.model()
    data = Dataset.from_dict({"input_ids": workload.data()["input_ids"].tolist()})
    data.set_format("torch")

    def loss(model: nn.Module, input_ids: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            run.passed()
        return compute_per_token_loss(model, input_ids)

    return lambda: sample(
        model,
        data,
        {"probe": (data, 1)} if settings["probe"] else {},
        lr=LEARNING_RATE,
        n_beta=30.0,
        localization=100.0,
        num_chains=settings["chains"],
        num_draws=settings["draws"],
        batch_size=workload.batch_size,
        sampling_method=settings["method"],
        device="cpu",
        loss_fn=loss,
    )


def of_other(run: PausedRun) -> Callable[[], object]:
    """Its loop over one chain, once a chain."""
    workload, settings = run.order
    model, data = workload.model(), workload.data()

    def evaluate(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        run.passed()
        columns = {"inputs": batch["input_ids"], "targets": batch["targets"]}
        return workload.losses(model, columns, "none"), {}

    def chains() -> None:
        for chain in range(settings["chains"]):
            sample_single_chain(
                model,
                Rows(data["inputs"], data["targets"]),
                evaluate,
                {name: None for name, _ in model.named_parameters()},
                num_draws=settings["draws"],
                sampling_method=SAMPLING_METHODS[settings["method"]],
                sampling_method_kwargs={"lr": LEARNING_RATE, "nbeta": 30.0, "localization": 100.0},
                chain=chain,
                seed=chain,
                dataloader_seed=0,
                batch_size=workload.batch_size,
            )

    return chains


def main() -> None:
    run = PausedRun(("devinterp",))
    prepare = of_decoder if run.order.workload.kind == "decoder" else of_other
    run.run(prepare(run), call_after_step=False)


if __name__ == "__main__":
    main()
