import pytest

from creode.viewer.charts import StepAxis


@pytest.mark.parametrize(
    ("steps", "finest", "constant", "ticks"),
    [
        ([0, 100, 200, 50_000], None, 100, (0, 100, 1_000, 10_000)),
        ([0, 1, 7, 50_000], 100, 100, (0, 100, 1_000, 10_000)),
        ([5, 20, 3_000], None, 5, (10, 100, 1_000)),
        ([30, 40], None, 30, (40,)),
        ([0], None, 1, (0,)),
        ([1, 10], None, 1, (1, 10)),
    ],
)
def test_the_step_axis_has_zero_and_powers_of_ten(steps, finest, constant, ticks):
    axis = StepAxis.over(steps, finest)
    assert (axis.low, axis.high) == (min(steps), max(steps))
    assert axis.constant == constant
    assert axis.ticks == ticks
