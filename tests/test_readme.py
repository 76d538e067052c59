"""What the README and the guides tell a reader to type does what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_readme_names_the_two_set_up_commands():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test", "check"} <= set(targets)
    assert "make check" in (ROOT / ".ci/run").read_text()
    assert re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE) == ["demo", "test"]


def test_the_readmes_commands_run(tmp_path):
    commands = "".join(block for block in blocks("sh") if block.startswith("creode"))
    assert commands.count("creode ") == 9
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=environment, check=True
    )
    assert (tmp_path / "runs/llc/report.html").exists()
    assert (tmp_path / "runs/respond/response.json").exists()


@pytest.mark.slow
def test_the_readmes_example_gives_a_reading_that_is_right(capsys):
    example, _ = blocks("python")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    reading, net = names["reading"], names["net"]
    assert bool(reading.ok), str(reading.reasons.values)
    error = 4 * float(reading.llc_se) + 0.1 * net.llc
    assert abs(float(reading.llc) - net.llc) < error
    assert f"exact: {net.llc}" in capsys.readouterr().out


def test_the_readmes_responses_are_found_and_right():
    from creode.response import susceptibility

    _, example = blocks("python")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    chi, found, moved = names["chi"], names["found"], names["moved"]
    assert chi["ok"].all(), chi["reasons"].values
    assert 3 < int(found.sum()) < found.size
    for part in ("left", "right"):
        difference = chi.chi.sel(component=part).isel(sample=[0, -1])
        exact = float(difference[0] - difference[1])
        assert float(moved.chi.sel(component=part)) == pytest.approx(exact, rel=1e-9)
    assert susceptibility(names["draws"]).equals(chi)
