"""Attribution from a run directory: its influences, its texts, and what is read to answer."""

import json

import numpy as np
import pytest
import xarray as xr
from study_cases import DATA, tiny_study

from creode.data import load
from creode.response import influence
from creode.store.units import Verified
from creode.study import StudyConfig, conclusions, open_draws, run_study
from creode.study.attribution import Attribution, attribution_study
from creode.study.draws import TRACE

QUERY = {"source": "corpus:logs", "length": 16, "limit": 4}


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "attribution"
    study = tiny_study(models, checkpoints="last", final_components=())
    tree = run_study(attribution_study(study, query=QUERY), out)
    return out, tree["step_00000012/full"]


def test_answers_are_the_influences_with_the_samples_texts(done):
    out, tree = done
    answers = Attribution(out).answers([2, 0], k=3)
    assert [answer["query"] for answer in answers] == [2, 0]
    found = influence(tree, query="query", train="train").top(2, k=3)
    first = answers[0]["helpful"]
    assert [e["train"] for e in first] == found["train"].sel(side="helpful").values.tolist()
    assert first[0]["bif"] == pytest.approx(float(found["bif"].sel(side="helpful", rank=1)))
    assert first[0]["rank"] == 1
    for probe, config, entry in (("query", QUERY, answers[0]), ("train", DATA, first[1])):
        tokens = load(**config, tokenizer="bytes").columns["input_ids"][entry[probe]]
        assert entry["text"] == bytes(t for t in tokens.tolist() if t < 256).decode()
    assert answers[0]["ok"] is False
    assert "independent" in answers[0]["reasons"]


def test_the_correlation_form_is_asked_for(done):
    out, tree = done
    answer = Attribution(out, "correlation").answers([1], k=1)[0]
    found = influence(tree, query="query", train="train", kind="correlation").top(1, k=1)
    assert answer["harmful"][0]["bif"] == pytest.approx(float(found["bif"].sel(side="harmful")[0]))


def test_answers_are_saved_whole(done):
    out, _ = done
    attribution = Attribution(out)
    answers = attribution.answers(k=1)
    assert len(answers) == 4
    assert json.loads(attribution.save(answers).read_text()) == answers
    assert not list(out.glob("*.partial"))


def test_the_report_shows_the_answers_and_the_chains(done):
    out, _ = done
    found = conclusions(out)
    assert isinstance(found, Attribution)
    answers = found.records()
    report = found.report()
    assert [query.text for query in report.queries] == [answer["text"] for answer in answers]
    for query, answer in zip(report.queries, answers, strict=True):
        for side in ("helpful", "harmful"):
            shown = getattr(query, side)
            for name, field in (("influence", "bif"), ("influence_se", "bif_se")):
                assert shown[name].values.tolist() == [entry[field] for entry in answer[side]]
            for name in ("significant", "text"):
                assert shown[name].values.tolist() == [entry[name] for entry in answer[side]]
    assert report.llc["reasons"].item() == answers[0]["reasons"]
    assert set(report.traces) == {(12, "full")}
    some = found.report(answers[1:2])
    assert [query.text for query in some.queries] == [answers[1]["text"]]
    assert "1 of 4 queries are in this page" in some.warnings[0]
    assert report.warnings == []


def test_traces_stay_on_disk_until_they_are_used_and_are_those_of_every_chain(done):
    out, _ = done
    tree = open_draws(out)["step_00000012/full"]
    for probe in ("train", "query"):
        trace = tree[f"probes/{probe}"].to_dataset().variables[TRACE]
        assert not trace._in_memory
        assert trace.shape[:2] == (2, 8)
        mean = tree[f"probes/{probe}/unit_mean"]
        xr.testing.assert_allclose(tree[f"probes/{probe}/{TRACE}"].mean("draw"), mean, rtol=1e-4)
    chains = tree["probes/train"].to_dataset()[TRACE].values
    assert np.abs(chains[0] - chains[1]).max() > 0


def test_opening_reads_no_trace(done, monkeypatch):
    out, _ = done
    fetched = []
    fetch = Verified._fetch

    def watched(self, names):
        fetched.extend(names)
        return fetch(self, names)

    monkeypatch.setattr(Verified, "_fetch", watched)
    tree = open_draws(out)["step_00000012/full"]
    assert fetched
    assert not [name for name in fetched if f"{TRACE}/c/" in name]
    tree[f"probes/train/{TRACE}"].isel(chain=1, sample=0).load()
    assert [name for name in fetched if f"{TRACE}/c/" in name]


def test_text_that_changed_is_not_shown(models, tmp_path):
    (tmp_path / "queries.txt").write_text("a text of some length that is to be explained")
    query = {"source": str(tmp_path / "queries.txt"), "length": 16, "limit": 2}
    study = tiny_study(models, checkpoints="last", final_components=())
    run_study(attribution_study(study, query=query), tmp_path / "run")
    assert Attribution(tmp_path / "run").texts_missing == {}
    (tmp_path / "queries.txt").write_text("another text of some length, unlike the first one")
    changed = Attribution(tmp_path / "run")
    assert changed.answers([0], k=1)[0]["text"] is None
    assert changed.answers([0], k=1)[0]["helpful"][0]["text"]
    assert "is not what it was" in changed.texts_missing["query"]
    (tmp_path / "queries.txt").unlink()
    gone = Attribution(tmp_path / "run")
    assert gone.answers([0], k=1)[0]["text"] is None
    assert "queries.txt" in gone.texts_missing["query"]


def test_a_run_without_traces_is_told_apart(models, tmp_path):
    study = tiny_study(models, checkpoints="last", final_components=())
    run_study(StudyConfig.model_validate(study), tmp_path / "llc")
    with pytest.raises(ValueError, match=r"holds no full traces.*creode attribute MODEL"):
        Attribution(tmp_path / "llc").answers()
