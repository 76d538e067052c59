import pytest

from creode.viewer.marks import StepAxis


@pytest.mark.parametrize(
    ("steps", "finest", "constant", "ticks"),
    [
        ([0, 100, 200, 50_000], None, 100, (0, 100, 300, 1_000, 3_000, 10_000, 30_000)),
        ([0, 1, 7, 50_000], 100, 100, (0, 100, 300, 1_000, 3_000, 10_000, 30_000)),
        ([0, 1, 10_000], None, 1, (0, 1, 10, 100, 1_000, 10_000)),
        ([5, 20, 3_000], None, 5, (10, 30, 100, 300, 1_000, 3_000)),
        ([30, 40], None, 30, (30,)),
        ([41, 45], None, 41, (45,)),
        ([0], None, 1, (0,)),
        ([1, 10], None, 1, (1, 3, 10)),
    ],
)
def test_the_step_axis_has_zero_and_round_steps(steps, finest, constant, ticks):
    axis = StepAxis.over(steps, finest)
    assert (axis.low, axis.high) == (min(steps), max(steps))
    assert axis.constant == constant
    assert axis.ticks == ticks
