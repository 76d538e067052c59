import numpy as np
import synthetic_report
import xarray as xr
from synthetic_report import CHECKPOINTS, COMPONENTS, DIVERGED, NOT_OK

from creode.viewer import readings as viewed


def test_every_number_of_a_row_is_the_number_of_the_result():
    llc = synthetic_report.make_llc()
    rows = viewed.readings(llc)
    assert [(row["step"], row["component"]) for row in rows] == [
        (step, name) for step in CHECKPOINTS for name in COMPONENTS
    ]
    for row in rows:
        cell = llc.sel(checkpoint=row["step"], component=row["component"])
        for name in ("llc", "llc_se", "ess", "rhat", "virial", "temperature_se"):
            if (row["step"], row["component"]) == DIVERGED:
                assert row[name] is None
            else:
                np.testing.assert_allclose(row[name], float(cell[name]), rtol=1e-7)
        assert row["reasons"] == NOT_OK.get((row["step"], row["component"]), "")
        assert row["ok"] is (row["reasons"] == "")


def test_heads_are_told_from_other_parts_by_their_names():
    rows = {row["component"]: row for row in viewed.readings(synthetic_report.make_llc())}
    head, mlp = rows["l1h2"], rows["l1 mlp"]
    assert (head["group"], head["layer"], head["head"]) == (viewed.HEADS, 1, 2)
    assert (mlp["group"], mlp["layer"], mlp["head"]) == (viewed.PARTS, None, None)


def test_one_posterior_is_one_row_named_by_its_attributes():
    one = synthetic_report.make_llc().sel(checkpoint=1_000, component="embed", drop=True)
    assert [(r["step"], r["component"]) for r in viewed.readings(one)] == [(None, "full")]
    one.attrs |= {"checkpoint": 1_000, "component": "embed"}
    assert [(r["step"], r["component"]) for r in viewed.readings(one)] == [(1_000, "embed")]


def test_pairs_that_no_posterior_has_are_left_out():
    llc = synthetic_report.make_llc()
    early = llc.sel(checkpoint=[0, 100], component=["full", "embed"])
    late = llc.sel(checkpoint=[50_000], component=["full"])
    joined = xr.concat([early, late], dim="checkpoint", join="outer")
    assert [(row["step"], row["component"]) for row in viewed.readings(joined)] == [
        (0, "embed"),
        (0, "full"),
        (100, "embed"),
        (100, "full"),
        (50_000, "full"),
    ]


def test_posteriors_that_were_not_run_are_left_out_and_do_not_count_as_doubtful():
    rows = viewed.readings(synthetic_report.make_sparse())
    assert len(rows) == len(CHECKPOINTS) - 1 + len(COMPONENTS)
    assert {row["step"] for row in rows if row["component"] != "full"} == {50_000}
    assert [row["reasons"] for row in rows if not row["ok"]] == [NOT_OK[50_000, "l0h3"]]
    assert [row["step"] for row in rows if row["notes"]] == [1_000]
    assert viewed.compared_steps(rows) == [50_000]
    assert viewed.compared_steps(rows[:4]) == [0, 100, 200, 500]


def test_long_losses_are_thinned_evenly_in_log_step_and_keep_what_a_checkpoint_needs():
    steps = np.arange(100_001)
    training = xr.Dataset({"loss": ("step", 1.0 / (1 + steps))}, coords={"step": steps})
    rows = viewed.losses(training, [0, 777, 99_999])
    kept = np.array([row["step"] for row in rows])
    assert len(rows) <= viewed.MAX_LOSSES + 3
    assert (kept[0], kept[-1]) == (0, 100_000)
    assert np.diff(np.log1p(kept))[kept[1:] > 300].max() < 0.02
    assert {row["near"]: row["step"] for row in rows if row["near"] is not None} == {
        0: 0,
        777: 777,
        99_999: 99_999,
    }
    np.testing.assert_allclose([row["loss"] for row in rows], 1 / (1 + kept), rtol=1e-7)


def test_gaps_in_a_held_out_loss_are_left_out_and_the_nearest_step_stands_for_a_checkpoint():
    values = np.array([3.0, np.nan, 2.0, 1.0])
    training = xr.Dataset(
        {"loss": ("step", values, {"long_name": "held-out code"})},
        coords={"step": [0, 10, 20, 40]},
    )
    rows = viewed.losses(training, [0, 24])
    assert [(row["step"], row["series"], row["near"]) for row in rows] == [
        (0, "held-out code", 0),
        (20, "held-out code", 24),
        (40, "held-out code", None),
    ]
