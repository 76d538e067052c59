"""What takes turns: four workloads, their contenders, and whose seconds are compared.

Here: models and batches, the settings of every contender, pairs.
Not here: measuring them (throughput.py), the samplers themselves (contenders/).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contender import CALIBRATION, Spec
from contenders.workloads import UNTIMED, Workload

SGLD = {"name": "sgld", "step_size": 1e-7}
KERNELS: Mapping[str, Mapping[str, Any]] = {
    "SGLD": SGLD,
    "RMSPropSGLD": {"name": "rmsprop_sgld", "step_size": 1e-7, "freeze": False},  # v always moves
    "BAOAB": {"name": "baoab", "step_size": 1e-4, "friction": 100.0},
}
WINDOW = 5  # steps between draws, creode's default


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float  # that a block of steps lasts, about
    quick: bool = False
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Section:
    """One workload, its contenders, and pairs of them whose seconds are compared."""

    title: str
    specs: tuple[Spec, ...]
    pairs: tuple[tuple[str, str], ...]


class Contenders:
    """Makes the specs of one workload."""

    def __init__(
        self,
        workload: Workload,
        pythons: Mapping[str, Path],
        effort: Effort,
        *,
        chains: int,
        longest_block: int,
    ) -> None:
        self._workload, self._pythons = workload, pythons
        self._chains = chains
        self._steps = effort.rounds * (longest_block + UNTIMED) + 2 * (CALIBRATION + UNTIMED)
        self._longest = longest_block

    def creode(
        self, name: str, kernel: str = "SGLD", *, window: int = WINDOW, **other: Any
    ) -> Spec:
        """creode.sample; losses from pairs on the minibatches, at every step."""
        settings = {
            "kernel": KERNELS[kernel],
            "chains": self._chains,
            "draws": -(-self._steps // window),
            "steps_per_draw": window,
            "mode": "auto",
            "probe": False,
            **other,
        }
        return self._spec(
            name,
            "creode_sampler",
            Path(sys.executable),
            settings,
            forward_every=int(settings["probe"]),
            multiple=window,
        )

    def creode_on_much_data(self, name: str) -> Spec:
        """Data too large for pairs: losses from a probe of one batch, at every draw."""
        seen = self._chains * (self._steps + WINDOW) * self._workload.batch_size
        much = replace(self._workload, num_samples=seen // 10 + 2 * self._workload.batch_size)
        return replace(self.creode(name), workload=much, forward_every=WINDOW)

    def devinterp_1(self, method: str, loader: str) -> tuple[Spec, ...]:
        """devinterp 1.3.2, if it is among the peers."""
        settings = {"method": method, "loader": loader, "draws": self._steps}
        kind = {"sgld": "SGLD", "rmsprop": "RMSprop SGLD"}[method]
        name = f"devinterp 1.3.2 {kind}" + (", examples' loader" if loader == "examples" else "")
        return self._peer("devinterp-1.3.2", name, "devinterp_1_3", settings)

    def devinterp_2(self, method: str, *, probe: bool = False) -> tuple[Spec, ...]:
        """devinterp 2.0.1, if it is among the peers."""
        settings = {"method": method, "probe": probe, "draws": self._steps}
        kind = {"sgmcmc_sgld": "SGLD", "rmsprop_sgld": "RMSprop SGLD"}[method]
        name = f"devinterp 2.0.1 {kind}" + (" + observable" if probe else "")
        return self._peer(
            "devinterp-2.0.1", name, "devinterp_2_0", settings, forward_every=int(probe)
        )

    def _peer(
        self, peer: str, name: str, runner: str, settings: dict[str, Any], **other: Any
    ) -> tuple[Spec, ...]:
        if peer not in self._pythons:
            return ()
        settings["chains"] = self._chains
        return (self._spec(name, runner, self._pythons[peer], settings, **other),)

    def _spec(
        self, name: str, runner: str, python: Path, settings: dict[str, Any], **other: Any
    ) -> Spec:
        return Spec(
            name=name, runner=runner, python=python, workload=self._workload, settings=settings,
            longest_block=self._longest, **other,
        )  # fmt: skip


def decoder(pythons: Mapping[str, Path], effort: Effort) -> Section:
    """A two-layer attention-only decoder of 3 million weights."""
    workload = decoder_of(
        vocab_size=500 if effort.quick else 5000, d_model=32 if effort.quick else 256,
        num_layers=2, num_heads=8, context_length=16 if effort.quick else 128, mlp_ratio=0.0,
        batch_size=4 if effort.quick else 32, num_samples=64 if effort.quick else 512,
    )  # fmt: skip
    make = Contenders(workload, pythons, effort, chains=1, longest_block=200)
    return Section(
        title="decoder, 3M weights, 32 x 128 tokens, one chain",
        specs=(
            make.creode("creode SGLD"),
            make.creode("creode SGLD, a draw every step", window=1),
            make.creode("creode SGLD + probe, a draw every step", window=1, probe=True),
            make.creode_on_much_data("creode SGLD, losses from a probe"),
            make.creode("creode RMSPropSGLD", "RMSPropSGLD"),
            make.creode("creode BAOAB", "BAOAB"),
            *make.devinterp_1("sgld", "examples"),
            *make.devinterp_2("sgmcmc_sgld"),
            *make.devinterp_2("sgmcmc_sgld", probe=True),
        ),
        pairs=(
            ("creode RMSPropSGLD", "creode SGLD"),
            ("creode BAOAB", "creode SGLD"),
            ("devinterp 1.3.2 SGLD, examples' loader", "creode SGLD"),
            ("devinterp 2.0.1 SGLD", "creode SGLD"),
            ("devinterp 2.0.1 SGLD + observable", "creode SGLD + probe, a draw every step"),
        ),
    )


def mlp(pythons: Mapping[str, Path], effort: Effort) -> Section:
    """A ReLU network for ten classes."""
    return small(
        "MLP 784-256-256-10, batch 512, four chains",
        Workload(
            kind="classifier",
            shape={"widths": [784, 256, 256, 10]},
            batch_size=64 if effort.quick else 512,
            num_samples=512 if effort.quick else 4096,
        ),
        pythons,
        effort,
    )


def linear(pythons: Mapping[str, Path], effort: Effort) -> Section:
    """A deep linear network of 10.8 thousand weights."""
    return small(
        "deep linear 60-60-60-60, batch 512, four chains",
        Workload(kind="linear", shape={"widths": [60] * 4}, batch_size=512, num_samples=4096),
        pythons,
        effort,
    )


def tiny(pythons: Mapping[str, Path], effort: Effort) -> Section:
    """A deep linear network of 1.2 thousand weights."""
    return small(
        "deep linear 16-20-20-16-12, batch 512, four chains",
        Workload(
            kind="linear",
            shape={"widths": [16, 20, 20, 16, 12]},
            batch_size=512,
            num_samples=4096,
        ),
        pythons,
        effort,
    )


def small(title: str, workload: Workload, pythons: Mapping[str, Path], effort: Effort) -> Section:
    """Four chains of a small model, every kernel of every contender."""
    make = Contenders(workload, pythons, effort, chains=4, longest_block=2000)
    return Section(
        title=title,
        specs=(
            make.creode("creode SGLD"),
            make.creode("creode SGLD, a draw every step", window=1),
            make.creode("creode RMSPropSGLD", "RMSPropSGLD"),
            make.creode("creode BAOAB", "BAOAB"),
            *make.devinterp_1("sgld", "examples"),
            *make.devinterp_1("sgld", "batched"),
            *make.devinterp_1("rmsprop", "batched"),
            *make.devinterp_2("sgmcmc_sgld"),
            *make.devinterp_2("rmsprop_sgld"),
        ),
        pairs=(
            ("creode RMSPropSGLD", "creode SGLD"),
            ("creode BAOAB", "creode SGLD"),
            ("devinterp 1.3.2 SGLD, examples' loader", "creode SGLD"),
            ("devinterp 1.3.2 SGLD", "creode SGLD"),
            ("devinterp 2.0.1 SGLD", "creode SGLD"),
            ("devinterp 1.3.2 RMSprop SGLD", "creode RMSPropSGLD"),
            ("devinterp 2.0.1 RMSprop SGLD", "creode RMSPropSGLD"),
        ),
    )


def decoder_of(*, batch_size: int, num_samples: int, **shape: Any) -> Workload:
    """The workload of a decoder."""
    return Workload(kind="decoder", shape=shape, batch_size=batch_size, num_samples=num_samples)


SECTIONS = {"decoder": decoder, "mlp": mlp, "linear": linear, "tiny": tiny}
