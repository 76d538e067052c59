"""Development: readings along checkpoints."""

from creode.development.alarm import Alarm, AlarmConfig, Event, Reading
from creode.development.checkpoints import Checkpoint, is_hub_id, list_checkpoints
from creode.development.replay import alarms
from creode.models import load_model, load_weights

__all__ = [
    "Alarm",
    "AlarmConfig",
    "Checkpoint",
    "Event",
    "Reading",
    "alarms",
    "is_hub_id",
    "list_checkpoints",
    "load_model",
    "load_weights",
]
