"""The examples run to their ends, where they assert what they claim."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_ends_in_its_assertions(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)  # as for a script: one takes its data from another
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_every_example_is_in_the_guides():
    guides = "".join(path.read_text() for path in (EXAMPLES.parent / "docs").glob("*.md"))
    for path in EXAMPLES.glob("*.py"):
        assert f"python examples/{path.name}" in guides
        assert f"python examples/{path.name}" in path.read_text()
