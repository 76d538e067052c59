"""What all tests share: one thread each, so that tests side by side do not wait on each other, and
long modules first, so that two workers end together.
"""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

TESTS = Path(__file__).parent
LONGEST = (  # first; xdist keeps the order where it is told --no-loadscope-reorder
    "test_readme.py",
    "study/test_audits.py",
    "test_cli.py",
    "study/test_development.py",
    "study/test_influence_along.py",
    "sampling/test_automatic.py",
    "sampling/test_engine.py",
    "study/test_plan.py",
    "study/test_sensitivity.py",
    "diagnostics/test_heat.py",
    "study/test_loop.py",
    "study/test_study.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    if missing := [path for path in places if not path.is_file()]:
        raise pytest.UsageError(f"LONGEST of tests/conftest.py names no tests: {missing}")
    items.sort(key=lambda item: places.get(item.path, len(places)))
