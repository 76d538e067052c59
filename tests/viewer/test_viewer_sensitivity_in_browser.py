"""The page of readings around a choice as a reader meets it, in Chromium, with no network."""

import pytest
import synthetic_sensitivity as synthetic
from visiting import Visit, rgb

from creode.viewer import write_sensitivity_report
from creode.viewer.theme import DARK, LIGHT

FIGURE = "llc_over_settings"


@pytest.fixture(scope="module", params=[("light", LIGHT), ("dark", DARK)], ids=["light", "dark"])
def visit(request, chromium, tmp_path_factory):
    scheme, colours = request.param
    path = tmp_path_factory.mktemp("sensitivity") / "settings.html"
    write_sensitivity_report(synthetic.make_report(), path)
    visit = Visit(chromium, path, color_scheme=scheme)
    visit.path, visit.colours = path, colours
    yield visit
    visit.context.close()


def point_at(visit, colour):
    """The pointer on the lowest mark of a colour; what the tooltip then says."""
    marks = visit.page.locator(
        f'.chart[data-figure="{FIGURE}"] .mark-symbol.role-mark path[fill="{colour}"]'
    )
    marks.last.scroll_into_view_if_needed()
    box = max((mark.bounding_box() for mark in marks.all()), key=lambda box: box["y"])
    for shift in (0.4, 0.5):
        visit.page.mouse.move(box["x"] + box["width"] * shift, box["y"] + box["height"] / 2)
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    return visit.page.inner_text("#tooltip")


def test_the_page_asks_for_nothing_and_complains_of_nothing(visit):
    assert visit.requests == [visit.path.as_uri()]
    assert visit.complaints == []
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= visit.page.viewport_size["width"]


def test_the_chart_has_every_reading_in_the_colours_of_the_theme(visit):
    counts = [len(visit.marks(FIGURE, visit.colours[f"series{i}"])) for i in range(3)]
    assert counts == [1, 5, 1]
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == rgb(visit.colours["paper"])


def test_pointing_at_a_reading_in_doubt_says_why(visit):
    said = point_at(visit, visit.colours["series2"])
    assert "ε × 2, nβ × 1, γ × 1" in said
    assert synthetic.REASON in said


def test_pointing_at_a_reading_without_a_number_says_why(visit):
    said = point_at(visit, visit.colours["series1"])
    assert "ε × 1, nβ × 4, γ × 1" in said
    assert synthetic.LOST in said


def test_panels_stand_below_each_other_on_a_phone(visit):
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.page.wait_for_timeout(400)
    visit.page.wait_for_selector(f'.chart[data-figure="{FIGURE}"] svg')
    box = visit.page.locator(f'.chart[data-figure="{FIGURE}"] svg').bounding_box()
    assert box["height"] > 2 * box["width"] * 0.9
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
