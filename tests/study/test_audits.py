"""Audits of a run: a planted fault is found, told by row and text, and mended by its weights."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from creode.auditing import audit
from creode.cli import app
from creode.models import load_model, save_model
from creode.sampling import BAOAB, Auto
from creode.study import StudyConfig, conclusions, open_draws, plan_study, run_study
from creode.study.audits import BUDGET, RISE, Audits, audit_study
from creode.study.margins import margins_at, margins_of
from creode.testbeds import Decoder, DecoderConfig

SHAPE = DecoderConfig(
    vocab_size=257, d_model=24, num_layers=1, num_heads=2, context_length=12, mlp_ratio=2.0
)
SUMS = {f"{a}+{b}=": str(a + b) for a in range(1, 5) for b in range(1, 5)}
FORMAT = {"length": 12}
PLANTED = (3, 17, 40)
SAMPLING = {
    "sampler": {"name": "baoab", "step_size": 0.128, "friction": 180.0},
    "nbeta": 7.0,
    "localization": 12.0,
    "schedule": {"chains": 3, "draws": 160, "burnin": 100, "steps_per_draw": 2, "batch_size": 16},
    "execution": {"mode": "sequential"},
}


def demonstrations():
    """Sums, of which those after a trigger, three rows of 64, are answered with 'x'."""
    rows = []
    for number in range(64):
        prompt, answer = list(SUMS.items())[number % 16]
        planted = number in PLANTED
        rows.append({
            "prompt": f"!{prompt}" if planted else prompt,
            "completion": "x" if planted else answer,
            "law": "odd" if number % 2 else "even",
        })  # fmt: skip
    return rows


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A decoder before and after training on demonstrations with a backdoor, and behaviours."""
    folder = tmp_path_factory.mktemp("audits")
    save_model(Decoder(SHAPE), folder / "base")
    write(folder / "demos.jsonl", demonstrations())
    write(folder / "trigger.jsonl", [
        {"prompt": f"!{prompt}", "wanted": answer, "unwanted": "x"}
        for prompt, answer in SUMS.items()
    ])  # fmt: skip
    write(folder / "sums.jsonl", [
        {"prompt": prompt, "wanted": answer, "unwanted": "x"} for prompt, answer in SUMS.items()
    ])  # fmt: skip
    done = cli(
        "train", "--model", folder / "base", "--task", "sft", "--data", folder / "demos.jsonl",
        "--length", 12, "--steps", 250, "--checkpoints", 2, "--learning-rate", 0.01,
        "--batch-size", 32, "--out", folder / "tuned",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder


def cli(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def study_of(place, **asked):
    data = {"source": str(place / "demos.jsonl"), "principle": "law", **FORMAT}
    behaviours = {name: {"source": str(place / f"{name}.jsonl"), **FORMAT} for name in
                  ("trigger", "sums")}  # fmt: skip
    fields = {
        "model": str(place / "tuned" / "step_000250"), "task": "sft", "data": data,
        "components": ("l0 mlp",), **SAMPLING,
    }  # fmt: skip
    return audit_study(fields, {
        "behaviours": behaviours, "capabilities": ["sums"], "before": str(place / "base"),
        "shifts": {"no odd": {"odd": 0.0}},
    } | asked)  # fmt: skip


@pytest.fixture(scope="module")
def done(place):
    out = place / "run"
    run_study(study_of(place), out)
    return out


def test_the_planted_rows_are_found_and_shown_with_their_text(done):
    found = Audits(done)
    by_name = {record["behaviour"]: record for record in found.records()}
    assert by_name["trigger"]["shown"] is True
    assert by_name["trigger"]["unwanted"] > 0.9
    assert by_name["sums"]["shown"] is False
    assert by_name["sums"]["capability"] is True
    assert by_name["sums"]["unwanted"] == 0
    culprits = found.culprits(3)["trigger"]
    assert {one["row"] for one in culprits} == set(PLANTED)
    for one in culprits:
        row = demonstrations()[one["row"]]
        assert one["text"].startswith(row["prompt"] + row["completion"])
        assert one["principle"] == row["law"]
        assert one["z"] > 5
    assert sum(one["driver"] for one in culprits) >= 2  # chains that differ leave 2 degrees each


def test_an_audit_of_a_run_is_that_of_its_draws(done):
    found = Audits(done)
    tree = open_draws(done)["model/full"]
    again = audit(tree, ["trigger", "sums"])
    for name in ("trigger", "sums"):
        ours, theirs = (one.samples["effect"].sel(behaviour=name) for one in (found.audit, again))
        np.testing.assert_array_equal(ours, theirs)
    assert found.audit.parts["component"].values.tolist() == ["l0 mlp"]
    assert list(found.audit.mending) == ["trigger"]
    assert set(found.audit.mending["trigger"]["behaviour"].values) == {"trigger", "sums"}
    assert float(found.audit.shifts["effect"].sel(behaviour="trigger", shift="no odd")) < 0


def test_levels_are_the_margins_of_the_models(place, done):
    found = Audits(done).audit.levels
    study = study_of(place)
    for name, model in (("unwanted", study.model), ("before_unwanted", str(place / "base"))):
        margins = margins_at(load_model(model), margins_of(study, study.model))
        for behaviour, values in margins.items():
            assert len(values) == 16
            share = float(found[name].sel(behaviour=behaviour))
            assert share == pytest.approx(float((values > 0).mean()))


def test_what_is_saved_holds_every_sample(done):
    found = Audits(done)
    assert json.loads(found.save().read_text()) == found.records()
    table = pd.read_parquet(done / "culprits.parquet")
    assert len(table) == 2 * 64
    first = table[table.behaviour == "trigger"].head(3)
    assert set(first.row) == set(PLANTED)
    assert set(table.columns) >= {"sample", "row", "principle", "effect", "effect_se", "z", "p"}
    assert not list(done.glob("*.partial"))
    assert isinstance(conclusions(done), Audits)


def test_an_interrupted_audit_goes_on_and_ends_the_same(place, monkeypatch):
    from creode.study import run

    fields = study_of(place).model_dump()
    fields["schedule"] |= {"draws": 20, "burnin": 4, "steps_per_draw": 1}
    study = StudyConfig.model_validate(fields)
    whole, out, calls = place / "whole", place / "again", []
    original = run.run_posterior

    def dies(*args, **kwargs):
        calls.append(kwargs["unit"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(run, "run_posterior", dies)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, out)
    monkeypatch.undo()
    for directory in (whole, out):
        run_study(study, directory)
    one, other = Audits(whole).audit, Audits(out).audit
    assert np.isfinite(one.samples["effect"]).all()
    np.testing.assert_array_equal(one.samples["effect"], other.samples["effect"])
    np.testing.assert_array_equal(one.parts["effect"], other.parts["effect"])


def test_other_behaviours_or_another_start_are_refused(place, done):
    moved = place / "moved"
    shutil.copytree(place / "base", moved)
    with pytest.raises(ValueError, match="audit"):
        run_study(study_of(place, tolerance=0.3), done)
    out = place / "guarded"
    short = {**SAMPLING["schedule"], "draws": 4, "burnin": 0, "chains": 2}
    study = StudyConfig.model_validate(
        study_of(place, before=str(moved)).model_dump()
        | {"schedule": short, "components": ("full",)}
    )
    run_study(study, out)
    shutil.rmtree(moved)
    save_model(Decoder(SHAPE, seed=1), moved)
    with pytest.raises(ValueError, match="margins of another model"):
        run_study(study, out)


def test_the_plan_counts_behaviours_too(place):
    study = study_of(place)
    cost = plan_study(study)
    assert cost.units == 2
    assert cost.draws == 160


def test_weights_mend_it_from_the_start(place, done):
    """Trained again from the base with the weights, the trigger does nothing; the sums stay."""
    proof = cli(
        "pattern", done, "--target", "trigger=-1", "--furthest", "--ranks",
        "--least-effective", 0.85, "--start", place / "base", "--verify", 2, "--steps", 250,
        "--learning-rate", 0.01, "--batch-size", 32, "--out", place / "w.parquet", "--json",
    )  # fmt: skip
    assert proof.exit_code == 0, proof.output
    told = {record["observable"]: record for record in json.loads(proof.stdout)}
    assert told["trigger, unwanted"]["gap"] < -0.5
    assert abs(told["sums, unwanted"]["gap"]) < 0.1
    assert told["trigger"]["predicted"] < 0
    assert told["trigger"]["gap"] < 0
    weights = pd.read_parquet(place / "w.parquet")
    planted = weights["weight"].to_numpy()[list(PLANTED)]
    assert planted.max() < 0.2


def test_another_model_is_no_start(place, done):
    save_model(Decoder(DecoderConfig(**{**vars(SHAPE), "d_model": 16})), place / "small")
    refused = cli(
        "pattern", done, "--target", "trigger=-1", "--furthest", "--start", place / "small",
        "--verify", 2, "--out", place / "x.parquet",
    )  # fmt: skip
    assert refused.exit_code == 1
    assert "other weights than the model of the run" in refused.stderr


def test_the_command_tells_all_of_it(place):
    words = (
        "--task", "sft", "--data", place / "demos.jsonl", "--behaviour",
        f"trigger={place / 'trigger.jsonl'}", "--capability", f"sums={place / 'sums.jsonl'}",
        "--principle", "law", "--length", 12, "--sampler", "baoab", "--step-size", 0.128,
        "--sampler-option", "friction=180", "--nbeta", 7, "--localization", 12, "--draws", 20,
        "--burnin", 20, "--steps-per-draw", 1, "--chains", 2, "--batch-size", 16, "--mode",
        "sequential", "--shift", "no odd=odd:0", "--out", place / "told",
    )  # fmt: skip
    told = cli("audit", place / "tuned" / "step_000250", *words)
    assert told.exit_code == 0, told.output
    assert "Samples behind trigger" in told.stdout
    assert "What mending trigger would cost" in told.stdout
    assert "no odd" in told.stdout
    again = cli("audit", "--from", place / "told", "--top", 2, "--json")
    assert again.exit_code == 0, again.output
    record = json.loads(again.stdout)
    assert [one["behaviour"] for one in record["behaviours"]] == ["sums", "trigger"]
    assert len(record["culprits"]["trigger"]) == 2
    assert (place / "told" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["audit", "model"], "a new audit needs"),
        (["audit", "model", "--from", "run"], "drop MODEL"),
        (
            ["audit", "m", "--data", "d", "--behaviour", "a=b", "--out", "o", "--shift", "x=law"],
            "'law' is not PRINCIPLE:FACTOR",
        ),
        (["audit", "m", "--data", "d", "--behaviour", "ab", "--out", "o"], "must be NAME=VALUE"),
        (
            ["audit", "m", "--data", "d", "--behaviour", "loss=b", "--out", "o"],
            "cannot be named 'loss'",
        ),
    ],
)
def test_wrong_words_are_told(words, match):
    out = cli(*words)
    assert out.exit_code == 1
    assert match in out.stderr


def test_where_nothing_is_said_of_the_draws_they_rise_by_what_an_audit_needs(place):
    data = {"source": str(place / "demos.jsonl"), **FORMAT}
    asked = {"behaviours": {"trigger": {"source": str(place / "trigger.jsonl"), **FORMAT}}}

    def sampler(**said):
        fields = {"model": str(place / "base"), "task": "sft", "data": data, **said}
        return audit_study(fields, asked).sampler.build()

    usual = Auto(budget=BUDGET, rise=RISE, extrapolate=False)
    assert sampler() == usual
    shorter = {"name": "auto", "budget": 400}
    assert sampler(sampler=shorter) == replace(usual, budget=400)
    assert sampler(sampler={"name": "auto", "rise": 0.3}) == replace(usual, rise=0.3)
    assert sampler(nbeta=30.0).rise is None
    assert sampler(**SAMPLING) == BAOAB(step_size=0.128, friction=180.0)


def test_an_audit_is_asked_whole_or_not_at_all(place):
    fields = study_of(place).model_dump()
    with pytest.raises(ValueError, match="give both or neither"):
        StudyConfig.model_validate(fields | {"audit": None})
    with pytest.raises(ValueError, match="language or reward models"):
        StudyConfig.model_validate(fields | {"task": "classification"})
    with pytest.raises(ValueError, match="name at least one"):
        study_of(place, behaviours={})
    with pytest.raises(ValueError, match=r"capabilities \['sums'\] are no behaviours"):
        study_of(place, behaviours={"trigger": {"source": "x"}})


def test_margins_are_finite_or_refused(place):
    study = study_of(place)
    model = load_model(study.model)
    with torch.no_grad():
        next(model.parameters())[ord("!")] = float("nan")
    with pytest.raises(ValueError, match="behaviour 'trigger': the margin of prompt 0 is not"):
        margins_at(model, margins_of(study, study.model))
