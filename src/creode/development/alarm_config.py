"""What an alarm watches, what counts as a change, and how often it may ring for nothing.

Here: the settings, checked, and which way a reading is asked to go.
Not here: watching (alarm.py), the evidence (evidence.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from creode.development.evidence import Change

Direction = Literal["falls", "rises", "either"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, kw_only=True)
class AlarmConfig:
    """What is watched, what counts as a change, and how often it may ring for nothing."""

    # Names of readings, none: those of the first update; or by name which way each is asked to go.
    watch: tuple[str, ...] | Mapping[str, Direction] = ()
    loss: str = "loss"  # name of the training loss among the readings
    rate: float = 0.05  # share of runs without a change that may ever ring
    reference: int = 8  # checkpoints of flat loss before watching, and readings before a change
    confirm: int = 2  # readings a change needs
    drift: int = 1  # highest power of the log step that is no change; 0: none
    wander: tuple[float, ...] = (
        0.0,
        0.1,
    )  # random walks that are no change: moves' variance, errors²
    autocorrelation: float = 0.0  # between the errors of neighbouring checkpoints
    flat: float = 0.01  # of all that the loss has moved so far
    least: float = 0.1  # smallest change that is told, of the level's size
    need_ok: bool = True  # leave out readings whose verdict is not ok

    def __post_init__(self) -> None:
        if isinstance(self.watch, str):
            raise ValueError(f"watch must be names of readings, got the text {self.watch!r}.")
        watch = dict(self.watch) if isinstance(self.watch, Mapping) else tuple(self.watch)
        object.__setattr__(self, "watch", watch)
        object.__setattr__(self, "wander", tuple(self.wander))
        for name in self.watch:
            if self.direction(name) not in DIRECTIONS:
                raise ValueError(
                    f"watch: {name!r} must be asked for as one of {', '.join(DIRECTIONS)}, got "
                    f"{self.direction(name)!r}."
                )
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must be between 0 and 1, got {self.rate!r}.")
        if not 0 <= self.drift <= 3:
            raise ValueError(f"drift must be a power from 0 to 3, got {self.drift!r}.")
        if self.reference < max(4, self.drift + 3):
            raise ValueError(
                f"reference must be at least {max(4, self.drift + 3)} checkpoints with drift "
                f"{self.drift}, got {self.reference!r}."
            )
        if self.confirm < 1:
            raise ValueError(f"confirm must be at least 1 reading, got {self.confirm!r}.")
        if not -1 < self.autocorrelation < 1:
            raise ValueError(f"autocorrelation must be within ±1, got {self.autocorrelation!r}.")
        if not self.wander or min(self.wander) < 0:
            raise ValueError(f"wander must be variances ≥ 0, at least one, got {self.wander!r}.")
        if self.flat < 0 or self.least < 0:
            raise ValueError(f"flat and least must be ≥ 0, got {self.flat!r}, {self.least!r}.")
        if self.loss in self.watch:
            raise ValueError(f"the loss {self.loss!r} is not watched; leave it out of watch.")

    def direction(self, name: str) -> Direction:
        """Which way a reading is asked to go: either, unless `watch` says one."""
        return self.watch.get(name, "either") if isinstance(self.watch, Mapping) else "either"

    def change(self) -> Change:
        """What the evidence is about."""
        return Change(
            reference=self.reference,
            confirm=self.confirm,
            drift=self.drift,
            autocorrelation=self.autocorrelation,
            wander=self.wander,
        )
