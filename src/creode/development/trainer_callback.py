"""Checkpoints, and readings of them, while transformers' Trainer trains a model.

    trainer = Trainer(..., callbacks=[CheckpointCallback("runs/mine", log_spaced(1, 10_000, 40))])

Here: the Trainer's events, passed on to a `CheckpointSaver`.
Not here: what is done at a step (saving.py); going on with a run, which is the Trainer's own
`resume_from_checkpoint` and its own checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from creode.development.alarm import Alarm
from creode.development.event import Event
from creode.development.saving import CheckpointSaver, Read


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Saves and reads at given steps of a Trainer; its arguments are those of `CheckpointSaver`.

    A step is one of the optimiser (`state.global_step`). The process of rank 0 saves and reads, so
    the model must be whole there: DeepSpeed and FSDP are refused. The Trainer's own checkpoints
    (`save_strategy`) are a matter of their own, best in another directory.
    """

    def __init__(
        self,
        directory: str | Path,
        steps: Iterable[int],
        *,
        read: Read | None = None,
        alarm: Alarm | None = None,
        on_event: Callable[[Event], None] | None = None,
        resume: bool = False,
    ) -> None:
        self._directory, self._steps = Path(directory), list(steps)
        self._options: dict[str, Any] = {
            "read": read,
            "alarm": alarm,
            "on_event": on_event,
            "resume": resume,
        }
        self._saver: CheckpointSaver | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Save the start, or the step training goes on from, if asked for."""
        if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
            raise ValueError(
                "CheckpointCallback cannot save a model whose weights are spread over processes "
                "(DeepSpeed, FSDP); leave it out and use the Trainer's save_strategy."
            )
        if state.is_world_process_zero:
            self._saver = CheckpointSaver(
                kwargs["model"], self._directory, self._steps, **self._options
            )
            self._saver(state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Save and read after a step of the optimiser, if it is one of the given steps."""
        if self._saver is not None:
            self._saver(state.global_step)
