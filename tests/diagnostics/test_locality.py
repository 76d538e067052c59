import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import locality


def labelled(values):
    return xr.DataArray(values, dims=("chain", "draw"))


@pytest.mark.parametrize("degree", [1, 2, 4, 6])
def test_locality_of_a_homogeneous_loss_is_half_its_degree(degree):
    excess = labelled(np.random.default_rng(degree).gamma(1 / degree, size=(4, 200)))
    out = locality(degree * excess, excess)
    assert float(out.locality) == pytest.approx(degree / 2, rel=1e-12)
    assert float(out.locality_se) < 1e-9


def test_error_of_the_ratio_matches_its_scatter_over_repetitions():
    rng = np.random.default_rng(0)
    excess = rng.gamma(2.0, size=(400, 4, 100))
    loss_virial = 1.5 * excess + rng.normal(0, 2.0, size=excess.shape)
    dims = ("repetition", "chain", "draw")
    out = locality(xr.DataArray(loss_virial, dims=dims), xr.DataArray(excess, dims=dims))
    assert float(out.locality.mean()) == pytest.approx(0.75, abs=0.005)
    assert float(out.locality_se.mean()) == pytest.approx(float(out.locality.std()), rel=0.12)


def test_a_loss_that_stopped_answering_has_locality_0_with_certainty():
    excess = labelled(np.random.default_rng(1).gamma(5.0, size=(4, 50)))
    out = locality(labelled(np.zeros((4, 50))), excess)
    assert float(out.locality) == 0.0
    assert float(out.locality_se) == 0.0


def test_there_is_no_ratio_to_a_reading_that_is_not_positive():
    excess = labelled(np.random.default_rng(2).gamma(5.0, size=(4, 50)))
    for reading in (-excess, 0 * excess):
        out = locality(excess, reading)
        assert np.isnan(out.locality)
        assert np.isnan(out.locality_se)
