"""The page of an audit as a reader meets it, in Chromium, with no network."""

import pytest
import synthetic_audit as synthetic
from visiting import Visit

from creode.viewer import write_audit_report


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request, chromium, tmp_path_factory):
    path = write_audit_report(
        synthetic.make_report(), tmp_path_factory.mktemp("audit") / "report.html"
    )
    visit = Visit(chromium, path, color_scheme=request.param)
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


def test_one_behaviour_is_shown_at_a_time_with_its_samples(visit):
    seen = visit.page.locator("article.query:visible")
    assert seen.count() == 1
    dots = '.chart[data-figure="sample_associations"] .mark-symbol.role-mark path'

    def outlines():
        return visit.page.eval_on_selector_all(
            dots, "found => found.map(path => path.getAttribute('transform'))"
        )

    first = outlines()
    assert len(first) == synthetic.SAMPLES
    visit.page.select_option("#pick-samples", "1")
    visit.eventually(lambda: outlines() not in ([], first), True)
    assert seen.count() == 1
    assert seen.get_attribute("aria-label") == "Samples behind prose"
    visit.page.select_option("#pick-samples", "0")
    visit.eventually(outlines, first)


def test_a_long_text_is_opened(visit):
    whole = visit.page.locator("article.query:visible details.whole").first
    assert not whole.locator("pre").is_visible()
    whole.locator("summary").click()
    assert whole.locator("pre").is_visible()
    assert not whole.locator(".beginning").is_visible()
    assert whole.locator("pre").inner_text().endswith("THE END")


def test_a_sample_says_what_it_does(visit):
    dots = visit.page.locator(
        '.chart[data-figure="sample_associations"] .mark-symbol.role-mark path'
    )
    dots.first.scroll_into_view_if_needed()
    box = dots.first.bounding_box()
    for shift in (0.4, 0.5):
        visit.page.mouse.move(box["x"] + box["width"] * shift, box["y"] + box["height"] / 2)
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    assert "training sample" in visit.page.inner_text("#tooltip")


def test_a_narrow_page_does_not_scroll_sideways(visit):
    holder = visit.page.locator('.chart[data-figure="mending_curves"]')
    before = holder.bounding_box()["width"]
    visit.page.set_viewport_size({"width": 420, "height": 800})
    visit.eventually(lambda: holder.locator("svg").bounding_box()["width"] < before, True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420
