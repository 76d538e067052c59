"""A training run on disk: what was asked, the loss of every step, checkpoints, where to go on.

Here: claiming a directory, resuming, the log, checkpoints; refusing another run's directory.
Not here: the format of one checkpoint (models.py), reading a series (development/checkpoints.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.fingerprint import model_fingerprint, task_fingerprint
from creode.models import save_model
from creode.tasks import Task
from creode.training.config import TrainingConfig
from creode.version import __version__

_LOCK = "lock"


class RunDirectory:
    """A training run on disk, and the right to write it.

    training.json says what was asked and never changes. resume.pt is replaced whole and names the
    length log.jsonl had; what the log holds beyond is cut off when the run goes on.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        """Claim `path` for a run with this record.

        Raises:
            ValueError: another run's directory, or a directory of something else.
            StoreError: another process is writing this run.
        """
        from creode.store.locking import FileLock

        self.path = path
        self._log: BinaryIO | None = None
        asked = path / "training.json"
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path}: is a file; give a directory for the run.")
        if path.is_dir() and not asked.is_file() and not _is_empty(path):
            raise ValueError(
                f"{path}: is not empty and holds no training run; give a new or empty directory."
            )
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / _LOCK)
        try:
            if asked.is_file():
                _check_same(path, json.loads(asked.read_text(encoding="utf-8")), record)
            else:
                text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
                write_whole(asked, lambda handle: handle.write(text.encode()))
        except BaseException:
            self.close()
            raise

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
        """Put model and optimiser where the run stopped; the losses up to there."""
        log = self.path / "log.jsonl"
        resume = self.path / "resume.pt"
        length, step = 0, 0
        if resume.is_file():
            saved = torch.load(resume, map_location="cpu", weights_only=True, mmap=True)
            length, step = saved["log_bytes"], saved["step"]
            model.load_state_dict(saved["model"])
            if saved["optimizer"] is not None:
                optimizer.load_state_dict(saved["optimizer"])
        written = log.read_bytes() if log.is_file() else b""
        losses = [json.loads(line)["loss"] for line in written[:length].splitlines()]
        if len(losses) != step:
            raise ValueError(
                f"{log}: holds {len(losses)} steps, the run stopped at {step}; the log was changed "
                "or cut. Restore it, or train into a new directory."
            )
        if len(written) > length:
            os.truncate(log, length)
        self._log = log.open("ab")
        return losses

    def log(self, step: int, loss: float, rate: float) -> None:
        """Append what one step did."""
        assert self._log is not None
        self._log.write((json.dumps({"step": step, "loss": loss, "lr": rate}) + "\n").encode())

    def keep(self, step: int, model: nn.Module) -> None:
        """Write a checkpoint, unless an interrupted run already did."""
        target = self.path / checkpoint_name(step)
        if not target.exists():
            save_model(model, target)

    def write_resume(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer | None
    ) -> None:
        """Record where to go on; without an optimiser once the run is complete."""
        assert self._log is not None
        self._log.flush()
        os.fsync(self._log.fileno())
        state = {
            "step": step,
            "log_bytes": self._log.tell(),
            "model": model.state_dict(),
            "optimizer": None if optimizer is None else optimizer.state_dict(),
        }
        write_whole(self.path / "resume.pt", lambda handle: torch.save(state, handle))

    def close(self) -> None:
        """Close the log and let others write."""
        if self._log is not None:
            self._log.close()
        self._lock.release()


def checkpoint_name(step: int) -> str:
    """Name of the directory of one checkpoint, such as step_000100."""
    return f"step_{step:06d}"


def run_record(
    model: nn.Module, task: Task, samples: Samples, config: TrainingConfig, rho: Tensor | None
) -> dict[str, Any]:
    """What decides the result, for training.json; `source` and `made_with` are for people."""
    asked = dataclasses.asdict(config)
    try:
        asked = json.loads(json.dumps(asked))
    except TypeError as error:
        raise ValueError(
            f"optimizer_options {asked['optimizer_options']} cannot be recorded ({error}); "
            "give numbers, strings, booleans or lists of them."
        ) from error
    return {
        "config": asked,
        "model": {
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "fingerprint": model_fingerprint(model),
            "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        },
        "task": {"fingerprint": task_fingerprint(task)},
        "data": {"fingerprint": samples.fingerprint(), "num_samples": len(samples)},
        "weights": {
            "fingerprint": rho if rho is None else hashlib.sha256(rho.numpy().data).hexdigest()
        },
        "source": samples.source,
        "made_with": {"creode": __version__, "torch": torch.__version__},
    }


def _check_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was asked for with something else."""
    old, new = (
        {
            f"{group}.{name}": value
            for group in ("config", "model", "task", "data", "weights")
            for name, value in record[group].items()
        }
        for record in (there, here)
    )
    differing = [
        f"{name} was {old.get(name)!r}, now {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path}: holds a training run made with something else: {'; '.join(differing)}. "
            "Give the same, or a new directory."
        )


def _is_empty(path: Path) -> bool:
    """Whether a directory holds nothing, or no more than a run killed at its very start left."""
    return all(p.name == _LOCK or p.name.endswith(".partial") for p in path.iterdir())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as handle:
        write(handle)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
