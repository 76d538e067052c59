"""What developmental curves are like before any reading.

Here: how many atoms, of which shapes, lengths and heights; which trends; how likely each kind of
curve is.
Not here: draws given readings (curve.py), staircases and segments (files of their own).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from creode.development.segments import SegmentPrior
from creode.development.staircases import StaircasePrior


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What curves are like before any reading. Heights are in units of the readings' range."""

    places: int = 240  # of the grid of places of kinks and of the shortest steps
    fineness: float = 16.0  # places of a step within its length, if that makes fewer
    lengths: int = 8  # of steps, evenly in log length
    shortest: float = 0.5  # length of a step, in median gaps between readings
    longest: float = 0.6  # the same, as a share of the trajectory
    most: int = 8  # atoms of a curve
    another: float = 1.5  # P(K + 1 atoms) / P(K atoms)
    nothing: float = 10.0  # how many times likelier than that a constant without atoms is
    shares: tuple[float, float, float] = (0.4, 0.2, 0.4)  # of logistic, straight, kinks
    height: float = 0.5  # standard deviation of a step's height
    alike: float = 0.8  # correlation of heights in trajectories whose steps go one way
    one_way: float = 0.5  # P(steps go one way); else their heights are independent
    bend: float = 3.0  # standard deviation of a kink's change of rate
    line: float = 3.0  # standard deviation of a and b
    flat: float = 0.35  # P(b = 0 and α = 0)
    amplitudes: tuple[float, ...] = (0.1, 0.3, 1.0)  # α
    scales: tuple[float, ...] = (0.25, 0.5, 1.0)  # length scales of g
    smooth: float = 0.4  # P(α > 0)
    trust: float = 12.0  # degrees of freedom of the prior of s² around 1
    kinds: tuple[float, float, float, float] = (0.3, 0.4, 0.1, 0.2)  # P of each of kinds.KINDS
    staircase: StaircasePrior = field(default_factory=StaircasePrior)
    segments: SegmentPrior = field(default_factory=SegmentPrior)

    def __post_init__(self) -> None:
        straight = 1 - self.flat - self.smooth
        if min(self.flat, self.smooth, straight) <= 0:
            raise ValueError(
                f"flat and smooth must be above 0 and their sum below 1, got {self.flat} and "
                f"{self.smooth}."
            )
        if not (0 <= self.alike < 1 and 0 < self.one_way < 1):
            raise ValueError(
                f"alike must be in [0, 1) and one_way in (0, 1), got {self.alike} and "
                f"{self.one_way}."
            )
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must not be negative and sum to 1, got {self.shares}.")
        if len(self.kinds) != 4 or min(self.kinds) < 0 or abs(sum(self.kinds) - 1) > 1e-9:
            raise ValueError(
                f"kinds must be four shares, none negative, that sum to 1, got {self.kinds}."
            )
        if min(self.places, self.lengths, self.most) < 1:
            raise ValueError(
                f"places, lengths and most must be at least 1, got {self.places}, {self.lengths} "
                f"and {self.most}."
            )
        sizes = (self.shortest, self.longest, self.height, self.bend, self.line, *self.scales)
        if min(*sizes, self.another, self.nothing, self.trust, self.fineness) <= 0:
            raise ValueError(
                "shortest, longest, height, bend, line, scales, another, nothing, trust and "
                f"fineness must be positive, got {self}."
            )
