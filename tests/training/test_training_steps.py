"""Log-spaced steps: as many as asked, from end to end, with equal ratios."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creode.training import log_spaced, log_spaced_steps


def test_steps_have_equal_ratios_and_the_start_if_asked() -> None:
    assert log_spaced(10, 1000, 3) == [10, 100, 1000]
    assert log_spaced(10, 1000, 3, zero=True) == [0, 10, 100, 1000]
    assert log_spaced(7, 7, 1) == [7]
    assert log_spaced(4, 6, 50) == [4, 5, 6]
    assert log_spaced(1, 1000, 4, zero=True) == log_spaced_steps(1000, 5)


@given(st.integers(1, 10**5), st.integers(1, 10**6), st.integers(2, 200))
def test_steps_are_as_many_as_asked_from_end_to_end(first: int, more: int, count: int) -> None:
    last = first + more
    steps = log_spaced(first, last, count)
    assert len(steps) == min(count, more + 1)
    assert (steps[0], steps[-1]) == (first, last)
    assert all(a < b for a, b in pairwise(steps))
    for i, step in enumerate(steps):
        exact = first * (last / first) ** (i / (len(steps) - 1))
        assert abs(step - exact) <= 0.51 or (step > exact and step == steps[i - 1] + 1)


@pytest.mark.parametrize(("first", "last", "count"), [(0, 10, 3), (5, 4, 3), (1, 10, 0)])
def test_steps_without_a_range_are_refused(first: int, last: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"first={first}, last={last}, count={count}; step 0"):
        log_spaced(first, last, count)
    with pytest.raises(ValueError, match="one step cannot be both 1 and 10"):
        log_spaced(1, 10, 1)
