"""A run of creode.sample, paused between blocks.

Settings: kernel {name, and its own settings}, chains, draws, steps_per_draw, mode; probe: a probe
of one batch, recorded at every draw.
"""

from __future__ import annotations

import torch
from paused_run import PausedRun

import creode
from creode.sampling import KERNELS
from creode.sampling.probes import pairs_with_minibatches
from creode.sampling.schedule import Schedule

TASKS = {
    "decoder": creode.tasks.NextToken,
    "classifier": creode.tasks.Classification,
    "linear": creode.tasks.Regression,
}


def main() -> None:
    run = PausedRun(("creode",))
    workload, settings = run.order
    kernel = KERNELS[settings["kernel"]["name"]](
        **{name: value for name, value in settings["kernel"].items() if name != "name"}
    )
    samples = creode.data.Samples(columns=workload.data())
    posterior = creode.LocalPosterior(
        workload.model(), TASKS[workload.kind](), samples, nbeta=30.0, localization=100.0
    )
    one_batch = torch.arange(workload.batch_size)
    probes = {"probe": samples.select(one_batch)} if settings["probe"] else {}
    lengths = {name: settings[name] for name in ("chains", "draws", "steps_per_draw")}
    schedule = Schedule(**lengths, burnin=0, batch_size=workload.batch_size)
    pairs = pairs_with_minibatches(schedule, len(samples))
    run.facts["loss_from"] = "minibatch" if pairs else "probe"
    before = 0

    def on_progress(done: int, total: int) -> None:
        nonlocal before
        if not before:
            run.facts["mode"] = "vectorised" if done > 1 else "sequential"
        run.passed(done - before)
        before = done

    run.run(
        lambda: creode.sample(
            posterior,
            probes,
            sampler=kernel,
            execution=creode.Execution(mode=settings["mode"]),
            on_progress=on_progress,
            burnin=0,
            batch_size=workload.batch_size,
            **lengths,
        ),
        call_after_step=True,
    )


if __name__ == "__main__":
    main()
