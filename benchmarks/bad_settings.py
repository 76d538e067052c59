"""Settings that are wrong on purpose: does the verdict notice?

Each starts from what the pilot chose for the point, which is sound, and spoils it in one way.

Here: the ways, a reading of each.
Not here: the points (cases.py), the checks (creode.diagnostics.verdict).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

import creode
from creode.sampling import SGLD, Calibration, Plan, Schedule, find_calibration
from creode.sampling.kernel import Kernel
from creode.testbeds.testbed import Testbed

TOO_LARGE = 100.0
SHIFT = 0.3  # of weights away from the minimum, over √fan-in
SHORT_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """A run that nobody should trust."""

    name: str
    model: nn.Module
    kernel: Kernel
    nbeta: float
    localization: float
    burnin: int
    draws: int
    steps_per_draw: int


def spoilt(testbed: Testbed, chosen: Calibration) -> Iterator[Spoilt]:
    """Every way of spoiling a sound choice."""
    sound = Spoilt(
        name="", model=testbed.model, kernel=chosen.kernel, nbeta=chosen.nbeta,
        localization=chosen.localization, burnin=chosen.burnin, draws=chosen.draws,
        steps_per_draw=chosen.steps_per_draw,
    )  # fmt: skip
    large = replace(chosen.kernel, step_size=TOO_LARGE * chosen.step_size, relative_step=None)
    stiffest = chosen.nbeta * chosen.curvature + chosen.localization
    sgld = SGLD(step_size=0.1 / stiffest)  # of the 4 at which a quadratic becomes unstable
    # the chosen schedule is BAOAB's, ten times too short for SGLD, so only the steps are spoilt
    large_sgld = replace(sgld, step_size=TOO_LARGE * sgld.step_size)
    moved = _moved(testbed.model)
    yield replace(sound, name="step × 100", kernel=large)
    yield replace(sound, name="SGLD, step × 100", kernel=large_sgld)
    yield replace(sound, name="no warm-up", burnin=0, draws=SHORT_DRAWS, steps_per_draw=1)
    yield replace(
        sound, name="SGLD, no warm-up", kernel=sgld, burnin=0, draws=SHORT_DRAWS, steps_per_draw=1
    )
    yield replace(sound, name="γ = 0 at a non-minimum", model=moved, localization=0.0)
    yield replace(sound, name="ten draws", draws=10)
    yield replace(
        sound, name="all at once", kernel=large, burnin=0, draws=10, model=moved, localization=0.0
    )


def read(testbed: Testbed, *, budget: int) -> Iterator[dict[str, Any]]:
    """A record of each way: ok, reasons, llc."""
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    plan = Plan(
        kernel=creode.Auto(budget=budget, extrapolate=False),
        schedule=Schedule(batch_size=len(testbed.data)),
    )
    for bad in spoilt(testbed, find_calibration(posterior, {}, plan)):
        target = creode.LocalPosterior(
            bad.model, testbed.task, testbed.data, nbeta=bad.nbeta, localization=bad.localization
        )
        draws = creode.sample(
            target, sampler=bad.kernel, batch_size=len(testbed.data), burnin=bad.burnin,
            draws=bad.draws, steps_per_draw=bad.steps_per_draw,
        )  # fmt: skip
        reading = creode.llc(draws)
        yield {
            "setting": bad.name, "llc": float(reading.llc), "llc_se": float(reading.llc_se),
            "exact": testbed.llc, "ok": bool(reading.ok), "reasons": str(reading.reasons.item()),
        }  # fmt: skip


def _moved(model: nn.Module) -> nn.Module:
    """A copy away from the minimum."""
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in twin.parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 else 1
            noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            weight.add_(noise, alpha=SHIFT / fan_in**0.5)
    return twin
