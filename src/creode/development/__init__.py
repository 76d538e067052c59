"""Development: readings along checkpoints."""

from creode.development.checkpoints import Checkpoint, list_checkpoints
from creode.models import load_model, load_weights

__all__ = ["Checkpoint", "list_checkpoints", "load_model", "load_weights"]
