import importlib
import json
import sys
from html.parser import HTMLParser

import pytest
import synthetic_development
import synthetic_report
from synthetic_report import UNMIXED

import creode.viewer
from creode.viewer import DevelopmentReport, write_report
from creode.viewer.figures import figures
from creode.viewer.wording import GLOSSARY

SECTIONS = [
    "verdict",
    "training",
    "components",
    "probes",
    "chains",
    "configuration",
    "repeat",
    "words",
]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too' {{ 7*7 }}"


class Page(HTMLParser):
    """Elements with their attributes, the text outside scripts, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.text, self.scripts, self.open = [], "", {}, None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = (tag, dict(attrs).get("id"))

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, data):
        if self.open and self.open[0] == "script":
            self.scripts[self.open[1]] = self.scripts.get(self.open[1], "") + data
        elif not (self.open and self.open[0] == "style"):
            self.text += data

    def ids(self, tag):
        return [attrs.get("id") for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(page_path):
    return page_path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def smallest(**changes):
    """A report of one reading and nothing else."""
    llc = synthetic_report.make_llc().sel(checkpoint=50_000, component="full", drop=True)
    empty = {"llc_on": {}, "training": None, "traces": {}, "config": {}, "command": ""}
    return synthetic_report.make_report(**({"llc": llc, "warnings": []} | empty | changes))


def test_the_page_has_its_sections_in_order(page):
    assert page.ids("section") == SECTIONS


def test_the_headline_says_how_many_readings_are_ok_and_why_the_others_are_not(page):
    assert "116 of 120 readings can be trusted." in page.text
    for reason in (
        "chain 2 became non-finite at step 341",
        "λ̂ is −1.9, below 0: w* is not a local minimum of this loss",
        "R-hat is 1.31, above 1.05",
        "ESS is 17, below 100",
        "virial is 1.24 ± 0.02, above 1.1: step size or gradient noise heats the chain",
    ):
        assert reason in page.text
    assert page.text.count("l1h2 at step 5,000") == 2  # once for each of its two reasons


def test_configuration_command_warnings_and_glossary_are_told(page, report):
    for text in ("sampler.step_size", "0.0003", "corpus:python", report.command):
        assert text in page.text
    assert report.warnings[0] in page.text
    for word, meaning in GLOSSARY:
        assert word in page.text
        assert meaning in page.text


def test_sections_without_results_are_left_out(tmp_path):
    page = Page(write_report(smallest(), tmp_path / "one.html").read_text(encoding="utf-8"))
    assert page.ids("section") == ["verdict", "chains", "words"]
    assert page.ids("figure") == []
    assert "select" not in [tag for tag, _ in page.elements]
    assert "The reading can be trusted." in page.text


STAGE = {
    "stage": 2, "start": 300, "end": 6500, "kind": "rise", "type": "A", "begins_low": 250,
    "begins_high": 1410, "begins_probability": 0.97, "llc_delta": 4.25, "llc_delta_se": 0.31,
    "loss_delta": -1.5, "loss_delta_se": None, "ok": False,
    "moved": [{"reading": "probe_llc[<b>]", "delta": 1.5, "delta_se": 0.2}],
    "reasons": "1 of 5 readings are not ok and were left out",
}  # fmt: skip
EVENT = {
    "step": 7000, "since": 5200, "since_low": 4100, "since_high": 6100, "reading": "llc",
    "change": 1.234, "change_se": 0.111, "loss_change": 0.001, "loss_change_se": 0.002,
    "kind": "silent", "asked": True,
}  # fmt: skip


def developed(**changes):
    trajectory = synthetic_development.make_trajectory()
    return DevelopmentReport(trajectory=trajectory, **changes)


def test_stages_and_alarms_are_told_in_words(tmp_path):
    def text(**changes):
        page = Page(write_report(smallest(**changes), tmp_path / "page.html").read_text())
        return " ".join(page.text.split())

    told = text(development=developed(stages=[STAGE], events=[EVENT]))
    for words in ("300 – 6,500", "250 – 1,410", "0.97", "+4.25 ± 0.31", "−1.5",
                  "rise (A)", "λ̂ on <b> +1.5 ± 0.2",
                  "✕ in doubt: 1 of 5 readings are not ok and were left out",
                  "7,000", "5,200 (4,100 – 6,100)", "+1.23 ± 0.11", "+0.001 ± 0.002",
                  "silent"):  # fmt: skip
        assert words in told, words
    assert "not asked for" not in told
    assert "silent, not asked for: no ring" in text(
        development=developed(events=[EVENT | {"asked": False}])
    )
    assert "in doubt" not in text(development=developed(stages=[STAGE | {"ok": True}]))
    none = text(development=developed(stages=[{"stage": None, "ok": False, "reasons": "too few"}]))
    assert "No stages: too few" in none
    assert "None: no reading moved beyond its errors" in none
    assert "Alarms" not in text()


def test_charts_along_training_are_of_what_was_followed_along_training():
    report = synthetic_report.make_report(llc=synthetic_report.make_sparse(), traces={}, llc_on={})
    found = figures(report)
    assert [figure.name for figure in found] == [
        "loss_along_training",
        "llc_along_training_parts",
        "llc_by_layer_and_head",
        "llc_ranked_parts",
        "llc_ranked_heads",
    ]
    assert found[1].title == "λ̂ of the full model"
    assert found[1].facet_width is None


def test_nothing_in_the_page_points_outside_it(page):
    for tag, attrs in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs)
    policy = [a["content"] for t, a in page.elements if a.get("http-equiv")]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]


def test_charts_share_their_data_and_the_page_stays_small(page, html, report):
    data = json.loads(page.scripts["data"])
    for figure in data["figures"].values():
        assert all(
            "values" not in entry or entry["values"] == [{}] for entry in figure["chart"]["data"]
        )
    values = data["readings"]["llc"]
    expected = report.llc["llc"].values.reshape(-1)
    assert len(values) == len(expected)
    assert sum(abs(a - b) > 1e-7 * abs(b) for a, b in zip(values, expected, strict=True) if a) == 0
    assert set(data["traces"]) == {str(i) for i in range(120)}
    traces = len(json.dumps(data["traces"]))
    assert len(html) - traces < 650_000
    assert traces / 120 < 6_000  # bytes a reading, 4 chains of 200 draws


def test_every_word_of_the_user_is_shown_as_text(tmp_path):
    llc = synthetic_report.make_llc().sel(checkpoint=[100, 5_000], component=["l0h0", "l1h2"])
    llc = llc.assign_coords(component=["l0h0", EVIL])
    llc["reasons"] = llc["reasons"].where(llc["ok"], EVIL)
    training = synthetic_report.make_training()
    training["loss"].attrs = {"units": EVIL, "long_name": EVIL}
    report = synthetic_report.make_report(
        title=EVIL,
        llc=llc,
        llc_on={EVIL: llc},
        training=training,
        traces={(100, EVIL): synthetic_report.make_trace(5.0, UNMIXED, 0)},
        config={EVIL: {"nested": EVIL}},
        command=EVIL,
        warnings=[EVIL],
    )
    html = write_report(report, tmp_path / "evil.html").read_text(encoding="utf-8")
    page = Page(html)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "img" not in [tag for tag, _ in page.elements]
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert page.text.count(EVIL) >= 7
    data = json.loads(page.scripts["data"])
    assert data["readings"]["component"] == ["l0h0", EVIL] * 2
    assert set(data["probes"]["probe"]) == {EVIL}
    assert data["losses"]["series"][0] == EVIL
    assert "49" not in html[: html.index("<style>")]  # the template language is not read twice


def test_the_same_report_gives_the_same_bytes_and_replaces_the_old_page(tmp_path):
    report = smallest(title="again")
    path = write_report(report, tmp_path / "new" / "page.html")
    first = path.read_bytes()
    path.write_text("old")
    assert write_report(report, str(path)) == path
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_path_that_is_not_a_page_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"an HTML file, got '.*report'; end the path in .html"):
        write_report(smallest(), tmp_path / "report")


def test_a_report_without_a_reading_is_refused(tmp_path):
    llc = smallest().llc.copy()
    llc["ok"], llc["reasons"] = llc["ok"].astype(object).where(False), llc["reasons"].where(False)
    with pytest.raises(ValueError, match="no reading"):
        write_report(smallest(llc=llc), tmp_path / "none.html")


@pytest.mark.parametrize("package", ["altair", "vl_convert", "jinja2"])
def test_without_the_drawing_libraries_the_error_says_how_to_get_them(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'{package}.*pip install "creode\[viz\]"'):
        importlib.reload(creode.viewer)
