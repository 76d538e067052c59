"""The pages of weights and of a loop, without a browser: rows, words, what users wrote."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import synthetic_writing as synthetic
from test_viewer_page import Page

from creode.viewer import (
    Writing,
    WritingReport,
    export_charts,
    write_loop_report,
    write_writing_report,
)
from creode.viewer.loop_page import loop_datasets
from creode.viewer.loop_words import story
from creode.viewer.writing import arm_rows, change_rows, explained_rows, extremes, group_rows

SVG = "{http://www.w3.org/2000/svg}"


def flat(page):
    return " ".join(page.text.split())


@pytest.fixture(scope="module")
def writing_html(tmp_path_factory):
    path = tmp_path_factory.mktemp("writing") / "weights.html"
    report = synthetic.make_report(
        writings=[
            synthetic.make_writing(
                explained=synthetic.make_explained(),
                clusters=[{"cluster": "0", "tokens": 12, "weight": 1.4, "description": "<names>"}],
            )
        ]
    )
    return write_writing_report(report, path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loop_html(tmp_path_factory):
    path = tmp_path_factory.mktemp("loop") / "report.html"
    return write_loop_report(synthetic.make_loop(), path).read_text(encoding="utf-8")


def test_rows_are_the_stored_numbers():
    writing = synthetic.make_writing()
    rows = group_rows(writing)
    assert rows[0]["group"] == "dialogue"
    for row in rows:
        own = writing.weights[np.array(writing.groups) == row["group"]]
        assert row["mean"] == pytest.approx(own.mean(), rel=1e-6)
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["samples"] == len(own) == 20
    assert [row["before"] for row in rows] == ["33 %"] * 3
    assert sum(int(row["after"].removesuffix(" %")) for row in rows) in (99, 100, 101)
    ends = extremes(writing)
    heaviest = int(np.argmax(writing.weights))
    assert ends["Weigh most"][0]["sample"] == heaviest
    assert ends["Weigh most"][0]["text"] == synthetic.EVIL
    assert ends["Weigh least"][0]["sample"] == int(np.argmin(writing.weights))
    changes = {row["what"]: row for row in change_rows(writing)}
    proof = writing.proof.sel(observable=synthetic.AIM)
    assert changes["wanted"]["value"] == -0.04
    assert changes["wanted"]["low"] is None
    assert changes["predicted"]["low"] == pytest.approx(-0.033 - 1.96 * 0.003)
    assert changes["achieved"]["value"] == pytest.approx(float(proof["achieved"]), rel=1e-6)
    assert changes["against shuffled"]["high"] == pytest.approx(float(proof["gap_high"]), rel=1e-6)
    arms = arm_rows(writing)
    assert len(arms) == 2 * 3 * 3
    for row in arms:
        arm = {"weights": "patterned", "no weights": "uniform", "shuffled": "permuted"}[row["arm"]]
        name = synthetic.WHEN if "step" in row["panel"] else synthetic.AIM
        value = writing.proof["value"].sel(arm=arm, seed=row["seed"], observable=name)
        assert row["value"] == pytest.approx(float(value), rel=1e-6)


def test_the_page_of_weights_says_what_is_wanted_predicted_and_achieved(writing_html):
    page = Page(writing_html)
    text = flat(page)
    assert "To lower the loss on dialogue by 0.0400 nats" in text
    assert "predicted is −0.0330 ± 0.0030 nats" in text
    assert "against the same weights shuffled: confirmed." in text
    for heading in ("Weights", "Proof", "Hasten dialogue: confirmed"):
        assert heading in text
    assert "c <headers>" in text  # as text
    assert "<names>" in text
    assert "domain <b>" in text
    assert "0.71" in text  # R² of the explanation
    assert [row["r2"] for row in explained_rows(synthetic.make_writing())] == []
    data = json.loads(page.scripts["data"])
    names = set(data["figures"])
    assert names == {"weights_histogram", "weights_by_group", "losses_along_training",
                     "arms_over_seeds", "predicted_and_achieved"}  # fmt: skip
    drawn = [attrs["data-figure"] for tag, attrs in page.elements
             if tag == "div" and "data-figure" in attrs]  # fmt: skip
    assert sorted(drawn) == sorted(names)
    for name, figure in data["figures"].items():
        for entry in figure["chart"]["data"]:
            if entry["name"] in ("weights", "weight_groups", "changes", "arms", "along"):
                assert data["datasets"][entry["name"]], name


@pytest.mark.parametrize("which", ["writing_html", "loop_html"])
def test_what_users_wrote_is_shown_as_text(which, request):
    html = request.getfixturevalue(which)
    assert '<b>&amp; "quoted"' not in html
    assert "{{ 7*7 }}" in html  # not evaluated
    assert synthetic.EVIL.replace("\n", " ") in flat(Page(html))
    assert "<headers>" not in html
    assert "<small>" not in html


def test_without_a_proof_only_weights_are_shown(tmp_path):
    writing = synthetic.make_writing(proof=None, when=None, groups=None, texts=None)
    html = write_writing_report(synthetic.make_report(writings=[writing]), tmp_path / "w.html")
    page = Page(html.read_text(encoding="utf-8"))
    assert set(json.loads(page.scripts["data"])["figures"]) == {
        "weights_histogram", "predicted_and_achieved",
    }  # fmt: skip
    assert "Wanted and predicted" in flat(page)
    assert "Proof" not in flat(page)


def test_draws_in_doubt_are_said_to_be(tmp_path):
    effect = synthetic.make_effect().assign(ok=False, reasons="R-hat is 1.31 <&>")
    report = synthetic.make_report(writings=[synthetic.make_writing(effect=effect)])
    html = write_writing_report(report, tmp_path / "w.html").read_text(encoding="utf-8")
    assert "hasten dialogue: R-hat is 1.31 <&>" in flat(Page(html))


def test_a_loop_tells_its_story_in_order(loop_html):
    page = Page(loop_html)
    text = flat(page)
    told = [
        "The behaviour followed here is predicting dialogue",
        "fell from 5.50 to 2.20 nats, and 90 % of that fall was done by step 140.",
        "Asked which of the 60 training samples this rests on, creode points first to dialogue",
        "With weights to hasten it, models trained again from new random starts",
        "With weights to delay it",
        "What cannot be trusted",
        "Which part answers to which text: 1 of 2 results",
        "<i>chains drift</i> by 3",
        "1 What formed when",
        "2 Which part answers to which text",
        "3 Which data made it so",
        "4 Other weights on the same data",
        "5 Before and after",
    ]
    places = [text.index(sentence) for sentence in told]
    assert places == sorted(places)
    data = json.loads(page.scripts["data"])
    expected = {
        "probes_along_training", "development_by_stage", "response_heat_map",
        "behaviour_by_domain", "weights_histogram", "weights_by_group", "losses_along_training",
        "arms_over_seeds", "predicted_and_achieved",
    }  # fmt: skip
    assert set(data["figures"]) == expected
    known = loop_datasets(synthetic.make_loop())
    for figure in data["figures"].values():
        given = {entry["name"] for entry in figure["chart"]["data"] if "values" not in entry}
        roots = {name for name in given if name in known}
        assert roots <= set(data["datasets"])


def test_the_story_says_whether_the_arms_tell_and_who_did_not_get_there():
    report = synthetic.make_loop()
    hasten, delay = story(report)[-2:]
    mean = report.writings[0].proof["value"].mean("seed").sel(observable=synthetic.WHEN)
    assert f"at step {float(mean.sel(arm='patterned')):,.0f}, against" in hasten
    assert "Told from chance by 3 seeds." in hasten
    assert "(3 of 3 did not within 200 steps)" in delay
    unclear = synthetic.make_writing(proof=synthetic.make_proof(told=False))
    assert "Not told from chance" in story(synthetic.make_loop(writings=[unclear]))[-1]
    ends = synthetic.make_writing(when=None)
    last = story(synthetic.make_loop(writings=[ends], start="last"))[-1]
    assert "on from the last checkpoint: the loss on dialogue ended at" in last


@pytest.mark.parametrize("make", [synthetic.make_report, synthetic.make_loop])
def test_every_chart_is_exported_with_its_caption(make, tmp_path):
    written = export_charts(make(), tmp_path, ["svg"])
    for path in written:
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        assert len(list(root.iter(f"{SVG}path"))) > 3, path.name
        assert any(element.text for element in root.iter(f"{SVG}text"))
    assert {"weights_histogram.svg", "arms_over_seeds.svg"} <= {path.name for path in written}


def test_results_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match="effect lacks the observable 'poems'"):
        synthetic.make_writing(aim="poems")
    with pytest.raises(ValueError, match="effect lacks predicted"):
        synthetic.make_writing(effect=synthetic.make_effect().drop_vars("predicted"))
    with pytest.raises(ValueError, match="proof lacks gap"):
        synthetic.make_writing(proof=synthetic.make_proof().drop_vars("gap"))
    with pytest.raises(ValueError, match="60 weights need as many texts, got 1"):
        synthetic.make_writing(texts=["one"])
    with pytest.raises(ValueError, match="nothing to show; give writings"):
        WritingReport(title="none", writings=[])
    with pytest.raises(ValueError, match="must have different names"):
        WritingReport(title="twice", writings=[synthetic.make_writing()] * 2)
    assert isinstance(synthetic.make_writing(), Writing)
