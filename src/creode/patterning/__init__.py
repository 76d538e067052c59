"""Patterning: choose data that make a model learn what is wanted; prove it by retraining."""

from creode.patterning.pattern import Pattern, UnresolvedError, pattern
from creode.patterning.proof import verify
from creode.patterning.solutions import prefer, solution_effects
from creode.patterning.solvers import Convex, Furthest, MinimumNorm, OutOfReachError
from creode.patterning.weights import SampleWeights

__all__ = [
    "Convex",
    "Furthest",
    "MinimumNorm",
    "OutOfReachError",
    "Pattern",
    "SampleWeights",
    "UnresolvedError",
    "pattern",
    "prefer",
    "solution_effects",
    "verify",
]
