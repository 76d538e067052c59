"""The pages of weights and of a loop as a reader meets them, in Chromium, with no network."""

import pytest
import synthetic_writing as synthetic
from visiting import Visit

from creode.viewer import write_loop_report, write_writing_report


def two_directions():
    both = [synthetic.make_writing(), synthetic.make_writing("delay dialogue", -1.0)]
    return synthetic.make_report(writings=both)


CASES = {
    "loop": (write_loop_report, synthetic.make_loop, "light"),
    "writing": (write_writing_report, two_directions, "dark"),
}


@pytest.fixture(scope="module", params=list(CASES))
def visit(request, chromium, tmp_path_factory):
    write, make, scheme = CASES[request.param]
    path = write(make(), tmp_path_factory.mktemp("told") / "report.html")
    visit = Visit(chromium, path, color_scheme=scheme)
    visit.path = path
    yield visit
    visit.context.close()


def test_the_page_asks_for_nothing_and_complains_of_nothing(visit):
    assert visit.requests == [visit.path.as_uri()]
    assert visit.complaints == []
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= visit.page.viewport_size["width"]


def test_every_chart_is_drawn_within_its_place(visit):
    for holder in visit.page.locator(".chart").all():
        drawn = holder.locator("svg")
        assert drawn.count() == 1
        assert drawn.bounding_box()["width"] <= holder.bounding_box()["width"] + 1
        assert holder.locator(".role-mark").count() > 0


def test_a_point_says_what_it_is(visit):
    dots = visit.page.locator('.chart[data-figure="arms_over_seeds"] .mark-symbol.role-mark path')
    dots.first.scroll_into_view_if_needed()
    box = dots.first.bounding_box()
    for shift in (0.4, 0.5):
        visit.page.mouse.move(box["x"] + box["width"] * shift, box["y"] + box["height"] / 2)
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    assert "seed" in visit.page.inner_text("#tooltip")


def test_a_narrow_page_draws_panels_below_each_other(visit):
    holder = visit.page.locator('.chart[data-figure="losses_along_training"]')
    before = holder.bounding_box()["height"]
    visit.page.set_viewport_size({"width": 420, "height": 800})
    visit.eventually(lambda: holder.bounding_box()["height"] > 1.5 * before, True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420
