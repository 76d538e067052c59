"""The bare pass as a contender of its own. Settings: steps, 0 to time blocks of them alone."""

from __future__ import annotations

import torch
from paused_run import PausedRun
from torch import nn


def main() -> None:
    run = PausedRun(())
    workload, settings = run.order
    if not settings["steps"]:
        run.run(run.passed, call_after_step=False)
        return
    model: nn.Module = workload.model()
    batch = {name: column[: workload.batch_size] for name, column in workload.data().items()}

    def steps() -> None:
        for _ in range(settings["steps"]):
            model.zero_grad(set_to_none=True)
            with torch.enable_grad():
                loss = workload.losses(model, batch, "mean")
            loss.backward()  # type: ignore[no-untyped-call]
            run.passed()

    run.run(steps, call_after_step=True)


if __name__ == "__main__":
    main()
