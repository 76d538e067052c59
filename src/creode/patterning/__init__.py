"""Patterning: choose data that make a model learn what is wanted; prove it by retraining."""

from creode.patterning.mode_targets import mode_response
from creode.patterning.pattern import Pattern, UnresolvedError, pattern
from creode.patterning.proof import verify
from creode.patterning.solvers import Convex, MinimumNorm, OutOfReachError
from creode.patterning.weights import SampleWeights

__all__ = [
    "Convex",
    "MinimumNorm",
    "OutOfReachError",
    "Pattern",
    "SampleWeights",
    "UnresolvedError",
    "mode_response",
    "pattern",
    "verify",
]
