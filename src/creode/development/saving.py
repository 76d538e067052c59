"""Checkpoints, and readings of them, while somebody else's loop trains a model.

    saver = CheckpointSaver(model, "runs/mine", log_spaced(1, 10_000, 40, zero=True))
    for step in range(10_001):
        saver(step)          # steps done so far
        ...                  # one step of training

Here: an object that is called once a step: it writes checkpoints that `list_checkpoints` finds,
calls a reading, keeps its result, feeds an alarm, and keeps what training goes on from.
Not here: the same for transformers' Trainer (trainer_callback.py), this package's own loop
(training/), the format of a checkpoint (models.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from creode.development.alarm import Alarm
from creode.development.event import Event
from creode.development.reading import Given
from creode.development.readings_file import READINGS, append_readings, stored_readings
from creode.development.undisturbed import random_state, set_random_state, undisturbed
from creode.models import save_model
from creode.training.directory import checkpoint_name, write_whole
from creode.training.order import stream_seed

Read = Callable[[nn.Module, int], Mapping[str, Given]]
_RESUME = "resume.pt"


class Stateful(Protocol):
    """An optimiser, a schedule of learning rates, or whatever else training goes on from."""

    def state_dict(self) -> dict[str, Any]:
        """What it holds."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Hold that."""
        ...


class CheckpointSaver:
    """Called after every step of training; at its steps it saves and reads.

    A checkpoint is written under another name and renamed, so that it is there whole or not at
    all; one that is there is not written again, and a step that was read is not read again. A
    reading leaves the training bit for bit as it was, even if it fails (`undisturbed`), and its
    random numbers are seeded by the step alone.
    """

    def __init__(
        self,
        model: nn.Module,
        directory: str | Path,
        steps: Iterable[int],
        *,
        read: Read | None = None,
        alarm: Alarm | None = None,
        on_event: Callable[[Event], None] | None = None,
        beside: Mapping[str, Stateful] | None = None,
        resume: bool = False,
    ) -> None:
        """Take a directory for a model's checkpoints.

        Args:
            model: what is trained. One with `save_pretrained` writes itself.
            directory: checkpoints go to `step_000100/`, readings to `readings.jsonl` in it.
            steps: at which to save and read; `log_spaced` has equal ratios.
            read: called with the model and the step, returns readings by name: a number, or a
                value with its standard error and verdict. What it raises stops the training.
            alarm: takes every step's readings, which must have the training loss among them.
                Those on disk are replayed into it first.
            on_event: called with each event of the alarm, when it rings; not with those of its
                `unasked`.
            beside: what `restore` needs beside the model, by name, such as the optimiser; at every
                checkpoint it and the model are kept in resume.pt, in place of those before.
            resume: go on in a directory that has checkpoints.
        Raises:
            ValueError: a directory with checkpoints and no `resume`, or an alarm and nothing read.
        """
        self._model, self._read, self._alarm = model, read, alarm
        self._on_event, self._beside = on_event, beside
        self.directory = Path(directory).expanduser()
        self.steps = sorted(set(steps))
        if not self.steps or self.steps[0] < 0:
            raise ValueError(f"steps must be whole numbers ≥ 0, at least one, got {self.steps}.")
        if alarm is not None and read is None:
            raise ValueError("an alarm needs readings; give read, a function of model and step.")
        if not resume and (there := sorted(self.directory.glob("step_*"))):
            raise ValueError(
                f"{self.directory}: has checkpoints already, the last is {there[-1].name}; give "
                "resume=True to go on with that run, or a new directory."
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self._file = self.directory / READINGS
        if not resume and self._file.exists():
            raise ValueError(f"{self._file}: is of another run; give a new directory.")
        rows = stored_readings(self._file)
        self._done = set(rows)
        for step, row in rows.items():
            if alarm is not None and (alarm.last_step is None or step > alarm.last_step):
                alarm.update(step, row)

    def __call__(self, step: int) -> list[Event]:
        """Save and read, if `step`, the number of steps done, is one of the saver's.

        Returns the events that the readings complete.
        """
        if step not in self.steps:
            return []
        target = self.directory / checkpoint_name(step)
        if not target.exists():
            save_model(self._model, target)
        events = self._take_reading(step) if self._read and step not in self._done else []
        if self._beside is not None:
            self._write_resume(step, self._beside)
        return events

    def restore(self) -> int:
        """Put the model, what is beside it and the random states where the run last was.

        Returns the number of steps done, 0 for a new run.

        Raises:
            ValueError: nothing was kept to go on from, or other things than those given.
        """
        if self._beside is None:
            raise ValueError("restore needs what was kept; give beside={'optimizer': optimizer}.")
        file = self.directory / _RESUME
        if not file.is_file():
            return 0
        kept = torch.load(file, map_location="cpu", weights_only=True)
        if kept["beside"].keys() != self._beside.keys():
            raise ValueError(
                f"{file}: keeps {sorted(kept['beside'])} beside the model, "
                f"asked for are {sorted(self._beside)}."
            )
        self._model.load_state_dict(kept["model"])
        for name, part in self._beside.items():
            part.load_state_dict(kept["beside"][name])
        set_random_state(kept["random"])
        return int(kept["step"])

    def _take_reading(self, step: int) -> list[Event]:
        assert self._read is not None
        with undisturbed(self._model, stream_seed(0, "reading", step)):
            readings = self._read(self._model, step)
        append_readings(self._file, step, readings)
        self._done.add(step)
        events = [] if self._alarm is None else self._alarm.update(step, readings)
        for event in events if self._on_event else ():
            self._on_event(event)  # type: ignore[misc]
        return events

    def _write_resume(self, step: int, beside: Mapping[str, Stateful]) -> None:
        state = {
            "step": step,
            "model": self._model.state_dict(),
            "beside": {name: part.state_dict() for name, part in beside.items()},
            "random": random_state(),
        }
        write_whole(self.directory / _RESUME, lambda handle: torch.save(state, handle))
