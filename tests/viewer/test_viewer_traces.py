import base64

import numpy as np
import pytest
import synthetic_report
import xarray as xr

from creode.viewer import traces


def unpack(packed):
    levels = np.frombuffer(base64.b64decode(packed["levels"]), "<u2").reshape(packed["shape"])
    values = packed["low"] + (packed["high"] - packed["low"]) * levels / 65534
    return np.where(levels == 65535, np.nan, values)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal((3, 50)),
        np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, -1.0]]),
        np.array([[2.5, 2.5, np.nan]]),
        np.full((2, 2), np.nan),
    ],
    ids=["noise", "gaps", "constant", "nothing"],
)
def test_packed_values_come_back_within_a_step_and_gaps_as_gaps(values):
    back = unpack(traces.pack(values))
    finite = np.isfinite(values)
    assert np.array_equal(np.isfinite(back), finite)
    if finite.any():
        step = np.ptp(values[finite]) / 65534
        assert np.abs(back[finite] - values[finite]).max() <= 0.5001 * step


def test_what_is_drawn_is_the_difference_of_losses_on_the_same_samples():
    trace = synthetic_report.make_trace(7.0, (1_000, "l0h0"), seed=3)
    packed = traces.packed(trace)
    assert packed["stride"] == 1
    exact = (trace["loss"] - trace["init_loss"]).transpose("chain", "draw").values
    np.testing.assert_allclose(unpack(packed["excess"]), exact, atol=np.ptp(exact) / 1e5)
    draws, lags = traces.rows(trace.transpose("draw", "chain", "lag"))
    assert [row["excess"] for row in draws] == pytest.approx(exact.reshape(-1).tolist())
    assert [row["autocorrelation"] for row in lags] == pytest.approx(
        trace["autocorrelation"].values.reshape(-1).tolist()
    )


def test_long_chains_are_thinned_to_every_kth_draw():
    count = 3 * traces.MAX_DRAWS - 1
    values = np.arange(2 * count, dtype=float).reshape(2, count)
    trace = xr.Dataset(
        {
            "loss": (("chain", "draw"), values),
            "init_loss": (("chain", "draw"), np.zeros_like(values)),
            "running_llc": (("chain", "draw"), values),
            "autocorrelation": (("chain", "lag"), np.ones((2, traces.MAX_LAGS + 5))),
        }
    )
    draws, lags = traces.rows(trace)
    assert traces.packed(trace)["stride"] == 3
    assert [row["draw"] for row in draws[:3]] == [0, 3, 6]
    assert [row["excess"] for row in draws] == values[:, ::3].reshape(-1).tolist()
    assert len(lags) == 2 * traces.MAX_LAGS
