"""Patterning: choose data that make a model learn what is wanted; prove it by retraining."""

from creode.patterning.associations import associations
from creode.patterning.effects import effects
from creode.patterning.mode_targets import mode_response
from creode.patterning.online import Steered, Steering, online
from creode.patterning.pattern import Pattern, pattern
from creode.patterning.problem import UnresolvedError
from creode.patterning.proof import verify
from creode.patterning.singular import SingularResponseError
from creode.patterning.solutions import prefer, solution_effects
from creode.patterning.solvers import Convex, Furthest, MinimumNorm, OutOfReachError
from creode.patterning.swapping import Swapped, swap_negative
from creode.patterning.token_weights import TokenWeights, load_weights
from creode.patterning.trainer_weights import TrainerWeights
from creode.patterning.weights import SampleWeights

__all__ = [
    "Convex",
    "Furthest",
    "MinimumNorm",
    "OutOfReachError",
    "Pattern",
    "SampleWeights",
    "SingularResponseError",
    "Steered",
    "Steering",
    "Swapped",
    "TokenWeights",
    "TrainerWeights",
    "UnresolvedError",
    "associations",
    "effects",
    "load_weights",
    "mode_response",
    "online",
    "pattern",
    "prefer",
    "solution_effects",
    "swap_negative",
    "verify",
]
