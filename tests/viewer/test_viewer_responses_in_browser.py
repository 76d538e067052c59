"""The page of responses as a reader meets it, in Chromium, from a file and with no network."""

import numpy as np
import pytest
import synthetic_responses as synthetic
from visiting import DESK, Visit, rgb

from creode.viewer import write_response_report
from creode.viewer.theme import DARK, LIGHT
from creode.viewer.wording import number, with_error


@pytest.fixture(scope="module")
def responses():
    return synthetic.make_report()


@pytest.fixture(scope="module")
def opened(chromium, responses, tmp_path_factory):
    path = write_response_report(responses, tmp_path_factory.mktemp("responses") / "page.html")
    visit = Visit(chromium, path, color_scheme="light")
    visit.path = path
    yield visit
    visit.context.close()


@pytest.fixture
def visit(opened):
    """The light page, as it opens: the first mode, component, sequence and query, on a desk."""
    opened.page.set_viewport_size(DESK)
    for id in ("mode", "token-view", "token-sample", "query"):
        opened.page.select_option(f"#{id}", index=0)
    opened.page.mouse.move(0, 0)
    return opened


def spans(visit):
    """Text, value said and colour of each token that is shown."""
    return visit.page.eval_on_selector_all(
        "#token-text span",
        """found => found.map(span => ({
            text: span.textContent, said: span.dataset.said,
            colour: getComputedStyle(span).backgroundColor,
        }))""",
    )


def test_the_page_asks_for_nothing_and_complains_of_nothing(visit):
    assert visit.requests == [visit.path.as_uri()]
    assert visit.complaints == []


def test_the_heat_map_shows_values_and_marks(visit, responses):
    response = responses.response
    expected = sorted(number(float(value)) for value in response["chi"].values.ravel())
    expected.remove("–")  # the failed cell has a ✕ and a dash
    shown = sorted(text for text in visit.texts("response_heat_map") if text != "–")
    assert shown == expected
    assert len(visit.marks("response_heat_map", LIGHT["bad"])) == 1
    dots = visit.marks("response_heat_map", LIGHT["ink"])
    assert len(dots) == int(response["significant"].sum())
    fills = visit.page.eval_on_selector_all(
        '.chart[data-figure="response_heat_map"] .mark-rect.role-mark path',
        "found => found.map(path => path.getAttribute('fill'))",
    )
    assert len(fills) == response["chi"].size - 1


def test_pointing_at_a_cell_tells_its_value_and_error(visit, responses):
    cells = visit.page.locator('.chart[data-figure="response_heat_map"] .mark-rect.role-mark path')
    cells.nth(2).scroll_into_view_if_needed()
    box = cells.nth(2).bounding_box()
    visit.page.mouse.move(box["x"] + 12, box["y"] + 12)
    visit.page.mouse.move(box["x"] + 14, box["y"] + 13)
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    cell = responses.response.isel(component=0, dataset=2)
    assert visit.page.inner_text("#tooltip strong") == "l0h0 on C headers"
    said = visit.page.inner_text("#tooltip dl")
    assert with_error(float(cell["chi"]), float(cell["chi_se"])) in said
    assert ("not told from 0" in said) == (not bool(cell["significant"]))


def test_modes_that_are_resolved_differ_in_shape_and_colour(visit):
    resolved = visit.marks("mode_singular_values", LIGHT["ok"])
    others = visit.marks("mode_singular_values", LIGHT["muted"])
    assert (len(resolved), len(others)) == (2, 3)
    assert all("A" in outline for outline in resolved)  # arcs
    assert not any("A" in outline for outline in others)  # corners
    options = visit.page.locator("#mode option").all_inner_texts()
    assert options[1:3] == ["mode 2", "mode 3 (not resolved)"]


def test_choosing_a_mode_draws_its_loadings(visit):
    bars = '.chart[data-figure="mode_loadings"] .mark-rect.role-mark path'
    lines = '.chart[data-figure="mode_loadings"] .mark-rule.role-mark line'

    def count(selector):
        return visit.page.locator(selector).count()

    def filled(colour):
        return visit.page.locator(f'{bars}[fill="{colour}"]').count()

    components = len(synthetic.COMPONENTS)
    visit.eventually(lambda: (filled(LIGHT["ok"]), count(lines)), (components, components + 1))
    visit.page.select_option("#mode", "4")  # not resolved: no errors but the line at 0
    visit.eventually(lambda: (filled(LIGHT["muted"]), count(lines)), (components, 1))
    chart = visit.page.locator('.chart[data-figure="mode_singular_values"]')
    chart.locator(f'.mark-symbol path[fill="{LIGHT["ok"]}"]').nth(1).click()
    visit.eventually(lambda: visit.page.input_value("#mode"), "2")
    visit.eventually(lambda: filled(LIGHT["ok"]), components)


@pytest.mark.parametrize(("view", "sample"), [(0, 0), (3, 2), (10, 1)])
def test_text_is_coloured_by_the_value_of_each_token(visit, responses, view, sample):
    visit.page.select_option("#token-view", str(view))
    visit.page.select_option("#token-sample", str(sample))
    tokens = responses.tokens.isel(sample=sample)
    if view < 10:
        chi = tokens["chi"].isel(component=view).values
        error = tokens["chi_se"].isel(component=view).values
    else:
        at = responses.modes["sample"].values == sample
        chi, error = np.full((2, synthetic.TOKENS), np.nan)
        place = responses.modes["token"].values[at]
        chi[place] = responses.modes["score"].values[0, at]
        error[place] = responses.modes["score_se"].values[0, at]
    shown = spans(visit)
    assert len(shown) == synthetic.TOKENS
    assert shown[0]["said"] == "no value"  # nothing predicts the first
    for span, value, spread in zip(shown[1:], chi[:-1], error[:-1], strict=True):
        first, _, second = span["said"].replace("−", "-").replace(",", "").partition(" ± ")
        assert float(first) == pytest.approx(value, abs=0.02 * spread + 0.006)
        assert float(second) == pytest.approx(spread, rel=0.06)
    texts = "".join(span["text"] for span in shown).replace("⏎", "").replace("⇥", "")
    assert texts == "".join(tokens["text"].values)


def test_the_sign_and_size_of_a_value_choose_the_colour(visit, responses):
    chi = responses.tokens["chi"].isel(component=0, sample=0).values[:-1]
    colours = [span["colour"] for span in spans(visit)[1:]]

    def channels(colour):  # color(srgb …), oklab(…) or rgb(…): drawn and read back
        return visit.page.evaluate(
            """colour => {
                const canvas = document.createElement("canvas").getContext("2d");
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }""",
            colour,
        )

    highest, lowest = channels(colours[chi.argmax()]), channels(colours[chi.argmin()])
    assert highest[0] > highest[2] + 40  # towards orange
    assert lowest[2] > lowest[0] + 40  # towards blue
    faint = channels(colours[np.abs(chi).argmin()])
    middle = [int(LIGHT["middle"][i : i + 2], 16) for i in (1, 3, 5)]
    assert np.abs(np.subtract(faint, middle)).max() < 12


def test_pointing_at_a_token_tells_its_value_and_error(visit, responses):
    visit.page.locator("#token-text span").nth(6).hover()
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    cell = responses.tokens.isel(component=0, sample=0, token=5)
    said = with_error(float(cell["chi"]), float(cell["chi_se"]))
    assert said in visit.page.inner_text("#tooltip dl")
    assert visit.page.inner_text("#token-value") == f"l0h0, token 6: χ = {said}"
    visit.page.mouse.move(0, 0)
    visit.page.wait_for_selector("#tooltip", state="hidden")


def test_tokens_can_be_walked_with_the_keyboard(visit):
    visit.page.focus("#token-text span >> nth=0")
    for _ in range(3):
        visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowLeft")
    assert "token 2:" in visit.page.inner_text("#token-value")
    stops = visit.page.eval_on_selector_all("#token-text span", "s => s.map(one => one.tabIndex)")
    assert stops.count(0) == 1
    assert stops[2] == 0
    visit.page.evaluate("document.activeElement.blur()")


def test_choosing_a_query_shows_its_samples_with_their_errors(visit, responses):
    for at, query in enumerate(responses.queries):
        visit.page.select_option("#query", str(at))
        assert visit.page.locator(".query:visible").count() == 1
        assert visit.page.inner_text(".query:visible .query-text") == query.text
        for name, stored in (("helpful", query.helpful), ("harmful", query.harmful)):
            said = visit.page.locator(f".query:visible .{name} .number").all_inner_texts()
            expected = [
                with_error(float(value), float(error))
                for value, error in zip(
                    stored["influence"].values, stored["influence_se"].values, strict=True
                )
            ]
            assert said == expected
            widths = visit.page.eval_on_selector_all(
                f".query:not([hidden]) .{name} .bar", "bars => bars.map(bar => bar.offsetWidth)"
            )
            sizes = np.abs(stored["influence"].values)
            np.testing.assert_allclose(np.array(widths) / widths[0], sizes / sizes[0], atol=0.02)


def test_everything_has_a_name_for_who_does_not_see_it(visit):
    unnamed = visit.page.evaluate(
        """() => [
            ...[...document.querySelectorAll(".chart")].filter(chart =>
                chart.getAttribute("role") !== "img" || !(chart.ariaLabel ?? "").length),
            ...[...document.querySelectorAll("select")].filter(pick => !pick.labels.length),
            ...[...document.querySelectorAll("button, #token-text span")].filter(item =>
                !(item.ariaLabel ?? item.textContent).trim()),
        ].map(item => item.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_scrolls_sideways(visit, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    widest = """Math.max(...[...document.querySelectorAll(".chart")].map(chart =>
        (chart.querySelector("svg")?.width.baseVal.value ?? 9999) - chart.clientWidth))"""
    visit.eventually(lambda: visit.page.evaluate(widest) <= 1, True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_turns_dark_and_light_with_the_reader(visit):
    for scheme, theme, other in (("dark", DARK, LIGHT), ("light", LIGHT, DARK)):
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.wait_for_selector(
            f'.chart[data-figure="mode_loadings"] path[fill="{theme["ok"]}"]', state="attached"
        )
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == rgb(theme["paper"])
        assert len(visit.marks("mode_singular_values", theme["ok"])) == 2
        assert visit.marks("mode_singular_values", other["ok"]) == []
        bar = visit.page.eval_on_selector(
            ".helpful .bar", "bar => getComputedStyle(bar).backgroundColor"
        )
        assert bar == rgb(theme["ok"])
    assert visit.complaints == []
