"""The page of an audit, without a browser: its numbers, its words, what users wrote."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import synthetic_audit as synthetic
import xarray as xr
from test_viewer_page import Page

from creode.auditing import audit
from creode.study.conclusion import Conclusion
from creode.study.texts import REJECTED
from creode.viewer import audit_culprits, audit_rows, export_charts, write_audit_report
from creode.viewer.audit_culprits import BEGINNING, culprit_tables, sample_text
from creode.viewer.audit_rows import (
    MOST_SAMPLES,
    behaviour_table,
    datasets,
    effect_table,
    mending_tables,
    sample_rows,
)
from creode.viewer.audit_words import finding, trust_sentence
from creode.viewer.wording import with_error

SVG = "{http://www.w3.org/2000/svg}"
SECTIONS = [
    "found", "behaviours", "samples", "groups", "shifts", "parts", "modes", "mending", "llc",
    "chains", "configuration", "repeat", "words",
]  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return synthetic.make_report()


@pytest.fixture(scope="module")
def html(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "report.html"
    return write_audit_report(report, path).read_text(encoding="utf-8")


def flat(html):
    return " ".join(Page(html).text.split())


def written(report, tmp_path):
    return write_audit_report(report, tmp_path / "a.html").read_text(encoding="utf-8")


def audit_of(name):
    margins = {name: np.ones(30)}
    return audit(synthetic.draws(), [name], margins=margins)


def test_the_first_behaviour_that_is_shown_is_chosen(tmp_path):
    found = synthetic.make_audit()
    shown = found.levels.assign(shown=("behaviour", [False, True, False]))
    report = synthetic.make_report(replace(found, levels=shown))
    options = [attrs for tag, attrs in Page(written(report, tmp_path)).elements
               if tag == "option"]  # fmt: skip
    assert ["selected" in one for one in options[:3]] == [False, True, False]


def doubtful():
    return replace(synthetic.make_audit(), ok=False, reasons="R-hat is 1.31 <&>")


def test_rows_are_the_numbers_of_the_audit(report):
    rows, found = datasets(report), report.audit
    assert [row["behaviour"] for row in rows["behaviours"]] == ["code", "prose"]
    assert [row["behaviour"] for row in rows["capabilities"]] == [synthetic.SKILL]
    for row in rows["behaviours"] + rows["capabilities"]:
        one = found.levels.sel(behaviour=row["behaviour"])
        for name in ("unwanted", "unwanted_low", "unwanted_high"):
            for prefix in ("", "before_"):
                assert row[prefix + name] == pytest.approx(float(one[prefix + name]), rel=1e-7)
        assert row["shown"] == bool(one["shown"])
    code = [row for row in rows["samples"] if row["picked"] == 0]
    one = found.samples.sel(behaviour="code")
    assert [row["rank"] for row in code] == list(range(1, synthetic.SAMPLES + 1))
    sure = np.sort(one["association"].values)[::-1]
    np.testing.assert_allclose([row["association"] for row in code], sure, rtol=1e-7)
    error = one["association_se"].values[np.argsort(-one["association"].values)]
    np.testing.assert_allclose([row["high"] for row in code], sure + 2 * error, rtol=1e-6)
    kinds = [row["kind"] for row in code]
    assert kinds.count("drives") == int(one["driver"].sum()) > 0
    assert kinds.count("holds back") == int(one["holder"].sum()) > 0
    for name, dim in audit_rows.EFFECTS.items():
        table = getattr(found, name)
        assert len(rows[name]) == table["effect"].size
        for row in rows[name]:
            cell = table.sel({dim: row["component"], "behaviour": row["dataset"]})
            assert row["chi"] == pytest.approx(float(cell["effect"]), rel=1e-7)
            assert row["significant"] == bool(cell["significant"])
    for row in rows["mending"]:
        cell = found.mending["code"].sel(behaviour=row["behaviour"], effective=row["effective"])
        assert row["predicted"] == pytest.approx(float(cell["predicted"]), rel=1e-7)
        width = 4 * float(cell["predicted_se"])
        assert row["high"] - row["low"] == pytest.approx(width, rel=1e-5)
        assert row["mended"] == (row["behaviour"] == "code")
    for row in rows["llc_by_group"]:
        assert row["llc"] == pytest.approx(float(found.llc["llc"].sel(group=row["group"])))


def test_tables_tell_every_number_with_its_error(report):
    found = report.audit
    code = behaviour_table(report)[0]
    record = report.records[0]
    assert code["margin"] == with_error(record["margin"], record["margin_se"])
    assert code["llc"] == "2.50 ± 0.25"
    assert code["drivers"] == str(record["drivers"])
    culprits = culprit_tables(report)[0]["rows"]
    assert [row["row"] for row in culprits] == [3 * i for i in found.drivers("code")]
    for row, one in zip(culprits, report.culprits["code"], strict=True):
        assert row["association"] == with_error(one["association"], one["association_se"])
        assert row["effect"] == with_error(one["effect"], one["effect_se"])
        assert row["driver"] == one["driver"]
        assert 0 <= row["low"] <= row["bar"] <= row["high"] <= 100
    assert max(row["high"] for row in culprits) == 100
    table = effect_table(found.groups, "group")
    assert table["behaviours"] == list(synthetic.NAMES)
    assert [row["size"] for row in table["rows"]] == ["5 (12 %)", "10 (25 %)", "25 (62 %)"]
    cell = found.groups.isel(group=0).sel(behaviour="prose")
    assert table["rows"][0]["cells"][1] == {
        "text": with_error(float(cell["effect"]), float(cell["effect_se"])), "told": True,
    }  # fmt: skip
    (mended,) = mending_tables(found.mending)
    last = found.mending["code"].isel(effective=-1)
    assert mended["rows"][-1]["effective"] == "50 %"
    assert mended["keep"] == synthetic.SKILL
    assert mended["rows"][-1]["cells"][0] == with_error(
        float(last["predicted"].sel(behaviour="code")),
        float(last["predicted_se"].sel(behaviour="code")),
    )


def test_the_page_tells_its_story_in_order(html, report):
    page, text = Page(html), flat(html)
    assert page.ids("section") == SECTIONS
    one = report.audit.levels.sel(behaviour="code")
    low, high = (round(100 * float(one[f"unwanted_{end}"])) for end in ("low", "high"))
    told = [
        "The model shows 1 of 2 behaviours beyond the tolerance of 10 %: code, at "
        f"98 % [{low}, {high}] of prompts (2 % before post-training). "
        f"{report.records[0]['drivers']} training samples stand out as driving it.",
        "No capability is found to fail beyond 10 %: loss (0 % [0, 6]).",
        "The draws behind the effects can be trusted",
        "loss (capability)",
        f"code: {report.records[0]['drivers']} drive it, {report.records[0]['holders']} hold",
        "Which principles",
        "Other mixtures",
        "Which parts of the model",
        "What moves together",
        "Held where they are: loss.",
        "How firmly each principle is set",
        "Chains and diagnostics",
        "audit.tolerance",
        "creode rerun runs/audit",
    ]
    places = [text.index(sentence) for sentence in told]
    assert places == sorted(places)
    for table in culprit_tables(report):
        assert all(row["effect"] in text for row in table["rows"])
    for row in mending_tables(report.audit.mending)[0]["rows"]:
        assert all(cell in text for cell in row["cells"])


def test_every_chart_has_a_place_and_its_data(html):
    page = Page(html)
    data = json.loads(page.scripts["data"])
    drawn = [attrs["data-figure"] for tag, attrs in page.elements
             if tag == "div" and "data-figure" in attrs]  # fmt: skip
    assert sorted(drawn) == sorted(data["figures"])
    assert set(drawn) == {
        "behaviours", "capabilities", "sample_associations", "effects_of_groups",
        "effects_of_shifts",
        "effects_of_parts", "mode_singular_values", "mode_loadings", "mending_curves",
        "llc_by_group", "chain_losses", "chain_running_llc", "chain_autocorrelation",
    }  # fmt: skip
    for name, figure in data["figures"].items():
        named = [entry["name"] for entry in figure["chart"]["data"] if entry["name"] in
                 data["datasets"]]  # fmt: skip
        assert named or name.startswith("chain_")
        assert all(data["datasets"][one] for one in named)
    picks = {attrs["data-picks"] for tag, attrs in page.elements if "data-picks" in attrs}
    assert picks == {"samples"}  # one behaviour is mended: nothing to choose
    picked = [attrs["data-picked"] for _, attrs in page.elements if attrs.get("data-of") ==
              "samples"]  # fmt: skip
    assert picked == ["0", "1", "2"]


def test_what_users_wrote_is_shown_as_text(html):
    assert "<script>alert(1)" not in html
    assert "<b>&amp; {{" not in html
    assert synthetic.EVIL in flat(html)
    assert "kind <p>" in flat(html)
    assert "<gone>" in flat(html)
    assert "kind <p>" not in html


def test_prompt_and_answers_are_told_apart_where_that_is_known():
    assert audit_culprits.REJECTED == REJECTED
    parts = sample_text("ask: yes ✗ no", "ask: ")
    assert [(part["name"], part["beginning"]) for part in parts] == [
        ("prompt", "ask: "), ("chosen answer", "yes"), ("rejected answer", "no"),
    ]  # fmt: skip
    assert [part["name"] for part in sample_text("ask: yes", "ask: ")] == ["prompt", "answer"]
    assert [part["name"] for part in sample_text("ask: yes ✗ no")] == [
        "prompt and chosen answer", "rejected answer",
    ]  # fmt: skip
    assert sample_text("a ✗ b ✗ c") == [{"name": "", "beginning": "a ✗ b ✗ c", "whole": None}]
    assert [part["name"] for part in sample_text("yes", "another prompt")] == [""]
    assert sample_text(None) == []
    (long,) = sample_text("x" * BEGINNING + "END")
    assert len(long["beginning"]) == BEGINNING
    assert long["whole"].endswith("END")


def test_long_texts_are_cut_with_the_whole_behind(html):
    details = [attrs for tag, attrs in Page(html).elements
               if tag == "details" and attrs.get("class") == "whole"]  # fmt: skip
    assert details
    assert html.count("THE END") == len(details)


def test_what_an_audit_does_not_have_is_left_out(tmp_path):
    html = written(synthetic.bare(), tmp_path)
    assert Page(html).ids("section") == ["found", "behaviours", "samples", "chains", "words"]
    assert set(json.loads(Page(html).scripts["data"])["figures"]) == {"sample_associations"}
    assert "Whether the model shows it is not known: no margins of prompts were given." in flat(
        html
    )
    assert "not shown" not in flat(html)


def test_draws_in_doubt_are_said_to_be_first(tmp_path):
    report = synthetic.make_report(doubtful())
    text = flat(written(report, tmp_path))
    warned = "The draws behind the effects cannot be trusted: do not act on what drives them."
    assert text.index(warned) < text.index("R-hat is 1.31 <&>") < text.index("Behaviours")
    assert "can be trusted: what drives" not in text
    assert "What drives it these draws cannot say." in text
    assert "stand out as driving" not in text
    assert text.count("R-hat is 1.31") == 1
    assert "does not rest on draws" in trust_sentence(report)
    assert "does not rest" not in trust_sentence(synthetic.bare(ok=False))


def test_doubts_about_the_readings_are_told_once(tmp_path, report):
    llc = report.llc.assign(ok=False, reasons="R-hat is 1.31 <&>")
    assert "Why 1 cannot" in flat(written(synthetic.make_report(llc=llc), tmp_path))
    both = flat(written(synthetic.make_report(doubtful(), llc=llc), tmp_path))
    assert "Why 1 cannot" not in both
    assert both.count("R-hat is 1.31 <&>") == 2  # at the top, and in the table of diagnostics


def test_a_part_in_doubt_says_why(tmp_path):
    found = synthetic.make_audit()
    ok = xr.DataArray([True, False, True], dims="component")
    reasons = xr.DataArray(["", "ESS is 3", ""], dims="component")
    parts = found.parts.assign(ok=ok, reasons=reasons)
    report = synthetic.make_report(replace(found, parts=parts))
    assert "in doubt: ESS is 3" in flat(written(report, tmp_path))
    assert {row["component"] for row in datasets(report)["parts"] if row["doubt"]} == {"b"}


def test_the_finding_names_what_is_shown_and_what_fails():
    known = synthetic.make_audit()

    def sentences(*shown):
        names = [name in shown for name in synthetic.NAMES]
        levels = known.levels.assign(shown=("behaviour", names))
        return finding(synthetic.make_report(replace(known, levels=levels)))

    assert sentences()[0] == (
        "The model is not found to show any of 2 behaviours beyond the tolerance of 10 %."
    )
    both = sentences("code", "prose")[0]
    assert both.startswith("The model shows 2 of 2 behaviours")
    assert "Training samples that stand out as driving them: 17 code," in both
    one = finding(synthetic.make_report(audit_of("code")))[0]
    assert one.startswith("The model shows the behaviour beyond the tolerance of 10 %: code, at")
    assert sentences(synthetic.SKILL)[1].startswith("Capabilities that fail beyond 10 %: loss, at")


def test_of_very_many_samples_those_that_stand_out_are_drawn():
    count, rng = 5000, np.random.default_rng(0)
    effect = rng.normal(size=(1, count))
    driver = effect > np.sort(effect)[0, -20]
    holder = effect < np.sort(effect)[0, 700]
    dims = ("behaviour", "sample")
    table = xr.Dataset(
        {"association": (dims, effect), "association_se": (dims, np.ones_like(effect)),
         "z": (dims, effect),
         "driver": (dims, driver), "holder": (dims, holder)},
        {"behaviour": ["x"]},
    )  # fmt: skip
    rows = sample_rows(table)
    assert 0.8 * MOST_SAMPLES < len(rows) <= MOST_SAMPLES
    assert [row["rank"] for row in rows][:1] + [row["rank"] for row in rows][-1:] == [1, count]
    assert sum(row["kind"] == "drives" for row in rows) == int(driver.sum())
    few = sample_rows(table.assign(holder=(dims, effect < np.sort(effect)[0, 30])))
    assert sum(row["kind"] == "holds back" for row in few) == 30


def test_every_chart_is_exported_for_every_behaviour(report, tmp_path):
    paths = export_charts(report, tmp_path, ["svg"])
    names = {path.name for path in paths}
    assert len(names) == len(paths)
    assert {
        "behaviours.svg", "sample_associations_code.svg", "sample_associations_prose.svg",
        "mending_curves.svg", "effects_of_parts.svg", "chain_losses_full.svg",
    } <= names  # fmt: skip
    for path in paths:
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        assert len(list(root.iter(f"{SVG}path"))) > 3, path.name


def test_a_conclusion_writes_the_page_of_an_audit(report, tmp_path):
    class Audited(Conclusion):
        def records(self):
            return list(report.records)

        def report(self):
            return report

    path = Audited(tmp_path).write_report()
    assert path == tmp_path / "report.html"
    assert Page(path.read_text(encoding="utf-8")).ids("section") == SECTIONS


def test_results_that_cannot_be_shown_are_refused(report, tmp_path):
    with pytest.raises(ValueError, match=r"end the path in \.html"):
        write_audit_report(report, tmp_path / "audit.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="give all of the same behaviours"):
        synthetic.make_report(records=report.records[:2])
    with pytest.raises(ValueError, match="give all of the same behaviours"):
        synthetic.make_report(culprits={"rude": []})
    with pytest.raises(ValueError, match="traces has a reading"):
        synthetic.make_report(traces={(5, "full"): report.traces[(None, "full")]})
