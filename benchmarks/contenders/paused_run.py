"""A sampler's run that pauses between blocks of steps, so that contenders can take turns.

A sampler calls `passed` once a step; the call returns at once while a block is under way, and at
its end it answers the parent and waits for the next request. So a block is a stretch of a long run
under way: it has no start-up in it, and the start-up is known by itself.

Here: the child's side of the conversation, JSON lines over stdin and stdout; memory of the process.
Not here: the parent's side (contender.py), what a step is (one file a sampler).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from workloads import UNTIMED, BarePass, Workload

STATUS = Path("/proc/self/status")


class Order(NamedTuple):
    """What the parent asked this process to be."""

    workload: Workload
    settings: dict[str, Any]  # of the sampler


class PausedRun:
    """Stands in a sampler's callback."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # whatever a sampler prints is no answer
        self._packages = packages
        first = self._request()
        torch.set_num_threads(first["threads"])
        self.order = Order(Workload(**first["workload"]), first["settings"])
        self._bare = BarePass(self.order.workload)
        self._called = 0.0
        self._call_after_step = True
        self._wanted = self._steps = self._chain_steps = 0
        self._since = 0.0
        self._free = False
        self.facts: dict[str, Any] = {}  # about the run, told with the first answer

    def run(self, sampler: Callable[[], object], *, call_after_step: bool) -> None:
        """Call the sampler; it calls `passed` at the end (or else at the start) of each step."""
        self._bare.run(1)  # loads kernels, so that they count neither as time nor as memory
        self._bare.release()
        loaded = reset_peak_bytes()
        self._call_after_step = call_after_step
        self._called = time.perf_counter()
        sampler()
        seconds = time.perf_counter() - self._called
        if not self._free:
            self._answer({"error": "the run ended within a block; give it more steps."})
            return
        self._answer({"loaded_bytes": loaded, "peak_bytes": peak_bytes(), "seconds": seconds})

    def passed(self, chain_steps: int = 1) -> None:
        """Count a step of the sampler; at the end of a block, pause."""
        now = time.perf_counter()
        if self._free:
            return
        if not self._wanted:
            self._answer(
                {
                    "startup_seconds": now - self._called,
                    "startup_steps": int(self._call_after_step),
                    "versions": {name: version(name) for name in ("torch", *self._packages)},
                    "facts": self.facts,
                }
            )
            self._serve()
            return
        self._steps += 1
        if self._steps == UNTIMED:
            self._since, self._chain_steps = now, 0
            return
        self._chain_steps += chain_steps
        if self._steps == UNTIMED + self._wanted:
            self._answer({"seconds": now - self._since, "chain_steps": self._chain_steps})
            self._serve()

    def _serve(self) -> None:
        while True:
            request = self._request()
            what = request["do"]
            if what == "bare":
                seconds = self._bare.run(request["steps"], forward_every=request["forward_every"])
                self._answer({"seconds": seconds})
            elif what == "steps":
                self._wanted, self._steps = request["steps"], 0
                return
            elif what == "finish":
                self._free = True
                return
            else:
                os._exit(0)

    def _request(self) -> dict[str, Any]:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # the parent is gone
        request: dict[str, Any] = json.loads(line)
        return request

    def _answer(self, message: Mapping[str, Any]) -> None:
        self._answers.write(json.dumps(message) + "\n")


def reset_peak_bytes() -> int:
    """Forget the peak so far; the resident memory now, without what was freed and is kept."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def peak_bytes() -> int:
    """The highest resident memory since the last reset."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {field}; memory is measured on Linux.")
