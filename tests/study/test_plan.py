"""What a plan says beforehand against what the study then holds."""

import pytest
from study_cases import tiny_study

from creode.study import StudyConfig, calibrate_study, plan_study, run_study

PROBES = {"logs": {"source": "corpus:logs", "length": 16, "limit": 40}}


def held(folder):
    """What a folder takes in pages of 4096 bytes, files and folders."""
    return 4096 * sum(
        -(-path.stat().st_size // 4096) if path.is_file() else 1 for path in folder.rglob("*")
    )


def test_units_steps_and_disk_are_those_of_the_run(models, tmp_path):
    schedule = {"chains": 2, "draws": 30, "burnin": 4, "steps_per_draw": 1, "batch_size": 8}
    study = StudyConfig.model_validate(tiny_study(models, probes=PROBES, schedule=schedule))
    cost = plan_study(study)  # the run is long enough to pair minibatches, and the trial is not
    assert (cost.units, cost.chains, cost.steps, cost.draws) == (5, 2, 34, 30)
    assert cost.mode == "sequential"
    assert cost.disk_bytes > 0
    run_study(study, tmp_path / "run")
    assert cost.disk_bytes == pytest.approx(held(tmp_path / "run/draws.zarr"), rel=0.1)
    assert min(cost.seconds, cost.seconds_per_step, cost.memory_bytes) > 0
    assert cost.seconds > cost.units * cost.steps * cost.seconds_per_step
    assert not cost.pilot


def test_a_plan_of_the_automatic_sampler_is_of_its_budget(models):
    automatic = {"sampler": {"name": "auto", "budget": 400}, "nbeta": "auto"}
    automatic |= {"localization": "auto", "schedule": {"chains": 2, "batch_size": 8}}
    study = StudyConfig.model_validate(tiny_study(models, **automatic))
    cost, chosen = plan_study(study), calibrate_study(study)
    assert cost.pilot
    assert cost.draws == chosen.draws
    assert cost.steps == chosen.burnin + chosen.draws * chosen.steps_per_draw


def test_a_study_that_cannot_run_cannot_be_planned(models):
    study = StudyConfig.model_validate(tiny_study(models, components=("l0h9",)))
    with pytest.raises(ValueError, match="l0h9"):
        plan_study(study)
