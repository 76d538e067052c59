"""Development: readings along checkpoints, and the stages in them."""

from creode.development.change_points import change_points
from creode.development.changes import changes
from creode.development.checkpoints import Checkpoint, list_checkpoints
from creode.development.curve import Effort, Prior
from creode.development.smoothing import Smooth, smooth
from creode.development.stages import stages
from creode.models import load_model, load_weights

__all__ = [
    "Checkpoint",
    "Effort",
    "Prior",
    "Smooth",
    "change_points",
    "changes",
    "list_checkpoints",
    "load_model",
    "load_weights",
    "smooth",
    "stages",
]
