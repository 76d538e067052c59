"""Ratios of evidences against a chain whose states are known."""

import numpy as np
import pytest

from creode.development.bridge import log_ratio


def test_the_ratio_is_that_of_the_sets():
    rng = np.random.default_rng(0)
    weight = rng.lognormal(0, 1.5, 40)  # states 0 to 19 are set 0, i + 20 is the partner of i
    weight[20:] *= 30
    ratio = weight[20:].sum() / weight[:20].sum()
    odds = np.log(weight[20:] / weight[:20])
    there = odds[rng.choice(20, 4000, p=weight[:20] / weight[:20].sum())]
    back = odds[rng.choice(20, 4000, p=weight[20:] / weight[20:].sum())]
    assert log_ratio(there, back) == pytest.approx(np.log(ratio), abs=0.06)


def test_equal_odds_are_the_ratio_however_large():
    assert log_ratio([900.0], [900.0]) == pytest.approx(900)


def test_without_states_of_both_sets_there_is_none():
    assert np.isnan(log_ratio([], [1.0]))
    assert np.isnan(log_ratio([1.0], []))
