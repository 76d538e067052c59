"""Turns and spreads of the benchmarks, and one benchmark from end to end."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


alternating = load("alternating")


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_spread_is_the_median_and_the_quartiles(count):
    values = np.random.default_rng(0).standard_normal(count).tolist()
    spread = alternating.Spread.of(values)
    expected = np.percentile(values, [25, 50, 75])
    np.testing.assert_allclose([spread.low, spread.median, spread.high], expected)
    assert spread.num_rounds == count


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        alternating.Spread.of([])


def test_contenders_take_one_turn_a_round_in_changing_order():
    seen: list[str] = []
    turns = {name: lambda name=name: seen.append(name) or len(seen) for name in "abcd"}
    results = alternating.alternate(turns, rounds=6)
    rounds = [tuple(seen[start : start + 4]) for start in range(0, 24, 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert len(set(rounds)) > 1
    for name, values in results.items():  # in the order of the rounds
        assert values == [4 * number + one.index(name) + 1 for number, one in enumerate(rounds)]


def test_ratios_pair_the_same_rounds():
    assert alternating.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="longer"):
        alternating.ratios([1.0], [1.0, 2.0])


@pytest.mark.slow
def test_the_benchmark_of_throughput_prints_a_line_for_every_row_of_its_table(tmp_path):
    lines = tmp_path / "lines.jsonl"
    command = [sys.executable, BENCHMARKS / "throughput.py", "--quick", "--no-peers"]
    command += ["--rounds", "2", "--threads", "1", "--only", "tiny", "--out", lines]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]
    records = [json.loads(line) for line in printed]
    assert [json.loads(line) for line in lines.read_text().splitlines()] == records
    table = done.stdout.split("\n\n", 1)[1]
    for record in records:
        assert record["measurement"] in table
        assert len(record["values"]) == record["num_rounds"] == 2
        assert record["low"] <= record["median"] <= record["high"]
    costs = [record for record in records if "bare_seconds" in record]
    assert len(costs) == 4
    for record in costs:
        pairs = zip(record["chain_step_seconds"], record["bare_seconds"], strict=True)
        np.testing.assert_allclose(record["values"], [step / bare for step, bare in pairs])
        assert record["facts"]["loss_from"] == "minibatch"
