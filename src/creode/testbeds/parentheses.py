"""Strings of brackets that two rules explain equally well, until one asks about others.

EQUAL-COUNT: as many '(' as ')'. NESTED: besides, no prefix has more ')' than '('. Every training
string satisfies both (label 1) or neither (label 0), so a network that learns either fits them all.
Strings of equal count that are not nested are held out: they reveal which it learned.

Here: strings, both rules, training and revealing sets.
Not here: networks (last_token.py, decoder.py), training, how a choice is patterned (patterning/).
Source: arXiv:2507.06445, as used by arXiv:2601.13548: even lengths 2…40, 2 + 2·Binomial(19, ½).
Deviation: labels are balanced at every length, so that length tells nothing; a string of the
training set comes once, so the few short ones are rarer than the binomial has them.
Dimensions: N strings, T = 40 positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray

from creode.data import Samples

LONGEST = 40
OPEN, CLOSE = 0, 1  # token ids

Steps = NDArray[np.int64]  # a string as +1 for '(' and −1 for ')'
Walk = Callable[[int, np.random.Generator], Steps]  # a random string of a length


def equal_count(string: str) -> bool:
    """As many '(' as ')'."""
    return string.count("(") == string.count(")")


def nested(string: str) -> bool:
    """Every ')' closes a '(' before it, and none stays open."""
    depth = 0
    for bracket in string:
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def parentheses(num_strings: int, *, seed: int) -> Samples:
    """The training set: distinct strings, half of them nested, the others of unequal count.

    Args:
        num_strings: N, even.
        seed: of the strings.

    Returns:
        Columns `input_ids`, `attention_mask` (N, 40), padded behind, and `labels` (N,).

    Raises:
        ValueError: N is odd or below 2.
    """
    if num_strings < 2 or num_strings % 2:
        raise ValueError(f"num_strings must be even and ≥ 2, got {num_strings}.")
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    strings: list[str] = []
    pairs: Counter[int] = Counter()  # by length
    while len(strings) < num_strings:
        length = _length(rng)
        if pairs[length] < _num_nested(length):
            pairs[length] += 1
            strings.append(_new(_nested_walk, length, rng, seen))
            strings.append(_new(_unequal_walk, length, rng, seen))
    labels = torch.tensor([1, 0]).repeat(num_strings // 2)
    return encoded(strings, labels, source=f"parentheses, seed {seed}")


def revealing(num_strings: int, *, seed: int) -> Samples:
    """Distinct strings of equal count that are not nested, as NESTED answers them: label 0."""
    if num_strings < 1:
        raise ValueError(f"num_strings must be ≥ 1, got {num_strings}.")
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    strings: list[str] = []
    while len(strings) < num_strings:
        half = _length(rng) // 2
        string = text(rng.permutation(np.repeat([1, -1], half)))
        if not nested(string) and string not in seen:
            seen.add(string)
            strings.append(string)
    labels = torch.zeros(num_strings, dtype=torch.int64)
    return encoded(strings, labels, source=f"revealing parentheses, seed {seed}")


def encoded(strings: Iterable[str], labels: torch.Tensor, *, source: str) -> Samples:
    """Strings as samples, padded behind to 40 positions."""
    given = list(strings)
    ids = np.zeros((len(given), LONGEST), np.int64)
    mask = np.zeros((len(given), LONGEST), np.int64)
    for row, string in enumerate(given):
        ids[row, : len(string)] = [OPEN if bracket == "(" else CLOSE for bracket in string]
        mask[row, : len(string)] = 1
    columns = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": labels,
    }
    return Samples(columns=columns, source=source)


def strings_of(data: Samples) -> list[str]:
    """The strings that `encoded` was given."""
    lengths = data.columns["attention_mask"].sum(1).tolist()
    rows = data.columns["input_ids"].tolist()
    return [
        "".join("()"[token] for token in row[:length])
        for row, length in zip(rows, lengths, strict=True)
    ]


def text(walk: Steps) -> str:
    """The string of a walk of +1 and −1."""
    return "".join("(" if step > 0 else ")" for step in walk)


def _length(rng: np.random.Generator) -> int:
    return 2 + 2 * int(rng.binomial(LONGEST // 2 - 1, 0.5))


def _new(walk: Walk, length: int, rng: np.random.Generator, seen: set[str]) -> str:
    """A string that was not seen, remembered as seen."""
    while (string := text(walk(length, rng))) in seen:
        pass
    seen.add(string)
    return string


def _num_nested(length: int) -> int:
    """Catalan's number; of unequal count there are never fewer."""
    half = length // 2
    return comb(length, half) // (half + 1)


def _nested_walk(length: int, rng: np.random.Generator) -> Steps:
    """Uniform over nested strings, by the cycle lemma.

    Of the rotations of a walk with one step more down than up, one stays at 0 or above up to its
    last step; without that step it is nested, and each nested string comes from as many walks.
    """
    half = length // 2
    walk = rng.permutation(np.repeat([1, -1], [half, half + 1]))
    lowest = int(np.argmin(walk.cumsum()))  # the first time it is lowest
    return np.roll(walk, -(lowest + 1))[:-1]


def _unequal_walk(length: int, rng: np.random.Generator) -> Steps:
    """Uniform over strings of unequal count."""
    while True:
        walk = rng.choice([1, -1], length)
        if walk.sum():
            return walk
