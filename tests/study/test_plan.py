"""What a plan says beforehand against what the study then holds."""

import pytest
import torch
from study_cases import DATA, many, tiny_study

from creode.study import StudyConfig, calibrate_study, plan_study, run_study
from creode.study.plan import _stand_ins
from creode.testbeds.decoder import Decoder

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


def test_a_trial_keeps_rows_as_the_whole_run_will(models, monkeypatch):
    asked = []
    monkeypatch.setattr("creode.sampling.unit.cached_rows", lambda *given: asked.append(given))
    for draws, rows in ((2, False), (200, True)):  # of a trial's own 76 visits, 64 would pay
        schedule = {"chains": 2, "draws": draws, "burnin": 4, "steps_per_draw": 1, "batch_size": 2}
        asked.clear()
        plan_study(StudyConfig.model_validate(tiny_study(models, schedule=schedule)))
        assert bool(asked) == rows


def test_components_of_every_depth_are_tried():
    heads = [f"l{i}h0" for i in range(9)]
    assert _stand_ins(["full", *heads], "full") == {"full": 1, "l1h0": 3, "l4h0": 3, "l7h0": 3}
    assert _stand_ins(heads[:3], "l0h0") == {"l0h0": 1, "l1h0": 1, "l2h0": 1}
    assert _stand_ins(["full"] * 4, "full") == {"full": 4}
    several = _stand_ins([*heads, *heads], "l0h0")
    assert several["l0h0"] == 2
    assert sum(several.values()) == 18


DEVELOPED = {
    "reading": "development", "data": DATA | {"limit": 16}, "probes": PROBES,
    "final_components": (), "components": ("l0h0", "full"),
    "measures": ("weight_norm", "hessian", "outputs"),
    "influence": {"query": {"source": "corpus:logs", "length": 16, "limit": 4}},
    "schedule": {"chains": 2, "draws": 20, "burnin": 10, "steps_per_draw": 2, "batch_size": 8},
}  # fmt: skip


def shown(monkeypatch):
    """Samples that every decoder is shown from now on, by whether a gradient may follow."""
    counts = {True: 0, False: 0}
    exact = Decoder.forward

    def watched(self, input_ids, *given, **named):
        counts[torch.is_grad_enabled()] += len(input_ids)
        return exact(self, input_ids, *given, **named)

    monkeypatch.setattr(Decoder, "forward", watched)
    return counts


def test_what_a_development_shows_its_models_is_what_was_planned(models, tmp_path, monkeypatch):
    series = many(models, tmp_path / "series")
    runs = {"twin": str(many(models, tmp_path / "twin", 4))}
    study = StudyConfig.model_validate(tiny_study(series, runs=runs, **DEVELOPED))
    cost = plan_study(study)
    counts = shown(monkeypatch)
    run_study(study, tmp_path / "run")
    assert cost.units == 12
    assert counts[True] / 1.3 < cost.gradients < 1.3 * counts[True]
    assert counts[False] / 1.3 < cost.forwards < 1.3 * counts[False]
    assert cost.disk_bytes == pytest.approx(held(tmp_path / "run/draws.zarr"), rel=0.15)
    assert 0 < cost.measuring_seconds < cost.seconds


@pytest.fixture(scope="module")
def planned(models, tmp_path_factory):
    """Of everything that is read along checkpoints: those, what is asked for, and the plan."""
    folder = tmp_path_factory.mktemp("planned")
    series = many(models, folder / "series")
    fields = DEVELOPED | {"runs": {"twin": str(many(models, folder / "twin", 4))}}
    return series, fields, plan_study(StudyConfig.model_validate(tiny_study(series, **fields)))


@pytest.mark.parametrize("left_out", ["hessian", "outputs", "influence", "runs"])
def test_a_plan_counts_each_thing_that_is_read(planned, left_out):
    series, fields, whole = planned
    less = {name: value for name, value in fields.items() if name != left_out}
    less["measures"] = tuple(name for name in less["measures"] if name != left_out)
    less = {n: v for n, v in less.items() if left_out != "outputs" or n != "runs"}
    without = plan_study(StudyConfig.model_validate(tiny_study(series, **less)))
    assert (whole.gradients > without.gradients) == (left_out == "hessian")
    forwards = whole.forwards - without.forwards
    read = {"hessian": 0, "outputs": 10 * 17 + 1, "runs": 4 * 17, "influence": 6 * 20 * (1 + 40)}
    assert forwards == read[left_out]
    assert whole.disk_bytes > without.disk_bytes


def test_what_cannot_be_measured_cannot_be_planned(models, tmp_path):
    series = many(models, tmp_path / "series")
    fields = DEVELOPED | {"measures": "outputs", "influence": None}
    fields |= {"runs": {"twin": str(tmp_path)}}
    with pytest.raises(ValueError, match="no checkpoints in it"):
        plan_study(StudyConfig.model_validate(tiny_study(series, **fields)))


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
