"""A run of devinterp 1.3's estimate_learning_coeff_with_summary, paused between blocks.

A draw after every step, its default, so that its loss is recorded at every step; no progress bar,
which is faster than its default. Settings: method "sgld" (its default optimiser) or "rmsprop";
chains, draws; loader "examples", a DataLoader over a TensorDataset as in its examples, or
"batched", whose data set hands out whole batches.
"""

from __future__ import annotations

from typing import Any

import torch
from devinterp.optim import SGLD, SGMCMC
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from paused_run import PausedRun
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

METHODS: dict[str, Any] = {"sgld": SGLD, "rmsprop": SGMCMC.rmsprop_sgld}
LEARNING_RATE = 1e-7  # any that diverges nowhere: it costs no time


class WholeBatches(Dataset[tuple[Tensor, ...]]):
    """Samples that a DataLoader fetches a batch at a time, without collating them one by one."""

    def __init__(self, columns: list[Tensor]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitems__(self, index: list[int]) -> tuple[Tensor, ...]:
        rows = torch.tensor(index)
        return tuple(column[rows] for column in self._columns)


def as_it_came(batch: Any) -> Any:
    return batch


def main() -> None:
    run = PausedRun(("devinterp",))
    workload, settings = run.order
    model, data = workload.model(), workload.data()
    names, columns = list(data), list(data.values())
    size = workload.batch_size
    loader: DataLoader[Any] = (
        DataLoader(TensorDataset(*columns), batch_size=size, shuffle=True)
        if settings["loader"] == "examples"
        else DataLoader(WholeBatches(columns), batch_size=size, shuffle=True, collate_fn=as_it_came)
    )

    def evaluate(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return workload.losses(model, dict(zip(names, batch, strict=True)), "mean")

    run.run(
        lambda: estimate_learning_coeff_with_summary(
            model,
            loader,
            callbacks=[lambda **_: run.passed()],
            evaluate=evaluate,
            sampling_method=METHODS[settings["method"]],
            optimizer_kwargs={"lr": LEARNING_RATE, "nbeta": 30.0, "localization": 100.0},
            num_draws=settings["draws"],
            num_chains=settings["chains"],
            seed=0,
            verbose=False,
        ),
        call_after_step=True,
    )


if __name__ == "__main__":
    main()
