"""Seconds an import takes in a fresh process, beyond those of `pass` in the same environment.

Here: the imports, timed in turns.
Not here: anything that runs after them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from alternating import alternate
from report import Report
from sections import Effort

OURS = ("import creode", "import creode; creode.sample", "import torch")  # torch for scale
PEERS = {
    "devinterp-1.3.2": "import devinterp.slt.sampler",
    "devinterp-2.0.1": "import devinterp.slt.sampling",
}


def imports(pythons: Mapping[str, Path], effort: Effort, report: Report) -> None:
    """Time the imports in turns and report them."""
    turns = {code: _turn(Path(sys.executable), code) for code in OURS}
    turns |= {f"{peer}: {PEERS[peer]}": _turn(pythons[peer], PEERS[peer]) for peer in pythons}
    for turn in turns.values():
        turn()  # writes the compiled modules, and fills the page cache
    for name, seconds in alternate(turns, rounds=effort.rounds).items():
        report.add("import in a fresh process", name, seconds, unit="s")


def _turn(python: Path, code: str) -> Callable[[], float]:
    return lambda: _seconds(python, code) - _seconds(python, "pass")


def _seconds(python: Path, code: str) -> float:
    start = time.perf_counter()
    subprocess.run([python, "-c", code], check=True)
    return time.perf_counter() - start
