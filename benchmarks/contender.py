"""A sampler's run in a process of its own, paused except when it is its turn.

Here: the parent's side of the conversation with contenders/, and what one turn measures.
Not here: the child's side (contenders/paused_run.py), the order of turns (alternating.py).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contenders.workloads import Workload

RUNNERS = Path(__file__).resolve().parent / "contenders"
CALIBRATION = 5  # steps timed to find how many make a block


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a process is to run, and what its steps are measured against."""

    name: str
    runner: str  # a file of contenders/
    python: Path
    workload: Workload
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the sampler
    forward_every: int = 0  # the bare pass has a forward pass alone after every n-th step
    multiple: int = 1  # steps of a block come in multiples of this, such as a window of draws
    longest_block: int = 1000  # steps; the run must be long enough for all blocks


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Seconds of one turn."""

    chain_step: float  # a step of one chain
    bare: float  # a bare step in the same process, just before or after


class Contender:
    """A process that has started its run, and waits."""

    def __init__(self, spec: Spec, *, threads: int) -> None:
        self.spec = spec
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        single = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [spec.python, RUNNERS / f"{spec.runner}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **single, "TMPDIR": self._folder.name},
        )
        try:
            first = self._ask(
                workload=asdict(spec.workload), settings=dict(spec.settings), threads=threads
            )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.versions: dict[str, str] = first["versions"]
        self.facts: dict[str, Any] = first["facts"]
        self.num_steps = self.num_bare = CALIBRATION
        self._first = first
        self.startup_seconds = math.nan

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

    def calibrate(self, seconds: float) -> None:
        """Choose the steps of a block so that it lasts about as long, and subtract the start-up's.

        The start-up is the time from the sampler's call to its first step; where the first sign of
        life comes after that step, a step as timed here is taken off.
        """
        step, _ = self._steps(CALIBRATION)
        self.startup_seconds = self._first["startup_seconds"] - self._first["startup_steps"] * step
        multiple, longest = self.spec.multiple, self.spec.longest_block
        windows = math.ceil(min(seconds / step, longest) / multiple)
        self.num_steps = max(1, windows) * multiple
        bare = self.bare(CALIBRATION)
        every = max(1, self.spec.forward_every)
        self.num_bare = max(1, math.ceil(seconds / bare / every)) * every

    def turn(self, *, bare_first: bool) -> Turn:
        """A block of bare steps and a block of the sampler's."""
        bare = self.bare(self.num_bare) if bare_first else math.nan
        step, chain_steps = self._steps(self.num_steps)
        if not bare_first:
            bare = self.bare(self.num_bare)
        return Turn(chain_step=step / chain_steps, bare=bare)

    def finish(self) -> dict[str, float]:
        """Let the run go to its end; its memory and seconds."""
        return self._ask(do="finish")

    def _steps(self, count: int) -> tuple[float, float]:
        """Seconds a step, and chains that move in it."""
        answer = self._ask(do="steps", steps=count)
        return answer["seconds"] / count, answer["chain_steps"] / count

    def bare(self, count: int) -> float:
        """Seconds of a bare step, over a block of them."""
        every = self.spec.forward_every
        seconds: float = self._ask(do="bare", steps=count, forward_every=every)["seconds"]
        return seconds / count

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process ended."}
        if "error" in answer:
            self._log.seek(0)
            tail = "".join(self._log.readlines()[-15:])
            raise RuntimeError(f"{self.spec.name}: {answer['error']}\n{tail}")
        return answer
