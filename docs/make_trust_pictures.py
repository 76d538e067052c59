"""The pictures of the guide "How far to trust a learning coefficient", healthy and sick.

    python docs/make_trust_pictures.py --out docs/trust

Every picture is a chart that the library itself draws, of chains on a small loss; the settings that
make them sick are chosen by hand. What each reading says of itself is printed, and written to
`readings.json` beside the pictures.

Here: the cases, their charts, the record.
Not here: what to make of them (trust.md).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

import creode
from creode.diagnostics import traces
from creode.sampling import Plan, Schedule, find_calibration
from creode.study import Grid, sensitivity
from creode.testbeds import deep_linear, quadratic
from creode.viewer import Report, SensitivityReport, export_charts, export_sensitivity

SIDE_BY_SIDE = creode.Execution(mode="vectorised")
LOSSES, RUNNING = "chain_losses", "chain_running_llc"
EIGENVALUES = (0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0)
STIFFEST = (100 * 8.0 + 10.0) ** 0.5  # of the quadratic at NBETA and GAMMA, in 1/weight
NBETA, GAMMA = 100.0, 10.0
APART, TOGETHER = 0, 4  # seeds with which one of the four chains crosses the barrier, and none
FIELDS = ("llc", "llc_se", "ess", "rhat", "rhat_distance", "virial", "virial_se", "locality")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture: chains on a loss, which of the report's charts shows them, and the truth."""

    draw: Callable[[], xr.DataTree]
    chart: str
    exact: float | None  # λ̂ of exact draws at the case's own nβ and γ; None where it is not known


def on_a_quadratic(sampler: Any, **schedule: Any) -> xr.DataTree:
    """Four chains with exact gradients on ½ Σ h w²."""
    bed = quadratic(EIGENVALUES, num_samples=4)
    posterior = creode.LocalPosterior(
        bed.model, bed.task, bed.data, nbeta=NBETA, localization=GAMMA
    )
    settings = {"chains": 4, "draws": 200, "burnin": 1000, "steps_per_draw": 20} | schedule
    return creode.sample(
        posterior, sampler=sampler, batch_size=4, execution=SIDE_BY_SIDE, **settings
    )


def healthy() -> xr.DataTree:
    """A step of 0.45 of the stiffest direction, after many relaxation times."""
    return on_a_quadratic(creode.BAOAB(step_size=0.45 / STIFFEST, friction=10.0))


def not_warmed_up() -> xr.DataTree:
    """No burn-in, and a step so small that the chains spread over the whole of the run."""
    return on_a_quadratic(creode.SGLD(step_size=2e-5), burnin=0, draws=200, steps_per_draw=5)


def too_large_a_step() -> xr.DataTree:
    """SGLD at half the step at which its stiffest direction becomes unstable."""
    return on_a_quadratic(creode.SGLD(step_size=2.0 / STIFFEST**2))


class Well(nn.Module):
    """Weights that a loss of their displacement alone is made of."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, ones: Tensor) -> Tensor:
        """The displacement from w* = 0, once for each sample."""
        return ones[:, None] * self.weight


def in_a_well(
    loss: Callable[[Tensor], Tensor], size: int, *, nbeta: float, gamma: float, sampler: Any,
    **schedule: Any,
) -> xr.DataTree:  # fmt: skip
    """Four chains on a loss of the displacement."""
    posterior = creode.LocalPosterior(
        Well(size), lambda model, batch: loss(model(batch["ones"])), {"ones": torch.ones(4)},
        nbeta=nbeta, localization=gamma,
    )  # fmt: skip
    settings = {"chains": 4, "draws": 200, "burnin": 1000, "steps_per_draw": 20} | schedule
    return creode.sample(
        posterior, sampler=sampler, batch_size=4, execution=SIDE_BY_SIDE, **settings
    )


def left_the_basin() -> xr.DataTree:
    """A basin with a rim: beyond it the loss is flat, and the tether is too weak to hold chains."""

    def loss(w: Tensor) -> Tensor:
        half = w.square().sum(1) / 2
        return half / (1 + half)

    return in_a_well(
        loss, 8, nbeta=20.0, gamma=0.05, burnin=100, steps_per_draw=100,
        sampler=creode.BAOAB(step_size=0.1, friction=0.5),
    )  # fmt: skip


def beyond_a_barrier(seed: int) -> xr.DataTree:
    """A second, lower minimum, which a chain that finds it does not leave."""

    def loss(w: Tensor) -> Tensor:
        x = w[:, 0]
        wells = 0.6 * x.square() * (x - 2).square() - 0.04 * x.square()
        return wells + w[:, 1:].square().sum(1) / 2

    return in_a_well(
        loss, 8, nbeta=12.0, gamma=0.1, seed=seed, burnin=500,
        sampler=creode.BAOAB(step_size=0.06, friction=2.0),
    )  # fmt: skip


def harmless_drift() -> xr.DataTree:
    """A deep linear network, whose flat directions mix far more slowly than its loss."""
    net = deep_linear((6, 8, 8, 5), rank=3, num_samples=6)
    posterior = creode.LocalPosterior(net.model, net.task, net.data, nbeta=6000.0, localization=7.0)
    return creode.sample(
        posterior, sampler=creode.BAOAB(step_size=0.0016, friction=8.0), chains=4, batch_size=6,
        burnin=5000, draws=400, steps_per_draw=30, execution=SIDE_BY_SIDE,
    )  # fmt: skip


def exact_on_the_quadratic() -> float:
    """½ Σ h/(h + γ/nβ)."""
    return sum(h / (h + GAMMA / NBETA) for h in EIGENVALUES) / 2


CASES = {
    "healthy": Case(draw=healthy, chart=LOSSES, exact=exact_on_the_quadratic()),
    "not_warmed_up": Case(draw=not_warmed_up, chart=LOSSES, exact=exact_on_the_quadratic()),
    "too_large_a_step": Case(draw=too_large_a_step, chart=LOSSES, exact=exact_on_the_quadratic()),
    "left_the_basin": Case(draw=left_the_basin, chart=LOSSES, exact=None),
    "one_chain_apart": Case(draw=lambda: beyond_a_barrier(APART), chart=RUNNING, exact=None),
    "none_crossed": Case(draw=lambda: beyond_a_barrier(TOGETHER), chart=RUNNING, exact=None),
    "harmless_drift": Case(draw=harmless_drift, chart=RUNNING, exact=None),
}
AROUND = {"no_plateau": 4000, "nearly_flat": 20_000}  # around the choice: the budget


def picture(name: str, out: Path) -> dict[str, Any]:
    """Make one picture in `out`; return what its reading says."""
    if name in AROUND:
        return around(name, out, budget=AROUND[name])
    case = CASES[name]
    draws = case.draw()
    reading = creode.llc(draws)
    report = Report(title=name, llc=reading, traces={(None, "full"): traces(draws)})
    with tempfile.TemporaryDirectory() as folder:
        export_charts(report, folder, formats=("svg",))
        (found,) = Path(folder).glob(f"{case.chart}_*.svg")
        shutil.copy(found, out / f"{name}.svg")
    return {
        "picture": name,
        "exact": case.exact,
        **{field: float(reading[field]) for field in FIELDS},
        "llc_by_chain": [float(value) for value in reading["llc_by_chain"].values],
        "ok": bool(reading.ok),
        "reasons": str(reading.reasons.item()),
        "notes": str(reading.notes.item()),
    }


def around(name: str, out: Path, *, budget: int) -> dict[str, Any]:
    """A deep network of low rank, read around the automatic choice."""
    net = deep_linear((6,) * 8, rank=0, num_samples=6)
    posterior = creode.LocalPosterior(net.model, net.task, net.data)
    schedule = Schedule(batch_size=6)
    auto = creode.Auto(budget=budget)
    plan = Plan(kernel=auto, schedule=schedule, execution=SIDE_BY_SIDE)
    chosen = find_calibration(posterior, {}, plan)
    readings = sensitivity(
        posterior, chosen, grid=Grid(), schedule=schedule, execution=SIDE_BY_SIDE
    )
    reading = creode.llc(
        creode.sample(posterior, sampler=auto, batch_size=6, execution=SIDE_BY_SIDE)
    )
    report = SensitivityReport(title=name, readings=readings)
    (found,) = export_sensitivity(report, out, formats=("svg",))
    found.replace(out / f"{name}.svg")
    return {
        "picture": name,
        "exact": net.llc,
        **{field: float(reading[field]) for field in (*FIELDS, "llc_tethered", "tether_shift")},
        "ok": bool(reading.ok),
        "reasons": str(reading.reasons.item()),
        "notes": str(reading.notes.item()),
        "slopes": [str(sentence) for sentence in readings["sentence"].values],
    }


def make(out: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The pictures and `readings.json`, in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for name in names:
        found.append(picture(name, out))
        print(json.dumps(found[-1], ensure_ascii=False), flush=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (out / "readings.json").write_text(text + "\n", encoding="utf-8")
    return found


def main() -> None:
    """Parse, and make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "trust")
    parser.add_argument("--only", nargs="+", choices=[*CASES, *AROUND])
    given = parser.parse_args()
    torch.set_num_threads(1)
    make(given.out, given.only or [*CASES, *AROUND])


if __name__ == "__main__":
    main()
