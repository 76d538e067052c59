"""The page and the picture of readings around a choice, without a browser."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import synthetic_sensitivity as synthetic
from test_viewer_page import Page

from creode.viewer import SensitivityReport, export_sensitivity, write_sensitivity_report
from creode.viewer.sensitivity import cell_rows, chart_rows, slope_rows
from creode.viewer.theme import LIGHT
from creode.viewer.wording import with_error

SVG = "{http://www.w3.org/2000/svg}"
READINGS = synthetic.make_readings()


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("sensitivity") / "settings.html"
    return write_sensitivity_report(synthetic.make_report(), path).read_text(encoding="utf-8")


def test_rows_are_the_stored_numbers_of_what_was_run():
    rows = cell_rows(READINGS)
    assert len(rows) == 7
    for row in rows:
        place = {"epsilon": float(row["epsilon"]), "nbeta": row["nbeta"], "gamma": row["gamma"]}
        cell = READINGS.sel(place)
        llc, error = float(cell["llc"]), float(cell["llc_se"])
        assert row["llc_text"] == with_error(llc, error)
        assert row["ok"] == bool(cell["ok"])
        assert row["reasons"] == str(cell["reasons"].item())
        if np.isfinite(llc):
            assert row["llc"] == pytest.approx(llc, rel=1e-7)
            assert row["high"] - row["low"] == pytest.approx(4 * error, rel=1e-5)
        else:
            assert (row["llc"], row["low"], row["high"]) == (None, None, None)
    (chosen,) = [row for row in rows if row["chosen"]]
    assert (chosen["nbeta"], chosen["gamma"]) == (synthetic.NBETA, synthetic.GAMMA)
    assert chosen["panel"] == "γ = 12.0 (chosen)"


def test_step_sizes_at_one_nbeta_are_drawn_apart_and_in_order():
    rows = [row for row in cell_rows(READINGS) if row["nbeta"] == synthetic.NBETA]
    rows = [row for row in rows if row["gamma"] == synthetic.GAMMA]
    shown = {row["epsilon"]: row["shown_nbeta"] for row in rows}
    assert shown["1"] == synthetic.NBETA
    assert 1.05 < shown["2"] / shown["1"] == pytest.approx(shown["1"] / shown["0.5"])


def test_every_panel_has_the_interval_of_the_choice_once():
    rows = chart_rows(READINGS)
    (chosen,) = [row for row in rows if row["chosen"]]
    bands = [row for row in rows if row["band_low"] is not None]
    assert len(bands) == len({row["panel"] for row in bands}) == 3
    assert {(row["band_low"], row["band_high"]) for row in bands} == {
        (chosen["low"], chosen["high"])
    }


def test_slopes_come_with_their_sentences():
    for row in slope_rows(READINGS):
        found = READINGS.sel(direction=row["direction"])
        assert row["slope_text"] == with_error(float(found["slope"]), float(found["slope_se"]))
        assert row["sentence"] == str(found["sentence"].item())
        assert row["ok"] == bool(found["slope_ok"])


def test_the_page_says_what_was_found_and_why_not(html):
    page = Page(html)
    text = " ".join(page.text.split())
    for sentence in READINGS["sentence"].values:
        assert str(sentence) in text
    assert "7 settings · 4 chains · 12,345 gradients a chain in all" in text
    assert text.count(synthetic.REASON) == 2  # in the list of doubts and in the table
    assert synthetic.LOST in text  # as text, not as markup
    assert "<b>&</b>" not in html
    for row in cell_rows(READINGS):
        assert row["cell"] in text
        assert row["llc_text"] in text


def test_the_page_needs_nothing_else(html):
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', html.split('<script type="text')[0])


def test_the_same_readings_give_the_same_bytes(html, tmp_path):
    again = write_sensitivity_report(synthetic.make_report(), tmp_path / "again.html")
    assert again.read_text(encoding="utf-8") == html


def test_the_picture_has_a_dot_or_a_cross_for_every_reading(tmp_path):
    png, svg = export_sensitivity(synthetic.make_report(), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    root = ET.parse(svg).getroot()
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert {"γ = 6.00", "γ = 12.0 (chosen)", "γ = 24.0", "100", "400", "1.6k"} <= set(texts)
    symbols = {
        colour: [
            path.get("d")
            for path in root.iter(f"{SVG}path")
            if path.get("fill") == LIGHT[colour] and path.get("stroke-width") in (None, "2", "1")
        ]
        for colour in ("series0", "series1", "series2")
    }
    legend = 1  # of each colour
    count = {colour: len(found) - legend for colour, found in symbols.items()}
    assert count == {"series0": 1, "series1": 5, "series2": 1}
    drawn = [d for found in symbols.values() for d in found]
    assert sum("A" in d for d in drawn) == 5 + 3 * legend  # circles; the others are ✕
    assert sum("A" not in d for d in drawn) == 2


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown chart format 'pdf'"):
        export_sensitivity(synthetic.make_report(), tmp_path / "out", formats=("pdf",))
    assert not (tmp_path / "out").exists()


def test_what_is_no_sensitivity_is_refused():
    with pytest.raises(ValueError, match="lacks llc_se"):
        synthetic.make_report(readings=READINGS.drop_vars("llc_se"))
    with pytest.raises(ValueError, match="lacks the dimensions"):
        SensitivityReport(title="one", readings=READINGS.isel(gamma=1))
