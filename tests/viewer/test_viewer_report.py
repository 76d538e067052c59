import pytest
import synthetic_report
import xarray as xr
from synthetic_report import UNMIXED

from creode.viewer import Report


@pytest.fixture
def trace():
    return synthetic_report.make_trace(5.0, UNMIXED, seed=0)


def test_a_result_without_an_error_is_refused():
    llc = synthetic_report.make_llc().drop_vars("llc_se")
    with pytest.raises(ValueError, match=r"llc lacks llc_se; give the result of creode.llc"):
        Report(title="t", llc=llc)
    with pytest.raises(ValueError, match=r"llc_on\['code'\] lacks llc_se"):
        Report(title="t", llc=synthetic_report.make_llc(), llc_on={"code": llc})


def test_a_result_by_chain_is_refused():
    llc = synthetic_report.make_llc().expand_dims(seed=2)
    with pytest.raises(ValueError, match=r"average over \['seed'\] first"):
        Report(title="t", llc=llc)


def test_a_trace_of_an_unknown_reading_is_refused(trace):
    with pytest.raises(ValueError, match=r"reading \(7, 'l1h2'\) that llc does not"):
        Report(title="t", llc=synthetic_report.make_llc(), traces={(7, "l1h2"): trace})


def test_a_trace_must_be_complete_and_have_its_dimensions(trace):
    llc = synthetic_report.make_llc()
    with pytest.raises(ValueError, match="lacks running_llc, autocorrelation"):
        Report(title="t", llc=llc, traces={UNMIXED: trace[["loss", "init_loss"]]})
    with pytest.raises(ValueError, match=r"\['loss'\] has dimensions \('draw',\)"):
        Report(title="t", llc=llc, traces={UNMIXED: trace.assign(loss=trace["loss"].mean("chain"))})


def test_losses_along_training_need_their_steps():
    llc = synthetic_report.make_llc()
    with pytest.raises(ValueError, match="training lacks loss"):
        Report(title="t", llc=llc, training=xr.Dataset({"code": ("step", [1.0])}))
    with pytest.raises(ValueError, match="no coordinate 'step'"):
        Report(title="t", llc=llc, training=xr.Dataset({"loss": ("step", [1.0])}))
    with pytest.raises(ValueError, match=r"training\['loss'\] has dimensions \('time',\)"):
        Report(title="t", llc=llc, training=xr.Dataset({"loss": ("time", [1.0])}))
