"""What steps gain where the layers below a component are computed once for every row of the data.

    python benchmarks/cached_rows.py --out cached_rows.jsonl

Decoders with random weights, heads of a layer in the middle and of the last one, runs with and
without the cache in turn. CPU seconds of a step are of the whole run over its steps, so that the
making of the cache is in them.

Here: the runs, the table.
Not here: the cache (creode.sampling.prefix), peers (throughput.py).
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import torch
from report import Report

import creode
from creode.data import Samples
from creode.sampling import SGLD, Execution, Plan, Schedule, run_posterior
from creode.testbeds.decoder import Decoder, DecoderConfig

BATCH, LENGTH, ROWS = 8, 64, 128


def seconds_a_step(model: Decoder, component: str, *, rows: bool, mode: str, steps: int) -> float:
    """CPU seconds of a run over its steps."""
    size = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, size, (ROWS, LENGTH), generator=generator)
    schedule = Schedule(chains=2, draws=4, burnin=steps - 4, steps_per_draw=1, batch_size=BATCH)
    posterior = creode.LocalPosterior(
        model, creode.tasks.NextToken(), Samples(columns={"input_ids": ids}),
        nbeta=10.0, localization=100.0, component=component,
    )  # fmt: skip
    plan = Plan(
        kernel=SGLD(step_size=1e-6), schedule=schedule, execution=Execution(mode=mode), rows=rows
    )
    start = time.process_time()
    tree = run_posterior(posterior, {}, plan)
    assert (tree.attrs["layers_cached"] > 0) == rows
    return (time.process_time() - start) / (2 * steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of each of two chains")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report = Report("cached_rows", out=given.out, steps=given.steps, rows=ROWS, batch=BATCH)
    for layers, vocabulary, mode in (
        (2, 257, "sequential"), (4, 257, "sequential"), (4, 257, "vectorised"),
        (8, 257, "sequential"), (4, 5000, "sequential"),
    ):  # fmt: skip
        shape = DecoderConfig(
            vocab_size=vocabulary, d_model=128, num_layers=layers, num_heads=4,
            context_length=LENGTH,
        )  # fmt: skip
        model = Decoder(shape, seed=0)
        for layer in dict.fromkeys((layers // 2, layers - 1)):
            found: dict[bool, list[float]] = {False: [], True: []}
            for _, rows in itertools.product(range(given.rounds), (False, True)):
                found[rows].append(
                    seconds_a_step(model, f"l{layer}h0", rows=rows, mode=mode, steps=given.steps)
                )
            section = f"{layers} layers, vocabulary {vocabulary}, {mode}, l{layer}h0"
            report.add(section, "plain", found[False], unit="CPU s a step")
            report.add(section, "layers below cached", found[True], unit="CPU s a step")
            ratios = [after / before for before, after in zip(*found.values(), strict=True)]
            report.add(section, "cached over plain", ratios, unit="")
    print("\n" + report.table())


if __name__ == "__main__":
    main()
