"""How long chains run, what a step sees, and how the steps are computed.

Here: two frozen configurations that check themselves.
Not here: the kernel's own settings (one file each), the loop (engine.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from creode.data import Samples

Mode = Literal["auto", "sequential", "vectorised"]
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Chains of `burnin` steps and then `draws` draws, `steps_per_draw` steps apart."""

    chains: int = 4
    draws: int = 200
    burnin: int = 200  # steps before the first window of draws
    steps_per_draw: int = 5
    batch_size: int = 32  # samples a gradient is taken on
    seed: int = 0
    traces: tuple[str, ...] = ()  # probes whose losses are kept at every draw
    control_variates: bool = False  # gradients without their noise at w*, at twice the cost

    def __post_init__(self) -> None:
        least = {"chains": 1, "draws": 1, "burnin": 0, "steps_per_draw": 1, "batch_size": 1}
        for name, minimum in (*least.items(), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ValueError(f"{name} must be a whole number ≥ {minimum}, got {value!r}.")
        if self.draws < 2:
            raise ValueError(
                f"draws must be at least 2 for any error estimate, got {self.draws}; 200 is usual."
            )

    @property
    def num_steps(self) -> int:
        """Steps of one chain."""
        return self.burnin + self.draws * self.steps_per_draw

    def gradient_evaluations(self, num_samples: int) -> int:
        """Gradients of a minibatch that one chain takes, with `num_samples` of data."""
        if not self.control_variates:
            return self.num_steps
        return 2 * self.num_steps + -(-num_samples // self.batch_size)

    def fitted_to(self, data: Samples) -> Schedule:
        """The same schedule with the batch no larger than the data set."""
        return replace(self, batch_size=min(self.batch_size, len(data)))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the steps are computed; changes speed and rounding, never the law of the chain."""

    mode: Mode = "auto"  # chains side by side, in turn, or whichever a short timing favours
    device: str | None = None  # None: where the model is
    forward_dtype: str | None = None  # autocast of the forward pass; chain state keeps its own
    microbatch: int | None = None  # samples of one forward pass; gradients accumulate over them

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "sequential", "vectorised"):
            raise ValueError(
                f"mode must be 'auto', 'sequential' or 'vectorised', got {self.mode!r}."
            )
        if self.forward_dtype is not None and self.forward_dtype not in DTYPES:
            raise ValueError(f"forward_dtype must be one of {DTYPES}, got {self.forward_dtype!r}.")
        if self.microbatch is not None and self.microbatch < 1:
            raise ValueError(f"microbatch must be ≥ 1, got {self.microbatch}.")
