"""Whether the record of a run fits into memory, asked before the first step.

Here: the size of probe moments and traces, and the memory there is.
Not here: accumulation itself (recorder.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from creode.data import Samples
from creode.sampling.comoments import num_blocks
from creode.sampling.schedule import Schedule
from creode.tasks import Task, as_losses

MOMENT_BYTES = 8  # of a unit and chain, each: sums of ℓ² and of ℓ and φℓ by block; temporaries
TRACE_BYTES = 4  # of a unit, chain and draw


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@torch.no_grad()
def check_memory(
    model: nn.Module,
    task: Task,
    probes: Mapping[str, Samples],
    schedule: Schedule,
    num_observables: int = 1,
) -> None:
    """Raise ValueError, naming the probe, if the record would not fit into memory."""
    available = available_bytes()
    if available is None:
        return
    for name, samples in probes.items():
        one = as_losses(task(model, samples.batch(torch.arange(1))))
        units = len(samples) * one.values.numel() * schedule.chains
        blocks = num_blocks(schedule.draws) * (1 + num_observables)
        needed = units * MOMENT_BYTES * (3 + 2 * blocks)  # the result is as large as the sums
        if name in schedule.traces:
            needed += units * schedule.draws * TRACE_BYTES
        if needed > available:
            raise ValueError(
                f"probe {name!r} needs about {needed / 1e9:.1f} GB for its record and "
                f"{available / 1e9:.1f} GB are free; use fewer samples, shorter sequences, "
                "fewer chains, or no traces."
            )
