"""A change that an alarm found in a reading.

Here: what rang, when, how much, since when, what the loss did, whether it went the way asked for.
Not here: finding it (alarm.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["silent", "opposing", "with the loss", "loss unknown"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What was found, when, how much, since when, and what the loss did."""

    step: int  # the checkpoint at which it was found, in training steps
    reading: str
    kind: Kind
    change: float  # how far the reading has gone from where it would be, in its own unit
    change_se: float
    level: float  # where it would be
    since: int  # the first checkpoint of the change, the likeliest
    since_low: int  # 5 % and 95 % of its posterior
    since_high: int
    loss_change: float  # mean loss since the change less that before, nats
    loss_change_se: float
    noise: float  # by what factor the reading's stated errors seem too small
    log_evidence: float  # against no change, nats
    log_needed: float  # what it had to pass
    asked: bool  # whether it goes a way that was asked for, so that the alarm rang

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.reading} changed by {self.change:+.3g} ± "
            f"{self.change_se:.2g} since step {self.since} ({self.since_low} to "
            f"{self.since_high}), {self.kind} (loss {self.loss_change:+.2g} ± "
            f"{self.loss_change_se:.1g}){'' if self.asked else '; not asked for'}"
        )
