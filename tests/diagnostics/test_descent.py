import numpy as np
import xarray as xr

from creode.diagnostics import descent


def test_descent_is_the_depth_of_the_lowest_draw_of_any_chain():
    excess = xr.DataArray([[0.3, -0.1, 0.2], [0.5, -0.4, -0.2]], dims=("chain", "draw"))
    assert float(descent(excess)) == 0.4
    assert float(descent(abs(excess))) == 0.0


def test_descent_is_unknown_where_a_draw_is():
    assert np.isnan(descent(xr.DataArray([[0.3, np.nan]], dims=("chain", "draw"))))
