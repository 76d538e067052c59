"""Development: readings along checkpoints, the stages in them, an alarm for what the loss hides."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from creode.development.alarm import Alarm
from creode.development.alarm_config import AlarmConfig
from creode.development.change_points import change_points
from creode.development.changes import changes
from creode.development.checkpoints import Checkpoint, is_hub_id, list_checkpoints
from creode.development.curve import Effort
from creode.development.curve_prior import Prior
from creode.development.event import Event
from creode.development.flips import sign_flips
from creode.development.meetings import Meetings, meetings
from creode.development.peaks import peaks
from creode.development.predictors import (
    dmmse_in_context,
    next_token_predictors,
    ridge_in_context,
)
from creode.development.reading import Reading
from creode.development.readings_file import load_readings
from creode.development.replay import alarms
from creode.development.response_path import response_path
from creode.development.series import FEWEST
from creode.development.shapes import shapes
from creode.development.smoothing import Smooth, smooth
from creode.development.stages import stages
from creode.development.trajectory import TrajectoryGram, trajectory_pca
from creode.models import load_model, load_weights

if TYPE_CHECKING:
    from creode.development.saving import CheckpointSaver
    from creode.development.trainer_callback import CheckpointCallback

_LATER = {  # these import the trainer, or transformers
    "CheckpointCallback": "creode.development.trainer_callback",
    "CheckpointSaver": "creode.development.saving",
}

__all__ = [
    "FEWEST",
    "Alarm",
    "AlarmConfig",
    "Checkpoint",
    "CheckpointCallback",
    "CheckpointSaver",
    "Effort",
    "Event",
    "Meetings",
    "Prior",
    "Reading",
    "Smooth",
    "TrajectoryGram",
    "alarms",
    "change_points",
    "changes",
    "dmmse_in_context",
    "is_hub_id",
    "list_checkpoints",
    "load_model",
    "load_readings",
    "load_weights",
    "meetings",
    "next_token_predictors",
    "peaks",
    "response_path",
    "ridge_in_context",
    "shapes",
    "sign_flips",
    "smooth",
    "stages",
    "trajectory_pca",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'creode.development' has no attribute {name!r}")
