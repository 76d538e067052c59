"""The parentheses example, small: what its weights go to, and that they choose the algorithm."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from creode.testbeds import parentheses, revealing

EXAMPLE = Path(__file__).parents[2] / "examples" / "parentheses.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.mark.slow
def test_weights_of_the_example_choose_what_is_learned(example, tmp_path):
    given = replace(
        example["Settings"](), num_strings=6000, steps=900, read=(0, 20), pairs=5, draws=20,
        judged=(100, 106), together=6, effective=0.8, least=0.4,
    )  # fmt: skip
    arms = example["replicate"](given, tmp_path)
    share = {
        name: np.mean([example["is_nested"](row) for row in rows]) for name, rows in arms.items()
    }
    assert share["NESTED"] >= share["EQUAL"] + 0.5, share
    kept = sorted(path.name for path in tmp_path.glob("*.json"))
    assert len(kept) == 1 + len(arms), kept
    assert example["replicate"](given, tmp_path) == arms  # from what was kept
    with pytest.raises(ValueError, match="other settings"):
        example["replicate"](replace(given, steps=1000), tmp_path)


def test_a_share_has_the_interval_of_wilson(example):
    low, high = example["wilson"]([True] * 8 + [False] * 2)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    low, high = example["wilson"]([False] * 20)
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(0.1611, abs=1e-4)


def test_the_same_weights_in_another_order(example):
    weights = np.array([0.5, 2.0, 1.0, 0.5])
    length = np.array([4, 2, 8, 6])
    np.testing.assert_array_equal(example["in_order"](weights, length), [0.5, 0.5, 2.0, 1.0])


def test_runs_are_measured_on_what_they_answer(example):
    """By a model that refuses what opens with ')' or ends in '('."""

    class FirstAndLast(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            last = input_ids.gather(1, attention_mask.sum(1, keepdim=True) - 1)[:, 0]
            bad = (input_ids[:, 0] == 1) | (last == 0)
            return torch.stack([bad, ~bad], 1).float()

    data, held_out = parentheses(200, seed=0), revealing(200, seed=1)
    row = example["measured"](FirstAndLast(), data, held_out)
    assert row["parting"] == row["ends_open"] == 1
    assert row["inside"] == 0
    assert 0.6 < row["train"] < 1
    assert example["is_nested"](row)
    example["checked"](data, held_out)
    with pytest.raises(AssertionError):
        example["checked"](held_out, held_out)
