"""A peer that reads points in a process of its own, in its own environment.

Here: the parent's side of contenders/devinterp_reading.py; handing over a testbed as a file.
Not here: which settings are tried (methods.py, tuning.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from creode.testbeds.testbed import Testbed

RUNNER = Path(__file__).resolve().parent / "contenders" / "devinterp_reading.py"
SOURCE = Path(__file__).resolve().parents[1] / "src"


class Peer:
    """A process that waits for points to read."""

    def __init__(self, python: Path, *, threads: int) -> None:
        single = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._folder = tempfile.TemporaryDirectory(prefix="accuracy-")
        self._process = subprocess.Popen(
            [python, RUNNER, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **single, "PYTHONPATH": str(SOURCE)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def read(self, testbed: Testbed, order: dict[str, Any]) -> dict[str, Any]:
        """What the peer makes of a testbed: llc_by_chain or error; nbeta, seconds.

        Raises:
            RuntimeError: the process ended; with the last lines it printed.
        """
        point = Path(self._folder.name) / "point.pt"
        columns = dict(testbed.data.columns)
        torch.save({"model": testbed.model, "task": testbed.task, "columns": columns}, point)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({**order, "point": str(point)}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"the peer ended:\n{''.join(self._log.readlines()[-15:])}")
        answer: dict[str, Any] = json.loads(line)
        return answer
