"""Strings of brackets against brute force: every string of up to 12 brackets."""

from collections import Counter
from itertools import product
from math import comb

import numpy as np
import pytest

from creode.testbeds.parentheses import (
    LONGEST,
    _nested_walk,
    encoded,
    equal_count,
    nested,
    parentheses,
    revealing,
    strings_of,
    text,
)


def all_strings(length):
    return ["".join(brackets) for brackets in product("()", repeat=length)]


def closes(string):
    """Nested by another definition: taking out "()" leaves nothing in the end."""
    while "()" in string:
        string = string.replace("()", "")
    return not string


def test_both_rules_against_brute_force():
    for length in (2, 4, 6, 8, 10, 12):
        strings = all_strings(length)
        assert [nested(s) for s in strings] == [closes(s) for s in strings]
        counts = [sum(1 if b == "(" else -1 for b in s) == 0 for s in strings]
        assert [equal_count(s) for s in strings] == counts
        assert sum(map(nested, strings)) == comb(length, length // 2) // (length // 2 + 1)


def test_nested_strings_are_drawn_uniformly():
    rng = np.random.default_rng(0)
    seen = Counter(text(_nested_walk(8, rng)) for _ in range(7000))
    assert set(seen) == {s for s in all_strings(8) if closes(s)}  # 14 of them
    chi = sum((count - 500) ** 2 / 500 for count in seen.values())
    assert chi < 34.5  # 99.9 % of chi² with 13 degrees of freedom


def test_the_training_set_fits_both_rules_and_reveals_neither():
    data = parentheses(4000, seed=3)
    strings, labels = strings_of(data), data.columns["labels"].tolist()
    assert len(set(strings)) == 4000
    assert (
        [equal_count(s) for s in strings] == [nested(s) for s in strings] == list(map(bool, labels))
    )
    assert sum(labels) == 2000
    length = np.array([len(s) for s in strings])
    by_label = [Counter(length[data.columns["labels"].numpy() == label]) for label in (0, 1)]
    assert by_label[0] == by_label[1]  # length tells nothing
    assert (length % 2 == 0).all()
    assert length.min() >= 2
    assert length.max() <= LONGEST
    assert abs(length.mean() - 21) < 1  # 2 + 19, and a little more: few short ones are distinct
    assert abs(length.std() - 19**0.5) < 0.5
    held_out = strings_of(revealing(500, seed=4))
    assert len(set(held_out)) == 500
    assert all(equal_count(s) and not closes(s) for s in held_out)
    assert not set(held_out) & set(strings)


def test_the_same_seed_gives_the_same_strings():
    assert parentheses(60, seed=5).fingerprint() == parentheses(60, seed=5).fingerprint()
    assert strings_of(parentheses(60, seed=5)) != strings_of(parentheses(60, seed=6))
    assert strings_of(revealing(60, seed=5)) != strings_of(revealing(60, seed=6))


def test_strings_come_back():
    import torch

    given = ["()", "((()))", "(" * 40]
    data = encoded(given, torch.tensor([1, 1, 0]), source="three")
    assert strings_of(data) == given
    assert data.columns["attention_mask"].sum(1).tolist() == [2, 6, 40]


def test_wrong_counts_are_told():
    for count in (0, 3):
        with pytest.raises(ValueError, match="even"):
            parentheses(count, seed=0)
    with pytest.raises(ValueError, match="num_strings must be ≥ 1"):
        revealing(0, seed=0)
