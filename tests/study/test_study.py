"""Studies: every unit once, resumed and guarded; readings equal to those of the parts."""

import json

import pytest
import xarray as xr
from study_cases import tiny_study

import creode
from creode.components import list as list_components
from creode.data import load
from creode.models import load_model
from creode.study import Readings, StudyConfig, calibrate_study, open_draws, run_study
from creode.study.run import PILOT


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "llc"
    seen = []
    study = StudyConfig.model_validate(
        tiny_study(models, probes={"logs": {"source": "corpus:logs", "length": 16, "limit": 8}})
    )
    tree = run_study(study, out, on_progress=lambda *progress: seen.append(progress))
    return out, tree, seen


def test_a_study_reads_every_checkpoint_and_the_last_ones_heads(done):
    _, tree, seen = done
    reading = creode.llc(tree)
    assert reading["checkpoint"].values.tolist() == [0, 4, 12]
    assert reading["component"].values.tolist() == ["full", "l0h0", "l0h1"]
    ran = reading["reasons"] != "not run"
    assert ran.values.tolist() == [[True, False, False], [True, False, False], [True] * 3]
    assert reading["llc"].notnull().values.tolist() == ran.values.tolist()
    num_steps = 5 * 2 * 12
    assert seen[-1][1:] == (num_steps, num_steps)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_study_is_the_same_draws_as_its_parts(done, models):
    from creode.posterior import LocalPosterior
    from creode.sampling import Execution, Plan, Schedule, run_posterior

    _, tree, _ = done
    data = load("corpus:brackets", tokenizer="bytes", length=16, limit=32)
    posterior = LocalPosterior(
        load_model(models / "step_000012"),
        creode.tasks.NextToken(),
        data,
        nbeta=30.0,
        localization=3e4,
        component="l0h1",
    )
    plan = Plan(
        kernel=creode.BAOAB(step_size=3e-3, friction=170.0),
        schedule=Schedule(chains=2, draws=8, burnin=4, steps_per_draw=1, batch_size=8),
        execution=Execution(mode="sequential"),
    )
    alone = run_posterior(posterior, {}, plan, unit=("step_00000012", "l0h1"))
    xr.testing.assert_equal(alone["loss"], tree["step_00000012/l0h1/loss"])


def test_units_draw_different_noise(done):
    _, tree, _ = done
    one, other = (tree[f"step_00000012/{head}/distance_sq"] for head in ("l0h0", "l0h1"))
    assert abs(one / other - 1).min() > 0


def test_a_finished_study_is_read_and_not_run_again(done, models):
    out, tree, _ = done
    study = tiny_study(models, probes={"logs": {"source": "corpus:logs", "length": 16, "limit": 8}})
    seen = []
    again = run_study(
        StudyConfig.model_validate(study), out, on_progress=lambda *progress: seen.append(progress)
    )
    assert seen == []
    xr.testing.assert_identical(
        again["step_00000004/full"].to_dataset().load(),
        tree["step_00000004/full"].to_dataset().load(),
    )


def test_another_study_in_the_directory_is_refused_by_field(done, models):
    out, _, _ = done
    with pytest.raises(ValueError, match=r"study\.nbeta: 30\.0 there, 31\.0 now"):
        run_study(StudyConfig.model_validate(tiny_study(models, nbeta=31.0)), out)


def test_records_are_the_readings_under_their_names(done):
    out, tree, _ = done
    readings = Readings(out)
    records = json.loads(readings.save().read_text())
    assert len(records) == 2 * 5
    head = next(r for r in records if r["component"] == "l0h1" and r["on"] == "logs")
    exact = creode.llc(tree["step_00000012/l0h1"], on="logs")
    assert head["llc"] == pytest.approx(float(exact.llc))
    assert head["llc_se"] == pytest.approx(float(exact.llc_se))
    assert head["ok"] is False
    assert "independent" in head["reasons"]


def test_the_report_of_a_study_shows_its_parts(done):
    out, _, _ = done
    report = Readings(out).report()
    assert set(report.llc_on) == {"logs"}
    assert report.training.sizes["step"] == 12
    assert (12, "l0h0") in report.traces
    page = Readings(out).write_report()
    text = page.read_text()
    assert "creode rerun" in text
    assert "l0h1" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoints": (0, 5)}, r"no checkpoint at steps \[5\]; it has \[0, 4, 12\]"),
        ({"components": ("l0h9",)}, "l0h9"),
        ({"sampler": {"name": "sgdl", "step_size": 1.0}}, "no sampler 'sgdl'"),
        (
            {"sampler": {"name": "sgld", "step": 1.0}},
            "'sgld' has no setting step; it has step_size",
        ),
        ({"sampler": {"name": "baoab", "step_size": 1.0}}, "friction"),
        ({"sampler": {"name": "sgld", "step_size": float("nan")}}, "must be a finite number > 0"),
        ({"data": {"source": "nowhere.jsonl"}}, r"nowhere\.jsonl"),
        ({"model": "no/such/dir"}, r"no/such/dir"),
    ],
)
def test_a_study_that_cannot_run_says_why(models, tmp_path, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_study(StudyConfig.model_validate(tiny_study(models, **changes)), tmp_path / "run")


def test_a_model_that_is_one_has_no_checkpoints(models, tmp_path):
    one = str(models / "step_000012")
    with pytest.raises(ValueError, match="one model, not a directory of checkpoints"):
        run_study(StudyConfig.model_validate(tiny_study(one)), tmp_path)
    study = tiny_study(one, checkpoints="last", final_components=())
    tree = run_study(StudyConfig.model_validate(study), tmp_path / "run")
    assert creode.llc(tree)["component"].values.tolist() == ["full"]
    assert open_draws(tmp_path / "run")["model/full"].attrs["num_parameters"] == sum(
        p.numel() for p in load_model(one).parameters()
    )


def test_plurals_of_kinds_stand_for_every_part_of_the_kind(models):
    from creode.study.run import expand

    model = load_model(models / "step_000012")
    heads = [c.name for c in list_components(model) if c.kind == "head"]
    assert expand(model, ("heads", "full", "l0h0")) == [*heads, "full"]


def test_a_pilot_on_the_last_checkpoint_chooses_for_the_whole_study(models, tmp_path):
    automatic = {"sampler": {"name": "auto", "budget": 200}, "nbeta": "auto"}
    automatic |= {"localization": "auto", "schedule": {"chains": 2, "batch_size": 8}}
    study = StudyConfig.model_validate(tiny_study(models, **automatic))
    seen = []
    tree = run_study(study, tmp_path / "run", on_progress=lambda *now: seen.append(now[0]))
    units = [node.attrs for node in tree.subtree if "nbeta" in node.attrs]
    assert len(units) == 5
    assert len({(unit["nbeta"], unit["localization"], unit["sampler"]) for unit in units}) == 1
    alone = calibrate_study(study)
    assert alone.nbeta == units[0]["nbeta"]
    assert seen[0] == PILOT
    first_unit = seen.index(next(name for name in seen if name != PILOT))
    assert PILOT not in seen[first_unit:]
    readings = Readings(tmp_path / "run")
    assert readings.report().config["chosen"]["calibration"] == alone.record()
    again = []
    run_study(study, tmp_path / "run", on_progress=lambda *now: again.append(now[0]))
    assert again == []
