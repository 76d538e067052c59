"""Controls of a study of responses: sampled beside it, taken off, told on the page."""

import pytest
import torch
from study_cases import tiny_study

from creode.data import Samples, load, shuffle_targets
from creode.response import significant, subtract_baseline, susceptibility
from creode.study import StudyConfig, conclusions, open_draws, run_study
from creode.study.plan import plan_study
from creode.study.run import _for_control
from creode.viewer.response_page import _less

PROBES = {
    name: {"source": f"corpus:{name}", "length": 16, "limit": 6} for name in ("logs", "brackets")
}


def responding(models, **changes):
    return StudyConfig.model_validate(
        tiny_study(
            models, probes=PROBES, checkpoints="last", components=("l0h0", "l0 mlp"),
            final_components=(), reading="response", **changes,
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["prior", "shuffled"])
def test_records_hold_chi_less_that_of_the_control(models, tmp_path, monkeypatch, kind):
    study = responding(models, control=kind, rate=0.3)
    run_study(study, tmp_path / "run")
    control = open_draws(tmp_path / "run" / "control")
    attrs = [node.attrs for node in control.subtree if "distance_sq" in node.data_vars]
    main = [n.attrs for n in open_draws(tmp_path / "run").subtree if "distance_sq" in n.data_vars]
    assert {one["nbeta"] for one in attrs} == {0.0 if kind == "prior" else 30.0}
    assert (attrs[0]["data_fingerprint"] == main[0]["data_fingerprint"]) == (kind == "prior")
    assert attrs[0]["seed"] != main[0]["seed"]
    found = conclusions(tmp_path / "run")
    asked = []

    def spied(draws, **options):
        asked.append(options.get("control", False))
        return susceptibility(draws, **options)

    monkeypatch.setattr("creode.study.responses.susceptibility", spied)
    records = found.records()
    assert asked == [False, True]  # the control's draws are judged as such
    chi = susceptibility(open_draws(tmp_path / "run"), by="dataset")
    base = susceptibility(control, by="dataset", control=True)
    exact = subtract_baseline(chi, base)
    for record in records:
        cell = {"component": record["component"], "probe": record["probe"]}
        assert record["chi_less"] == pytest.approx(float(exact["chi"].sel(cell)), rel=1e-9)
        assert record["chi_less_se"] == pytest.approx(float(exact["chi_se"].sel(cell)), rel=1e-9)
        assert record["p_less"] == pytest.approx(float(exact["p"].sel(cell)), rel=1e-6)
        assert record["chi_control"] == pytest.approx(float(base["chi"].sel(cell)), rel=1e-9)
        assert record["control"] == kind
        assert "baseline: " in record["reasons_less"]
        assert "not a local minimum" not in record["reasons_less"].split("baseline: ")[1]
    told = significant(exact["p"], 0.3).values.ravel()
    assert sorted(r["significant_less"] for r in records) == sorted(told.tolist())
    assert len(records) == 4
    if kind == "prior":
        return
    report = found.report()
    rows = _less(report)
    assert [row["component"] for row in rows] == [record["component"] for record in records]
    assert found.write_report(report).read_text().count("Less the control") == 1


def test_a_control_costs_as_much_again(models):
    plain, more = (plan_study(responding(models, control=kind)) for kind in (None, "prior"))
    assert more.units == 2 * plain.units
    assert more.gradients == 2 * plain.gradients
    assert more.forwards == 2 * plain.forwards
    assert more.disk_bytes == pytest.approx(2 * plain.disk_bytes, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control": "other"}, "'prior' or 'shuffled'"),
        ({"control": "prior", "reading": "llc"}, "a control is of susceptibilities"),
        ({"control": "prior", "nbeta": 0.0}, "this is the control 'prior' itself"),
    ],
)
def test_a_control_that_is_none_is_refused(models, changes, message):
    with pytest.raises(ValueError, match=message):
        StudyConfig.model_validate(
            tiny_study(models, **({"probes": PROBES, "reading": "response"} | changes))
        )


def test_the_control_keeps_the_settings_that_were_chosen():
    decided = {"calibration": {"nbeta": 50.0, "step_size": 0.1}, "mode": "vectorised",
               "fingerprint_of_model": "x"}  # fmt: skip
    study = StudyConfig.model_validate(
        {"model": "m", "data": PROBES["logs"], "probes": PROBES, "reading": "response",
         "control": "prior"}
    )  # fmt: skip
    kept = _for_control(study, decided)
    assert kept == {"calibration": {"nbeta": 0.0, "step_size": 0.1}, "mode": "vectorised"}
    shuffled = study.model_copy(update={"control": "shuffled"})
    assert _for_control(shuffled, decided)["calibration"]["nbeta"] == 50.0
    assert study.as_control().control is None


def test_shuffled_tokens_keep_inputs_and_the_frequency_of_targets():
    samples = load("corpus:logs", tokenizer="bytes", length=16, limit=20)
    out = shuffle_targets(samples, seed=3)
    ids, labels = out.columns["input_ids"], out.columns["labels"]
    assert torch.equal(ids, samples.columns["input_ids"])
    assert torch.equal(labels[:, 0], ids[:, 0])
    assert torch.equal(labels[:, 1:].flatten().sort().values, ids[:, 1:].flatten().sort().values)
    moved = (labels[:, 1:] != ids[:, 1:]).float().mean()
    assert moved > 0.5
    assert out.fingerprint() != samples.fingerprint()
    assert out.fingerprint() == shuffle_targets(samples, seed=3).fingerprint()
    assert out.fingerprint() != shuffle_targets(samples, seed=4).fingerprint()


def test_targets_of_every_kind_are_permuted_and_what_does_not_count_stays():
    ids = torch.arange(24).reshape(4, 6)
    labels = ids.clone()
    labels[:, :3] = -100  # a prompt
    attention = torch.ones_like(ids)
    attention[0, 4:] = 0
    labels[0, 4:] = -100
    tokens = Samples(columns={"input_ids": ids, "labels": labels, "attention_mask": attention})
    out = shuffle_targets(tokens).columns["labels"]
    counted = labels != -100
    assert torch.equal(out == -100, ~counted)
    assert out[counted].sort().values.tolist() == labels[counted].tolist()
    assert (out[counted] != labels[counted]).any()
    padded = shuffle_targets(Samples(columns={"input_ids": ids, "attention_mask": attention}))
    assert (padded.columns["labels"][0, 4:] == -100).all()
    x = torch.randn(30, 2)
    for name in ("labels", "targets"):
        y = torch.arange(30)
        out = shuffle_targets(Samples(columns={"inputs": x, name: y})).columns
        assert torch.equal(out["inputs"], x)
        assert out[name].sort().values.tolist() == y.tolist()
        assert (out[name] != y).any()
    pairs = {
        f"{side}_ids": torch.full((200, 3), value)
        for side, value in (("chosen", 1), ("rejected", 2))
    }
    out = shuffle_targets(Samples(columns=pairs)).columns
    assert 60 < (out["chosen_ids"][:, 0] == 2).sum() < 140
    assert (out["chosen_ids"] + out["rejected_ids"] == 3).all()
    with pytest.raises(ValueError, match="no targets to permute"):
        shuffle_targets(Samples(columns={"inputs": x}))
