"""The guide's pictures are what its script makes, and show what the guide says they show."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from oracles import llc_quadratic, llc_quadratic_sgld

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs/trust.md").read_text(encoding="utf-8")
STORED = {
    one["picture"]: one
    for one in json.loads((ROOT / "docs/trust/readings.json").read_text(encoding="utf-8"))
}
SAYS = {
    "healthy": "",
    "not_warmed_up": "R-hat of the loss is",
    "too_large_a_step": "above 1: the step size or gradient noise heats the chain",
    "left_the_basin": "the draws left the basin",
    "one_chain_apart": "R-hat of the loss is",
    "none_crossed": "",
    "harmless_drift": "",
    "no_plateau": "when the localization is doubled",
    "nearly_flat": "",
}


@pytest.fixture
def made(tmp_path):
    def make(*names):
        script = [sys.executable, str(ROOT / "docs/make_trust_pictures.py"), "--out", str(tmp_path)]
        subprocess.run([*script, *(["--only", *names] if names else [])], check=True)
        readings = json.loads((tmp_path / "readings.json").read_text(encoding="utf-8"))
        return {one["picture"]: one for one in readings}, tmp_path

    return make


def check(name, reading):
    assert reading["ok"] == (SAYS[name] == ""), reading
    assert SAYS[name] in reading["reasons"]


def test_a_hot_chain_is_as_hot_as_its_step_makes_it(made):
    readings, folder = made("too_large_a_step")
    (reading,) = readings.values()
    check("too_large_a_step", reading)
    eigenvalues = (0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0)
    hot = llc_quadratic_sgld(eigenvalues, 100.0, 10.0, 2.0 / 810.0)
    assert abs(reading["llc"] - hot) < 4 * reading["llc_se"]
    assert reading["llc_se"] < 0.02 * hot
    assert reading["exact"] == pytest.approx(llc_quadratic(eigenvalues, 100.0, 10.0))
    assert hot > 1.2 * reading["exact"]
    svg = ET.parse(folder / "too_large_a_step.svg").getroot()
    texts = ["".join(element.itertext()) for element in svg.iter()]
    assert any("Loss above the checkpoint" in text for text in texts)


def test_every_stored_picture_is_in_the_guide_small_and_says_what_it_should():
    assert set(STORED) == set(SAYS)
    assert {*re.findall(r"\(trust/(\w+)\.svg\)", GUIDE)} == set(SAYS)
    for name, reading in STORED.items():
        check(name, reading)
        assert (ROOT / f"docs/trust/{name}.svg").stat().st_size < 100_000


def test_the_guide_quotes_verdicts_that_were_given():
    given = " ".join(one["reasons"] + " " + one["notes"] for one in STORED.values())
    quotes = re.findall(r"^> \*(.*?)\*$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert len(quotes) >= 6
    for quote in quotes:
        plain = " ".join(quote.replace("\n> ", " ").replace("w\\*", "w*").split())
        for part in plain.split(" …; "):
            assert part in given, part


def test_links_between_the_guides_lead_somewhere():
    for name in ("trust", "calibration", "verdict"):
        text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
        for link, anchor in re.findall(r"\]\(([\w/.]*)(#[\w-]+)?\)", text):
            target = ROOT / "docs" / link if link else ROOT / f"docs/{name}.md"
            assert target.exists(), link
            if anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
                assert anchor[1:] in slugs


@pytest.mark.slow
def test_every_picture_can_be_made_and_shows_the_same(made):
    readings, folder = made()
    assert set(readings) == set(SAYS)
    for name, reading in readings.items():
        check(name, reading)
        assert (folder / f"{name}.svg").stat().st_size < 100_000
