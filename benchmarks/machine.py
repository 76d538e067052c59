"""What a measurement was made on.

Here: processor, memory, system, load; nothing that names the machine.
Not here: versions of packages, which the processes that were measured report themselves.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, memory and system, as plain values."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": available_cores(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """Mean number of runnable processes over the last minute: what else the machine does."""
    return round(os.getloadavg()[0], 2)


def _field(path: str, name: str) -> str | None:
    file = Path(path)
    for line in file.read_text().splitlines() if file.exists() else []:
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None
