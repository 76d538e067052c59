import numpy as np
import pytest
import xarray as xr

from creode.diagnostics.drift import drift
from creode.diagnostics.mcse import mcse
from saved_draws import ar1


def labelled(values):
    return xr.DataArray(values, dims=("chain", "draw"))


@pytest.mark.parametrize("slope", [-3.0, 0.5])
def test_drift_is_the_slope_times_what_the_virial_leaves_open(slope):
    """trace = slope · virial + noise, the virial slow and 0.2 below where it belongs."""
    virial = labelled(0.8 + 0.3 * ar1((4, 4000), 0.9, seed=1))
    trace = slope * virial + labelled(0.01 * ar1((4, 4000), 0.0, seed=2))
    away = abs(1 - float(virial.mean())) + 2 * float(mcse(virial))
    assert float(drift(trace, virial)) == pytest.approx(abs(slope) * away, rel=0.01)
    assert 0.2 < away < 0.3


def test_a_trace_that_does_not_follow_the_virial_does_not_drift():
    virial = labelled(0.5 + 0.3 * ar1((4, 4000), 0.99, seed=3))
    trace = labelled(ar1((4, 4000), 0.0, seed=4))
    assert float(drift(trace, virial)) < 4 * float(mcse(trace))
    assert float(drift(trace, virial)) > 0


def test_nothing_is_claimed_of_a_virial_that_never_changes_or_is_not_finite():
    trace = labelled(ar1((4, 50), 0.0, seed=5))
    assert np.isnan(drift(trace, labelled(np.ones((4, 50)))))
    assert np.isnan(drift(trace, labelled(np.full((4, 50), np.nan))))
