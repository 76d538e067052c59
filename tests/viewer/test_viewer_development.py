"""The charts and tables of a development: what is drawn is what the results hold."""

import itertools
import json
import re

import pytest
import synthetic_development
import xarray as xr
from synthetic_development import DOUBTFUL, LOST, STEPS
from visiting import DESK, Visit

from creode.viewer import DevelopmentReport, write_report
from creode.viewer.development import datasets, with_alarms
from creode.viewer.figures import figures
from creode.viewer.influence_along import drawn
from creode.viewer.readings import readings
from creode.viewer.stages import in_words
from creode.viewer.theme import LIGHT


@pytest.fixture(scope="module")
def report():
    return synthetic_development.make_report()


@pytest.fixture(scope="module")
def rows(report):
    return datasets(report.development)


def test_readings_are_drawn_with_two_errors_either_way_and_their_verdict(report, rows):
    llc = [row for row in rows["development"] if (row["panel"], row["what"]) == ("llc", "reading")]
    table = report.development.trajectory
    assert [row["step"] for row in llc] == STEPS.tolist()
    for row, value, se in zip(llc, table["llc"].values, table["llc_se"].values, strict=True):
        if row["step"] == STEPS[LOST]:
            assert (row["value"], row["low"]) == (None, None)
            continue
        assert row["value"] == pytest.approx(value, rel=1e-6)
        assert row["high"] - row["value"] == pytest.approx(2 * se, rel=1e-4)
        assert row["value"] - row["low"] == pytest.approx(2 * se, rel=1e-4)
    assert [i for i, row in enumerate(llc) if not row["ok"]] == [DOUBTFUL, LOST]
    assert {row["component"] for row in llc} == {"full"}


def test_losses_are_of_the_data_without_an_error_and_of_probes_with_one(report, rows):
    losses = [row for row in rows["development"] if row["panel"] == "loss"]
    assert {row["series"] for row in losses} == {"data", "prose", "code"}
    table = report.development.trajectory
    last = {row["series"]: row for row in losses if row["step"] == STEPS[-1]}
    assert last["data"]["value"] == pytest.approx(float(table["loss"][-1]), rel=1e-6)
    assert last["data"]["low"] is None
    assert last["prose"]["high"] - last["prose"]["low"] == pytest.approx(4 * 0.06, rel=1e-4)


def test_the_curve_is_drawn_as_it_is(report, rows):
    curve = [row for row in rows["development"] if row["what"] == "curve"]
    exact = report.development.curve
    assert len(curve) == exact.sizes["step"]
    middle = exact.isel(step=200)
    row = curve[200]
    assert row["step"] == pytest.approx(float(middle["step"]))
    assert row["value"] == pytest.approx(float(middle["curve"]))
    assert row["high"] - row["value"] == pytest.approx(2 * float(middle["curve_se"]), rel=1e-4)


def test_stages_are_shaded_where_they_move_and_boundaries_have_intervals(report, rows):
    stages = report.development.stages
    assert [row["stage"] for row in rows["stages"]] == [str(one["stage"]) for one in stages]
    assert [(row["start"], row["end"]) for row in rows["stages"]] == [
        (one["start"], one["end"]) for one in stages
    ]
    assert [row["moves"] for row in rows["stages"]] == [one["kind"] != "plateau" for one in stages]
    assert {one["kind"] for one in stages} == {"plateau", "rise", "fall"}
    assert [(row["low"], row["step"], row["high"]) for row in rows["boundaries"]] == [
        (one["begins_low"], one["start"], one["begins_high"]) for one in stages[1:]
    ]


def test_alarms_are_marked_where_they_rang_and_at_the_readings_that_rang(report, rows):
    assert [row["step"] for row in rows["alarms"]] == [STEPS[16], STEPS[20]]
    assert rows["alarms"][1]["words"] == ["λ̂ of l0h1, silent"]
    marked = with_alarms(readings(report.llc), report.development)
    rang = {(row["step"], row["component"]) for row in marked if row["alarm"]}
    assert rang == {(STEPS[16], "full"), (STEPS[20], "l0h1")}


def test_without_stages_the_readings_are_drawn_alone():
    none = [{"stage": None, "ok": False, "reasons": "too few"}]
    report = synthetic_development.make_report(stages=none, events=(), curve=None)
    found = {figure.name: figure for figure in figures(report)}
    assert "No stages were found" in found["development_by_stage"].description
    assert "Shaded" not in found["development_by_stage"].caption
    assert "stages" not in json.dumps(found["llc_along_training_heads"].chart["data"])
    rows = datasets(report.development)
    assert rows["stages"] == rows["boundaries"] == rows["alarms"] == []


def test_what_the_stages_are_of_is_drawn_once(report):
    assert [figure.name for figure in figures(report) if figure.section != "components"] == [
        "development_by_stage", "measures_along_training", "chi_along_training",
        "chi_path", "influence_along_training", "trajectory_plane", "llc_along_training_heads",
    ]  # fmt: skip


def test_chi_has_a_panel_a_component_and_a_line_a_probe(report, rows):
    chi = rows["chi"]
    table = report.development.trajectory
    assert {(row["panel"], row["series"]) for row in chi} == {
        (part, probe) for part in ("l0h0", "l0h1", "l1h0") for probe in ("prose", "code")
    }
    row = next(r for r in chi if (r["panel"], r["series"], r["ok"]) == ("l0h1", "prose", False))
    assert row["step"] == STEPS[5]
    exact = table["chi"].sel(component="l0h1", probe="prose", checkpoint=row["step"])
    assert row["value"] == pytest.approx(float(exact), rel=1e-6)
    assert row["title"] == f"χ of l0h1 to prose at step {STEPS[5]}"
    assert sum(not row["ok"] for row in chi) == 1


def test_the_strongest_influences_are_drawn_with_bands_and_texts(report, rows):
    drawn = rows["influence"]
    exact = report.development.influence
    first = [row for row in drawn if row["panel"] == "query 0"]
    assert drawn[0]["panel"] == "query 0"  # a flip comes first
    assert {row["series"] for row in first} == {"0", "1", "2", "3"}
    assert len(first) == 4 * len(STEPS)
    flips = [row for row in first if row["series"] == "0"]
    one = exact.sel(query=0, train=5)
    for row, at, se in zip(flips, one["influence"].values, one["influence_se"].values, strict=True):
        assert row["value"] == pytest.approx(at, rel=1e-6)
        assert row["high"] - row["value"] == pytest.approx(2 * se, rel=1e-4)
        assert row["value"] - row["low"] == pytest.approx(2 * se, rel=1e-4)
    assert [i for i, row in enumerate(flips) if not row["ok"]] == [DOUBTFUL]
    assert flips[3]["title"] == f"sample 5 on query 0 at step {STEPS[3]}"
    assert flips[3]["words"] == ["def sample_5(values): return sorted(values)"]
    ends = {row["label"]: row for row in first if row["label"]}
    assert ends.keys() == {"5", "40", "17", "0"}
    height = max(row["value"] for row in first) - min(row["value"] for row in first)
    places = sorted(row["label_at"] for row in ends.values())
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.07 * height
    second = [row for row in drawn if row["panel"] == "query 3" and row["series"] == "0"]
    assert second[-1]["label"] == "17"  # the largest at its peak


def test_a_surest_flip_is_drawn_though_others_are_stronger(report):
    found = report.development.influence.copy(deep=True)
    found["peak_value"][0] = [1.0, 2.0, 0.01, 3.0, 4.0, 5.0]
    assert dict(drawn(found))[0] == [5, 4, 3, 2]


def test_influences_that_change_are_told_with_their_texts(report, tmp_path):
    page = write_report(report, tmp_path / "report.html").read_text()
    told = page.split('id="influence-title"')[1].split("</table>")[0]
    words = " ".join(re.sub(r"<[^>]+>|\s+", " ", told).split())
    flip, peak = report.development.influence_changes
    assert (flip["query"], flip["train"], peak["query"], peak["train"]) == (0, 5, 3, 17)
    assert "Of 12 pairs 1 change their sign (1 around a stage boundary" in words
    assert "1 of 25 checkpoints were left out" in words
    assert f"{flip['flip_after']:,} – {flip['flip_before']:,}" in words
    assert f"{peak['peak_step']:,} ({peak['peak_low']:,} – {peak['peak_high']:,})" in words
    assert "sample: def sample_17(values): return sorted(values)" in words
    assert "query: another" in words


def test_a_development_without_influence_has_none(tmp_path):
    report = synthetic_development.make_report(influence=None, influence_changes=())
    assert "influence_along_training" not in [figure.name for figure in figures(report)]
    assert datasets(report.development)["influence"] == []
    assert "influence-title" not in write_report(report, tmp_path / "report.html").read_text()


def test_the_path_is_drawn_in_order_with_ideal_predictors_beside_it(report, rows):
    path = [row for row in rows["plane"] if row["what"] == "checkpoint"]
    exact = report.development.plane
    assert [row["order"] for row in path] == [*range(len(STEPS))]
    for row, at, se in zip(path, exact["score"].values, exact["score_se"].values, strict=True):
        assert (row["x"], row["y"]) == (
            pytest.approx(at[0], rel=1e-6),
            pytest.approx(at[1], rel=1e-6),
        )
        assert row["y_high"] - row["y_low"] == pytest.approx(4 * se[1], rel=1e-4)
    told = [row["label"] for row in path if row["label"]]
    assert (told[0], told[-1]) == ("1", "20,000")
    assert len(told) == 6  # those and where the other four stages begin
    ideal = {row["label"]: row for row in rows["plane"] if row["what"] == "ideal predictor"}
    assert list(ideal) == ["uniform", "unigram", "bigram"]
    assert ideal["bigram"]["x"] == pytest.approx(float(exact["ideal"][2, 0]), rel=1e-6)
    assert "off the plane" in ideal["bigram"]["words"][-1]


def test_the_path_through_responses_is_drawn_with_what_its_axes_are(report, rows):
    exact = report.development.chi_path
    path = rows["chi_path"]
    assert [row["order"] for row in path] == [*range(len(STEPS) - 1)]  # one is in doubt
    for row, at, se in zip(path, exact["score"].values, exact["score_se"].values, strict=True):
        assert (row["x"], row["y"]) == (
            pytest.approx(at[0], rel=1e-6),
            pytest.approx(at[1], rel=1e-6),
        )
        assert row["x_high"] - row["x_low"] == pytest.approx(4 * se[0], rel=1e-4)
    figure = next(one for one in figures(report) if one.name == "chi_path")
    flat = exact["loading"].isel(axis=0).stack(response=("component", "probe"))
    part, probe = flat["response"].values[int(abs(flat.values).argmax())]
    assert f"most of all {part} to {probe} (" in figure.caption


def test_runs_in_one_plane_are_told_apart_by_name_and_colour():
    plane = synthetic_development.make_plane(("decoder", "seed1", "seed2"))
    report = synthetic_development.make_report(plane=plane)
    drawn = datasets(report.development)["plane"]
    by_run = {}
    for row in drawn:
        by_run.setdefault(row["run"], []).append(row)
    counts = {run: len(of) for run, of in by_run.items()}
    assert counts == {
        "decoder": len(STEPS), "seed1": len(STEPS), "seed2": len(STEPS) - 3, None: 3,
    }  # fmt: skip
    last = by_run["seed2"][-1]
    assert (last["label"], last["title"]) == ("seed2 20,000", "seed2, step 20,000")
    assert last["x"] == pytest.approx(float(plane["score"].sel(run="seed2")[-1, 0]), rel=1e-6)
    assert [row["order"] for row in by_run["seed2"]] == [*range(len(STEPS) - 3)]
    assert [row["label"] for row in by_run["seed1"][1:-1]] == [""] * (len(STEPS) - 2)
    figure = next(one for one in figures(report) if one.name == "trajectory_plane")
    assert "runs decoder, seed1, seed2" in figure.description
    assert '"seed2"' in json.dumps(figure.chart["scales"])


def test_other_readings_have_a_panel_each_with_bars_where_there_is_an_error(report, rows):
    by_panel = {}
    for row in rows["measures"]:
        by_panel.setdefault(row["panel"], []).append(row)
    assert list(by_panel) == ["weight norm", "Hessian trace"]
    table = report.development.trajectory
    norm, trace = (rows[-1] for rows in by_panel.values())
    assert norm["value"] == pytest.approx(float(table["weight_norm"][-1]), rel=1e-6)
    assert norm["low"] is norm["high"] is None
    assert trace["high"] - trace["low"] == pytest.approx(4 * 3.0, rel=1e-4)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ("llc", "λ̂"),
        ("component_llc[l0h1]", "λ̂ of l0h1"),
        ("probe_loss[code]", "loss on code"),
        ("chi[l0h1,code]", "χ of l0h1 to code"),
        ("chi[l0 mlp]", "chi[l0 mlp]"),
        ("weight_norm", "weight norm"),
    ],
)
def test_readings_have_names_for_people(reading, words):
    assert in_words(reading) == words


def test_readings_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match="trajectory lacks llc_se, ok, loss"):
        DevelopmentReport(trajectory=xr.Dataset({"llc": ("checkpoint", [1.0])}))


def test_the_page_draws_every_reading_and_mark(chromium, report, tmp_path):
    visit = Visit(chromium, write_report(report, tmp_path / "page.html"), viewport=DESK)
    assert visit.complaints == []
    figure = "development_by_stage"
    dots, crosses = (visit.marks(figure, LIGHT[c]) for c in ("series0", "bad"))
    assert len([outline for outline in dots if "A" in outline]) == 2 * len(STEPS) - 2
    triangles = [outline for outline in crosses if re.fullmatch(r"M[^A]*Z", outline)]
    assert len(triangles) == 2 + 2 * 2  # ✕ in doubt and lost, and each alarm in both panels
    assert "2 rise" in visit.texts(figure)
    heads = visit.marks("llc_along_training_heads", LIGHT["bad"])
    assert len(heads) == 1  # the alarm of l0h1
    visit.context.close()


def test_parts_of_one_shape_are_a_row_with_their_stability(report, tmp_path):
    page = write_report(report, tmp_path / "report.html").read_text()
    table = page.split('id="shapes-title"')[1].split("</table>")[0]
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in table.split("<tr")[2:]]
    words = [" ".join(row).split(">")[-1].strip() for row in rows]
    assert words[0] == "1 l0h0, l0h1 0.93"
    assert words[1] == "2 l1h0 0.41"
    assert words[2] == "✕ not found again under noise of its errors"
    assert words[3] == "do not move l1h1 –"
