"""Memory of a run beyond that of the loaded model, over the bytes of the weights.

Here: the peak of resident memory in a process that runs two chains in turn to their end. Batches
are small, so that weights and not activations are what is seen; the bare pass gives the scale.
Not here: how a process reads its memory (contenders/paused_run.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alternating import alternate
from contender import Contender, Spec
from contenders.workloads import Workload
from report import Report
from sections import KERNELS, Effort, decoder_of

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "3M": {"vocab_size": 5000, "d_model": 256, "num_layers": 2, "mlp_ratio": 0.0},
    "30M": {"vocab_size": 10000, "d_model": 512, "num_layers": 6, "mlp_ratio": 4.0},
}
RUN = {"chains": 2, "draws": 4}
ROUNDS = 3  # the quantity hardly varies


def memory(pythons: Mapping[str, Path], effort: Effort, report: Report) -> None:
    """Measure every contender on a small and a larger decoder."""
    for label, shape in SHAPES.items():
        workload = decoder_of(**shape, num_heads=8, context_length=32, batch_size=2, num_samples=64)
        weights = sum(weight.nbytes for weight in workload.model().parameters())
        specs = _specs(workload, pythons)
        turns = {spec.name: _turn(spec, effort.threads) for spec in specs}
        results = alternate(turns, rounds=min(ROUNDS, effort.rounds))
        for spec in specs:
            ended = results[spec.name]
            report.add(
                f"memory, decoder of {label} weights, 2 x 32 tokens, chains in turn",
                spec.name,
                [(one["peak_bytes"] - one["loaded_bytes"]) / weights for one in ended],
                unit="(peak - loaded) / weights",
                weights_bytes=weights,
                bytes=ended,
                settings=spec.settings,
                workload=asdict(workload),
            )
        if effort.quick:
            return


def _turn(spec: Spec, threads: int) -> Callable[[], dict[str, float]]:
    def turn() -> dict[str, float]:
        with Contender(spec, threads=threads) as contender:
            return contender.finish()

    return turn


def _specs(workload: Workload, pythons: Mapping[str, Path]) -> list[Spec]:
    own = Path(sys.executable)
    ours = {**RUN, "steps_per_draw": 1, "mode": "sequential", "probe": False}
    wanted: list[tuple[str, str, Path, dict[str, Any]]] = [("bare", "bare_pass", own, {"steps": 4})]
    for name, kernel in KERNELS.items():
        wanted.append((f"creode {name}", "creode_sampler", own, {**ours, "kernel": kernel}))
    theirs: dict[str, tuple[str, dict[str, Any]]] = {
        "devinterp-1.3.2": ("devinterp_1_3", {**RUN, "method": "sgld", "loader": "examples"}),
        "devinterp-2.0.1": ("devinterp_2_0", {**RUN, "method": "sgmcmc_sgld", "probe": False}),
    }
    for peer, python in pythons.items():
        runner, settings = theirs[peer]
        wanted.append((f"{peer} SGLD", runner, python, settings))
    return [
        Spec(name=name, runner=runner, python=python, workload=workload, settings=settings)
        for name, runner, python, settings in wanted
    ]
